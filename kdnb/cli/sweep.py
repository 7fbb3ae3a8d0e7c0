"""The commands ``kdnb sweep plan · run · run-one · status · collect · retry``."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from kdnb.batch.run_spec import SweepSpec, read_spec
from kdnb.cli.options import Label, RunsDir, require_file_name
from kdnb.core.errors import UserError
from kdnb.core.run_list import checked_label
from kdnb.core.runs import atomic_path, read_json, write_json
from kdnb.core.settings import TIMM, Settings
from kdnb.core.tables import csv_text

__all__ = ["sweep_app"]

sweep_app = typer.Typer(
    help="Many runs from one plan: on this machine or on a cluster.",
    no_args_is_help=True,
)

PlanFile = Annotated[Path, typer.Argument(help="a plan, such as sweeps/grid.toml")]
Workers = Annotated[int, typer.Option(min=1, help="processes on this machine; several need Dask")]
Scheduler = Annotated[
    str, typer.Option(help="address of a Dask scheduler, such as tcp://127.0.0.1:8786")
]
Threads = Annotated[int, typer.Option(min=0, help="threads of each run; 0: its share of the cores")]
PartName = Annotated[
    str, typer.Option("--part", help="only the runs of this part of the plan; empty: all")
]
SpecsDir = Annotated[
    str,
    typer.Option(
        "--specs", help="also write one <run>.json for run-one of each unfinished run here"
    ),
]
SpecFile = Annotated[
    Path, typer.Argument(metavar="spec", help="one of the files that `plan --specs` writes")
]
Watch = Annotated[
    float, typer.Option(min=0, help="show it again every so many seconds until all is done")
]
Table = Annotated[str, typer.Option(help="which of the notebook's tables; empty: the plan's")]
Out = Annotated[
    str, typer.Option(help="the CSV; empty: sweep/<plan>.csv in the folder of the runs")
]

CLEAR = "\x1b[2J\x1b[H"  # what empties a terminal


@sweep_app.command()
def plan(
    file: PlanFile,
    runs_dir: RunsDir = "",
    workers: Workers = 1,
    specs_dir: SpecsDir = "",
) -> None:
    """Check a plan; say what its runs are, which are done, and how long the rest may take."""
    _, specs = _read(file, runs_dir)
    _require_teachers(specs)
    table, summary = _stand(specs, workers)
    print(table.drop(columns="note").to_string(index=False, na_rep=""))
    print(summary)
    if specs_dir:
        folder = Path(specs_dir)
        folder.mkdir(parents=True, exist_ok=True)
        states = table["state"]
        left = [spec for spec, state in zip(specs, states, strict=True) if state != "done"]
        for spec in left:
            write_json(folder / f"{spec.run.id}.json", spec.asdict())
        print(f"{len(left)} specs in {folder}")


@sweep_app.command()
def run(
    file: PlanFile,
    runs_dir: RunsDir = "",
    workers: Workers = 1,
    scheduler: Scheduler = "",
    threads: Threads = 0,
    label: Label = "",
    part: PartName = "",
) -> None:
    """Make every run that is not done yet; failed ones wait for `retry`."""
    found, specs = _read(file, runs_dir, part)
    _require_teachers(specs)
    if label:
        _write_label(_labelled_folder(specs, found.name, label), specs, label)
    _run(specs, workers, scheduler, threads)


@sweep_app.command()
def retry(
    file: PlanFile,
    runs_dir: RunsDir = "",
    workers: Workers = 1,
    scheduler: Scheduler = "",
    threads: Threads = 0,
    part: PartName = "",
) -> None:
    """Try failed runs again, and those that are not done yet."""
    from kdnb.batch.run_one import forget_failure

    _, specs = _read(file, runs_dir, part)
    failed = 0
    for spec in specs:
        if forget_failure(spec.run):
            failed += 1
    print(f"{failed} failed runs are tried again")
    _run(specs, workers, scheduler, threads)


@sweep_app.command()
def run_one(spec_file: SpecFile, threads: Threads = 0) -> None:
    """Make one run; needs no engine, so a shell loop, a Slurm array or Snakemake can drive it."""
    from kdnb.batch.papermill_runs import ProgressStream
    from kdnb.batch.run_one import run_one as make

    spec = read_spec(spec_file)
    outcome = make(spec, threads, ProgressStream())
    where = outcome.message or spec.run.folder
    print(f"{outcome.state} {outcome.seconds:.1f} s  {spec}  {where}")
    raise typer.Exit(0 if outcome.state in ("done", "found") else 1)


@sweep_app.command()
def status(file: PlanFile, runs_dir: RunsDir = "", watch: Watch = 0, part: PartName = "") -> None:
    """Say where each run stands."""
    from kdnb.batch.progress_table import SETTLED

    _, specs = _read(file, runs_dir, part)
    while True:
        table, summary = _stand(specs)
        if watch and sys.stdout.isatty():
            print(CLEAR, end="")
        print(table.to_string(index=False, na_rep=""))
        print(summary, flush=True)
        if not watch or table["state"].isin(SETTLED).all():
            return
        time.sleep(watch)


@sweep_app.command()
def collect(
    file: PlanFile,
    runs_dir: RunsDir = "",
    table: Table = "",
    out: Out = "",
    label: Label = "",
    part: PartName = "",
) -> None:
    """Write one tidy CSV from all finished runs; with a label into its folder.

    Exit code 1 where runs are missing from it.
    """
    from kdnb.batch.progress_table import collect_tables

    if out:
        require_file_name(out, ".csv")
    found, specs = _read(file, runs_dir, part)
    rows = collect_tables(found, specs, table)
    folder = Path(specs[0].root) / "sweep"
    if label:
        folder = _labelled_folder(specs, found.name, label)
    path = Path(out) if out else folder / f"{found.name}.csv"
    with atomic_path(path) as temporary:
        text = csv_text(rows, index=False, float_format=None)
        temporary.write_text(text, encoding="utf-8", newline="\n")
    count = rows["run"].nunique()
    print(f"{count} of {len(specs)} runs, {len(rows)} rows: {path}")
    if count < len(specs):
        raise typer.Exit(1)


def _read(file: Path, runs_dir: str, part: str = "") -> tuple[Any, list[SweepSpec]]:
    """The plan (``kdnb.batch.plan.Plan``) and its runs, or those of one part."""
    from kdnb.batch.plan import read_plan

    found = read_plan(file)
    specs = found.specs(Settings.checked({"runs_dir": runs_dir}).runs)
    return found, _of_part(specs, part) if part else specs


def _require_teachers(specs: Sequence[SweepSpec]) -> None:
    """Refuse a teacher that timm does not have, before any run starts.

    Raises:
        UserError: It says which are near.
    """
    named = {str(spec.parameters.get("teacher", "")) for spec in specs}
    of_timm = sorted(name for name in named if name.startswith(TIMM))
    if of_timm:
        from kdnb.training.timm_models import check_name  # torch loads for seconds

        for name in of_timm:
            check_name(name)


def _of_part(specs: Sequence[SweepSpec], part: str) -> list[SweepSpec]:
    """The runs of one part of a plan."""
    chosen = [spec for spec in specs if spec.part == part]
    if not chosen:
        names = list(dict.fromkeys(spec.part for spec in specs if spec.part))
        raise UserError(
            f"--part must be one of {', '.join(names)}, got {part!r}"
            if names
            else f"the plan has no parts: leave out --part {part}"
        )
    return chosen


def _labelled_folder(specs: Sequence[SweepSpec], plan_name: str, label: str) -> Path:
    """The folder of a sweep with a label: ``sweep/<plan>-<label>``; its runs lie beside it."""
    return Path(specs[0].root) / "sweep" / f"{plan_name}-{checked_label(label)}"


def _write_label(folder: Path, specs: Sequence[SweepSpec], label: str) -> None:
    """Keep which runs a label means, for ``kdnb runs``; one run may have several labels.

    Runs that have it already keep it: parts of a plan may be run one after the other.
    """
    path = folder / "sweep.json"
    before = read_json(path)["runs"] if path.is_file() else []
    runs = dict.fromkeys([*before, *(spec.run.id for spec in specs)])
    write_json(path, {"label": label, "runs": list(runs)})


def _run(specs: Sequence[SweepSpec], workers: int, scheduler: str, threads: int) -> None:
    """Make the runs, and say before and after where they stand."""
    from kdnb.batch.run_many import run_many

    _, summary = _stand(specs, workers)
    print(summary, flush=True)
    try:
        run_many(specs, workers=workers, scheduler=scheduler, threads=threads)
    except KeyboardInterrupt:
        _, summary = _stand(specs, workers)
        print(f"\nstopped: {summary}. The same command goes on", flush=True)
        raise typer.Exit(130) from None
    table, summary = _stand(specs, workers)
    for row in table[table["state"].isin(["failed", "damaged"])].itertuples():
        print(f"{row.state}: {row.note}")
    print(summary)
    raise typer.Exit(0 if (table["state"] == "done").all() else 1)


def _stand(specs: Sequence[SweepSpec], workers: int = 1) -> tuple[Any, str]:
    """Where each run stands (``pandas.DataFrame``), and all of them in a line."""
    from kdnb.batch.estimates import spoken
    from kdnb.batch.progress_table import estimate, status

    table = status(specs)
    states = table["state"]
    counts = ", ".join(f"{count} {state}" for state, count in states.value_counts().items())
    summary = f"{len(specs)} runs: {counts}"
    is_left = states.isin(["waiting", "running"])
    left = [spec for spec, waits in zip(specs, is_left, strict=True) if waits]
    if not left:
        return table, summary
    seconds = estimate(left, workers)
    if seconds is None:
        return table, f"{summary}; no past run to estimate from"
    return table, f"{summary}; about {spoken(seconds)} left, going by past runs"
