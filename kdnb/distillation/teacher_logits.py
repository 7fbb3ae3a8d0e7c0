"""What teaches: a teacher's logits, cached, and the controls that take its place (notebook 03)."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import brentq

from kdnb.core.errors import UserError
from kdnb.core.progress import tell, track
from kdnb.core.runs import Run, Spec, atomic_path, find_run, get_or_make
from kdnb.core.settings import CONTROLS, Settings
from kdnb.core.statistics import softmax
from kdnb.data.dataset import ImageSet
from kdnb.training.fit import predict
from kdnb.training.train_teacher import (
    find_teacher,
    find_untrained_teacher,
    load_teacher,
    make_untrained_teacher,
    train_teacher,
)

__all__ = [
    "cache_logits",
    "controlled_logits",
    "find_logits",
    "find_teacher_or_control",
    "logits_spec",
    "train_teacher_or_control",
]


def train_teacher_or_control(settings: Settings, image_set: ImageSet, device: torch.device) -> Run:
    """The run of the network that teaches: trained now, or found.

    The control "random" takes an untrained network, "early" one trained for a quarter of the epochs
    (arXiv 1910.01348); the other controls change the logits of the trained teacher, see
    :func:`controlled_logits`.
    """
    if settings.control == "random":
        return make_untrained_teacher(settings, image_set, device)
    return train_teacher(_with_control_epochs(settings), image_set, device)


def find_teacher_or_control(
    settings: Settings, image_set: ImageSet, device: torch.device
) -> Run | None:
    """The finished run that `train_teacher_or_control` would find, or None; nothing is trained."""
    if settings.control == "random":
        return find_untrained_teacher(settings, image_set, device)
    return find_teacher(_with_control_epochs(settings), image_set, device)


def _with_control_epochs(settings: Settings) -> Settings:
    if settings.control != "early":
        return settings
    return settings.model_copy(update={"teacher_epochs": max(1, settings.teacher_epochs // 4)})


def cache_logits(
    settings: Settings, image_set: ImageSet, teacher: Run, device: torch.device
) -> Run:
    """The teacher's logits for every augmented view that a student will see.

    Computed once, replayed by every student. The run holds ``logits.npy``, (views, N, K) float32;
    rows outside the training part are NaN. Student and teacher see the same view of the same image
    (arXiv 2106.05237).
    """

    def make(run: Run) -> None:
        model = load_teacher(teacher, len(image_set.classes), device)
        rows = image_set.rows("train")
        shape = (settings.views, len(image_set.table), len(image_set.classes))
        logits = np.full(shape, np.nan, dtype=np.float32)
        for view in track(range(settings.views), "teacher logits"):
            logits[view, rows] = predict(
                model,
                image_set,
                rows,
                settings.batch_size,
                device,
                seed=settings.seed,
                view=view,
                mixup=settings.mixup,
            )
            tell(f"teacher logits: view {view + 1}/{settings.views}")
        with atomic_path(run.path("logits.npy")) as path, path.open("wb") as file:
            np.save(file, logits)

    spec = logits_spec(settings, image_set, teacher)
    return get_or_make(spec.kind, spec.parameters, make, root=settings.runs, upstream=spec.upstream)


def logits_spec(settings: Settings, image_set: ImageSet, teacher: Run) -> Spec:
    """What identifies the run of `cache_logits`."""
    parameters: dict[str, object] = {"views": settings.views, "seed": settings.seed}
    if settings.mixup:
        parameters["mixup"] = True
    upstream = (image_set.hash, teacher.id)
    return Spec(kind="teacher_logits", parameters=parameters, upstream=upstream)


def find_logits(settings: Settings, image_set: ImageSet, teacher: Run) -> Run | None:
    """The finished run that `cache_logits` would find, or None; nothing is computed."""
    spec = logits_spec(settings, image_set, teacher)
    return find_run(spec.kind, spec.parameters, root=settings.runs, upstream=spec.upstream)


def controlled_logits(
    logits: np.ndarray, targets: np.ndarray, control: str, temperature: float, seed: int = 0
) -> np.ndarray:
    """The logits that a control puts in the place of the teacher's.

    - "shuffled": the teacher's logits of another image of the same class. What it knows of the
      single image is gone. The only image of a class keeps its own.
    - "smoothing": no teacher at all, but a label smoothed evenly, as soft at this temperature as
      the teacher is on average (equal mean entropy; arXiv 1512.00567, section 7).
    - "", "random", "early": unchanged; the latter two are other networks, see
      :func:`train_teacher_or_control`.

    Args:
        logits: (V, N, K) float32 of V views of N images; NaN where an image is never used.
        targets: (N,) class indices.
        control: One of ``CONTROLS``.
        temperature: At which the entropy of "smoothing" is that of the teacher.
        seed: Of the shuffling.

    Returns:
        (V, N, K) float32.

    Raises:
        UserError: If there is no control of this name.
    """
    if control not in CONTROLS:
        raise UserError(f"control must be one of {', '.join(map(repr, CONTROLS))}, got {control!r}")
    used = np.flatnonzero(~np.isnan(logits).any(axis=(0, 2)))
    if control == "shuffled":
        rng = np.random.default_rng(seed)
        order = np.arange(logits.shape[1])
        for label in np.unique(targets[used]):
            rows = used[targets[used] == label]
            shuffled = rng.permutation(rows)
            order[shuffled] = np.roll(shuffled, 1)  # a ring: no image gets its own
        return logits[:, order]
    if control == "smoothing":
        classes = logits.shape[2]
        label_logit = _label_logit(logits[:, used].reshape(-1, classes), temperature)
        one_hot = np.eye(classes, dtype=np.float32)[targets]
        return np.broadcast_to(label_logit * one_hot, logits.shape)
    return logits


def _label_logit(logits: np.ndarray, temperature: float) -> float:
    """The label's logit, with 0 for the other classes, as soft as logits (M, K) are on average."""
    teacher_entropy = _mean_entropy(logits, temperature)
    one_hot = np.eye(logits.shape[1])[:1]  # (1, K)

    def surplus(label_logit: float) -> float:
        return _mean_entropy(label_logit * one_hot, temperature) - teacher_entropy

    largest = 500.0 * temperature  # beyond it no float can tell it from a hard label
    if surplus(largest) >= 0:
        return largest
    return brentq(surplus, 0.0, largest)


def _mean_entropy(logits: np.ndarray, temperature: float) -> float:
    """Of the softened probabilities of logits (M, K), in nats."""
    p = np.clip(softmax(logits, temperature), 1e-300, None)
    return float(-(p * np.log(p)).sum(1).mean())
