"""Published tables of the sets by patient, with a teacher from ImageNet weights (07).

Made from the runs of ``sweeps/patients.toml``. Runs of one place (set, split, teacher) that differ
in their seed stand together: every teacher counts with the students of its own seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from kdnb.core.statistics import (
    Groups,
    Interval,
    group_bootstrap,
    seed_interval,
    share_interval,
    unpaired_difference,
)
from kdnb.distillation.teacher_worth import chance_of_same
from kdnb.results.accuracies import ALL, Answered, answered, counts, score, together
from kdnb.results.collected_runs import Records

__all__ = [
    "PLANNED",
    "accuracy_by_place",
    "differences",
    "error_transfer_by_place",
    "fold_accuracy",
    "holm",
    "leaks",
    "p_of_interval",
    "patient_tables",
    "planned",
]

KNOWN = "known patients"  # tumour images of known origin: nobody knows the patients of the others
PATIENTS = "patients"  # the split by patient
TEACHER = "teacher"
DISTILLED = "KD student"
LABELS_ALONE = "label-only student"
UNTRAINED = "student of an untrained teacher"
# what is subtracted from what, in the order of a table's rows
COMPARED = (
    (TEACHER, LABELS_ALONE),
    (DISTILLED, LABELS_ALONE),
    (DISTILLED, UNTRAINED),
    (DISTILLED, TEACHER),
)
PLANNED = COMPARED[:3]  # of the brain set by patient, known patients: see docs/results.md
PLACE = ("dataset", "split", "sizes_of", "teacher")
TEST_FOLD = 5
Key = tuple[Any, ...]


def patient_tables(records: Records) -> dict[str, pd.DataFrame]:
    """Every table of which the record holds something, by file name."""
    tables = {
        "accuracy": accuracy_by_place(records),
        "differences": differences(records),
        "leaks": leaks(records),
        "folds": fold_accuracy(records),
        "errors": error_transfer_by_place(records),
        "planned": planned(records),
    }
    return {name: table for name, table in tables.items() if len(table)}


def places(records: Records, control: str = "") -> dict[Key, Answered]:
    """(data set, split, whose sizes, teacher) → the runs of this place, all seeds together.

    Only of the usual test fold; see `fold_accuracy` for the others.

    Args:
        records: The collected runs.
        control: What stands in the teacher's place: empty or "random", an untrained network.
    """
    pools: dict[Key, list[Answered]] = {}
    for one in _all(records):
        if one.parameters["control"] == control and one.parameters["fold"] == TEST_FOLD:
            pools.setdefault(_place(one), []).append(one)
    found = {}
    for place, runs in pools.items():
        found[place] = together(sorted(runs, key=lambda one: one.parameters["teacher_seed"]))
    return found


def _all(records: Records) -> list[Answered]:
    """Every run of notebook 03, in the order of the record."""
    runs = records["runs"]
    return answered(records, *runs["part"].unique())


def _place(one: Answered) -> Key:
    return tuple(one.parameters[name] for name in PLACE)


def _named(place: Key) -> dict[str, Any]:
    """The first columns of a row."""
    return dict(zip(PLACE, place, strict=True))


def _countings(one: Answered) -> Iterator[tuple[str, Answered]]:
    """All images in every way to count the classes; and where some are not, the known patients."""
    yield from counts(one)
    known = one.values["known"] == 1
    if known.any() and not known.all():
        yield KNOWN, _some(one, known)


def _some(one: Answered, chosen: np.ndarray) -> Answered:
    """The answers to some of the test images (N,) bool."""
    return replace(one, values={name: values[chosen] for name, values in one.values.items()})


def accuracy_by_place(records: Records) -> pd.DataFrame:
    """Accuracy of teacher, distilled student and labels alone at every place, beside memory.

    Columns as `kdnb.results.accuracies.accuracy`, with ``sizes_of`` (the split whose part sizes
    were taken) and ``teacher``. "known patients" counts tumour images of known origin alone.
    """
    rows = []
    for place, one in places(records).items():
        for counted, answers in _countings(one):
            for model, names in one.kinds.items():
                rows.append({**_named(place), **score(answers, counted, model, names)})
    table = pd.DataFrame(rows)
    if "absent" in table and not table["absent"].any():
        table = table.drop(columns="absent")
    return table


def differences(records: Records) -> pd.DataFrame:
    """Accuracy of one model minus another's at every place, seed by seed on the same images.

    Columns: place, counted, ``model`` minus ``rival``, difference with its 95 % interval over
    seeds and groups, p (of that interval), seeds, images, groups, size_px, run.
    """
    rows = []
    untrained = places(records, control="random")
    for place, one in places(records).items():
        for counted, answers in _countings(one):
            if counted not in (ALL, KNOWN):
                continue
            for model, rival in COMPARED:
                found = _difference(one, answers, model, rival, untrained.get(place), counted)
                if found is not None:
                    rows.append({**_named(place), **found})
    return pd.DataFrame(rows)


def _difference(
    one: Answered,
    answers: Answered,
    model: str,
    rival: str,
    untrained: Answered | None,
    counted: str,
) -> dict[str, Any] | None:
    """One row of `differences`, without its place; None where a model is missing."""
    kinds = one.kinds
    runs = [one.run]
    right = answers.right(*kinds[model])
    if rival == UNTRAINED:
        if untrained is None:
            return None
        seeds = _seeds(one, kinds[model])
        of_control = untrained.kinds[DISTILLED]
        shared = [seed for seed in _seeds(untrained, of_control) if seed in seeds]
        if not shared:
            return None
        right = right[[seeds.index(seed) for seed in shared]]
        control = dict(_countings(untrained))[counted]
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
        "p": p_of_interval(interval),
        "seeds": len(right),
        "images": right.shape[1],
        "groups": len(np.unique(answers.groups.names)),
        "size_px": one.parameters["image_size"],
        "run": " ".join(runs),
    }


def _seeds(one: Answered, models: Sequence[str]) -> list[int]:
    return one.trainings.loc[list(models), "seed"].astype(int).tolist()


def p_of_interval(interval: Interval) -> float:
    """Two-sided p of "zero": of a normal distribution with the width of the 95 % interval.

    >>> round(p_of_interval(Interval((0.02, 0.0, 0.04))), 3)
    0.05
    """
    value, low, high = interval
    error = (high - low) / (2 * stats.norm.ppf(0.975))
    if not error > 0:  # no interval, or one without width: it can tell nothing
        return np.nan
    return float(2 * stats.norm.sf(abs(value) / error))


def holm(p_values: Sequence[float]) -> np.ndarray:
    """p (N,) corrected for N comparisons, so that any false finding has the chance it states.

    Holm (1979): the smallest times N, the next times N - 1, and so on; never less than one before.

    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, dtype=float)
    order = np.argsort(values, kind="stable")
    factors = len(values) - np.arange(len(values))
    in_order = np.maximum.accumulate(values[order] * factors)
    corrected = np.empty(len(values))
    corrected[order] = np.minimum(in_order, 1)
    return corrected


