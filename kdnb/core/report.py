"""The study's report: one question per screen, each with its answer and one picture (07)."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdnb.core.answers import QUESTIONS, answer_in
from kdnb.core.errors import UserError
from kdnb.core.number_text import counted
from kdnb.core.page import PagePicture, Section, Table, page_table, write_page
from kdnb.core.pipeline_picture import pipeline_html
from kdnb.core.progress import say
from kdnb.core.results_folder import Results
from kdnb.core.runs import atomic_path, read_json, write_json
from kdnb.core.settings import Settings
from kdnb.core.settings_table import settings_html
from kdnb.core.tables import read_table

__all__ = ["CHAPTERS", "publish", "write_report"]


@dataclass(frozen=True)
class Chapter:
    """A screen of the report, filled by one notebook."""

    name: str
    notebook: str  #: its file's name without ending; its files begin with the same number

    @property
    def number(self) -> str:
        """Of the notebook."""
        return self.notebook[:2]


WORDS = {  # what a reader needs who opens the page alone
    "teacher, KD student, label-only student": "The teacher is the large network. The KD student "
    "is the small one that learned from the labels and from the teacher's soft answers (knowledge "
    "distillation). The label-only student is the same small network, trained on labels alone.",
    "memory": "The answer of the training image that looks most alike (1-NN).",
    "patient, family": "Images that belong together: of one person, or copies of one picture.",
    "conv1 to conv5": "The student's five layers, from the image to the answer.",
    "probe": "A small linear classifier on the values of one layer: can the class be read there?",
    "class evidence": "Gradient times activation: what a place speaks for the class, or against.",
    "baseline": "A map that explains nothing, such as noise or the middle of the image.",
    "blob, tag": "Planted in other, drawn images (phantoms), as a test. A blob means nothing. A "
    "tag names the class for the student that cheats.",
    "MACs, FLOPs": "Multiplications with an addition, and single operations: two FLOPs are a MAC.",
}
NOTES = "01_notes.csv"  # the table of what is to be known of the images
CHAPTERS = (
    Chapter(name="Data", notebook="01_data"),
    Chapter(name="Teacher", notebook="02_teacher"),
    Chapter(name="Student", notebook="03_distillation"),
    Chapter(name="Layers", notebook="04_feature_maps"),
    Chapter(name="Explanations", notebook="05_xai"),
    Chapter(name="Cost", notebook="06_efficiency"),
    Chapter(name="What came out", notebook="07_results"),
)


def write_report(results: Results) -> Path:
    """Write ``report.html`` beside the tables and pictures it shows, and return its path.

    Of a study that is not done yet it says what is missing and shows the rest.

    Raises:
        UserError: If the results folder holds nothing yet.
    """
    listed = _manifest(results)
    settings = results.parameters
    of_profile = dict(Settings.checked({"profile": settings.get("profile", "quick")}))
    return write_page(
        results.folder / "report.html",
        title=f"{_name_of_data(settings)}: can a small network show how it decides?",
        lead=_lead(results, listed),
        sections=[_section(chapter, results.folder, listed) for chapter in CHAPTERS],
        settings=settings_html(settings, of_profile),
        way=pipeline_html(),
        words=WORDS,
    )


def _name_of_data(settings: Mapping[str, Any]) -> str:
    """The data set as a reader knows it: of own images, the name of their file or folder.

    >>> _name_of_data({"dataset": "custom", "data": "/home/me/clinic.csv"})
    'clinic.csv'
    """
    own = Path(settings.get("data", "")).name if settings["dataset"] == "custom" else ""
    return own or settings["dataset"]


def _lead(results: Results, listed: Mapping[str, Any]) -> str:
    """What holds for the whole page: the settings, the intervals, and what is not done."""
    settings = results.parameters
    said = [
        f"Profile {settings['profile']}, split {settings['split']}, seed {settings['seed']}.",
        "Numbers in brackets are 95 % intervals over patients or families; of times, over rounds "
        "of timing.",
    ]
    if "widening" in settings:
        said.append(
            f"They are made {settings['widening']:.2f} times as wide: runs of numbers stand for "
            "the patients, and one patient may be in several."
        )
    if NOTES in listed:
        count = len(read_table(results.folder / NOTES))
        told = "A note" if count == 1 else f"{count} notes"
        said.append(f"{told} on the images: see Notes below, in the section on the data.")
    missing = [chapter.notebook for chapter in CHAPTERS if not _files(chapter, listed)]
    if missing:
        said.append(f"This study is not done: nothing is here yet of {', '.join(missing)}.")
    return " ".join(said)


def _files(chapter: Chapter, listed: Mapping[str, Any]) -> list[str]:
    """The files that a chapter's notebook left, in order."""
    own = [name for name in listed if name.startswith(chapter.number)]
    return sorted(own, key=lambda name: listed[name]["order"])


