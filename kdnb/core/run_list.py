"""What was computed, as a list with data set, seed, accuracy and size (``kdnb runs``).

A folder below ``runs/study`` is no run, but what a person looks for: it is listed like one.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from kdnb.core.errors import UserError
from kdnb.core.model_names import KD_STUDENT
from kdnb.core.run_files import DONE
from kdnb.core.runs import all_runs, read_json
from kdnb.core.tables import read_table

__all__ = [
    "DATA_KINDS",
    "Entry",
    "MAIN_KINDS",
    "builders",
    "checked_label",
    "dependents",
    "entries",
    "entries_table",
    "entries_text",
    "folder_size",
    "named_entries",
    "readable_json",
    "run_words",
    "size_text",
]

STUDY = "study"
DATA_KINDS = ("manifest", "pixels", "split", "origins", "origin_masks")  # what models learn from
MAIN_KINDS = ("study", "sweep", "teacher", "student")  # listed unless all are asked for
UNKNOWN = "?"
OWN = "custom"  # the data set of a user's own images
LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")


@dataclass(frozen=True)
class Entry:
    """One line of the list; what is not known is empty or None."""

    kind: str  #: "study", or the kind of a run
    id: str  #: name of its folder
    folder: Path
    what: str = ""  #: in words: the model, the loss, the notebook
    when: str = ""  #: when it was finished, local time
    dataset: str = ""
    split: str = ""
    seed: int | None = None
    accuracy: float | None = None  #: on test images, in [0, 1]; of studies, the distilled student's
    size: int = 0  #: bytes of all its files
    label: str = ""  #: what ``--label`` called it
    needs: frozenset[str] = field(default_factory=frozenset)  #: what it is built on, "kind/id"
    parts: tuple[Path, ...] = ()  #: folders of the runs that belong to a study alone

    @property
    def name(self) -> str:
        """``kind/id``."""
        return f"{self.kind}/{self.id}"


class _Study(NamedTuple):
    """A folder of results, with what its manifest and its token say."""

    folder: Path
    manifest: dict[str, Any]
    parameters: dict[str, Any]
    token: str  #: what its notebook runs have among their upstream; empty without a batch run


def checked_label(label: str) -> str:
    """A label as it may end the name of a folder.

    Raises:
        UserError: If it has other characters, or is long.
    """
    if not LABEL.fullmatch(label):
        raise UserError(
            f"label must have 1 to 40 letters, digits, '-' or '_', got '{label}': "
            "it ends the name of a folder"
        )
    return label


def entries(root: Path) -> list[Entry]:
    """Everything finished below the folder of all runs, the oldest first."""
    root = Path(root)
    studies = _studies(root)
    told_of = _told_by_studies(studies)
    labels = _sweep_labels(root)
    ended = all_runs(root)
    names = {run.id: f"{run.kind}/{run.id}" for run in ended}
    parts_of: dict[str, list[Path]] = {study.token: [] for study in studies if study.token}
    found = []
    for run in ended:
        name = f"{run.kind}/{run.id}"
        spec = readable_json(run.folder / "spec.json")
        upstream = spec.get("upstream", [])
        for token, parts in parts_of.items():
            if token in upstream:
                parts.append(run.folder)
        needs = {names[one] for one in upstream if one in names}
        needs |= _runs_named_in(readable_json(run.folder / "results" / "manifest.json"))
        facts = {**told_of.get(name, {}), **_facts(run.folder, spec)}
        if facts.get("dataset") == OWN and name in told_of:  # the study knows whose images they are
            facts |= told_of[name]
        if run.damage:
            facts["what"] = f"damaged: {facts['what']}"
        entry = Entry(
            kind=run.kind,
            id=run.id,
            folder=run.folder,
            when=_when(run.folder / DONE),
            size=folder_size(run.folder),
            label=labels.get(run.id, "") if run.kind == "sweep" else "",
            needs=frozenset(needs - {name}),
            **facts,
        )
        found.append(entry)
    for study in studies:
        found.append(_study_entry(study, tuple(parts_of.get(study.token, []))))
    return sorted(found, key=lambda entry: (entry.when, entry.name))


def named_entries(known: list[Entry], names: list[str]) -> list[Entry]:
    """The entries that names mean: ``kind/id``, an id, or the beginning of either.

    Raises:
        UserError: If a name means none, or several.
    """
    chosen = []
    for name in names:
        means = [entry for entry in known if name in (entry.name, entry.id)]
        if not means and name:
            means = [entry for entry in known if _begins(entry, name)]
        if len(means) != 1:
            several = ", ".join(entry.name for entry in means[:5])
            told = f"which means {several}" if means else "which is none of them"
            raise UserError(
                f"a run is named by its id, or the beginning of it, got '{name}', {told}: "
                "kdnb runs list --all shows what is there"
            )
        chosen += [entry for entry in means if entry not in chosen]
    return chosen


def _begins(entry: Entry, name: str) -> bool:
    return entry.id.startswith(name) or entry.name.startswith(name)


def builders(known: list[Entry], entry: Entry) -> list[Entry]:
    """What is built on an entry.

    No run keeps which manifest, pixels and split its images came from: to be safe, every model is
    taken to be built on each.
    """
    if entry.kind in DATA_KINDS:
        return [other for other in known if other.kind in ("teacher", "student")]
    return [other for other in known if entry.name in other.needs]


def dependents(known: list[Entry], chosen: Sequence[Entry]) -> list[Entry]:
    """What is built on some entries, and on what is built on them, and so on; without these."""
    found = list(chosen)
    for entry in found:  # it grows while it is read
        found += [other for other in builders(known, entry) if other not in found]
    return found[len(chosen) :]


def entries_table(found: list[Entry]) -> pd.DataFrame:
    """The list as a table of texts; what is not known is a question mark."""
    rows = []
    for entry in found:
        rows.append(
            {
                "run": entry.name,
                "when": entry.when,
                "data set": entry.dataset or UNKNOWN,
                "split": entry.split or UNKNOWN,
                "seed": UNKNOWN if entry.seed is None else str(entry.seed),
                "accuracy": UNKNOWN if entry.accuracy is None else f"{entry.accuracy:.3f}",
                "size": size_text(entry.size),
                "label": entry.label,
                "what": entry.what,  # the longest text is last: a narrow terminal wraps it
            }
        )
    return pd.DataFrame(rows)


def entries_text(found: list[Entry]) -> str:
    """The list for a terminal: columns of texts, those of numbers to the right."""
    table = entries_table(found)
    if not any(table["label"]):
        table = table.drop(columns="label")
    columns = []
    for name in table:
        width = max(len(name), *table[name].str.len())
        side = ">" if name in ("seed", "accuracy", "size") else "<"
        columns.append([f"{text:{side}{width}}" for text in (name, *table[name])])
    lines = []
    for place in range(len(table) + 1):
        lines.append("  ".join(column[place] for column in columns).rstrip())
    return "\n".join(lines)


def _facts(folder: Path, spec: Mapping[str, Any]) -> dict[str, Any]:
    """What a run says of itself: what it is, its data set, split, seed and accuracy."""
    parameters = spec.get("parameters", {})
    injected = parameters.get("parameters", {})  # of an executed notebook
    metrics = readable_json(folder / "metrics.json")
    told = {**injected, **metrics.get("images", {})}
    facts: dict[str, Any] = {"what": run_words(spec.get("kind", folder.parent.name), parameters)}
    facts |= _images_of({**parameters, **told})
    schedule = parameters.get("schedule", {})
    seeds = [one["seed"] for one in (told, schedule, parameters) if "seed" in one]
    if seeds:
        facts["seed"] = seeds[0]
    accuracy = metrics.get("test_accuracy")
    if accuracy is None:
        accuracy = _student_accuracy(folder / "results")
    if accuracy is not None:
        facts["accuracy"] = accuracy
    return facts


def _images_of(told: Mapping[str, Any]) -> dict[str, str]:
    """Data set and split, as far as they are told.

    A user's own images are all called "custom": the name of their file or folder tells them apart.

    >>> _images_of({"dataset": "custom", "data": "sets/ward_3"})
    {'dataset': 'custom (ward_3)'}
    """
    facts = {name: str(told[name]) for name in ("dataset", "split") if told.get(name)}
    folder = Path(str(told.get("data") or "")).name
    if facts.get("dataset") == OWN and folder:
        facts["dataset"] = f"{OWN} ({folder})"
    return facts


def run_words(kind: str, parameters: Mapping[str, Any]) -> str:
    """What a run is, in a few words, from the parameters that it is made with.

    >>> model = {"name": "five_conv", "width": 0.5}
    >>> run_words("student", {"model": model, "loss": "kd", "alpha": 0.7})
    'five_conv, width 0.5, kd, alpha 0.7'
    """
    model = parameters.get("model", "")
    if not isinstance(model, dict):
        model = {"name": model}
    words = [model.get("name", "")]
    if model.get("width", 1) != 1:
        words.append(f"width {model['width']:g}")
    words += [parameters.get("notebook", ""), parameters.get("loss", "")]
    for name in ("alpha", "temperature"):
        if name in parameters:
            words.append(f"{name} {parameters[name]:g}")
    if parameters.get("student_seed"):
        words.append(f"student seed {parameters['student_seed']}")
    words += [parameters.get("control", ""), parameters.get("explanation", "")]
    return ", ".join(filter(None, words)) or kind


def _study_entry(study: _Study, parts: tuple[Path, ...]) -> Entry:
    """A study's folder with the notebook runs that belong to it."""
    parameters = study.parameters
    return Entry(
        kind=STUDY,
        id=study.folder.name,
        folder=study.folder,
        what=f"study, {parameters.get('profile', UNKNOWN)}",
        when=_when(study.folder / "manifest.json"),
        **_images_of(parameters),
        seed=parameters.get("seed"),
        accuracy=_student_accuracy(study.folder),
        size=folder_size(study.folder),
        label=readable_json(study.folder / "label.json").get("label", ""),
        needs=_runs_named_in(study.manifest),
        parts=parts,
    )


