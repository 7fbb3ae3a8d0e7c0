"""Common mistakes in a soft loss written by hand, each as a rule that makes it (exercise of 03)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div

from kdnb.distillation.losses import soft_loss

__all__ = ["MEASURED", "SoftLoss", "measure_soft_loss", "soft_loss_mistakes"]

SoftLoss = Callable[[Tensor, Tensor, float], Tensor]  # student's logits, teacher's logits, T
MEASURED = ("the loss at T = 5", "the loss of other logits at T = 2", "the length of its gradient")


def measure_soft_loss(rule: SoftLoss, student: Tensor, teacher: Tensor) -> list[float] | None:
    """Three numbers that tell two soft losses apart, see `MEASURED`; None where it returns nothing.

    Args:
        rule: Student's logits, teacher's logits, T → loss.
        student: (N, K) logits; the gradient is theirs.
        teacher: (N, K) logits.

    Raises:
        ValueError: If the rule returns anything but a tensor with one number.
    """
    logits = student.clone().requires_grad_()
    value = rule(logits, teacher, 5.0)
    if value is None:
        return None
    if not torch.is_tensor(value) or value.ndim:
        raise ValueError("return a tensor with one number: a mean over the batch, without .item()")
    gradient = torch.zeros_like(logits)
    if value.requires_grad:
        (gradient,) = torch.autograd.grad(value, logits)
    return [value.item(), rule(teacher, student, 2.0).item(), gradient.norm().item()]


def soft_loss_mistakes(classes: int) -> dict[str, SoftLoss]:
    """What is wrong → a soft loss with this mistake.

    Args:
        classes: K, by which ``reduction="mean"`` divides besides the batch.
    """
    return {
        "the factor T squared is missing": lambda s, t, T: soft_loss(s, t, T) / T**2,
        "T squared, not T": lambda s, t, T: soft_loss(s, t, T) / T,
        "use reduction='batchmean'": lambda s, t, T: soft_loss(s, t, T) / classes,
        "this is the sum over the batch: take the mean": _summed,
        "student and teacher have changed places": _turned_round,
        "kl_div wants the student's log-probabilities": _of_probabilities,
        "log_target=True is missing: the teacher's are log-probabilities": _of_log_target,
        "this is the cross-entropy: KL also subtracts the teacher's own entropy": _cross_entropy,
        "start from logits": lambda s, t, T: soft_loss(s.softmax(1), t.softmax(1), T),
        "use the T that is given": lambda s, t, T: soft_loss(s, t, 5.0),
        "no gradient reaches the student": lambda s, t, T: soft_loss(s.detach(), t, T),
    }


def _log(logits: Tensor, temperature: float) -> Tensor:
    """Log-probabilities at a temperature."""
    return (logits / temperature).log_softmax(1)


def _summed(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    return soft_loss(student, teacher, temperature) * len(student)


def _turned_round(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    loss = kl_div(
        _log(teacher, temperature),
        _log(student, temperature),
        reduction="batchmean",
        log_target=True,
    )
    return temperature**2 * loss


def _of_probabilities(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    probabilities = _log(student, temperature).exp()
    return temperature**2 * kl_div(
        probabilities, _log(teacher, temperature), reduction="batchmean", log_target=True
    )


def _of_log_target(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    return temperature**2 * kl_div(
        _log(student, temperature), _log(teacher, temperature), reduction="batchmean"
    )


def _cross_entropy(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    return temperature**2 * cross_entropy(student / temperature, _log(teacher, temperature).exp())
