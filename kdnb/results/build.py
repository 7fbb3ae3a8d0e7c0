"""Published tables and charts from the record of all runs, and the findings in words (07).

``kdnb figures`` writes them, notebook 07 reads them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from kdnb.batch.plan import read_plan
from kdnb.core.errors import UserError
from kdnb.core.plots import Picture, score_bars
from kdnb.core.report import publish
from kdnb.core.results_folder import Results
from kdnb.core.runs import digest, environment, read_json, write_json
from kdnb.core.settings import project_root
from kdnb.distillation.plots import grid_heatmap
from kdnb.results.accuracies import accuracy, larger
from kdnb.results.collected_runs import Records, load_collected, missing
from kdnb.results.effects import gains, grid, larger_gains, schedule, sizes
from kdnb.results.explanation_tables import explanation_tables
from kdnb.results.findings import findings
from kdnb.results.plots import accuracy_summary, schedule_curves, size_curves, worth_pareto

__all__ = ["COLLECTED", "build_tables", "make_tables", "published", "write_findings"]

COLLECTED = Path("results", "collected")
BEFORE_FINDINGS = "<!-- findings -->\n"
AFTER_FINDINGS = "<!-- /findings -->"
ANSWERED = {  # tables of what the runs of notebook 03 answered
    "a_accuracy": accuracy,
    "a_larger": larger,
    "b_grid": grid,
    "c_gains": gains,
    "c_larger": larger_gains,
    "d_sizes": sizes,
    "g_schedule": schedule,
}


def build_tables(plan: Path, folder: Path, *, partial: bool = False) -> dict[str, pd.DataFrame]:
    """Write ``folder/results/`` from ``folder/results/collected/``.

    The same record gives the same bytes of tables.

    Args:
        plan: The plan of the collected runs.
        folder: The project's ``figures/``.
        partial: Accept that runs of the plan are missing; the table ``missing`` lists them.

    Returns:
        The tables by name.

    Raises:
        UserError: If the record is refused, see `kdnb.results.collected_runs.load_collected`.
    """
    read = read_plan(plan)
    records = load_collected(folder / COLLECTED, read, partial=partial)
    tables = make_tables(records)
    left = missing(records, read)
    every_run = sorted(records["runs"]["run"])
    facts = {"dataset": "brain_tumor, eye_disease, alzheimer", "plan": plan.name}
    data = digest(_values(records, "data"))
    with TemporaryDirectory() as temporary:
        results = Results(folder=Path(temporary), parameters=facts, data=data)
        for name, table in tables.items():
            results.table(name, table.set_index(table.columns[0]), _runs_of(table))
        for name, picture in _pictures(tables):
            results.picture(name, picture, every_run)
        if left:
            listed = pd.DataFrame({"not finished": left}).set_index("not finished")
            results.table("missing", listed, every_run)
        publish(results, folder, "results")
    provenance = {
        "parameters": facts,
        "data": data,
        "runs": every_run,
        "kdnb": environment()["kdnb"],
        "commit": ", ".join(_values(records, "commit")),
    }
    _list_collected(folder, provenance)
    return tables


def make_tables(records: Records) -> dict[str, pd.DataFrame]:
    """Every published table of which the record holds something, by file name."""
    tables = {name: make(records) for name, make in ANSWERED.items()}
    tables |= explanation_tables(records)
    return {name: table for name, table in tables.items() if len(table)}


def _values(records: Records, column: str) -> list[str]:
    """What a column of the trainings holds, each value once."""
    return sorted(str(value) for value in records["03_trainings"][column].unique())


def _runs_of(table: pd.DataFrame) -> list[str]:
    """The runs behind a table; a row may name several, with spaces between them."""
    if "run" not in table:
        return []
    return sorted(set(" ".join(table["run"]).split()))


def _list_collected(folder: Path, provenance: Mapping[str, Any]) -> None:
    """Enter the collected tables into the manifest."""
    path = folder / "manifest.json"
    manifest = read_json(path)
    for table in sorted((folder / COLLECTED).glob("*.csv.gz")):
        facts = {"alt": "", "pixels": False, "order": len(manifest)}
        manifest[str(COLLECTED / table.name)] = facts | dict(provenance)
    write_json(path, manifest)


def _pictures(tables: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, Picture]]:
    """The charts of the tables that there are, with their file names."""
    for name, table in (("summary", "a_accuracy"), ("larger", "a_larger")):
        if table in tables:
            yield name, accuracy_summary(tables[table].query("counted == 'all classes'"))
    if "b_grid" in tables:
        for dataset, table in tables["b_grid"].groupby("dataset"):
            yield f"grid_{dataset}", grid_heatmap(table)
    if "c_gains" in tables:
        yield "gains", _gain_bars(tables["c_gains"])
    if _has_sizes(tables, "d_sizes"):
        yield "sizes", size_curves(tables["d_sizes"], "accuracy", "model")
    if _has_sizes(tables, "d_explained"):
        yield "explained", size_curves(tables["d_explained"], "ROAD", "explanation")
    if "f_worth" in tables:
        for dataset, table in tables["f_worth"].groupby("dataset"):
            yield f"pareto_{dataset}", worth_pareto(table)
    if "g_schedule" in tables:
        for size, table in tables["g_schedule"].groupby("size_px"):
            yield f"schedule_{size}px", schedule_curves(table)


def _has_sizes(tables: Mapping[str, pd.DataFrame], name: str) -> bool:
    """Whether a table has several shares of the training patients."""
    return name in tables and tables[name]["fraction"].nunique() > 1


def _gain_bars(gain_table: pd.DataFrame) -> Picture:
    """The gains over labels alone, one bar per student that somebody taught."""
    rows = gain_table.query("against == 'labels alone'").replace("the teacher", "teacher")
    names = []
    for row in rows.itertuples():
        dataset = row.dataset.replace("_", " ")
        share = f"{row.fraction:.0%}"
        names.append(f"{dataset}, {row.split} {share}, {row.taught_by}, seeds: {row.seeds}")
    bars = pd.DataFrame(
        {
            "value": rows["difference"].to_numpy(),
            "low": rows["difference_low"].to_numpy(),
            "high": rows["difference_high"].to_numpy(),
        },
        index=names,
    )
    return score_bars(
        bars,
        reference=0.0,
        reference_name="no difference",
        label="accuracy minus labels alone",
    )


def published() -> dict[str, pd.DataFrame]:
    """The tables of the project's ``figures/results/`` by name.

    Raises:
        UserError: If there are none.
    """
    folder = project_root() / "figures" / "results"
    tables = {path.stem: pd.read_csv(path) for path in sorted(folder.glob("[a-z]_*.csv"))}
    if not tables:
        raise UserError(f"'{folder}' holds no tables: make figures writes them")
    return tables


def write_findings(tables: Mapping[str, pd.DataFrame], page: Path, most: int | None = None) -> str:
    """Put the findings, or the first ``most`` of them, between the marks of a page; returns them.

    Raises:
        UserError: If the marks are not there.
    """
    text = page.read_text(encoding="utf-8")
    before, opening, rest = text.partition(BEFORE_FINDINGS)
    _, closing, after = rest.partition(AFTER_FINDINGS)
    if not opening or not closing:
        raise UserError(
            f"'{page}' has no place for the findings: "
            f"put {BEFORE_FINDINGS.strip()} and {AFTER_FINDINGS} on two lines"
        )
    lines = "".join(f"- {line}\n" for line in findings(tables)[:most])
    page.write_text(before + opening + lines + closing + after, encoding="utf-8")
    return lines
