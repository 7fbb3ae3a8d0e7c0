"""Differences of accuracy by patient, and what splits hide that keep less apart (07)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from kdnb.core.differences import unpaired_difference
from kdnb.core.errors import UserError
from kdnb.core.intervals import Interval
from kdnb.core.model_names import KD_STUDENT, LABEL_ONLY, TEACHER
from kdnb.core.p_values import p_over_seeds
from kdnb.core.statistics import seed_interval
from kdnb.results.answered_runs import ALL, Answered
from kdnb.results.collected_runs import Records
from kdnb.results.places import (
    KNOWN,
    PATIENTS,
    countings,
    named,
    places,
)

__all__ = ["PLANNED", "differences", "leaks", "main_teacher"]

UNTRAINED = "student of an untrained teacher"
# what is subtracted from what, in the order of a table's rows
COMPARED = (
    (TEACHER, LABEL_ONLY),
    (KD_STUDENT, LABEL_ONLY),
    (KD_STUDENT, UNTRAINED),
    (KD_STUDENT, TEACHER),
)
PLANNED = COMPARED[:3]  # of the brain set by patient, known patients: see docs/results.md


def differences(records: Records) -> pd.DataFrame:
    """Accuracy of one model minus another's at every place, seed by seed on the same images.

    Columns: place, counted, ``model`` minus ``rival``, difference with its 95 % interval over
    seeds and groups, p (of both, too), seeds, images, groups, size_px, run.
    """
    rows = []
    untrained = places(records, control="random")
    for place, one in places(records).items():
        for counted, answers in countings(one):
            if counted not in (ALL, KNOWN):
                continue
            for model, rival in COMPARED:
                found = _difference(one, answers, model, rival, untrained.get(place), counted)
                if found is not None:
                    rows.append({**named(place), **found})
    return pd.DataFrame(rows)


def _difference(
    one: Answered,
    answers: Answered,
    model: str,
    rival: str,
    untrained: Answered | None,
    counted: str,
) -> dict[str, Any] | None:
    """One row of `differences`, without its place; None where no untrained teacher's student is."""
    kinds = one.kinds
    runs = [one.run]
    right = answers.right(*kinds[model])
    if rival == UNTRAINED:
        if untrained is None:
            return None
        seeds = _seeds(one, kinds[model])
        of_control = untrained.kinds[KD_STUDENT]
        shared = [seed for seed in _seeds(untrained, of_control) if seed in seeds]
        if not shared:
            return None
        right = right[[seeds.index(seed) for seed in shared]]
        control = dict(countings(untrained))[counted]
        if not np.array_equal(answers.values["target"], control.values["target"]):
            raise UserError(
                f"runs {one.run} and {untrained.run} have other test images: "
                "give them the same seed"
            )
        seeds_of_control = _seeds(untrained, of_control)
        chosen = [of_control[seeds_of_control.index(seed)] for seed in shared]
        rival_right = control.right(*chosen)
        runs.append(untrained.run)
    else:
        rival_right = answers.right(*kinds[rival])
    interval = seed_interval(right - rival_right, answers.groups, bounds=(-1, 1))
    return {
        "counted": counted,
        "model": model,
        "rival": rival,
        **interval.named("difference"),
        "p": p_over_seeds(right - rival_right, answers.groups),
        "seeds": len(right),
        "images": right.shape[1],
        "groups": len(np.unique(answers.groups.names)),
        "size_px": one.parameters["image_size"],
        "run": " ".join(runs),
    }


def _seeds(one: Answered, models: Sequence[str]) -> list[int]:
    return one.trainings.loc[list(models), "seed"].astype(int).tolist()


def main_teacher(table: pd.DataFrame) -> str:
    """The teacher with the most places: DenseNet121 stands beside it on one."""
    return table["teacher"].value_counts().index[0]


def leaks(table: pd.DataFrame) -> pd.DataFrame:
    """Accuracy under every other split of a set minus that of its strictest, by model and memory.

    The test images differ, so the difference is of two samples. Columns: dataset, split, sizes_of,
    ``honest`` (the split it is compared with), model, difference with interval, seeds,
    ``seeds_honest`` (those of the split it is compared with), run.

    Args:
        table: Of `kdnb.results.accuracy_tables.accuracy_by_place`.
    """
    rows = []
    if not len(table):
        return table
    table = table[(table["counted"] == ALL) & (table["teacher"] == main_teacher(table))]
    for _, of_set in table.groupby("dataset", sort=False):
        honest = PATIENTS if PATIENTS in set(of_set["split"]) else "grouped"
        strict = of_set[(of_set["split"] == honest) & (of_set["sizes_of"] == "")]
        for row in of_set[of_set["split"] != honest].to_dict("records"):
            same = strict[strict["model"] == row["model"]]
            if not len(same):
                continue
            rows.append(_leak(row, same.iloc[0], row["model"], "accuracy"))
            if row["model"] == TEACHER:
                rows.append(_leak(row, same.iloc[0], "memory", "leak_meter_mirrored"))
    return pd.DataFrame(rows)


def _leak(row: Mapping[str, Any], strict: pd.Series, model: str, column: str) -> dict[str, Any]:
    """One row of `leaks`."""
    ends = [column, f"{column}_low", f"{column}_high"]
    before = Interval([row[name] for name in ends])
    after = Interval(strict[ends])
    return {
        "dataset": row["dataset"],
        "split": row["split"],
        "sizes_of": row["sizes_of"],
        "honest": strict["split"],
        "model": model,
        **unpaired_difference(before, after).named("difference"),
        "seeds": row["seeds"],
        "seeds_honest": strict["seeds"],
        "run": " ".join(dict.fromkeys([*row["run"].split(), *strict["run"].split()])),
    }
