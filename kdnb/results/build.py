"""Published tables and charts from the record of all runs, and the findings in words (07).

``kdnb figures`` writes them, notebook 07 reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from kdnb.batch.plan import read_plan
from kdnb.core.errors import UserError
from kdnb.core.plots import Picture
from kdnb.core.provenance import environment
from kdnb.core.report import publish
from kdnb.core.results_folder import Results
from kdnb.core.runs import atomic_path, digest, read_json, write_json
from kdnb.core.settings import project_root
from kdnb.core.tables import read_table
from kdnb.distillation.plots import grid_heatmap
from kdnb.results.accuracy_tables import (
    accuracy_by_place,
    error_transfer_by_place,
    fold_accuracy,
    teachers,
)
from kdnb.results.collected_runs import Records, load_collected, missing
from kdnb.results.differences import differences, leaks
from kdnb.results.effects import as_coded, gains, grid, schedule, sizes, small_teachers
from kdnb.results.explanation_tables import cost_tables, graded_tables, worth
from kdnb.results.findings import at_once, findings, in_short
from kdnb.results.kept_epochs import kept_epochs
from kdnb.results.map_plots import energy_spread, worth_rows
from kdnb.results.place_tables import place_tables
from kdnb.results.places import first_place
from kdnb.results.planned import planned
from kdnb.results.plots import accuracy_by_split, difference_panels, schedule_curves, size_curves
from kdnb.results.tumour_maps import (
    localisation_by_run,
    localisation_parts,
    map_energies,
    right_reasons,
    tumour_maps,
)

__all__ = [
    "COLLECTED",
    "PAGES",
    "build_tables",
    "make_tables",
    "plan_file",
    "published",
    "put_between",
    "told_lines",
    "write_findings",
]

Tables = Mapping[str, pd.DataFrame]
NAME = "results"  # of the folder under figures/, and of the marks in a page
COLLECTED = Path(NAME, "collected")  # where the record lies, under figures/
MADE = {
    "accuracy": accuracy_by_place,
    "differences": differences,
    "planned": planned,
    "folds": fold_accuracy,
    "errors": error_transfer_by_place,
    "teachers": teachers,
    "schedule": schedule,
    "kept_epochs": kept_epochs,
    "grid": grid,
    "gains": gains,
    "sizes": sizes,
    "small_teachers": small_teachers,
    "as_coded": as_coded,
    "maps": tumour_maps,
    "map_energies": map_energies,
    "localisation": localisation_by_run,
    "localisation_parts": localisation_parts,
    "right_reasons": right_reasons,
    "worth": worth,
}


def plan_file() -> Path:
    """The plan of the published runs."""
    return project_root() / "sweeps" / "results.toml"


def build_tables(
    folder: Path, *, partial: bool = False, plan: Path | None = None
) -> dict[str, pd.DataFrame]:
    """Write ``folder/results/`` from ``folder/results/collected/``.

    The same record gives the same bytes of tables.

    Args:
        folder: The project's ``figures/``.
        partial: Accept that runs of the plan are missing; the table ``missing`` lists them.
        plan: Another plan of the collected runs than `plan_file`.

    Returns:
        The tables by name.

    Raises:
        UserError: If the record is refused, see `kdnb.results.collected_runs.load_collected`.
    """
    file = plan or plan_file()
    read = read_plan(file)
    records = load_collected(folder / COLLECTED, read, partial=partial)
    tables = make_tables(records)
    left = missing(records, read)
    every_run = sorted(records["runs"]["run"])
    facts = {"dataset": "brain_tumor, eye_disease, alzheimer", "plan": file.name}
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
        publish(results, folder, NAME)
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
    tables = {name: make(records) for name, make in MADE.items()}
    tables["leaks"] = leaks(tables["accuracy"])
    tables |= graded_tables(records)
    tables |= cost_tables(records)
    return {name: table for name, table in tables.items() if len(table)}


def _values(records: Records, column: str) -> list[str]:
    """What a column of the trainings holds, each value once."""
    if "03_trainings" not in records:
        return []
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


def _pictures(tables: Tables) -> Iterator[tuple[str, Picture]]:
    """The charts of the tables that there are, with their file names."""
    if "accuracy" in tables:
        yield "accuracy", accuracy_by_split(tables["accuracy"].query("counted == 'all classes'"))
    if "differences" in tables:
        yield "differences", difference_panels(tables["differences"])
    if "map_energies" in tables:
        yield "map_energies", energy_spread(first_place(tables["map_energies"]))
    if "grid" in tables:
        yield "grid", grid_heatmap(tables["grid"])
    if "sizes" in tables and tables["sizes"]["fraction"].nunique() > 1:
        yield "sizes", size_curves(tables["sizes"])
    if "schedule" in tables:
        yield "schedule", schedule_curves(tables["schedule"])
    if "worth" in tables:
        yield "worth", worth_rows(tables["worth"])


def published() -> dict[str, pd.DataFrame]:
    """The tables of the project's ``figures/results`` by name.

    Raises:
        UserError: If there are none.
    """
    folder = project_root() / "figures" / NAME
    paths = [path for path in sorted(folder.glob("*.csv")) if path.stem != "missing"]
    if not paths:
        raise UserError(f"'{folder}' holds no tables: make figures writes them")
    return {path.stem: _published(path) for path in paths}


def _published(path: Path) -> pd.DataFrame:
    """A published table; what is no split's sizes, and no absent class, is an empty text."""
    table = read_table(path)
    texts = [name for name in ("sizes_of", "absent") if name in table]
    return table.fillna(dict.fromkeys(texts, ""))


def write_findings(tables: Tables, page: Path, told: str) -> str:
    """Put what the tables say in a page between its marks there; returns the lines.

    The marks are ``<!-- results -->`` and ``<!-- /results -->`` on lines of their own.

    Args:
        tables: The tables by name.
        page: The document.
        told: Which of ``PAGES`` it is.

    Raises:
        UserError: If the marks are not there.
    """
    lines = told_lines(tables, told)
    put_between(page, NAME, lines)
    return lines


def told_lines(tables: Tables, told: str) -> str:
    """What one of ``PAGES`` says of the tables."""
    return PAGES[told](tables)


def _short_page(tables: Tables) -> str:
    """The story and a few lines."""
    return f"{_story(tables)}\n{_listed(at_once(tables))}"


def _whole_page(tables: Tables) -> str:
    """The story, all lines by topic, and the tables of all splits and sets."""
    text = _story(tables)
    for topic, lines in findings(tables).items():
        text += f"\n### {topic}\n\n{_listed(lines)}"
    return text + place_tables(tables)


# documents -> what they tell of the tables
PAGES = {"README.md": _short_page, "docs/results.md": _whole_page}


def _story(tables: Tables) -> str:
    """The story as a line; empty without a comparison."""
    story = in_short(tables)
    return f"**In short.** {story}\n" if story else ""


def _listed(lines: Iterable[str]) -> str:
    """Lines as a list in Markdown."""
    return "".join(f"- {line}\n" for line in lines)


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
            f"'{page}' has no place for {name}: put {opening.strip()} and {closing} on two lines"
        )
    with atomic_path(page) as path:
        path.write_text(before + opening + lines + closing + after, encoding="utf-8")
