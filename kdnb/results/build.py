"""Published tables and charts from the record of all runs, and the findings in words (07).

``kdnb figures`` writes them, notebook 07 reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
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
from kdnb.results.by_patient import (
    accuracy_by_place,
    error_transfer_by_place,
    fold_accuracy,
    teachers,
)
from kdnb.results.collected_runs import Records, load_collected, missing
from kdnb.results.effects import gains, grid, larger_gains, schedule, sizes
from kdnb.results.explanation_tables import explanation_tables
from kdnb.results.findings import findings
from kdnb.results.patient_differences import differences, leaks
from kdnb.results.patient_findings import patient_findings, patients_at_once
from kdnb.results.patient_maps import (
    localisation_by_run,
    localisation_parts,
    map_energies,
    right_reasons,
    tumour_maps,
)
from kdnb.results.plain_words import told_at_once
from kdnb.results.planned import planned
from kdnb.results.plots import (
    accuracy_by_split,
    accuracy_summary,
    energy_spread,
    schedule_curves,
    size_curves,
    worth_pareto,
)

__all__ = [
    "PATIENTS",
    "RESULTS",
    "SECTIONS",
    "Section",
    "build_tables",
    "make_tables",
    "patient_tables",
    "published",
    "write_findings",
]

Tables = Mapping[str, pd.DataFrame]
ANSWERED = {  # tables of what the runs of notebook 03 answered
    "a_accuracy": accuracy,
    "a_larger": larger,
    "b_grid": grid,
    "c_gains": gains,
    "c_larger": larger_gains,
    "d_sizes": sizes,
    "g_schedule": schedule,
}
BY_PATIENT = {
    "accuracy": accuracy_by_place,
    "differences": differences,
    "planned": planned,
    "leaks": leaks,
    "folds": fold_accuracy,
    "errors": error_transfer_by_place,
    "teachers": teachers,
    "maps": tumour_maps,
    "map_energies": map_energies,
    "localisation": localisation_by_run,
    "localisation_parts": localisation_parts,
    "right_reasons": right_reasons,
}


@dataclass(frozen=True)
class Section:
    """A folder of published tables and charts, made from the record of one plan.

    Attributes:
        name: Of the folder under ``figures/``.
        plan: File name under ``sweeps/``.
        tables: From the record to the tables by file name.
        pictures: From the tables to the charts, with their file names.
        pages: Documents → the lines of text that they hold, from the tables.
    """

    name: str
    plan: str
    tables: Callable[[Records], dict[str, pd.DataFrame]]
    pictures: Callable[[Tables], Iterator[tuple[str, Picture]]]
    pages: Mapping[str, Callable[[Tables], list[str]]]

    @property
    def plan_file(self) -> Path:
        """The plan of the section."""
        return project_root() / "sweeps" / self.plan

    @property
    def collected(self) -> Path:
        """Where the record lies, under ``figures/``."""
        return Path(self.name, "collected")


def build_tables(
    section: Section, folder: Path, *, partial: bool = False, plan: Path | None = None
) -> dict[str, pd.DataFrame]:
    """Write ``folder/<section>/`` from ``folder/<section>/collected/``.

    The same record gives the same bytes of tables.

    Args:
        section: What to make.
        folder: The project's ``figures/``.
        partial: Accept that runs of the plan are missing; the table ``missing`` lists them.
        plan: Another plan of the collected runs than the section's.

    Returns:
        The tables by name.

    Raises:
        UserError: If the record is refused, see `kdnb.results.collected_runs.load_collected`.
    """
    file = plan or section.plan_file
    read = read_plan(file)
    records = load_collected(folder / section.collected, read, partial=partial)
    tables = section.tables(records)
    left = missing(records, read)
    every_run = sorted(records["runs"]["run"])
    facts = {"dataset": "brain_tumor, eye_disease, alzheimer", "plan": file.name}
    data = digest(_values(records, "data"))
    with TemporaryDirectory() as temporary:
        results = Results(folder=Path(temporary), parameters=facts, data=data)
        for name, table in tables.items():
            results.table(name, table.set_index(table.columns[0]), _runs_of(table))
        for name, picture in section.pictures(tables):
            results.picture(name, picture, every_run)
        if left:
            listed = pd.DataFrame({"not finished": left}).set_index("not finished")
            results.table("missing", listed, every_run)
        publish(results, folder, section.name)
    provenance = {
        "parameters": facts,
        "data": data,
        "runs": every_run,
        "kdnb": environment()["kdnb"],
        "commit": ", ".join(_values(records, "commit")),
    }
    _list_collected(folder, section, provenance)
    return tables


def make_tables(records: Records) -> dict[str, pd.DataFrame]:
    """Every published table of which the record holds something, by file name."""
    tables = {name: make(records) for name, make in ANSWERED.items()}
    tables |= explanation_tables(records)
    return {name: table for name, table in tables.items() if len(table)}


def patient_tables(records: Records) -> dict[str, pd.DataFrame]:
    """Every table by patient of which the record holds something, by file name."""
    tables = {name: make(records) for name, make in BY_PATIENT.items()}
    return {name: table for name, table in tables.items() if len(table)}


def _values(records: Records, column: str) -> list[str]:
    """What a column of the trainings holds, each value once."""
    return sorted(str(value) for value in records["03_trainings"][column].unique())


def _runs_of(table: pd.DataFrame) -> list[str]:
    """The runs behind a table; a row may name several, with spaces between them."""
    if "run" not in table:
        return []
    return sorted(set(" ".join(table["run"]).split()))


def _list_collected(folder: Path, section: Section, provenance: Mapping[str, Any]) -> None:
    """Enter the collected tables into the manifest."""
    path = folder / "manifest.json"
    manifest = read_json(path)
    for table in sorted((folder / section.collected).glob("*.csv.gz")):
        facts = {"alt": "", "pixels": False, "order": len(manifest)}
        manifest[str(section.collected / table.name)] = facts | dict(provenance)
    write_json(path, manifest)


def _pictures(tables: Tables) -> Iterator[tuple[str, Picture]]:
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


def _patient_pictures(tables: Tables) -> Iterator[tuple[str, Picture]]:
    """The charts of the tables by patient that there are, with their file names."""
    if "accuracy" in tables:
        yield "accuracy", accuracy_by_split(tables["accuracy"].query("counted == 'all classes'"))
    if "map_energies" in tables:
        yield "map_energies", energy_spread(tables["map_energies"])


RESULTS = Section(
    name="results",
    plan="results.toml",
    tables=make_tables,
    pictures=_pictures,
    pages={"README.md": told_at_once, "docs/results.md": findings},
)
PATIENTS = Section(
    name="patients",
    plan="patients.toml",
    tables=patient_tables,
    pictures=_patient_pictures,
    pages={"README.md": patients_at_once, "docs/results.md": patient_findings},
)
SECTIONS = {section.name: section for section in (PATIENTS, RESULTS)}


def _has_sizes(tables: Tables, name: str) -> bool:
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


def published(section: Section = RESULTS) -> dict[str, pd.DataFrame]:
    """The tables of a section of the project's ``figures/`` by name.

    Raises:
        UserError: If there are none.
    """
    folder = project_root() / "figures" / section.name
    paths = [path for path in sorted(folder.glob("*.csv")) if path.stem != "missing"]
    if not paths:
        raise UserError(f"'{folder}' holds no tables: make figures writes them")
    return {path.stem: pd.read_csv(path) for path in paths}


def write_findings(section: Section, tables: Tables, page: Path, told: str = "") -> str:
    """Put what a section says in a page between its marks there; returns the lines.

    The marks are ``<!-- NAME -->`` and ``<!-- /NAME -->`` on lines of their own.

    Args:
        section: Whose findings.
        tables: Its tables.
        page: The document.
        told: Which of the section's ``pages`` it is; empty: that of the same name.

    Raises:
        UserError: If the marks are not there.
    """
    say = section.pages[told or page.name]
    lines = "".join(f"- {line}\n" for line in say(tables))
    put_between(page, section.name, lines)
    return lines


def put_between(page: Path, name: str, lines: str) -> None:
    """Replace what stands in a page between ``<!-- NAME -->`` and ``<!-- /NAME -->``.

    Args:
        page: The document.
        name: Of the marks, each on a line of its own.
        lines: Whole lines.

    Raises:
        UserError: If the marks are not there.
    """
    opening = f"<!-- {name} -->\n"
    closing = f"<!-- /{name} -->"
    text = page.read_text(encoding="utf-8")
    before, found_opening, rest = text.partition(opening)
    _, found_closing, after = rest.partition(closing)
    if not found_opening or not found_closing:
        raise UserError(
            f"'{page}' has no place for the findings: "
            f"put {opening.strip()} and {closing} on two lines"
        )
    page.write_text(before + opening + lines + closing + after, encoding="utf-8")
