"""What a run of notebook 03 leaves for the results: every model's answer to every test image, and its training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from kdnb.core.protocols import TrainedStudy
from kdnb.core.runs import Run
from kdnb.distillation.grid import Cell
from kdnb.training.fit import saved_logits
from kdnb.training.model_cost import macs
from kdnb.training.modules import count_parameters
from kdnb.training.train_teacher import load_teacher
from kdnb.training.trained_students import load_student

__all__ = ["answers", "curves", "trainings"]

LABELS: Cell = (1.0, 1.0)


def answers(study: TrainedStudy, grid: Mapping[Cell, Sequence[Run]]) -> pd.DataFrame:
    """The class that teacher, students and memory alone name for each test image; its group and target.

    Args:
        study: Data and trained teacher.
        grid: Of `kdnb.distillation.grid.train_grid`.

    Returns:
        One row per test image, whole numbers only: group, target, 1-NN, 1-NN mirrored, teacher, and a column per
        student, such as ``labels alone, seed 0`` or ``alpha 0.4, T 5, seed 0``. Groups are numbered.
    """
    known = {
        "group": np.unique(study.test_groups, return_inverse=True)[1],
        "target": study.test_targets,
    }
    known |= {name: meter["predictions"] for name, meter in study.memory.items()}
    runs = {"teacher": study.teacher} | {
        name: run for name, (*_, run) in _students(study, grid).items()
    }
    return pd.DataFrame(known | {name: saved_logits(run).argmax(1) for name, run in runs.items()})


def trainings(study: TrainedStudy, grid: Mapping[Cell, Sequence[Run]]) -> pd.DataFrame:
    """Where the answers come from.

    Returns:
        Index model (the columns of `answers`); alpha, temperature, seed, training (its run), val_accuracy, images (of
        the training part), seconds, precision, parameters, macs, data (hash), kdnb, commit, processor.
    """
    rows = {
        "teacher": _training(
            study, study.teacher, load_teacher, (np.nan, np.nan), study.settings.seed
        )
    }
    for name, (cell, seed, run) in _students(study, grid).items():
        rows[name] = _training(study, run, load_student, cell, seed)
    return pd.DataFrame(rows).T.rename_axis("model")


def curves(study: TrainedStudy, grid: Mapping[Cell, Sequence[Run]]) -> pd.DataFrame:
    """How each training went: model, epoch (from 1), loss and accuracy on training and validation images.

    An untrained teacher, which the control "random" has, is not among them.
    """
    runs = {"teacher": study.teacher} | {
        name: run for name, (*_, run) in _students(study, grid).items()
    }
    kept = ["epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy"]
    read = {
        name: pd.read_csv(run.path("history.csv"))[kept].assign(epoch=lambda h: h["epoch"] + 1)
        for name, run in runs.items()
        if run.path("history.csv").is_file()
    }
    return pd.concat(read, names=["model", None]).reset_index("model").reset_index(drop=True)


def _students(
    study: TrainedStudy, grid: Mapping[Cell, Sequence[Run]]
) -> dict[str, tuple[Cell, int, Run]]:
    named = {LABELS: "labels alone"}
    return {
        f"{named.get(cell, f'alpha {cell[0]:g}, T {cell[1]:g}')}, seed {seed}": (cell, seed, run)
        for cell, runs in grid.items()
        for seed, run in enumerate(runs, study.settings.student_seed)
    }


def _training(
    study: TrainedStudy, run: Run, load_model: Callable, cell: Cell, seed: int
) -> dict[str, object]:
    model, made = load_model(run, len(study.image_set.classes), study.device), run.json("env.json")
    return {
        "alpha": cell[0],
        "temperature": cell[1],
        "seed": seed,
        "training": f"{run.kind}/{run.id}",
        "val_accuracy": run.json("metrics.json")["val_accuracy"],
        "images": len(study.image_set.rows("train")),
        "seconds": run.seconds,
        "precision": run.json("spec.json")["parameters"]["schedule"]["precision"],
        "parameters": count_parameters(model),
        "macs": macs(model, study.settings.image_size),
        "data": study.image_set.hash,
        **{name: made[name] for name in ("kdnb", "commit", "processor")},
    }
