"""Where runs stand: all seeds of one set, split and teacher together (07).

Every teacher counts with the students of its own seed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from kdnb.data.patient_split import TEST_FOLD
from kdnb.results.answered_runs import Answered, answered, counts, together
from kdnb.results.collected_runs import PLACE_OF_RUN, Records

__all__ = [
    "EFFECT_PARTS",
    "KNOWN",
    "PATIENTS",
    "by_run",
    "chosen_images",
    "countings",
    "first_place",
    "is_main",
    "main_runs",
    "named",
    "place_of",
    "places",
]

KNOWN = "known patients"  # images of which the patient, or the fold that holds him, is known
PATIENTS = "patients"  # the split by patient
# the parts of ``sweeps/results.toml`` that ask what moves a student, at a smaller image size
EFFECT_PARTS = ("base", "more_teachers", "grid", "controls", "size", "as_coded")
Key = tuple[Any, ...]


def places(records: Records, control: str = "") -> dict[Key, Answered]:
    """(data set, split, whose sizes, teacher, image size) → the runs there, all seeds together.

    Only of the usual test fold; see `fold_accuracy` for the others.

    Args:
        records: The collected runs.
        control: What stands in the teacher's place: empty or "random", an untrained network.
    """
    pools: dict[Key, list[Answered]] = {}
    for one in main_runs(records):
        if is_main(one, control):
            pools.setdefault(place_of(one), []).append(one)
    found = {}
    for place, runs in pools.items():
        found[place] = together(sorted(runs, key=lambda one: one.parameters["teacher_seed"]))
    return found


def main_runs(records: Records) -> list[Answered]:
    """Every run of notebook 03 but those of `EFFECT_PARTS`, in the order of the record."""
    parts = records["runs"]["part"].unique()
    return answered(records, *(part for part in parts if part not in EFFECT_PARTS))


def is_main(one: Answered, control: str = "") -> bool:
    """Whether a run tests the usual fold, with ``control`` in the teacher's place."""
    return one.parameters["control"] == control and one.parameters["fold"] == TEST_FOLD


def place_of(one: Answered) -> Key:
    """The place of a run, see `places`."""
    return tuple(one.parameters[name] for name in PLACE_OF_RUN)


def named(place: Key) -> dict[str, Any]:
    """The first columns of a row; the image size stands further behind, as ``size_px``."""
    columns = dict(zip(PLACE_OF_RUN, place, strict=True))
    del columns["image_size"]
    return columns


def countings(one: Answered) -> Iterator[tuple[str, Answered]]:
    """All images in every way to count the classes; and where some are not, the known patients."""
    yield from counts(one)
    known = one.values["known"] == 1
    if known.any() and not known.all():
        yield KNOWN, chosen_images(one, known)


def chosen_images(one: Answered, chosen: np.ndarray) -> Answered:
    """The answers to some of the test images (N,) bool."""
    return replace(one, values={name: values[chosen] for name, values in one.values.items()})


def first_place(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the first place in a table of some: there, every run is a seed."""
    columns = [name for name in (*PLACE_OF_RUN, "size_px") if name in rows]
    return rows[(rows[columns] == rows[columns].head(1).squeeze()).all(axis=1)]


def by_run(records: Records, name: str) -> pd.DataFrame:
    """A table of notebook 05 of all runs, each row with the place of its run.

    Columns: dataset, split, teacher, teacher_seed, those of the table, run; empty without one.
    """
    if name not in records:
        return pd.DataFrame()
    parameters = records["runs"].set_index("run")["parameters"].map(json.loads)
    table = records[name]
    place = {}
    for column in ("dataset", "split", "teacher", "teacher_seed"):
        place[column] = [parameters[run][column] for run in table["run"]]
    values = table.drop(columns="run")
    return pd.concat([pd.DataFrame(place), values, table[["run"]]], axis=1)
