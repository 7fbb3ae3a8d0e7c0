"""What the runs of notebook 03 answered on their test parts, counted and scored (07)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from kdnb.core.errors import UserError
from kdnb.core.intervals import Interval
from kdnb.core.model_names import KD_STUDENT, LABEL_ONLY, TEACHER
from kdnb.core.statistics import FEW, Groups, seed_interval, share_interval
from kdnb.data.leakage import MEMORY, skill
from kdnb.data.registry import registered
from kdnb.distillation.grid import LABELS_ALONE
from kdnb.results.collected_runs import Records
from kdnb.training.evaluation import macro_f1

__all__ = [
    "ALL",
    "Answered",
    "answered",
    "check_seeds",
    "counts",
    "score",
    "together",
]

MODERATE = "ModerateDemented"
MILD = "MildDemented"
ALL = "all classes"
THREE = "three classes"
NO_CLASS = ("group", "known")  # columns of the answers that hold no class numbers
# our models -> the registry's name of the paper's
PAPER_MODELS = {TEACHER: "teacher", KD_STUDENT: "student"}


@dataclass(frozen=True)
class Answered:
    """What one run of notebook 03 answered on its test part.

    Attributes:
        run: The run's id; several ids where several runs stand together.
        parameters: Those of the notebook.
        trainings: Index model, see `kdnb.distillation.predictions.training_records`.
        values: Column of `kdnb.distillation.predictions.predicted_classes` → (N,) whole numbers.
    """

    run: str
    parameters: Mapping[str, Any]
    trainings: pd.DataFrame
    values: Mapping[str, np.ndarray]

    @property
    def place(self) -> dict[str, Any]:
        """Data set and split, the first columns of most tables."""
        return {name: self.parameters[name] for name in ("dataset", "split")}

    @property
    def cells(self) -> dict[tuple[float, float], list[str]]:
        """(alpha, T) → its students, by seed; (1, 1) is labels alone."""
        students = self.trainings.groupby(["alpha", "temperature"])  # a teacher has neither
        return {cell: list(rows.sort_values("seed").index) for cell, rows in students}

    @property
    def teachers(self) -> list[str]:
        """Its teachers: one, but for runs put `together`."""
        return list(self.trainings.index[self.trainings["alpha"].isna()])

    @property
    def kinds(self) -> dict[str, list[str]]:
        """Its models by what they are, students by seed; a UserError of a run with a grid."""
        named = {TEACHER: self.teachers}
        for cell, students in self.cells.items():
            kind = LABEL_ONLY if cell == LABELS_ALONE else KD_STUDENT
            if kind in named:
                raise UserError(
                    f"run {self.run} has distilled students of several alpha and T: they do not "
                    "count as one; give each setting a run of its own"
                )
            named[kind] = students
        return named

    @property
    def groups(self) -> Groups:
        """What intervals over its test images resample."""
        widening = 1.0
        if "widening" in self.trainings:  # one value for all rows; a row without one has 1
            widening = self.trainings["widening"].astype(float).fillna(1).max()
        return Groups(names=self.values["group"], widening=widening)

    def right(self, *models: str) -> np.ndarray:
        """(S, N) float64: whether each model names each image's class, 1 or 0."""
        hits = [self.values[model] == self.values["target"] for model in models]
        return np.stack(hits).astype(float)

    @property
    def memory(self) -> str:
        """The stronger of memory alone and memory that also knows mirrored images."""
        return max(MEMORY, key=lambda name: self.right(name).mean())


def answered(records: Records, *parts: str) -> list[Answered]:
    """The runs of notebook 03 in some parts of the plan, in the order of the record."""
    runs = records["runs"]
    chosen = runs[(runs["notebook"] == "03_distillation") & runs["part"].isin(parts)]
    if not len(chosen):
        return []
    trainings = dict(list(records["03_trainings"].groupby("run")))
    answers = dict(list(records["03_answers"].groupby("run")))
    found = []
    for row in chosen.itertuples():
        values = {}
        for answer in answers[row.run].itertuples():
            values[answer.model] = np.array(answer.values.split(), dtype=np.int64)
        found.append(
            Answered(
                run=row.run,
                parameters=json.loads(row.parameters),
                trainings=trainings[row.run].set_index("model").drop(columns="run"),
                values=values,
            )
        )
    return found


def check_seeds(seeds: Sequence[int], runs: Sequence[str]) -> None:
    """Refuse runs that would count as several seeds, of which two have the same.

    Raises:
        UserError: It names the seed and the runs.
    """
    for seed in seeds:
        same = [run for run, other in zip(runs, seeds, strict=True) if other == seed]
        if len(same) > 1:
            raise UserError(
                f"runs {' and '.join(same)} stand in one place and have teacher_seed {seed}: "
                "leave all but one out of the plan"
            )


