"""The study's report: one HTML page that opens by itself, with all tables and pictures (07)."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader

from kdnb.core.errors import UserError
from kdnb.core.plots import png_uri
from kdnb.core.results_folder import Results
from kdnb.core.runs import atomic_path, environment, read_json, write_json
from kdnb.core.tables import read_table

__all__ = ["SECTIONS", "html_table", "publish", "write_page", "write_report"]

# files are named after their notebook: "03_scores.csv"
SECTIONS = {
    "07": "What came out",
    "01": "The data and what leaks",
    "02": "The teacher",
    "03": "Distillation",
    "04": "Feature maps, layer by layer",
    "05": "Explanations put to the test",
    "06": "What it costs",
}


def write_report(results: Results) -> Path:
    """Write ``report.html`` beside the tables and pictures it shows, and return its path.

    Raises:
        UserError: If the results folder holds nothing yet.
    """
    listed = _manifest(results)
    names = sorted(listed, key=lambda name: listed[name]["order"])
    sections = []
    for number, title in SECTIONS.items():
        files = [results.folder / name for name in names if name.startswith(number)]
        section = _section(title, files, listed)
        if section["tables"] or section["pictures"]:
            sections.append(section)
    settings = results.parameters
    intervals = "Intervals are 95 % bootstrap intervals over patients or families"
    if "widening" in settings:
        intervals += (
            f", made {settings['widening']:.2f} times as wide: runs of numbers stand for the "
            "patients, and one patient may be in several"
        )
    return write_page(
        results.folder / "report.html",
        title=f"Knowledge distillation and what it explains: {settings['dataset']}",
        lead=(
            f"Profile {settings['profile']}, split {settings['split']}, seed {settings['seed']}. "
            f"{intervals}."
        ),
        sections=sections,
        settings=settings,
    )


def _section(title: str, files: Iterable[Path], listed: Mapping[str, Any]) -> dict[str, Any]:
    """A section of the page as `write_page` takes it.

    Args:
        title: Its heading.
        files: Tables and pictures in order.
        listed: The manifest, which knows the alt texts.
    """
    tables = []
    pictures = []
    for file in files:
        if file.suffix == ".csv":
            heading = file.stem[3:].replace("_", " ").capitalize()
            tables.append(html_table(heading, read_table(file)))
        else:
            pictures.append({"alt": listed[file.name]["alt"], "uri": png_uri(file.read_bytes())})
    return {"title": title, "tables": tables, "pictures": pictures}


def write_page(path: Path, *, title: str, lead: str, sections: list[dict], settings: dict) -> Path:
    """Write one self-contained HTML page that ends with the settings, versions and machine.

    Each section has ``title``, ``tables`` (as `html_table` makes them) and ``pictures`` (``alt``,
    ``uri``).
    """
    templates = Environment(autoescape=True, loader=PackageLoader("kdnb.core", ""))
    page = templates.get_template("report.html.j2").render(
        title=title,
        lead=lead,
        sections=sections,
        environment=environment(),
        settings=pd.Series(settings, name="value").to_frame().to_html(border=0),
    )
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def html_table(title: str, table: pd.DataFrame) -> dict:
    """A table as a section of a page takes it: ``title``, ``html``."""
    html = table.to_html(index=False, border=0, na_rep="–", float_format="%.4g")
    return {"title": title, "html": html}


def publish(results: Results, folder: Path, name: str = "", *, replace: bool = True) -> list[Path]:
    """Copy tables and pictures to ``folder/name/`` and list them in ``folder/manifest.json``.

    Pictures that show
    pixels are published for phantoms only: nobody's images leave the runs folder.

    Args:
        results: What to publish.
        folder: The project's ``figures/``.
        name: Empty: ``<data set>-<split>``.
        replace: Whether what is there and was not made this time is removed.

    Returns:
        The published files.

    Raises:
        UserError: If the results folder holds nothing yet.
    """
    listed = _manifest(results)
    dataset = results.parameters["dataset"]
    name = name or f"{dataset}-{results.parameters['split']}"
    chosen = listed
    if not dataset.startswith("phantom_"):
        chosen = {file: facts for file, facts in listed.items() if not facts["pixels"]}
    (folder / name).mkdir(parents=True, exist_ok=True)
    path = folder / "manifest.json"
    known = read_json(path) if path.is_file() else {}
    for key in list(known):
        place, _, file = key.rpartition("/")
        if replace and place == name and file not in chosen:
            (folder / key).unlink(missing_ok=True)
            del known[key]
    for file, facts in chosen.items():
        shutil.copy(results.folder / file, folder / name / file)
        data = Path(facts["parameters"].get("data", "")).name  # no private path
        parameters = {**facts["parameters"], "data": data}
        known[f"{name}/{file}"] = {**facts, "parameters": parameters}
    write_json(path, known)
    return [folder / name / file for file in chosen]


def _manifest(results: Results) -> dict:
    """What the results folder holds: file name -> facts."""
    path = results.folder / "manifest.json"
    if not path.is_file():
        raise UserError(
            f"'{results.folder}' holds no results yet: run the notebooks first (make study)"
        )
    return read_json(path)
