"""Accuracy at every place and over all folds, what teachers cost, which errors pass on (07)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from kdnb.core.errors import UserError
from kdnb.core.intervals import Interval
from kdnb.core.model_names import KD_STUDENT, LABEL_ONLY, TEACHER
from kdnb.core.statistics import Groups, group_bootstrap, seed_interval, share_interval, with_seeds
from kdnb.distillation.teacher_worth import chance_of_same
from kdnb.results.answered_runs import ALL, Answered, score
from kdnb.results.collected_runs import Records
from kdnb.results.places import (
    KNOWN,
    PATIENTS,
    chosen_images,
    countings,
    main_runs,
    named,
    places,
)

__all__ = [
    "EVERY_FOLD",
    "MEMORY_ALONE",
    "accuracy_by_place",
    "error_transfer_by_place",
    "fold_accuracy",
    "teachers",
]

EVERY_FOLD = "all"  # in the column ``fold``: all folds together
MEMORY_ALONE = "memory"  # as a model: the most similar training image, mirrored ones included


def accuracy_by_place(records: Records) -> pd.DataFrame:
    """Accuracy of teacher, distilled student and labels alone at every place, beside memory.

    Columns as `kdnb.results.answered_runs.score`, with ``sizes_of`` (the split whose part sizes
    were taken) and ``teacher``. "known patients" counts images whose patient or fold is known.
    """
    rows = []
    for place, one in places(records).items():
        for counted, answers in countings(one):
            for model, names in one.kinds.items():
                rows.append({**named(place), **score(answers, counted, model, names)})
    table = pd.DataFrame(rows)
    if "absent" in table and not table["absent"].any():
        table = table.drop(columns="absent")
    return table


def teachers(records: Records) -> pd.DataFrame:
    """What every teacher is worth and costs on every set and split, beside the student.

    Columns: place, model, accuracy with interval, memory, parameters, MACs of an image, seeds,
    size_px, run. Seconds of training are not among them: other work stopped and shared the machine.
    """
    rows = []
    for place, one in places(records).items():
        for model in (TEACHER, LABEL_ONLY):
            names = one.kinds[model]
            trained = one.trainings.loc[names]
            rows.append(
                {
                    **named(place),
                    "model": one.parameters["teacher"]
                    if model == TEACHER
                    else "the student, on labels alone",
                    **share_interval(one.right(*names), one.groups).named("accuracy"),
                    "memory": one.right(one.memory).mean(),
                    "parameters": int(trained["parameters"].iloc[0]),
                    "macs": int(trained["macs"].iloc[0]),
                    "seeds": len(names),
                    "size_px": one.parameters["image_size"],
                    "run": one.run,
                }
            )
    return pd.DataFrame(rows)


def fold_accuracy(records: Records) -> pd.DataFrame:
    """Every known patient of the brain set tested once: over all five folds together, and by fold.

    "known patients" counts images whose patient or fold is known; "all classes" the test parts of
    all folds as they are: images of unknown patients, the same in each, stand in every one.
    Columns: dataset, teacher, counted, fold (its number, or "all"), model (memory, too: with
    mirrored images), folds, accuracy with interval over groups (one seed per fold), ``over_labels``
    (accuracy minus that of the student on labels alone, on the same images) with its interval,
    images, groups, seeds, run. Empty until more than one fold is there.
    """
    folds = {}
    for one in main_runs(records):
        is_main = not one.parameters["control"] and one.parameters["teacher_seed"] == 0
        if one.parameters["split"] == PATIENTS and is_main:
            place = (one.parameters["dataset"], one.parameters["teacher"])
            of_place = folds.setdefault(place, {})
            fold = one.parameters["fold"]
            if fold in of_place:
                raise UserError(
                    f"runs {of_place[fold].run} and {one.run} test fold {fold} of one place with "
                    "the same seed: leave one out of the plan"
                )
            of_place[fold] = one
    rows = []
    for (dataset, teacher), by_fold in folds.items():
        if len(by_fold) < 2:
            continue
        place = {"dataset": dataset, "teacher": teacher}
        runs = list(by_fold.values())
        rows += [{**place, **row} for row in _of_folds(runs, KNOWN, EVERY_FOLD)]
        for fold in sorted(by_fold):
            rows += [{**place, **row} for row in _of_folds([by_fold[fold]], KNOWN, str(fold))]
        rows += [{**place, **row} for row in _of_folds(runs, ALL, EVERY_FOLD)]
    return pd.DataFrame(rows)


def _of_folds(runs: Sequence[Answered], counted: str, fold: str) -> list[dict[str, Any]]:
    """One row per model over some folds, and one of memory, without the place."""
    of_labels, _ = _over_folds(runs, LABEL_ONLY, counted)
    rows = []
    for model in (TEACHER, KD_STUDENT, LABEL_ONLY, MEMORY_ALONE):
        right, groups = _over_folds(runs, model, counted)
        difference = seed_interval((right - of_labels)[None], groups, bounds=(-1, 1))
        rows.append(
            {
                "counted": counted,
                "fold": fold,
                "model": model,
                "folds": len(runs),
                **share_interval(right[None], groups).named("accuracy"),
                **difference.named("over_labels"),
                "images": len(right),
                "groups": len(np.unique(groups.names)),
                "seeds": 1,
                "run": " ".join(one.run for one in runs),
            }
        )
    return rows


def _over_folds(runs: Sequence[Answered], model: str, counted: str) -> tuple[np.ndarray, Groups]:
    """Whether a model is right (N,), 1 or 0, on the test images of folds, and their groups.

    A known patient is tested in one fold. Images of unknown patients are the same in every fold, in
    the same order, so their groups are, too.
    """
    right = []
    names = []
    unknown: list[np.ndarray] = []  # classes and groups of these images, by fold
    for number, one in enumerate(runs):
        column = "1-NN mirrored" if model == MEMORY_ALONE else one.kinds[model][0]
        known = one.values["known"] == 1
        answers = chosen_images(one, known)
        right.append(answers.right(column)[0])
        names += [f"{number} {group}" for group in answers.values["group"]]
        if counted == ALL:
            answers = chosen_images(one, ~known)
            right.append(answers.right(column)[0])
            _, ranks = np.unique(answers.values["group"], return_inverse=True)
            names += [f"of every fold {rank}" for rank in ranks]
            unknown.append(np.stack([answers.values["target"], ranks]))
            if not np.array_equal(unknown[0], unknown[-1]):
                raise UserError(
                    f"runs {runs[0].run} and {one.run} have other images of unknown patients: "
                    "give them the same seed"
                )
    widening = max(one.groups.widening for one in runs)
    return np.concatenate(right), Groups(names=np.array(names), widening=widening)


def error_transfer_by_place(records: Records) -> pd.DataFrame:
    """Of the images that a teacher gets wrong: how many its students get wrong in the same way.

    Columns: place, model, errors (of all teachers), wrong and same (shares of them), chance,
    above_chance with its 95 % interval over groups and seeds (see
    `kdnb.distillation.teacher_worth.error_transfer`), and ``more``: how much more of them the
    model repeats than the student on labels alone, above chance, with its interval; seeds, run.
    """
    rows = []
    for place, one in places(records).items():
        alone = _repeated(one, one.kinds[LABEL_ONLY])
        for model in (KD_STUDENT, LABEL_ONLY):
            found = _errors(one, _repeated(one, one.kinds[model]), alone)
            if found is not None:
                seeds = {"seeds": len(one.teachers), "run": one.run}
                rows.append({**named(place), "model": model, **found, **seeds})
    return pd.DataFrame(rows)


class _Repeated(NamedTuple):
    """What students make of their teachers' errors: each (S, N), NaN where the teacher is right."""

    wrong: np.ndarray  #: 1 where the student errs, too
    same: np.ndarray  #: 1 where it errs in the same way
    chance: np.ndarray  #: how often it would by chance


