"""The commands ``kdnb sweep plan · run · run-one · status · collect · retry``."""

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from kdnb.runs import atomic_path, write_json
from kdnb.settings import Settings
from kdnb.sweep.spec import Spec, read_spec

__all__ = ["sweep_app"]

sweep_app = typer.Typer(help="Many runs from one plan: on this machine or on a cluster.", no_args_is_help=True)

PlanFile = Annotated[Path, typer.Argument(help="a plan, such as sweeps/grid.toml")]
RunsDir = Annotated[str, typer.Option(help="folder for everything computed; empty: runs/ of the project")]
Workers = Annotated[int, typer.Option(min=1, help="processes on this machine; several need Dask")]
Scheduler = Annotated[str, typer.Option(help="address of a Dask scheduler, such as tcp://127.0.0.1:8786")]
Threads = Annotated[int, typer.Option(min=0, help="threads of each run; 0: its share of the cores")]


@sweep_app.command()
def plan(
    file: PlanFile, runs_dir: RunsDir = "", workers: Workers = 1,
    specs: Annotated[str, typer.Option(help="also write one <run>.json for run-one of each unfinished run here")] = "",
) -> None:  # fmt: skip
    """Check a plan; say what its runs are, which are done, and how long the rest may take."""
    _, runs = _read(file, runs_dir)
    table, told = _stand(runs, workers)
    print(table.drop(columns="note").to_string(index=False, na_rep=""), told, sep="\n")
    if specs:
        folder = Path(specs)
        folder.mkdir(parents=True, exist_ok=True)
        waiting = [run for run, state in zip(runs, table["state"], strict=True) if state != "done"]
        for run in waiting:
            write_json(folder / f"{run.run.id}.json", run.asdict())
        print(f"{len(waiting)} specs in {folder}")


@sweep_app.command()
def run(
    file: PlanFile, runs_dir: RunsDir = "", workers: Workers = 1, scheduler: Scheduler = "", threads: Threads = 0,
) -> None:  # fmt: skip
    """Make every run that is not done yet; failed ones wait for `retry`."""
    _run(_read(file, runs_dir)[1], workers, scheduler, threads)


@sweep_app.command()
def retry(
    file: PlanFile, runs_dir: RunsDir = "", workers: Workers = 1, scheduler: Scheduler = "", threads: Threads = 0,
) -> None:  # fmt: skip
    """Try failed runs again, and those that are not done yet."""
    from kdnb.sweep.one import forget_failure

    _, runs = _read(file, runs_dir)
    print(f"{sum([forget_failure(run.run) for run in runs])} failed runs are tried again")
    _run(runs, workers, scheduler, threads)


@sweep_app.command()
def run_one(
    spec: Annotated[Path, typer.Argument(help="one of the files that `plan --specs` writes")], threads: Threads = 0,
) -> None:  # fmt: skip
    """Make one run; needs no engine, so a shell loop, a Slurm array or Snakemake can drive it."""
    from kdnb.batch import Progress
    from kdnb.sweep.one import run_one as make

    chosen = read_spec(spec)
    outcome = make(chosen, threads, Progress())
    print(f"{outcome.state} {outcome.seconds:.1f} s  {chosen}  {outcome.message or chosen.run.folder}")
    raise typer.Exit(outcome.state not in ("done", "found"))


@sweep_app.command()
def status(
    file: PlanFile, runs_dir: RunsDir = "",
    watch: Annotated[float, typer.Option(min=0, help="show it again every so many seconds until all is done")] = 0,
) -> None:  # fmt: skip
    """Say where each run stands."""
    _, runs = _read(file, runs_dir)
    while True:
        table, told = _stand(runs)
        if watch and sys.stdout.isatty():
            print("\x1b[2J\x1b[H", end="")
        print(table.to_string(index=False, na_rep=""), told, sep="\n", flush=True)
        if not watch or table["state"].isin(["done", "failed"]).all():
            return
        time.sleep(watch)


@sweep_app.command()
def collect(
    file: PlanFile, runs_dir: RunsDir = "",
    table: Annotated[str, typer.Option(help="which of the notebook's tables; empty: the plan's")] = "",
    out: Annotated[str, typer.Option(help="the CSV; empty: sweep/<plan>.csv in the folder of the runs")] = "",
) -> None:  # fmt: skip
    """Write one tidy CSV from all finished runs."""
    from kdnb.sweep.table import collect as collected

    found, runs = _read(file, runs_dir)
    rows = collected(found, runs, table)
    path = Path(out) if out else Path(runs[0].root) / "sweep" / f"{found.name}.csv"
    with atomic_path(path) as temporary:
        rows.to_csv(temporary, index=False, lineterminator="\n")
    print(f"{rows['run'].nunique()} of {len(runs)} runs, {len(rows)} rows: {path}")


def _read(file: Path, runs_dir: str) -> tuple[Any, list[Spec]]:
    """The plan and its runs."""
    from kdnb.sweep.plan import read_plan

    found = read_plan(file)
    return found, found.specs(Settings.checked({"runs_dir": runs_dir}).runs)


def _run(runs: list[Spec], workers: int, scheduler: str, threads: int) -> None:
    from kdnb.sweep.many import run_many

    print(_stand(runs, workers)[1], flush=True)
    try:
        run_many(runs, workers=workers, scheduler=scheduler, threads=threads)
    except KeyboardInterrupt:
        print(f"\nstopped: {_stand(runs, workers)[1]}. The same command goes on", flush=True)
        raise typer.Exit(130) from None
    table, told = _stand(runs, workers)
    for note in table.loc[table["state"] == "failed", "note"]:
        print(f"failed: {note}")
    print(told)
    raise typer.Exit(not (table["state"] == "done").all())


def _stand(runs: list[Spec], workers: int = 1) -> tuple[Any, str]:
    """Where each run stands (``pandas.DataFrame``), and all of them in a line."""
    from kdnb.sweep.table import estimate, status

    table = status(runs)
    counts = ", ".join(f"{count} {state}" for state, count in table["state"].value_counts().items())
    left = [run for run, state in zip(runs, table["state"], strict=True) if state in ("waiting", "running")]
    seconds = estimate(left, workers)
    guess = "no past run to estimate from" if seconds is None else f"about {_spoken(seconds)} left, going by past runs"
    return table, f"{len(runs)} runs: {counts}" + (f"; {guess}" if left else "")


def _spoken(seconds: float) -> str:
    """A duration for a person.

    >>> _spoken(42), _spoken(600), _spoken(9000)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
