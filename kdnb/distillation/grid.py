"""The α × T grid: many students of one teacher, beside students on labels alone (notebook 03)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from kdnb.core.p_values import paired_test
from kdnb.core.progress import say
from kdnb.core.runs import Run
from kdnb.core.settings import Settings
from kdnb.core.statistics import Groups, seed_interval, share_interval, softmax
from kdnb.data.dataset import ImageSet
from kdnb.distillation.fidelity import kl_divergence
from kdnb.distillation.teacher_logits import train_teacher_or_control
from kdnb.distillation.train_student import train_student
from kdnb.training.evaluation import ece
from kdnb.training.fit import saved_logits

__all__ = [
    "LABELS_ALONE",
    "Cell",
    "compare_students",
    "grid_table",
    "train_controls",
    "train_grid",
]


class Cell(NamedTuple):
    """A cell of the grid."""

    alpha: float  #: weight of the labels in [0, 1]
    temperature: float  #: softness of the teacher's logits, above 0


LABELS_ALONE = Cell(alpha=1.0, temperature=1.0)  # without a teacher


def train_grid(
    settings: Settings, image_set: ImageSet, teacher: Run, device: torch.device
) -> dict[Cell, list[Run]]:
    """Train ``student_seeds`` students in every cell of the grid and on labels alone, or find them.

    The cells are ``alphas`` × ``temperatures``. Seeds change the initial weights and the order of
    the images; teacher, split and augmented views stay. A seed is finished for all cells before the
    next begins, so that what is there can be compared at any time.
    """
    alphas = settings.alphas or [settings.alpha]
    temperatures = settings.temperatures or [settings.temperature]
    runs: dict[Cell, list[Run]] = {LABELS_ALONE: []}
    for alpha, temperature in product(alphas, temperatures):
        if alpha < 1:
            runs[Cell(alpha=alpha, temperature=temperature)] = []
    for seed_settings in settings.per_student_seed:
        for number, cell in enumerate(runs, start=1):
            say(
                f"  grid: seed {seed_settings.student_seed}, cell {number} of {len(runs)} "
                f"(alpha {cell.alpha:g}, T {cell.temperature:g})"
            )
            chosen = seed_settings.model_copy(update={"temperature": cell.temperature})
            run = train_student(chosen, image_set, teacher, device, alpha=cell.alpha)
            runs[cell].append(run)
    return runs


def train_controls(
    settings: Settings, image_set: ImageSet, device: torch.device
) -> dict[str, list[Run]]:
    """Train ``student_seeds`` students on labels alone, of the teacher and of each control.

    The controls are those of ``settings.controls``; what is there is found. What a control gains
    too is not knowledge of the teacher.
    """
    runs: dict[str, list[Run]] = {}
    for name in ("labels alone", "teacher", *settings.controls):
        control = name if name in settings.controls else ""
        chosen = settings.model_copy(update={"control": control})
        teacher = train_teacher_or_control(chosen, image_set, device)
        alpha = 1.0 if name == "labels alone" else None
        runs[name] = [
            train_student(seed_settings, image_set, teacher, device, alpha=alpha)
            for seed_settings in chosen.per_student_seed
        ]
    return runs


def compare_students(
    runs: Mapping[Hashable, Sequence[Run]],
    teacher: Run,
    image_set: ImageSet,
    test_groups: Groups | np.ndarray,
) -> pd.DataFrame:
    """Students of several kinds beside the first kind, which is the control of all others.

    Args:
        runs: Kind → its students, one per seed, the same seeds in the same order for all.
        teacher: Their teacher.
        image_set: What they were trained on.
        test_groups: (N,) patient or family of every test image.

    Returns:
        One row per kind: seeds; ``val_accuracy``, the mean over seeds, to choose by; on the test
        part ``accuracy`` with its 95 % interval over seeds and groups, ``gain`` over the first kind
        with interval and ``p`` (paired test over groups), ``agreement`` and ``kl`` with the
        teacher, ``ece``.
    """
    val_targets = _targets(image_set, "val")
    test_targets = _targets(image_set, "test")
    of_teacher = softmax(saved_logits(teacher))  # (N, K)
    control, *_ = runs.values()
    control_correct = _correct(control, test_targets, "test")  # (S, N)
    rows = []
    for students in runs.values():
        correct = _correct(students, test_targets, "test")
        gains = correct - control_correct[: len(students)]
        of_students = [softmax(saved_logits(student)) for student in students]
        same = [(p.argmax(1) == of_teacher.argmax(1)).mean() for p in of_students]
        row = {
            "seeds": len(students),
            "val_accuracy": _correct(students, val_targets, "val").mean(),
            **share_interval(correct, test_groups).named("accuracy"),
            **seed_interval(gains, test_groups, bounds=(-1, 1)).named("gain"),
            "p": paired_test(gains, test_groups),
            "agreement": np.mean(same),
            "kl": np.mean([kl_divergence(of_teacher, p).mean() for p in of_students]),
            "ece": np.mean([ece(p, test_targets) for p in of_students]),
        }
        rows.append(row)
    return pd.DataFrame(rows, index=pd.Index(runs, tupleize_cols=False, name="kind"))


def grid_table(
    runs: Mapping[Cell, Sequence[Run]],
    teacher: Run,
    image_set: ImageSet,
    test_groups: Groups | np.ndarray,
) -> pd.DataFrame:
    """`compare_students` for the cells of `train_grid`, labels alone first.

    The columns alpha and temperature come before the others.
    """
    cells = pd.DataFrame(list(runs), columns=["alpha", "temperature"])
    table = compare_students(runs, teacher, image_set, test_groups).reset_index(drop=True)
    return pd.concat([cells, table], axis=1)


def _targets(image_set: ImageSet, part: str) -> np.ndarray:
    """(N,) int64 class numbers of one part."""
    return image_set.table["target"].to_numpy(np.int64)[image_set.rows(part)]


def _correct(runs: Sequence[Run], targets: np.ndarray, part: str) -> np.ndarray:
    """(S, N) float64: 1 where a student names the class of an image, else 0."""
    return np.stack([saved_logits(run, part).argmax(1) == targets for run in runs]).astype(float)
