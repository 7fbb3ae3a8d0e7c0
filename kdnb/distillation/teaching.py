"""What teaches: the replayable cache of a teacher's logits, and the controls that take its place (notebook 03)."""

import numpy as np
import torch
from scipy.optimize import brentq

from kdnb.data import ImageSet
from kdnb.errors import UserError
from kdnb.metrics import softmax
from kdnb.progress import say, track
from kdnb.runs import Run, atomic_path, get_or_make
from kdnb.settings import CONTROLS, Settings
from kdnb.training import load_teacher, predict, train_teacher, untrained_teacher

__all__ = ["cached_logits", "controlled", "teacher_of"]


def teacher_of(settings: Settings, image_set: ImageSet, device: torch.device) -> Run:
    """The teacher's run: trained now, or found.

    The control "random" takes an untrained network, "early" one trained for a quarter of the epochs (arXiv
    1910.01348); the other controls change the logits of the trained teacher, see :func:`controlled`.
    """
    if settings.control == "random":
        return untrained_teacher(settings, image_set, device)
    if settings.control == "early":
        settings = settings.model_copy(update={"teacher_epochs": max(1, settings.teacher_epochs // 4)})
    return train_teacher(settings, image_set, device)


def cached_logits(settings: Settings, image_set: ImageSet, teacher: Run, device: torch.device) -> Run:
    """The teacher's logits for every augmented view that a student will see: computed once, replayed by every student.

    The run holds ``logits.npy``, (views, N, K) float32; rows outside the training part are NaN. Student and teacher
    see the same view of the same image (arXiv 2106.05237).
    """

    def make(run: Run) -> None:
        model = load_teacher(teacher, len(image_set.classes), device)
        rows = image_set.rows("train")
        logits = np.full((settings.views, len(image_set.table), len(image_set.classes)), np.nan, dtype=np.float32)
        for view in track(range(settings.views), "teacher logits"):
            of_view = {"seed": settings.seed, "view": view}
            logits[view, rows] = predict(model, image_set, rows, settings.batch_size, device, **of_view)
            say(f"  teacher logits: view {view + 1}/{settings.views}")
        with atomic_path(run.path("logits.npy")) as path, path.open("wb") as file:
            np.save(file, logits)

    parameters = {"views": settings.views, "seed": settings.seed}
    return get_or_make("teacher_logits", parameters, make, root=settings.runs, upstream=[image_set.hash, teacher.id])


def controlled(logits: np.ndarray, targets: np.ndarray, control: str, temperature: float, seed: int = 0) -> np.ndarray:
    """The logits (V, N, K) float32 that a control puts in the place of the teacher's, of V views of N images.

    - "shuffled": the teacher's answer to another image of the same class. What it knows of the single image is gone.
    - "smoothing": no teacher at all, but a label smoothed evenly, as soft at this temperature as the teacher is on
      average (equal mean entropy; arXiv 1512.00567, section 7).
    - "", "random", "early": unchanged; the latter two are other networks, see :func:`teacher_of`.

    Rows of the teacher's ``logits`` that are never used are NaN; ``targets`` (N,) are class indices. ``temperature`` is
    that of the entropy, ``seed`` that of the shuffling.
    """
    if control not in CONTROLS:
        raise UserError(f"control must be one of {', '.join(map(repr, CONTROLS))}, got {control!r}")
    used = np.flatnonzero(~np.isnan(logits).any(axis=(0, 2)))
    if control == "shuffled":
        rng, order = np.random.default_rng(seed), np.arange(logits.shape[1])
        for label in np.unique(targets[used]):
            rows = used[targets[used] == label]
            order[rows] = rng.permutation(rows)
        return logits[:, order]
    if control == "smoothing":
        height = _as_soft_as(logits[:, used].reshape(-1, logits.shape[2]), temperature)
        return np.broadcast_to(height * np.eye(logits.shape[2], dtype=np.float32)[targets], logits.shape)
    return logits


def _as_soft_as(logits: np.ndarray, temperature: float) -> float:
    """The logit of the label, against 0 elsewhere, whose softened entropy is the mean one of logits (M, K)."""

    def entropy(rows: np.ndarray) -> float:
        p = np.clip(softmax(rows, temperature), 1e-300, None)
        return float(-(p * np.log(p)).sum(1).mean())

    wanted, one = entropy(logits), np.eye(logits.shape[1])[:1]
    largest = 500.0 * temperature  # softer than this no float can tell from a hard label
    if wanted <= entropy(largest * one):
        return largest
    return brentq(lambda height: entropy(height * one) - wanted, 0.0, largest)