def together(runs: list[Answered]) -> Answered:
    """Runs with the same test part as one: of each its teacher and that teacher's own student.

    Raises:
        UserError: If two have other test images, other groups of them, or the same seed.
    """
    check_seeds([one.parameters["teacher_seed"] for one in runs], [one.run for one in runs])
    first = runs[0]
    trainings = []
    values = dict(first.values)
    for one in runs:
        if not np.array_equal(one.values["target"], first.values["target"]):
            raise UserError(
                f"runs {first.run} and {one.run} have other test images: give them the same seed"
            )
        if not np.array_equal(one.values["group"], first.values["group"]):
            raise UserError(
                f"runs {first.run} and {one.run} have the same test images in other groups, as "
                "where one was made without the origins: make it again where they are at hand"
            )
        teacher_seed = one.parameters["teacher_seed"]
        is_teacher = one.trainings["alpha"].isna()
        is_own = one.trainings["seed"] == teacher_seed
        if not is_own[~is_teacher].any():
            raise UserError(
                f"run {one.run} has no student of the seed of its teacher, {teacher_seed}: it "
                "cannot stand beside others; make that run again"
            )
        own = one.trainings[is_teacher | is_own]
        names = {"teacher": f"teacher, seed {teacher_seed}"}
        trainings.append(own.rename(index=names))
        for model in own.index:
            values[names.get(model, model)] = one.values[model]
    return Answered(
        run=" ".join(one.run for one in runs),
        parameters=first.parameters,
        trainings=pd.concat(trainings),
        values=values,
    )


def counts(one: Answered) -> Iterator[tuple[str, Answered]]:
    """The answers as they are; for Alzheimer also with three classes, and of "Moderate" alone.

    Alzheimer's "Moderate" class is two people: a three-class count merges it into "Mild", and its
    recall stands apart.
    """
    yield ALL, one
    entry = registered().get(one.parameters["dataset"], {})
    classes = [name.lower() for name in entry.get("classes", [])]
    if MODERATE.lower() not in classes:
        return
    moderate = classes.index(MODERATE.lower())
    mild = classes.index(MILD.lower())

    merged = {}
    for name, values in one.values.items():
        merged[name] = values if name in NO_CLASS else np.where(values == moderate, mild, values)
    yield THREE, replace(one, values=merged)

    is_moderate = one.values["target"] == moderate
    if is_moderate.any():
        alone = {name: values[is_moderate] for name, values in one.values.items()}
        yield "Moderate alone", replace(one, values=alone)


def score(one: Answered, counted: str, model: str, names: list[str]) -> dict[str, Any]:
    """One row of a table of accuracies: of the networks ``names``, which are all a ``model``.

    paper (its accuracy, where it has one), accuracy with its 95 % interval over seeds and groups,
    macro_f1 (and ``absent``, the classes without a test image that it leaves out), majority (share
    of the largest class of the test part), accuracy ``over_majority`` with interval, leak_meter
    (1-NN), leak_meter_mirrored (the same with mirrored images, and its interval), memory (the
    stronger of the two, with its interval), accuracy ``above`` memory with interval, skill, seeds,
    teachers, images, groups, size_px, epochs, precision (the number format of training), run.
    """
    target = one.values["target"]
    groups = one.groups
    right = one.right(*names)
    memory = one.right(one.memory)
    epochs = "teacher_epochs" if model == "teacher" else "student_epochs"
    mean_f1 = np.nan
    majority = np.nan
    over_majority = Interval((np.nan, np.nan, np.nan))
    absent = ""
    if len(np.unique(target)) > 1:  # of one class alone they mean nothing
        mean_f1 = np.mean([macro_f1(target, one.values[name]) for name in names])
        absent = _absent(one, counted)
        is_largest = target == np.bincount(target).argmax()
        majority = is_largest.mean()
        over_majority = seed_interval(right - is_largest, groups, bounds=(-1, 1))
    return {
        **one.place,
        "counted": counted,
        "model": model,
        "paper": _claimed(one, counted, model),
        **share_interval(right, groups, least=FEW).named("accuracy"),
        "macro_f1": mean_f1,
        "absent": absent,
        "majority": majority,
        **over_majority.named("over_majority"),
        "leak_meter": one.right("1-NN").mean(),
        **share_interval(one.right("1-NN mirrored"), groups, least=FEW).named(
            "leak_meter_mirrored"
        ),
        **share_interval(memory, groups, least=FEW).named("memory"),
        **seed_interval(right - memory, groups, bounds=(-1, 1)).named("above"),
        "skill": skill(right.mean(), memory.mean()),
        "seeds": len(names),
        "teachers": len(one.teachers),
        "images": len(target),
        "groups": len(np.unique(groups.names)),
        "size_px": one.parameters["image_size"],
        "epochs": one.parameters[epochs],
        "precision": ", ".join(one.trainings.loc[names, "precision"].unique()),
        "run": one.run,
    }


def _absent(one: Answered, counted: str) -> str:
    """The classes that the networks know and no test image is of, in one text."""
    names = registered().get(one.parameters["dataset"], {}).get("classes", [])
    known = set(range(len(names)))
    for column, values in one.values.items():
        if column not in NO_CLASS:
            known.update(values.tolist())
    absent = known - set(one.values["target"].tolist())
    if counted == THREE:  # that class is merged into another one
        absent -= {number for number in absent if names[number].lower() == MODERATE.lower()}
    named = dict(enumerate(names))
    return ", ".join(named.get(number, str(number)) for number in sorted(absent))


def _claimed(one: Answered, counted: str, model: str) -> float:
    """The paper's accuracy, in [0, 1]; NaN where it has none of this split, count or model."""
    entry = registered().get(one.parameters["dataset"], {})
    if counted != ALL or entry.get("protocol") != one.parameters["split"]:
        return np.nan
    return entry.get("paper", {}).get(PAPER_MODELS.get(model), np.nan)