def planned(records: Records) -> pd.DataFrame:
    """The comparisons that were written down before the runs, with Holm's correction over them.

    Those of accuracy; a comparison of which the record holds nothing yet has no row.
    """
    table = differences(records)
    if not len(table):
        return table
    main = table[
        (table["dataset"] == "brain_tumor")
        & (table["split"] == PATIENTS)
        & (table["teacher"] == _main_teacher(table))
        & (table["counted"] == KNOWN)
    ]
    rows = []
    for model, rival in PLANNED:
        rows.append(main[(main["model"] == model) & (main["rival"] == rival)])
    found = pd.concat(rows).drop(columns=["counted"])
    return found.assign(p_holm=holm(found["p"]))


def _main_teacher(table: pd.DataFrame) -> str:
    """The teacher with the most places: DenseNet121 stands beside it on one."""
    return table["teacher"].value_counts().index[0]


def leaks(records: Records) -> pd.DataFrame:
    """Accuracy under every other split of a set minus that of its strictest, by model and memory.

    The test images differ, so the difference is of two samples. Columns: dataset, split, sizes_of,
    ``honest`` (the split it is compared with), model, difference with interval, seeds, run.
    """
    table = accuracy_by_place(records)
    rows = []
    if not len(table):
        return table
    table = table[(table["counted"] == ALL) & (table["teacher"] == _main_teacher(table))]
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
        "seeds": min(row["seeds"], strict["seeds"]),
        "run": " ".join(dict.fromkeys([*row["run"].split(), *strict["run"].split()])),
    }