def _section(chapter: Chapter, folder: Path, listed: Mapping[str, Any]) -> Section:
    """The screen of a chapter, from what its notebook left."""
    names = _files(chapter, listed)
    answer = answer_in(folder, chapter.number)
    if not names:
        return Section(
            name=chapter.name,
            question=QUESTIONS[chapter.number],
            missing=f"Not done yet. Run the notebook {chapter.notebook}, or the whole study.",
        )
    pictures = {}
    tables = []
    for name in names:
        if name.endswith(".png"):
            alt = listed[name]["alt"]
            pictures[name] = PagePicture(alt=alt, png=(folder / name).read_bytes(), file=name)
        elif name.endswith(".csv"):
            tables.append(_table(folder / name))
    leading = f"{answer.figure}.png" if answer and answer.figure else next(iter(pictures), "")
    missing = f"The notebook {chapter.notebook} left no answer in words. Run it to its end."
    return Section(
        name=chapter.name,
        question=answer.question if answer else QUESTIONS[chapter.number],
        answer=answer.text if answer else "",
        sure=answer.sure if answer else "",
        missing="" if answer else missing,
        picture=pictures.get(leading),
        tables=tables,
        pictures=[picture for name, picture in pictures.items() if name != leading],
        runs=_runs(names, listed),
    )


def _table(path: Path) -> Table:
    """A saved table for the page."""
    title = path.stem[3:].replace("_", " ").capitalize()
    return page_table(title, read_table(path), file=path.name)


def _runs(names: Sequence[str], listed: Mapping[str, Any]) -> list[str]:
    """The ids of the runs behind some files, each once."""
    found: dict[str, None] = {}
    for name in names:
        found.update(dict.fromkeys(listed[name]["runs"]))
    return list(found)


def publish(results: Results, folder: Path, name: str = "", *, replace: bool = True) -> list[Path]:
    """Copy tables and pictures to ``folder/name/`` and list them in ``folder/manifest.json``.

    Pictures that show pixels are published for phantoms only: nobody's images leave the runs
    folder. Where it is stopped half-way, the manifest lists none of the files that it writes; a
    second call writes them all.

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
    path = folder / "manifest.json"
    known = read_json(path) if path.is_file() else {}
    keys = [f"{name}/{file}" for file in chosen]
    # a file that is half copied, or of another time than its facts, is never listed
    known = {key: facts for key, facts in known.items() if key not in keys}
    write_json(path, known)
    for file in chosen:
        with atomic_path(folder / name / file) as temporary:
            shutil.copy(results.folder / file, temporary)
    for key in list(known):
        if replace and key.rpartition("/")[0] == name:
            (folder / key).unlink(missing_ok=True)
            del known[key]
    for key, facts in zip(keys, chosen.values(), strict=True):
        data = Path(facts["parameters"].get("data", "")).name  # no private path
        known[key] = {**facts, "parameters": {**facts["parameters"], "data": data}}
    write_json(path, known)
    return [folder / name / file for file in chosen]


def _manifest(results: Results) -> dict:
    """What the results folder holds of these images: file name -> facts."""
    path = results.folder / "manifest.json"
    if not path.is_file():
        raise UserError(
            f"'{results.folder}' holds no results yet: run the notebooks first (make study)"
        )
    listed = read_json(path)
    own = {}
    for name, facts in listed.items():
        if facts.get("data", results.data) == results.data:
            own[name] = facts
    if len(own) < len(listed):
        left_out = counted(len(listed) - len(own), "file")
        say(f"{left_out} in '{results.folder}' of other images, made before: left out")
    return own
