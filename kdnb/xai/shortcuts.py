"""Phantoms with planted traps: students that cheat, and a bright thing (notebooks 04, 05)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from kdnb.core.errors import UserError
from kdnb.core.intervals import Interval
from kdnb.core.method_names import method_name
from kdnb.core.model_names import LABEL_ONLY
from kdnb.core.progress import tell
from kdnb.core.protocols import ImagesOfStudy
from kdnb.core.runs import Run
from kdnb.core.statistics import Groups, seed_interval, share_interval
from kdnb.data.dataset import ImageSet, load
from kdnb.data.phantoms.drawing import render
from kdnb.data.phantoms.plan import PhantomPlan
from kdnb.data.registry import phantom_plan
from kdnb.data.sources import phantom_source
from kdnb.data.study_images import StudyImages
from kdnb.data.transforms import to_tensor
from kdnb.distillation.train_student import train_student
from kdnb.feature_maps.mask_metrics import energy_in_mask, pointing_game
from kdnb.training.fit import predict
from kdnb.training.trained_students import load_student
from kdnb.xai.attribution import Context
from kdnb.xai.evaluation import explainer, explanations
from kdnb.xai.methods import explain

__all__ = [
    "CHEATED",
    "LURING",
    "SMALL",
    "TrapMaps",
    "cheat_maps",
    "distractor_maps",
    "distractor_shares",
    "distractor_test",
    "shortcut_test",
    "train_cheating",
    "train_lured",
]

SMALL = {
    "data": "",
    "split": "grouped",
    "sizes_of": "",
    "window": [],
    "image_size": 32,
    "patients": 64,
    "slices": 4,
    "difficulty": 0.0,
    "test_share": 0.2,
    "fraction": 1.0,
    "student": "five_conv",
    "width": 1.0,
    "student_epochs": 8,
    "views": 2,
    "batch_size": 16,
    "learning_rate": 2e-3,
    "mixup": False,
    "precision": "float32",
}
CHEATED = "phantom_dementia_shortcut"  # the true sign is hard to see there, and the mark is easy
LURING = "phantom_brain_distractor"
SHOWN = 8  # images of a small study that are explained
LURED_MAPS = {  # row of the table of the blob → method
    "average map": "average map",
    "class evidence": "evidence",
    "class evidence, for or against": "evidence",
}
CHEATING = "cheating"
HONEST = "honest"


@dataclass(frozen=True)
class TrapMaps:
    """Images with a trap, and what some maps make of it.

    Attributes:
        pixels: (N, S, S, 3) uint8.
        traps: (N, S, S) bool, where the trap lies.
        maps: What a map is of → (N, S, S) raw values.
        titles: N texts beside the images.
    """

    pixels: np.ndarray
    traps: np.ndarray
    maps: Mapping[str, np.ndarray]
    titles: tuple[str, ...]


def train_lured(study: ImagesOfStudy) -> list[Run]:
    """Train label-only students, one per seed, on brain phantoms with a blob that tells nothing."""
    small = _small(study, LURING)
    return _train_students(small, small.image_set)


def train_cheating(study: ImagesOfStudy) -> dict[str, list[Run]]:
    """Train label-only students, one per seed, on dementia phantoms with a mark in a corner.

    Returns:
        "cheating": of phantoms whose mark names the class. "honest": of the same phantoms with
        marks that say nothing.
    """
    small = _small(study, CHEATED)
    return {
        CHEATING: _train_students(small, small.image_set),
        HONEST: _train_students(small, _fair(small)),
    }


def distractor_test(study: ImagesOfStudy, students: Sequence[Run]) -> pd.DataFrame:
    """Where the first layer points in phantoms with a bright thing that tells nothing.

    Args:
        study: Device and seeds.
        students: Of `train_lured`.

    Returns:
        The table of `distractor_shares`.
    """
    small = _small(study, LURING)
    rows = small.image_set.rows("test")
    masks = _blobs(small, rows)
    models = _load(small, students)
    images = small.images(rows)
    return distractor_shares(models, images, small.targets(rows), masks, small.test_groups)


def distractor_shares(
    models: Sequence[nn.Module],
    images: Tensor,
    targets: Tensor,
    distractors: np.ndarray,
    groups: Groups | np.ndarray,
    *,
    tap: int = 0,
) -> pd.DataFrame:
    """How often the average map and the class evidence peak on a distractor.

    That is a bright thing that tells nothing of the class. Evidence has a sign: its peak is taken
    of what speaks for the class, and, in a row of its own, of what speaks for or against it.

    Args:
        models: Students of several seeds.
        images: (N, 3, H, W).
        targets: (N,) class numbers.
        distractors: (N, H, W) bool, see :class:`kdnb.data.phantoms.drawing.Phantom`.
        groups: (N,) patient of each image.
        tap: Number of the tap, 0 is the first.

    Returns:
        Index ``map``; ``share`` of images whose peak lies on the distractor, with its 95 % interval
        over seeds and groups (low, high), ``chance`` (the distractor's share of the image),
        ``seeds`` and ``images``.
    """
    context = Context(images, tap=tap)
    rows = {}
    for name, method in LURED_MAPS.items():
        hits = []
        for model in models:
            maps = explain(method, model, images, targets, context).maps
            hits.append(pointing_game(np.abs(maps) if "against" in name else maps, distractors))
        share, low, high = share_interval(np.stack(hits), groups)
        rows[name] = {
            "share": share,
            "low": low,
            "high": high,
            "chance": distractors.mean(),
            "seeds": len(models),
            "images": len(images),
        }
    return pd.DataFrame(rows).T.astype({"seeds": int, "images": int}).rename_axis("map")


def distractor_maps(study: ImagesOfStudy, students: Sequence[Run], count: int = 3) -> TrapMaps:
    """Some images with a blob that tells nothing, and two maps of the first layer of a student.

    Args:
        study: Device and seeds.
        students: Of `train_lured`; the first is shown.
        count: Images, the classes in turn.
    """
    small = _small(study, LURING)
    rows = small.sample(count)
    [model, *_] = _load(small, students)
    images = small.images(rows)
    tap = next(iter(model.taps))
    context = Context(images, tap=0)
    maps = {}
    for key in ("average map", "evidence"):
        found = explain(key, model, images, small.targets(rows), context)
        maps[method_name(key, tap)] = found.maps
    return TrapMaps(
        pixels=small.pixels(rows),
        traps=_blobs(small, rows),
        maps=maps,
        titles=tuple(small.labels(rows)),
    )


def _blobs(small: StudyImages, rows: np.ndarray) -> np.ndarray:
    """(N, S, S) bool: the bright thing in each image of some rows (N,)."""
    plan = phantom_plan(small.settings)
    shown = small.image_set.table["image_id"].iloc[rows]
    phantoms = [render(plan, image_id, small.image_set.size) for image_id in shown]
    return np.stack([phantom.distractor for phantom in phantoms])


def shortcut_test(
    study: ImagesOfStudy, students: Mapping[str, Sequence[Run]]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Students that cheat: which explanations show it?

    All see test images whose mark says nothing, and explain the class that they name.

    Args:
        study: Device, seeds and samples.
        students: Of `train_cheating`.

    Returns:
        Accuracy: index ``student``, columns (marks, value · low · high). Energy of each
        explanation's map in the mark: index ``explanation``; ``cheating`` and ``honest``, their
        ``difference`` with its 95 % interval over seeds and patients (low, high), ``chance`` (the
        mark's share of the image), and whether it ``reveals`` the cheat (1, 0): the whole interval
        of the difference lies above ``chance``, so that an eye may see it; ``seeds``, ``images``.
    """
    small = _small(study, CHEATED)
    fair = _fair(small)
    models = {student: _load(small, runs) for student, runs in students.items()}
    marks = {"mark names the class": small.image_set, "mark says nothing": fair}
    accuracy = {student: _accuracies(small, of, marks) for student, of in models.items()}
    accuracies = pd.DataFrame(accuracy).T.rename_axis("student")
    return accuracies, _energies(small, fair, models)


def _small(study: ImagesOfStudy, dataset: str) -> StudyImages:
    """The images of a small study on other phantoms, the same in every profile: seconds."""
    return StudyImages(study.settings.model_copy(update=SMALL | {"dataset": dataset}))


def _fair_plan(small: StudyImages) -> PhantomPlan:
    """The phantoms of a small study with marks that say nothing: any class as often as others."""
    return replace(phantom_plan(small.settings), shortcut=0.25)


def _fair(small: StudyImages) -> ImageSet:
    """The images of `_fair_plan`."""
    return load(small.settings, phantom_source(_fair_plan(small)))


def _train_students(small: StudyImages, image_set: ImageSet) -> list[Run]:
    """Label-only students of every seed, trained on these images now, or found."""
    return [
        train_student(of_seed, image_set, None, small.device, alpha=1.0)
        for of_seed in small.settings.per_student_seed
    ]


def _load(small: StudyImages, runs: Sequence[Run]) -> list[nn.Module]:
    """The networks of some runs, in eval mode."""
    classes = len(small.image_set.classes)
    return [load_student(run, classes, small.device) for run in runs]


def _accuracies(
    small: StudyImages, models: Sequence[nn.Module], marks: Mapping[str, ImageSet]
) -> dict[tuple[str, str], float]:
    """(marks, value · low · high) → number, of the students of every seed together."""
    row = {}
    for mark, image_set in marks.items():
        value, low, high = _accuracy(small, models, image_set)
        row[mark, "value"] = value
        row[mark, "low"] = low
        row[mark, "high"] = high
    return row


def _accuracy(small: StudyImages, models: Sequence[nn.Module], image_set: ImageSet) -> Interval:
    """Accuracy on the test part, of the students of every seed together."""
    rows = image_set.rows("test")
    right = []
    for model in models:
        logits = predict(model, image_set, rows, small.settings.batch_size, small.device)
        right.append(logits.argmax(1) == small.test_targets)
    return share_interval(np.stack(right).astype(float), small.test_groups)


def _energies(
    small: StudyImages, fair: ImageSet, models: Mapping[str, Sequence[nn.Module]]
) -> pd.DataFrame:
    """The second table of `shortcut_test`."""
    rows = small.sample(SHOWN)
    masks = _marks(small, fair, rows)
    images = to_tensor(fair.pixels[rows]).to(small.device)
    groups = small.groups(rows)
    energy = {}
    for name in explanations(LABEL_ONLY):
        inside = {}  # student → (S, N)
        for student, of in models.items():
            energies = [_energy(small, name, model, images, masks) for model in of]
            inside[student] = np.stack(energies)
        gap = inside[CHEATING] - inside[HONEST]
        known = ~np.isnan(gap).any(axis=0)  # what is empty, or refused, is left out of every number
        value, low, high = seed_interval(gap, groups, bounds=(-1, 1))
        energy[name] = {
            CHEATING: inside[CHEATING][:, known].mean() if known.any() else np.nan,
            HONEST: inside[HONEST][:, known].mean() if known.any() else np.nan,
            "difference": value,
            "low": low,
            "high": high,
            "chance": masks.mean(),
            "reveals": float(low > masks.mean()),
            "seeds": len(gap),
            "images": known.sum(),
        }
    table = pd.DataFrame(energy).T.astype({"seeds": int, "images": int})
    return table.rename_axis("explanation")


def _marks(small: StudyImages, fair: ImageSet, rows: np.ndarray) -> np.ndarray:
    """(N, S, S) bool: the mark in the corner of each image of some rows (N,)."""
    plan = _fair_plan(small)
    shown = fair.table["image_id"].iloc[rows]
    phantoms = [render(plan, image_id, fair.size) for image_id in shown]
    return np.stack([phantom.mark for phantom in phantoms])


def _energy(
    small: StudyImages, name: str, model: nn.Module, images: Tensor, masks: np.ndarray
) -> np.ndarray:
    """(N,) energy in the masks of an explanation of the class that the model names.

    NaN where the explanation is refused, or empty.
    """
    try:
        _, maps = _named_and_maps(small, name, model, images)
    except UserError as refusal:
        tell(str(refusal))
        return np.full(len(images), np.nan)
    return energy_in_mask(maps, masks)


def _named_and_maps(
    small: StudyImages, name: str, model: nn.Module, images: Tensor
) -> tuple[Tensor, np.ndarray]:
    """The classes (N,) that a model names, and an explanation's maps (N, S, S) of them."""
    with torch.inference_mode():
        named = model(images).argmax(1).cpu()
    named = named.clone()  # no inference tensor
    return named, explainer(small, name)(model, images, named)


def cheat_maps(
    study: ImagesOfStudy, students: Mapping[str, Sequence[Run]], name: str, count: int = 3
) -> TrapMaps:
    """Images whose mark lies, and what an explanation shows of the honest and the cheating student.

    Those come first on which the mark misleads the cheating student alone.

    Args:
        study: Device, seeds and samples.
        students: Of `train_cheating`; the first seed is shown.
        name: Of the explanation, a key of `kdnb.xai.evaluation.EXPLANATIONS`.
        count: Images at most.
    """
    small = _small(study, CHEATED)
    fair = _fair(small)
    rows = small.sample(SHOWN)
    images = to_tensor(fair.pixels[rows]).to(small.device)
    truth = small.targets(rows)
    named = {}
    maps = {}
    for student in (HONEST, CHEATING):
        [model, *_] = _load(small, students[student])
        named[student], maps[f"{student} student"] = _named_and_maps(small, name, model, images)
    misled = (named[CHEATING] != truth).int() + (named[HONEST] == truth).int()
    chosen = np.argsort(-misled.numpy(), kind="stable")[:count]
    classes = fair.classes
    titles = []
    for place in chosen:
        cheat, honest = (classes[named[student][place]] for student in (CHEATING, HONEST))
        titles.append(f"true: {classes[truth[place]]}\nhonest says: {honest}\ncheat says: {cheat}")
    return TrapMaps(
        pixels=fair.pixels[rows][chosen],
        traps=_marks(small, fair, rows)[chosen],
        maps={student: of_student[chosen] for student, of_student in maps.items()},
        titles=tuple(titles),
    )