def _studies(root: Path) -> list[_Study]:
    """The folders of studies that hold results."""
    found = []
    for path in sorted((root / STUDY).glob("*/manifest.json")):
        manifest = readable_json(path)
        of_files = []
        for facts in manifest.values():
            if isinstance(facts, dict) and isinstance(facts.get("parameters"), dict):
                of_files.append(facts["parameters"])
        token = path.parent / ".token"
        study = _Study(
            folder=path.parent,
            manifest=manifest,
            parameters=of_files[-1] if of_files else {},
            token=token.read_text("utf-8") if token.is_file() else "",
        )
        found.append(study)
    return found


def _told_by_studies(studies: list[_Study]) -> dict[str, dict[str, str]]:
    """``kind/id`` → data set and split, for models that do not say it themselves."""
    told = {}
    for study in studies:
        facts = _images_of(study.parameters)
        for name in _runs_named_in(study.manifest):
            told[name] = facts
    return told


def _runs_named_in(manifest: Mapping[str, Any]) -> frozenset[str]:
    """The runs that the files of a folder of results were made from."""
    named: set[str] = set()
    for facts in manifest.values():
        runs = facts.get("runs") if isinstance(facts, dict) else None
        if isinstance(runs, list):
            named.update(map(str, runs))
    return frozenset(named)


