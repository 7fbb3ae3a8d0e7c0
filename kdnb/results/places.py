"""Where the runs by patient stand: all seeds of one set, split and teacher together (07).

Made from the runs of ``sweeps/patients.toml``. Every teacher counts with the students of its own
seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from kdnb.results.accuracies import Answered, answered, counts, together
from kdnb.results.collected_runs import Records

__all__ = [
    "DISTILLED",
    "KNOWN",
    "LABELS_ALONE",
    "PATIENTS",
    "TEACHER",
    "chosen_images",
    "countings",
    "every_run",
    "named",
    "places",
]

KNOWN = "known patients"  # tumour images of known origin: nobody knows the patients of the others
PATIENTS = "patients"  # the split by patient
TEACHER = "teacher"
DISTILLED = "KD student"
LABELS_ALONE = "label-only student"
PLACE = ("dataset", "split", "sizes_of", "teacher")
TEST_FOLD = 5
Key = tuple[Any, ...]


def places(records: Records, control: str = "") -> dict[Key, Answered]:
    """(data set, split, whose sizes, teacher) → the runs of this place, all seeds together.

    Only of the usual test fold; see `fold_accuracy` for the others.

    Args:
        records: The collected runs.
        control: What stands in the teacher's place: empty or "random", an untrained network.
    """
    pools: dict[Key, list[Answered]] = {}
    for one in every_run(records):
        if one.parameters["control"] == control and one.parameters["fold"] == TEST_FOLD:
            pools.setdefault(_place(one), []).append(one)
    found = {}
    for place, runs in pools.items():
        found[place] = together(sorted(runs, key=lambda one: one.parameters["teacher_seed"]))
    return found


def every_run(records: Records) -> list[Answered]:
    """Every run of notebook 03, in the order of the record."""
    runs = records["runs"]
    return answered(records, *runs["part"].unique())


def _place(one: Answered) -> Key:
    return tuple(one.parameters[name] for name in PLACE)


def named(place: Key) -> dict[str, Any]:
    """The first columns of a row."""
    return dict(zip(PLACE, place, strict=True))


def countings(one: Answered) -> Iterator[tuple[str, Answered]]:
    """All images in every way to count the classes; and where some are not, the known patients."""
    yield from counts(one)
    known = one.values["known"] == 1
    if known.any() and not known.all():
        yield KNOWN, chosen_images(one, known)


def chosen_images(one: Answered, chosen: np.ndarray) -> Answered:
    """The answers to some of the test images (N,) bool."""
    return replace(one, values={name: values[chosen] for name, values in one.values.items()})
