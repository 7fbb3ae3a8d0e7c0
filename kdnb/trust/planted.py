"""Phantoms with planted traps: students that cheat, and a bright thing that tells nothing (notebook 05)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from kdnb.data import ImageSet, load, phantom_plan, to_tensor
from kdnb.data.sources import phantom_source
from kdnb.distillation import distil, load_student
from kdnb.faithfulness import distractor_shares, energy_in_mask
from kdnb.metrics import Interval, seed_interval, share_interval
from kdnb.phantoms import render
from kdnb.study import Study
from kdnb.training import predict
from kdnb.trust.grading import STUDENTS, explainer, explanations

__all__ = ["CHEATED", "LURING", "SMALL", "distractor", "shortcut"]

SMALL = {
    "data": "", "split": "grouped", "image_size": 32, "patients": 64, "slices": 4, "fraction": 1.0,
    "student": "five_conv", "width": 1.0, "student_epochs": 8, "views": 2, "batch_size": 16, "learning_rate": 2e-3,
    "precision": "float32",
}  # fmt: skip
CHEATED = "phantom_dementia_shortcut"  # the true sign is hard to see there, and the mark is easy
LURING = "phantom_brain_distractor"
SHOWN = 8  # images of a small study that are explained


def _small(study: Study, dataset: str) -> Study:
    """A small study of its own on other phantoms, the same in every profile: seconds."""
    return Study(study.settings.model_copy(update=SMALL | {"dataset": dataset}))


def _students(study: Study, image_set: ImageSet) -> list[nn.Module]:
    """Label-only students of every seed, trained on these images."""
    runs = [distil(one, image_set, None, study.device, alpha=1.0) for one in study.settings.of_seeds]
    return [load_student(run, len(image_set.classes), study.device) for run in runs]


def distractor(study: Study) -> pd.DataFrame:
    """Where the first layer points in phantoms with a bright thing that tells nothing, see `distractor_shares`."""
    small = _small(study, LURING)
    rows, plan = small.image_set.rows("test"), phantom_plan(small.settings)
    shown = small.image_set.table["image_id"].iloc[rows]
    masks = np.stack([render(plan, i, small.image_set.size).distractor for i in shown])
    models = _students(small, small.image_set)
    return distractor_shares(models, small.images(rows), small.targets(rows), masks, small.test_groups)


def shortcut(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Students that cheat: which explanations show it?

    One student learns from phantoms whose corner mark names the class, its honest twin from the same phantoms with
    marks that say nothing. Both see test images whose mark says nothing, and explain the class that they name.

    Returns:
        Accuracy: index ``student``, columns (marks, value · low · high). Energy of each explanation's map in the mark:
        index ``explanation``; ``cheating`` and ``honest``, their ``difference`` with its 95 % interval over seeds and
        patients (low, high), ``chance`` (the mark's share of the image), and whether it ``reveals`` the cheat (1, 0):
        the whole interval of the difference lies above ``chance``, so that an eye may see it; ``seeds``, ``images``.
    """
    small = _small(study, CHEATED)
    plan = replace(phantom_plan(small.settings), shortcut=0.25)  # any class as often as any other
    fair = load(small.settings, phantom_source(plan))
    students = {"cheating": _students(small, small.image_set), "honest": _students(small, fair)}
    marks = {"mark names the class": small.image_set, "mark says nothing": fair}
    accuracy = {
        name: {(told, part): number for told, images in marks.items()
               for part, number in zip(("value", "low", "high"), _accuracy(small, models, images), strict=True)}
        for name, models in students.items()
    }  # fmt: skip
    rows = small.sample(SHOWN)
    masks = np.stack([render(plan, i, fair.size).mark for i in fair.table["image_id"].iloc[rows]])
    images, groups = to_tensor(fair.pixels[rows]).to(study.device), small.groups(rows)
    energy = {}
    for name in explanations(STUDENTS[1]):
        inside = {who: np.stack([_energy(small, name, m, images, masks) for m in models])
                  for who, models in students.items()}  # fmt: skip
        value, low, high = seed_interval(inside["cheating"] - inside["honest"], groups, bounds=(-1, 1))
        means = {who: np.nanmean(values) for who, values in inside.items()}
        energy[name] = {**means, "difference": value, "low": low, "high": high, "chance": masks.mean(),
                        "reveals": float(low > masks.mean()), "seeds": study.settings.student_seeds,
                        "images": len(rows)}  # fmt: skip
    table = pd.DataFrame(energy).T.astype({"seeds": int, "images": int})
    return pd.DataFrame(accuracy).T.rename_axis("student"), table.rename_axis("explanation")


def _energy(study: Study, name: str, model: nn.Module, images: Tensor, masks: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        said = model(images).argmax(1).cpu()
    return energy_in_mask(explainer(study, name)(model, images, said.clone()), masks)


def _accuracy(study: Study, models: Sequence[nn.Module], image_set: ImageSet) -> Interval:
    rows, size = image_set.rows("test"), study.settings.batch_size
    right = [predict(m, image_set, rows, size, study.device).argmax(1) == study.test_targets for m in models]
    return share_interval(np.stack(right).astype(float), study.test_groups)
