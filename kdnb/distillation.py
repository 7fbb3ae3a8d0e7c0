"""Distillation: the losses, the replayable cache of teacher logits, and the student's training (notebook 03)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax, softmax

from kdnb.data import Batch, ImageSet
from kdnb.errors import UserError
from kdnb.models import load_weights, make_student
from kdnb.progress import say, track
from kdnb.runs import Run, atomic_path, get_or_make
from kdnb.settings import Settings
from kdnb.training import Loss, finish, fit, label_loss, load_teacher, predict, schedule_of

__all__ = ["as_coded_loss", "cached_logits", "distil", "kd_loss", "load_student", "soft_gradient", "soft_loss"]

KdLoss = Callable[[Tensor, Tensor, Tensor, float, float], Tensor]  # student, teacher, targets, alpha, temperature


def soft_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T² · KL(teacher ‖ student) of logits softened by T, mean over the batch (arXiv 1503.02531, section 2).

    The factor T² keeps the gradient's size about the same when T changes: without it, it shrinks like 1/T².

    Args:
        student: (B, K) logits.
        teacher: (B, K) logits; no gradient flows into them.
        temperature: T > 0; larger is softer.

    Returns:
        Scalar, ≥ 0, in nats.

    Raises:
        UserError: If T is not a positive number or the shapes differ.

    >>> round(soft_loss(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), 1.0).item(), 4)
    0.4621
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise UserError(f"temperature must be a number above 0, got {temperature}")
    if student.shape != teacher.shape:
        raise UserError(f"student and teacher logits must have one shape, got {tuple(student.shape)} and "
                        f"{tuple(teacher.shape)}: are their classes the same?")  # fmt: skip
    log_student = log_softmax(student / temperature, dim=1)
    log_teacher = log_softmax(teacher.detach() / temperature, dim=1)
    return temperature**2 * kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)


def kd_loss(student: Tensor, teacher: Tensor, targets: Tensor, alpha: float, temperature: float) -> Tensor:
    """α · cross-entropy with the labels + (1 − α) · :func:`soft_loss` (arXiv 1503.02531; weights as in KD-FMV).

    Args:
        student: (B, K) logits.
        teacher: (B, K) logits.
        targets: (B,) class indices.
        alpha: Weight of the hard loss in [0, 1]; 1 is training on labels alone.
        temperature: T > 0.

    Returns:
        Scalar in nats.

    Raises:
        UserError: If alpha or the temperature is out of range, or the shapes differ.
    """
    if not 0 <= alpha <= 1:
        raise UserError(f"alpha must be a number in [0, 1], got {alpha}")
    return alpha * cross_entropy(student, targets) + (1 - alpha) * soft_loss(student, teacher, temperature)


def as_coded_loss(student: Tensor, teacher: Tensor, targets: Tensor, alpha: float, temperature: float) -> Tensor:
    """The loss of the authors' earlier public code, here to show that its soft part is dead.

    Its soft part is the cross-entropy between softmax(one-hot labels / T) and softmax(teacher probabilities / T):
    the student does not occur in it. It also takes softmax of probabilities and leaves out T².
    Arguments and result as in :func:`kd_loss`.
    """
    one_hot = torch.eye(student.shape[1], dtype=student.dtype, device=student.device)[targets]
    labels = softmax(one_hot / temperature, dim=1)
    log_teacher = log_softmax(softmax(teacher, dim=1) / temperature, dim=1)
    soft = -(labels * log_teacher).sum(1).mean()
    return alpha * cross_entropy(student, targets) + (1 - alpha) * soft


def soft_gradient(loss: KdLoss, student: Tensor, teacher: Tensor, targets: Tensor, temperature: float) -> float:
    """Liveness test: length of the gradient of a loss's soft part (α = 0) at the student's logits; 0 means dead.

    Args:
        loss: :func:`kd_loss`, :func:`as_coded_loss` or a function of the same arguments.
        student: (B, K) logits.
        teacher: (B, K) logits.
        targets: (B,) class indices.
        temperature: T > 0.
    """
    logits = student.detach().clone().requires_grad_(True)
    value = loss(logits, teacher, targets, 0.0, temperature)
    value = value + 0.0 * logits.sum()  # so that a loss without the student still has a (zero) gradient
    return torch.autograd.grad(value, logits)[0].norm().item()


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
            logits[view, rows] = predict(
                model, image_set, rows, settings.batch_size, device, seed=settings.seed, view=view
            )
            say(f"  teacher logits: view {view + 1}/{settings.views}")
        with atomic_path(run.path("logits.npy")) as path, path.open("wb") as file:
            np.save(file, logits)

    parameters = {"views": settings.views, "seed": settings.seed}
    return get_or_make("teacher_logits", parameters, make, root=settings.runs, upstream=[image_set.hash, teacher.id])


def distil(
    settings: Settings, image_set: ImageSet, teacher: Run, device: torch.device, *, alpha: float | None = None
) -> Run:
    """The student's run: trained now, or found.

    ``alpha`` replaces ``settings.alpha``; at 1 the student learns from labels alone and the teacher is not used, so
    that every KD result has its control: same initialisation, same order, same views.
    """
    alpha = settings.alpha if alpha is None else alpha
    schedule = schedule_of(settings, settings.student_epochs)
    cache = cached_logits(settings, image_set, teacher, device) if alpha < 1 else None

    def make(run: Run) -> None:
        model = make_student(len(image_set.classes), seed=settings.seed)
        loss = label_loss if cache is None else _replayed_loss(cache, alpha, settings.temperature)
        fit(model, image_set, loss, schedule, run, device)
        finish(model, image_set, schedule, run, device)

    loss = {"loss": "labels"} if cache is None else {"loss": "kd", "alpha": alpha, "temperature": settings.temperature}
    upstream = [image_set.hash] + ([] if cache is None else [cache.id])
    parameters = {"model": "five_conv", **loss, "schedule": vars(schedule)}
    return get_or_make("student", parameters, make, root=settings.runs, upstream=upstream)


def _replayed_loss(cache: Run, alpha: float, temperature: float) -> Loss:
    logits = torch.from_numpy(np.load(cache.path("logits.npy")))  # (V, N, K)

    def loss(student: Tensor, batch: Batch) -> Tensor:
        teacher = logits[batch.view, batch.rows].to(student.device)
        return kd_loss(student, teacher, batch.targets.to(student.device), alpha, temperature)

    return loss


def load_student(run: Run, classes: int, device: torch.device) -> nn.Module:
    """The trained student of a run, in eval mode."""
    return load_weights(make_student(classes), run.path("model.safetensors")).to(device)
