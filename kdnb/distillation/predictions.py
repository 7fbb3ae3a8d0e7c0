"""What each network predicts for every test image, and how it was trained (notebook 03, for 07)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import nn

from kdnb.core.protocols import TrainedStudy
from kdnb.core.runs import Run
from kdnb.distillation.grid import LABELS_ALONE, Cell
from kdnb.training.fit import saved_logits
from kdnb.training.model_cost import macs
from kdnb.training.modules import count_parameters
from kdnb.training.train_teacher import load_teacher
from kdnb.training.trained_students import load_student

__all__ = ["predicted_classes", "training_histories", "training_records"]

CURVES = ["epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy"]


@dataclass(frozen=True)
class _Student:
    """A student of the grid."""

    name: str  #: such as "alpha 0.4, T 5, seed 0"
    cell: Cell
    seed: int
    run: Run


def predicted_classes(study: TrainedStudy, grid: Mapping[Cell, Sequence[Run]]) -> pd.DataFrame:
    """The class of each test image by teacher, students and memory alone; its group and target.

    Args:
        study: Data and trained teacher.
        grid: Of `kdnb.distillation.grid.train_grid`.

    Returns:
        One row per test image, whole numbers only: group, target, known, 1-NN, 1-NN mirrored,
        teacher, and a column per student, such as ``labels alone, seed 0`` or
        ``alpha 0.4, T 5, seed 0``. Groups are numbered. known is 1 where the image's patient is
        known, or a fold that keeps its patient apart.
    """
    _, groups = np.unique(study.test_groups.names, return_inverse=True)
    known = study.known_patients(study.image_set.rows("test")).astype(np.int64)
    columns = {"group": groups, "target": study.test_targets, "known": known}
    for name, nearest_neighbour in study.memory.items():
        columns[name] = nearest_neighbour["predictions"]
    columns["teacher"] = saved_logits(study.teacher).argmax(1)
    for student in _students(study, grid):
        columns[student.name] = saved_logits(student.run).argmax(1)
    return pd.DataFrame(columns)


def training_records(study: TrainedStudy, grid: Mapping[Cell, Sequence[Run]]) -> pd.DataFrame:
    """Which trainings the predictions come from.

    Returns:
        Index model (the columns of `predicted_classes`); alpha, temperature, seed, training (its
        run), val_accuracy, images (of the training part), seconds, precision, parameters, macs,
        data (hash), kdnb, commit, processor; and the widening of the groups of the test images,
        where it is not 1.
    """
    no_cell = Cell(alpha=np.nan, temperature=np.nan)
    seed = study.settings.seed
    rows = {"teacher": _record(study, study.teacher, load_teacher, no_cell, seed)}
    for student in _students(study, grid):
        rows[student.name] = _record(study, student.run, load_student, student.cell, student.seed)
    return pd.DataFrame(rows).T.rename_axis("model")


def training_histories(study: TrainedStudy, grid: Mapping[Cell, Sequence[Run]]) -> pd.DataFrame:
    """How each training went: model, epoch (from 1), loss and accuracy on both parts.

    The parts are training and validation. An untrained teacher, which the control "random" has, is
    not among the models.
    """
    runs = {"teacher": study.teacher}
    for student in _students(study, grid):
        runs[student.name] = student.run
    histories = {}
    for name, run in runs.items():
        file = run.path("history.csv")
        if file.is_file():
            history = pd.read_csv(file)[CURVES]
            histories[name] = history.assign(epoch=history["epoch"] + 1)
    whole = pd.concat(histories, names=["model", None])
    return whole.reset_index("model").reset_index(drop=True)


def _students(study: TrainedStudy, grid: Mapping[Cell, Sequence[Run]]) -> list[_Student]:
    """The students of all cells, named; of a cell, in the order of their seeds."""
    students = []
    for cell, runs in grid.items():
        training = f"alpha {cell.alpha:g}, T {cell.temperature:g}"
        if cell == LABELS_ALONE:
            training = "labels alone"
        for seed, run in enumerate(runs, start=study.settings.student_seed):
            name = f"{training}, seed {seed}"
            students.append(_Student(name=name, cell=cell, seed=seed, run=run))
    return students


def _record(
    study: TrainedStudy,
    run: Run,
    load_model: Callable[[Run, int, torch.device], nn.Module],
    cell: Cell,
    seed: int,
) -> dict[str, object]:
    """A row of `training_records`."""
    model = load_model(run, len(study.image_set.classes), study.device)
    environment = run.json("env.json")
    row = {
        "alpha": cell.alpha,
        "temperature": cell.temperature,
        "seed": seed,
        "training": f"{run.kind}/{run.id}",
        "val_accuracy": run.json("metrics.json")["val_accuracy"],
        "images": len(study.image_set.rows("train")),
        "seconds": run.seconds,
        "precision": run.json("spec.json")["parameters"]["schedule"]["precision"],
        "parameters": count_parameters(model),
        "macs": macs(model, study.settings.image_size),
        "data": study.image_set.hash,
        "kdnb": environment["kdnb"],
        "commit": environment["commit"],
        "processor": environment["processor"],
    }
    if study.test_groups.widening != 1:
        row["widening"] = study.test_groups.widening
    return row