def fold_accuracy(records: Records) -> pd.DataFrame:
    """Every patient of the brain set tested once: accuracy over all five folds together.

    Columns: dataset, counted, model, folds, accuracy with interval over groups (one seed per
    fold), images, groups, run. Empty until more than one fold is there.
    """
    folds = {}
    for one in _all(records):
        is_main = not one.parameters["control"] and one.parameters["teacher_seed"] == 0
        if one.parameters["split"] == PATIENTS and is_main:
            folds.setdefault((one.parameters["dataset"], one.parameters["teacher"]), {})[
                one.parameters["fold"]
            ] = one
    rows = []
    for (dataset, teacher), by_fold in folds.items():
        if len(by_fold) < 2:
            continue
        runs = list(by_fold.values())
        for counted in (ALL, KNOWN):
            for model in (TEACHER, DISTILLED, LABELS_ALONE):
                right, groups = _over_folds(runs, counted, model)
                rows.append(
                    {
                        "dataset": dataset,
                        "teacher": teacher,
                        "counted": counted,
                        "model": model,
                        "folds": len(runs),
                        **share_interval(right[None], groups).named("accuracy"),
                        "images": len(right),
                        "groups": len(np.unique(groups.names)),
                        "run": " ".join(one.run for one in runs),
                    }
                )
    return pd.DataFrame(rows)


def _over_folds(runs: Sequence[Answered], counted: str, model: str) -> tuple[np.ndarray, Groups]:
    """Whether a model is right (N,) on the test images of all folds, and their groups."""
    right = []
    names = []
    for number, one in enumerate(runs):
        answers = one if counted == ALL else _some(one, one.values["known"] == 1)
        right.append(answers.right(one.kinds[model][0])[0])
        names.append([f"{number} {group}" for group in answers.values["group"]])
    widening = max(one.groups.widening for one in runs)
    return np.concatenate(right), Groups(names=np.concatenate(names), widening=widening)


def error_transfer_by_place(records: Records) -> pd.DataFrame:
    """Of the images that a teacher gets wrong: how many its students get wrong in the same way.

    Columns: place, model, errors (of all teachers), wrong and same (shares of them), chance, and
    above_chance with its 95 % interval over groups, the seeds pooled; see
    `kdnb.distillation.teacher_worth.error_transfer`.
    """
    rows = []
    for place, one in places(records).items():
        for model in (DISTILLED, LABELS_ALONE):
            found = _errors(one, one.kinds[model])
            if found is not None:
                rows.append({**_named(place), "model": model, **found, "run": one.run})
    return pd.DataFrame(rows)


def _errors(one: Answered, students: Sequence[str]) -> dict[str, Any] | None:
    """One row of `error_transfer_by_place`, over the seeds; None where no teacher errs."""
    target = one.values["target"]
    wrong = []
    same = []
    chance = []
    for teacher, student in zip(one.teachers, students, strict=True):
        taught = one.values[teacher]
        said = one.values[student]
        errs = taught != target
        wrong.append(np.where(errs, said != target, np.nan))
        same.append(np.where(errs, said == taught, np.nan))
        chance.append(np.where(errs, chance_of_same(said, taught, target), np.nan))
    above = np.stack(same) - np.stack(chance)  # (S, N), NaN where the teacher is right
    has_error = ~np.isnan(above).all(axis=0)
    if not has_error.any():
        return None
    some = above[:, has_error]
    interval = group_bootstrap(
        lambda rows: np.nanmean(some[:, rows]), one.groups[has_error], bounds=(-1, 1)
    )
    return {
        "errors": int((~np.isnan(above)).sum()),
        "wrong": np.nanmean(wrong),
        "same": np.nanmean(same),
        "chance": np.nanmean(chance),
        **interval.named("above_chance"),
    }
