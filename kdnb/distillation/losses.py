"""Losses: what a student takes over from its teacher, and the test that it can (notebook 03)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn.functional import (
    cross_entropy,
    kl_div,
    log_softmax,
    logsigmoid,
    normalize,
    one_hot,
    softmax,
)

from kdnb.core.errors import UserError

__all__ = [
    "LOSSES",
    "as_coded_loss",
    "attention_loss",
    "dkd_loss",
    "kd_loss",
    "soft_gradient",
    "soft_loss",
    "standardised_loss",
    "usable_losses",
]

# student, teacher, targets, alpha, temperature
KdLoss = Callable[[Tensor, Tensor, Tensor, float, float], Tensor]
NCKD_WEIGHT = 8.0  # of the non-target part in DKD, its authors' value


def soft_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T² · KL(teacher ‖ student) of logits softened by T, mean over the batch.

    From arXiv 1503.02531, section 2. The factor T² keeps the gradient's size about the same when T
    changes: without it, it shrinks like 1/T².

    Args:
        student: (B, K) logits.
        teacher: (B, K) logits; no gradient flows into them.
        temperature: T > 0; larger is softer.

    Returns:
        Scalar, ≥ 0, in nats; a UserError if T is not a positive number or the shapes differ.

    >>> round(soft_loss(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), 1.0).item(), 4)
    0.4621
    """
    _check_logits(student, teacher, temperature)
    log_student = log_softmax(student / temperature, dim=1)
    log_teacher = log_softmax(teacher.detach() / temperature, dim=1)
    return temperature**2 * kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)


def kd_loss(
    student: Tensor, teacher: Tensor, targets: Tensor, alpha: float, temperature: float
) -> Tensor:
    """α · cross-entropy with the labels + (1 − α) · :func:`soft_loss`.

    From arXiv 1503.02531, with the weights as in KD-FMV. ``targets`` (B,) are class indices,
    ``alpha`` in [0, 1] is the weight of the hard loss: 1 is training on labels alone. Other
    arguments, result and errors as in :func:`soft_loss`.
    """
    soft = soft_loss(student, teacher, temperature)
    return _mixed(student, targets, alpha, soft)


def dkd_loss(
    student: Tensor, teacher: Tensor, targets: Tensor, alpha: float, temperature: float
) -> Tensor:
    """α · cross-entropy + (1 − α) · T² · (TCKD + 8 · NCKD): decoupled distillation.

    From arXiv 2203.08679, equation 7. TCKD compares the probability of the target class with all
    others together; NCKD compares how the others share what is left. Plain distillation is
    TCKD + (1 − p) · NCKD, with the teacher's probability p of the target: a sure teacher silences
    the second part. Arguments and result as in :func:`kd_loss`; also a UserError for two classes,
    where only one other class is left and NCKD is always 0.
    """
    _check_logits(student, teacher, temperature)
    _require_three_classes("dkd", student.shape[1])
    student_target, student_others = _decoupled(student / temperature, targets)
    teacher_target, teacher_others = _decoupled(teacher.detach() / temperature, targets)
    tckd = kl_div(student_target, teacher_target, reduction="batchmean", log_target=True)
    nckd = kl_div(student_others, teacher_others, reduction="batchmean", log_target=True)
    return _mixed(student, targets, alpha, temperature**2 * (tckd + NCKD_WEIGHT * nckd))