def _repeated(one: Answered, students: Sequence[str]) -> _Repeated:
    """What the students of the seeds make of the errors of the teachers, by seed and image."""
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
    return _Repeated(wrong=np.stack(wrong), same=np.stack(same), chance=np.stack(chance))


def _errors(one: Answered, found: _Repeated, alone: _Repeated) -> dict[str, Any] | None:
    """One row of `error_transfer_by_place`, over the seeds; None where no teacher errs."""
    above = found.same - found.chance
    has_error = ~np.isnan(above).all(axis=0)
    if not has_error.any():
        return None
    groups = one.groups[has_error]
    more = (found.same - alone.same) - (found.chance - alone.chance)
    return {
        "errors": int((~np.isnan(above)).sum()),
        "wrong": np.nanmean(found.wrong),
        "same": np.nanmean(found.same),
        "chance": np.nanmean(found.chance),
        **_mean_over_errors(above[:, has_error], groups).named("above_chance"),
        **_mean_over_errors(more[:, has_error], groups).named("more"),
    }


def _mean_over_errors(values: np.ndarray, groups: Groups) -> Interval:
    """Mean of values (S, N), NaN left out, with its interval over groups and seeds."""
    bounds = (-1, 1)
    pooled = group_bootstrap(lambda rows: np.nanmean(values[:, rows]), groups, bounds=bounds)
    of_seeds = [seed[~np.isnan(seed)].mean() for seed in values if not np.isnan(seed).all()]
    return with_seeds(pooled, np.array(of_seeds), bounds)
