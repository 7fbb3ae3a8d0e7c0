"""The runs of one setting: models, scores, and the folder of results (all notebooks)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import pandas as pd
from torch import nn

from kdnb.core.errors import UserError
from kdnb.core.intervals import Difference, Interval
from kdnb.core.model_names import KD_STUDENT, LABEL_ONLY, MODELS, TEACHER
from kdnb.core.progress import say
from kdnb.core.results_folder import Results
from kdnb.core.runs import Run, digest, get_or_make
from kdnb.core.settings import Settings
from kdnb.core.statistics import share_interval, softmax
from kdnb.data import leakage
from kdnb.data.splits import uses_folds
from kdnb.data.study_images import StudyImages
from kdnb.distillation.fidelity import fidelity
from kdnb.distillation.teacher_logits import (
    find_logits,
    find_teacher_or_control,
    train_teacher_or_control,
)
from kdnb.distillation.teacher_worth import error_transfer, teacher_worth
from kdnb.distillation.train_student import find_student, train_student
from kdnb.training.evaluation import paired_difference, scores
from kdnb.training.fit import saved_logits
from kdnb.training.model_cost import macs
from kdnb.training.modules import count_parameters
from kdnb.training.train_teacher import load_teacher
from kdnb.training.trained_students import load_student

__all__ = ["MODELS", "Study"]

LOGITS = "teacher's logits"


class Study(StudyImages):
    """The runs of one setting: `train` makes or finds them, attributes read what is there.

    Runs are found by their content (:mod:`kdnb.core.runs`), whichever process made them.
    """

    def __init__(self, settings: Settings) -> None:
        """``settings`` decide everything; where they name no split, the data set does."""
        super().__init__(settings)
        self._runs: dict[str, Run] = {}  # name -> its finished run, as made or found

    def train(self, *models: str) -> list[Run]:
        """Train models, or find them trained: those named, or all of ``MODELS``.

        The teacher and its cached logits, where the loss takes them, come before the KD student.
        The label-only student needs neither.

        Args:
            models: Of "teacher", "KD student" and "label-only student"; none means all three.

        Returns:
            Their finished runs, in the order of ``models``.

        Raises:
            UserError: If a model is unknown.
        """
        chosen = models or MODELS
        for model in chosen:
            _check_model(model)
        if self.has_too_few and any(self._find(model) is None for model in chosen):
            say(f"note: {self.certainty}. Too few to tell models apart that differ by less.")
        for model in chosen:
            self._runs[model] = self._train(model)
        return [self._runs[model] for model in chosen]

    def _train(self, model: str) -> Run:
        """One of ``MODELS``, trained now or found, after the teacher that it needs."""
        if model == TEACHER:
            return train_teacher_or_control(self.settings, self.image_set, self.device)
        if model == LABEL_ONLY:
            return train_student(self.settings, self.image_set, None, self.device, alpha=1.0)
        if self._find(TEACHER) is None:
            self.train(TEACHER)
        return train_student(self.settings, self.image_set, self.teacher, self.device)

    @property
    def teacher(self) -> Run:
        """The teacher's run; a UserError where it is not trained yet."""
        return self._read(TEACHER)

    @property
    def student(self) -> Run:
        """The distilled student's run; a UserError where it is not trained yet."""
        return self._read(KD_STUDENT)

    @property
    def label_only(self) -> Run:
        """The control's run: the same student on labels alone (alpha = 1).

        A UserError where it is not trained yet.
        """
        return self._read(LABEL_ONLY)

    @cached_property
    def teacher_model(self) -> nn.Module:
        """The trained teacher in eval mode."""
        return load_teacher(self.teacher, len(self.image_set.classes), self.device)

    @cached_property
    def student_model(self) -> nn.Module:
        """The distilled student in eval mode."""
        return load_student(self.student, len(self.image_set.classes), self.device)

    @cached_property
    def label_only_model(self) -> nn.Module:
        """The control in eval mode."""
        return load_student(self.label_only, len(self.image_set.classes), self.device)

    @property
    def finished_runs(self) -> dict[str, Run]:
        """What is there, by name: ``MODELS`` and "teacher's logits"; nothing is made."""
        found = {}
        for name in (TEACHER, LOGITS, KD_STUDENT, LABEL_ONLY):
            run = self._find(name)
            if run is not None:
                found[name] = run
        return found

    @property
    def run_ids(self) -> list[str]:
        """``kind/id`` of those of ``MODELS`` that are trained, in this order, for provenance."""
        found = [self._find(model) for model in MODELS]
        return [f"{run.kind}/{run.id}" for run in found if run is not None]

    def _read(self, model: str) -> Run:
        """The finished run of one of ``MODELS``; a UserError where there is none."""
        _check_model(model)
        found = self._find(model)
        if found is None:
            raise UserError(
                f"the {model} of these settings is not trained yet: "
                f"study.train({model!r}) does that"
            )
        return found

    def _find(self, name: str) -> Run | None:
        """The finished run of that name, known already or searched for, or None."""
        known = self._runs.get(name)
        if known is not None and known.finished:
            return known
        found = self._search(name)
        if found is not None:
            self._runs[name] = found
        return found

    def _search(self, name: str) -> Run | None:
        """The finished run of that name in the folder of the runs, or None."""
        if name == TEACHER:
            return find_teacher_or_control(self.settings, self.image_set, self.device)
        if name == LABEL_ONLY:
            return find_student(self.settings, self.image_set, None, self.device, alpha=1.0)
        teacher = self._find(TEACHER)
        if teacher is None:
            return None
        if name == LOGITS:
            return find_logits(self.settings, self.image_set, teacher)
        return find_student(self.settings, self.image_set, teacher, self.device)

    def test_logits(self, model: str) -> np.ndarray:
        """(N, K) test logits of one of ``MODELS``."""
        return saved_logits(self._read(model))

    @cached_property
    def scores(self) -> pd.DataFrame:
        """Every score of every model with its interval: index (model, score)."""
        tables = {}
        for model in MODELS:
            logits = self.test_logits(model)
            classes = self.image_set.classes
            tables[model] = scores(logits, self.test_targets, self.test_groups, classes)
        return pd.concat(tables, names=["model"])

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row per model: accuracy and macro-F1 with intervals, memory alone, and the skill.

        Classes without a test image are named beside the macro-F1, which leaves them out.
        """
        memory = self.memory_alone
        rows = {}
        for model in MODELS:
            part = self.scores.loc[model]
            row = {}
            for name in ("accuracy", "macro_f1"):
                row[name] = str(Interval(part.loc[name, ["value", "low", "high"]]))
            if "absent" in part:
                row["macro_f1"] += f" without {part.loc['macro_f1', 'absent']}"
            row["memory"] = f"{memory:.3f}"
            skill = leakage.skill(part.loc["accuracy", "value"], memory)
            row["skill"] = f"{skill:.2f}"
            rows[model] = row
        return pd.DataFrame(rows).T.rename_axis("model")

    @cached_property
    def kd_gain(self) -> Difference:
        """Accuracy of the KD student minus the label-only student on the same test images."""
        return paired_difference(
            self.test_logits(KD_STUDENT),
            self.test_logits(LABEL_ONLY),
            self.test_targets,
            self.test_groups,
        )

    @cached_property
    def teacher_worth(self) -> pd.DataFrame:
        """The teacher's accuracy minus that of memory and of the student on labels alone."""
        rivals = {
            "memory": self.strongest_memory["predictions"],
            "a student on labels alone": self.test_logits(LABEL_ONLY).argmax(1),
        }
        says = self.test_logits(TEACHER).argmax(1)
        return teacher_worth(says, rivals, self.test_targets, self.test_groups)

    @cached_property
    def error_transfer(self) -> pd.DataFrame:
        """How often each student errs in the same way as the teacher, against chance."""
        students = {}
        for model in (KD_STUDENT, LABEL_ONLY):
            students[model] = self.test_logits(model).argmax(1)
        says = self.test_logits(TEACHER).argmax(1)
        return error_transfer(students, says, self.test_targets, self.test_groups)

    @cached_property
    def fidelity(self) -> pd.DataFrame:
        """Agreement with the teacher and KL, for both students."""
        teacher = self.test_logits(TEACHER)
        tables = {}
        for model in (KD_STUDENT, LABEL_ONLY):
            tables[model] = fidelity(self.test_logits(model), teacher, self.test_groups)
        return pd.concat(tables, names=["model"])

    def unsure(self, count: int) -> np.ndarray:
        """Places in the test part, (M,) int64, of the images on which the teacher is least sure.

        The least sure one comes first.
        """
        certainty = softmax(self.test_logits(TEACHER)).max(1)
        return np.argsort(certainty, kind="stable")[:count]

    def train_ladder(self, widths: Sequence[float]) -> pd.DataFrame:
        """Train students of several widths, distilled and on labels alone, or find them.

        The teacher is trained first where it is not there yet.

        Returns:
            Columns training, width, parameters, macs, accuracy, low, high (95 % interval over
            groups), run.
        """
        [teacher] = self.train(TEACHER)
        rows = []
        for width in widths:
            settings = self.settings.model_copy(update={"width": width})
            for training, alpha in (("KD", None), ("labels alone", 1.0)):
                run = train_student(settings, self.image_set, teacher, self.device, alpha=alpha)
                rows.append({"training": training, "width": width, **self._ladder_row(run)})
        return pd.DataFrame(rows)

    def _ladder_row(self, run: Run) -> dict[str, object]:
        """Size and accuracy of one student of the ladder."""
        model = load_student(run, len(self.image_set.classes), self.device)
        correct = saved_logits(run).argmax(1) == self.test_targets  # (N,)
        value, low, high = share_interval(correct[None].astype(float), self.test_groups)
        return {
            "parameters": count_parameters(model),
            "macs": macs(model, self.settings.image_size),
            "accuracy": value,
            "low": low,
            "high": high,
            "run": f"student/{run.id}",
        }

    def downstream(
        self, kind: str, parameters: dict, make: Callable[[Run], None], also: Sequence[str] = ()
    ) -> Run:
        """A run that follows from the images, the teacher and the KD student, made now or found.

        Args:
            kind: Name of the kind of run.
            parameters: Everything else that the result depends on; JSON-serialisable.
            make: Writes the run's files into its folder.
            also: Ids of more runs that it follows from.

        Raises:
            UserError: If teacher or KD student are not trained yet.
        """
        upstream = [self.image_set.hash, self.teacher.id, self.student.id, *also]
        return get_or_make(kind, parameters, make, root=self.settings.runs, upstream=upstream)

    @cached_property
    def results(self) -> Results:
        """The folder for tables and pictures, ``runs/study/<data set>-<profile>-seed<n>-<id>/``.

        ``KDNB_STUDY`` names another one, so that all notebooks of a batch run write into the same.
        """
        values = dict(self.settings)
        for name in ("runs_dir", "threads"):  # neither changes a result
            del values[name]
        for name in ("sizes_of", "mixup", "teacher_precision", "window", "max_broken"):
            if not values[name]:  # folders keep the names that they had before it was there
                del values[name]
        by_folds = uses_folds(self.image_set.table, self.settings.split)
        if not by_folds and "patients" not in (self.settings.split, self.settings.sizes_of):
            del values["fold"]
        readable = f"{self.settings.dataset}-{self.settings.profile}-seed{self.settings.seed}"
        named = dict(values)
        if named["data"]:  # a path may hold other images by now, or in another folder
            named["data"] = self.image_set.hash
        own_name = f"{readable}-{digest(named)[:6]}".replace(":", "-")
        name = os.environ.get("KDNB_STUDY") or own_name
        # no setting, but a reader of the intervals must know it
        if self.image_set.group_widening != 1:
            values["widening"] = round(self.image_set.group_widening, 3)
        return Results(
            folder=self.settings.runs / "study" / name,
            parameters=values,
            data=self.image_set.hash,
        )


def _check_model(model: str) -> None:
    if model not in MODELS:
        raise UserError(f"model must be one of {', '.join(map(repr, MODELS))}, got {model!r}")