def _decoupled(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities of target and not target (B, 2), and of the others among themselves.

    The latter are (B, K - 1); the target is left out of their sum.
    """
    classes = logits.shape[1]
    not_target = ~one_hot(targets, classes).bool()
    others = logits[not_target].view(-1, classes - 1)
    odds = logits.gather(1, targets[:, None])[:, 0] - others.logsumexp(1)
    target_or_not = torch.stack([logsigmoid(odds), logsigmoid(-odds)], dim=1)
    return target_or_not, log_softmax(others, dim=1)


def standardised_loss(
    student: Tensor, teacher: Tensor, targets: Tensor, alpha: float, temperature: float
) -> Tensor:
    """:func:`kd_loss` on logits of zero mean and unit deviation per image.

    From arXiv 2403.01427, algorithm 1. The student need not copy the size of the teacher's logits,
    only their shape. Arguments and result as in :func:`kd_loss`; also a UserError for two classes,
    of which nothing but the order would be left, and no gradient.
    """
    _require_three_classes("standardised", student.shape[1])
    soft = soft_loss(_standardised(student), _standardised(teacher), temperature)
    return _mixed(student, targets, alpha, soft)


def _standardised(logits: Tensor) -> Tensor:
    # mean before deviation: in another order the gradient rounds differently
    centred = logits - logits.mean(1, keepdim=True)
    deviation = logits.std(1, correction=0, keepdim=True)
    return centred / (deviation + 1e-7)


def as_coded_loss(
    student: Tensor, teacher: Tensor, targets: Tensor, alpha: float, temperature: float
) -> Tensor:
    """The loss of the authors' earlier public code, here to show that its soft part is dead.

    Its soft part is the cross-entropy between softmax(one-hot labels / T) and
    softmax(teacher probabilities / T): the student does not occur in it. It also takes softmax of
    probabilities and leaves out T². Arguments and result as in :func:`kd_loss`.
    """
    _check_logits(student, teacher, temperature)
    hard = one_hot(targets, student.shape[1]).to(student.dtype)
    labels = softmax(hard / temperature, dim=1)
    log_teacher = log_softmax(softmax(teacher, dim=1) / temperature, dim=1)
    soft = -(labels * log_teacher).sum(1).mean()
    return _mixed(student, targets, alpha, soft)


def soft_gradient(
    loss: KdLoss, student: Tensor, teacher: Tensor, targets: Tensor, temperature: float
) -> float:
    """Liveness test: length of the gradient of a loss's soft part (α = 0) at the student's logits.

    0 means dead. ``loss`` is :func:`kd_loss`, :func:`as_coded_loss` or a function of the same
    arguments; the others go to it.
    """
    logits = student.detach().clone().requires_grad_(True)
    value = loss(logits, teacher, targets, 0.0, temperature)
    connected = value + 0.0 * logits.sum()  # a loss without the student has a zero gradient, too
    [gradient] = torch.autograd.grad(connected, logits)
    return gradient.norm().item()


def attention_loss(
    student_maps: Mapping[str, Tensor], teacher_maps: Mapping[str, Tensor]
) -> Tensor:
    """Attention transfer: squared distance of attention maps, summed over taps.

    From arXiv 1612.03928, equation 2. An attention map is the mean over channels of the squared
    activations, as a unit vector per image. Compared are the taps at which both networks have maps
    of one size.

    Args:
        student_maps: Tap → (B, C, h, w).
        teacher_maps: Likewise; no gradient flows into them.

    Returns:
        Scalar in [0, 2 · pairs], the mean over the batch; a UserError if there is no such pair.
    """
    teacher_of_size = {maps.shape[2:]: maps.detach() for maps in teacher_maps.values()}
    distances = []
    for maps in student_maps.values():
        if maps.shape[2:] in teacher_of_size:
            difference = _attention(maps) - _attention(teacher_of_size[maps.shape[2:]])
            distances.append(difference.pow(2).sum(1).mean())
    if not distances:
        ours = {tap: tuple(maps.shape) for tap, maps in student_maps.items()}
        theirs = {tap: tuple(maps.shape) for tap, maps in teacher_maps.items()}
        raise UserError(
            f"no two taps have maps of one size: student {ours}, teacher {theirs}; "
            "take another image_size, or loss 'kd'"
        )
    return sum(distances)


def _attention(maps: Tensor) -> Tensor:
    return normalize(maps.float().pow(2).mean(1).flatten(1), dim=1)  # (B, h * w)


LOSSES: dict[str, KdLoss] = {
    "kd": kd_loss,
    "as_coded": as_coded_loss,
    "dkd": dkd_loss,
    "standardised": standardised_loss,
}
OF_THREE_CLASSES = ("dkd", "standardised")  # undefined or dead for two


def usable_losses(classes: int) -> dict[str, KdLoss]:
    """The losses that are defined, and alive if they can be, for this number of classes."""
    if classes > 2:
        return dict(LOSSES)
    return {name: loss for name, loss in LOSSES.items() if name not in OF_THREE_CLASSES}


def _check_logits(student: Tensor, teacher: Tensor, temperature: float) -> None:
    """A UserError if the temperature is not a positive number or the shapes differ."""
    if not (math.isfinite(temperature) and temperature > 0):
        raise UserError(f"temperature must be a number above 0, got {temperature}")
    if student.shape != teacher.shape:
        raise UserError(
            f"student and teacher logits must have one shape, got {tuple(student.shape)} and "
            f"{tuple(teacher.shape)}: are their classes the same?"
        )


def _require_three_classes(loss: str, classes: int) -> None:
    if classes < 3:
        raise UserError(f"loss '{loss}' needs at least 3 classes, got {classes}: use 'kd'")


def _mixed(student: Tensor, targets: Tensor, alpha: float, soft: Tensor) -> Tensor:
    """α · cross-entropy with the labels + (1 − α) · soft part."""
    if not 0 <= alpha <= 1:
        raise UserError(f"alpha must be a number in [0, 1], got {alpha}")
    return alpha * cross_entropy(student, targets) + (1 - alpha) * soft