def _sweep_labels(root: Path) -> dict[str, str]:
    """Id of a sweep's run → the labels it was made under."""
    labels: dict[str, list[str]] = {}
    for path in sorted((root / "sweep").glob("*/sweep.json")):
        told = readable_json(path)
        for run_id in told.get("runs", []):
            labels.setdefault(run_id, []).append(told.get("label", ""))
    return {run_id: ", ".join(names) for run_id, names in labels.items()}


def _student_accuracy(folder: Path) -> float | None:
    """The distilled student's test accuracy among a folder's tables, or None."""
    path = folder / "03_scores.csv"
    if not path.is_file():
        return None
    try:
        table = read_table(path)
        row = table[(table["model"] == KD_STUDENT) & (table["score"] == "accuracy")]
        return float(row["value"].iloc[0])
    except (OSError, ValueError, KeyError, IndexError):
        return None


def readable_json(path: Path) -> dict[str, Any]:
    """A JSON file's content; of one that is missing or damaged nothing, since a list goes on."""
    try:
        found = read_json(path)
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _when(path: Path) -> str:
    """When a file was last written, local time, to the minute."""
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(path.stat().st_mtime))
    except OSError:
        return UNKNOWN


def folder_size(folder: Path) -> int:
    """Bytes of all files below a folder; one that vanishes meanwhile counts nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += Path(parent, name).lstat().st_size
    return total


def size_text(count: int) -> str:
    """Bytes for a person.

    >>> size_text(512), size_text(6_297_152), size_text(3_200_000_000)
    ('512 B', '6.3 MB', '3.2 GB')
    """
    if count < 1000:
        return f"{count} B"
    units = ["kB", "MB", "GB", "TB"]
    size = count / 1000
    while size >= 1000 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:.1f} {units[0]}"
