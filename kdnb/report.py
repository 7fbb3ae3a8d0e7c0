"""The study's report: one HTML page that opens by itself, with every table and picture of a results folder (07)."""

import shutil
from pathlib import Path

import pandas as pd
from jinja2 import Environment, PackageLoader

from kdnb.errors import UserError
from kdnb.figures import Results, png_uri
from kdnb.runs import AS_IS, atomic_path, environment, read_json, write_json

__all__ = ["SECTIONS", "html_table", "publish", "write_page", "write_report"]

SECTIONS = {
    "07": "What came out",
    "01": "The data and what leaks",
    "02": "The teacher",
    "03": "Distillation",
    "04": "Feature maps, layer by layer",
    "05": "Explanations put to the test",
    "06": "What it costs",
}  # files are named after their notebook: "03_scores.csv"


def write_report(results: Results) -> Path:
    """Write ``report.html`` beside the tables and pictures it shows, and return its path.

    Raises:
        UserError: If the results folder holds nothing yet.
    """
    listed = _manifest(results)
    names, sections = sorted(listed, key=lambda name: listed[name]["order"]), []
    for number, title in SECTIONS.items():
        section = {"title": title, "tables": [], "pictures": []}
        for file in (results.folder / name for name in names if name.startswith(number)):
            if file.suffix == ".csv":
                section["tables"].append(
                    html_table(file.stem[3:].replace("_", " ").capitalize(), pd.read_csv(file, **AS_IS))
                )
            else:
                section["pictures"].append({"alt": listed[file.name]["alt"], "uri": png_uri(file.read_bytes())})
        sections.append(section)
    return write_page(
        results.folder / "report.html",
        title=f"Knowledge distillation and what it explains: {results.parameters['dataset']}",
        lead=(f"Profile {results.parameters['profile']}, split {results.parameters['split']}, "
              f"seed {results.parameters['seed']}. Intervals are 95 % bootstrap intervals over patients or families."),
        sections=[s for s in sections if s["tables"] or s["pictures"]],
        settings=results.parameters,
    )  # fmt: skip


def write_page(path: Path, *, title: str, lead: str, sections: list[dict], settings: dict) -> Path:
    """Write one self-contained HTML page that ends with the settings, versions and machine.

    Each section has ``title``, ``tables`` (as `html_table` makes them) and ``pictures`` (``alt``, ``uri``).
    """
    template = Environment(autoescape=True, loader=PackageLoader("kdnb", "")).get_template("report.html.j2")
    shown = pd.Series(settings, name="value").to_frame().to_html(border=0)
    page = template.render(title=title, lead=lead, sections=sections, environment=environment(), settings=shown)
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def html_table(title: str, table: pd.DataFrame) -> dict:
    """A table as a section of a page takes it: ``title``, ``html``."""
    return {"title": title, "html": table.to_html(index=False, border=0, na_rep="–", float_format="%.4g")}


def publish(results: Results, folder: Path, name: str = "") -> list[Path]:
    """Copy tables and pictures to ``folder/name/`` and list them in ``folder/manifest.json``.

    The name, if none is given, is ``<data set>-<split>``. What an earlier study left there and this one does not make
    is removed. Pictures that show pixels are published for phantoms only: nobody's images leave the runs folder.

    Raises:
        UserError: If the results folder holds nothing yet.
    """
    listed = _manifest(results)
    phantoms = results.parameters["dataset"].startswith("phantom_")
    name = name or f"{results.parameters['dataset']}-{results.parameters['split']}"
    (folder / name).mkdir(parents=True, exist_ok=True)
    path = folder / "manifest.json"
    known = read_json(path) if path.is_file() else {}
    chosen = {file: facts for file, facts in listed.items() if phantoms or not facts["pixels"]}
    for stale in [key for key in known if key.rpartition("/")[0] == name and key.rpartition("/")[2] not in chosen]:
        (folder / stale).unlink(missing_ok=True)
        del known[stale]
    for file, facts in chosen.items():
        shutil.copy(results.folder / file, folder / name / file)
        parameters = {**facts["parameters"], "data": Path(facts["parameters"].get("data", "")).name}  # no private path
        known[f"{name}/{file}"] = {**facts, "parameters": parameters}
    write_json(path, known)
    return [folder / name / file for file in chosen]


def _manifest(results: Results) -> dict:
    path = results.folder / "manifest.json"
    if not path.is_file():
        raise UserError(f"'{results.folder}' holds no results yet: run the notebooks first (make study)")
    return read_json(path)
