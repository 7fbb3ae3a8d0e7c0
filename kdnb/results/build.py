"""Published tables and charts from the record of all runs, and the findings in words (07, ``kdnb figures``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from kdnb import figures
from kdnb.errors import UserError
from kdnb.figures import Picture, Results
from kdnb.report import publish
from kdnb.results.findings import findings
from kdnb.results.records import load, missing
from kdnb.results.tables import make_tables
from kdnb.runs import digest, environment, read_json, write_json
from kdnb.settings import project_root
from kdnb.sweep.plan import read_plan

__all__ = ["COLLECTED", "build", "published", "write_findings"]

COLLECTED = Path("results", "collected")
MARKS = "<!-- findings -->\n", "<!-- /findings -->"


def build(plan: Path, folder: Path, *, partial: bool = False) -> dict[str, pd.DataFrame]:
    """Write ``folder/results/`` from ``folder/results/collected/``: the same bytes of tables each time.

    Args:
        plan: The plan of the collected runs.
        folder: The project's ``figures/``.
        partial: Accept that runs of the plan are missing; the table ``missing`` lists them.

    Returns:
        The tables by name.

    Raises:
        UserError: If the record is refused, see `kdnb.results.records.load`.
    """
    read = read_plan(plan)
    records = load(folder / COLLECTED, read, partial=partial)
    tables, data = make_tables(records), digest(sorted(map(str, records["03_trainings"]["data"].unique())))
    with TemporaryDirectory() as temporary:
        facts = {"dataset": "brain_tumor, eye_disease, alzheimer", "plan": plan.name}
        results = Results(Path(temporary), facts, data)
        for name, table in tables.items():
            results.table(name, table.set_index(table.columns[0]), sorted(set(" ".join(table.get("run", [])).split())))
        every = sorted(records["runs"]["run"])
        for name, picture in _pictures(tables):
            results.picture(name, picture, every)
        if left := missing(records, read):
            results.table("missing", pd.DataFrame({"not finished": left}).set_index("not finished"), every)
        publish(results, folder, "results")
    manifest = read_json(folder / "manifest.json")
    for path in sorted((folder / COLLECTED).glob("*.csv.gz")):
        manifest[str(COLLECTED / path.name)] = {
            "alt": "", "pixels": False, "order": len(manifest), "parameters": facts, "data": data,
            "runs": every, "kdnb": environment()["kdnb"],
            "commit": ", ".join(sorted(map(str, records["03_trainings"]["commit"].unique()))),
        }  # fmt: skip
    write_json(folder / "manifest.json", manifest)
    return tables


def _pictures(tables: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, Picture]]:
    for name, table in (("summary", "a_accuracy"), ("larger", "a_larger")):
        if table in tables:
            yield name, figures.accuracy_summary(tables[table].query("counted == 'all classes'"))
    if "b_grid" in tables:
        for dataset, table in tables["b_grid"].groupby("dataset"):
            yield f"grid_{dataset}", figures.grid_heatmap(table)
    if "c_gains" in tables:
        rows = tables["c_gains"].query("against == 'labels alone'").replace("the teacher", "teacher")
        rows["dataset"] = rows["dataset"].str.replace("_", " ")
        names = [f"{r.dataset}, {r.split} {r.fraction:.0%}, {r.taught_by}, seeds: {r.seeds}" for r in rows.itertuples()]
        bars = rows.set_axis(names)[["difference", "difference_low", "difference_high"]].set_axis(
            ["value", "low", "high"], axis=1)  # fmt: skip
        yield "gains", figures.score_bars(bars, 0.0, "no difference", label="accuracy minus labels alone")
    for name, *columns in (("sizes", "accuracy", "model"), ("explained", "ROAD", "explanation")):
        if f"d_{name}" in tables and tables[f"d_{name}"]["fraction"].nunique() > 1:
            yield name, figures.size_curves(tables[f"d_{name}"], *columns)
    for dataset, table in tables["f_worth"].groupby("dataset") if "f_worth" in tables else ():
        yield f"pareto_{dataset}", figures.worth_pareto(table)
    for size, table in tables["g_schedule"].groupby("size_px") if "g_schedule" in tables else ():
        yield f"schedule_{size}px", figures.schedule_curves(table)


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
    text, lines = page.read_text(encoding="utf-8"), "".join(f"- {line}\n" for line in findings(tables)[:most])
    before, mark, rest = text.partition(MARKS[0])
    if not mark or MARKS[1] not in rest:
        raise UserError(f"'{page}' has no place for the findings: put {MARKS[0].strip()} and {MARKS[1]} on two lines")
    page.write_text(before + mark + lines + MARKS[1] + rest.partition(MARKS[1])[2], encoding="utf-8")
    return lines
