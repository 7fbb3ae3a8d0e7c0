"""Activations and gradients captured at named taps of a network (notebooks 02-06)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from kdnb.core.errors import UserError
from kdnb.training.modules import evaluating, modules_at

__all__ = ["capture", "check_targets", "features", "gradients_at_taps", "logits_and_taps"]


@contextmanager
def capture(model: nn.Module, taps: Mapping[str, str] | None = None) -> Iterator[dict[str, Tensor]]:
    """Collect the activations at the taps of every forward pass inside the block.

    Hooks are always removed.

    Args:
        model: Any module with an attribute ``taps``, or with ``taps`` given.
        taps: Tap name → dotted module path; a path that does not exist is a UserError.

    Yields:
        Tap → activations (N, C, h, w) of the latest forward pass, in order of depth, attached to
        the autograd graph.
    """
    activations: dict[str, Tensor] = {}

    def keep(tap: str, _module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        activations[tap] = output

    with ExitStack() as hooks:
        for tap, module in modules_at(model, taps).items():
            hooks.enter_context(module.register_forward_hook(partial(keep, tap)))
        yield activations


def logits_and_taps(
    model: nn.Module, images: Tensor, taps: Mapping[str, str] | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits (N, K) and activations (N, C, h, w) at all taps, from one forward pass in eval mode.

    Raises:
        UserError: If ``images`` is not (N, 3, H, W), or the logits are not finite.
    """
    if images.ndim != 4 or images.shape[1] != 3 or len(images) == 0:
        raise UserError(
            f"images must have shape (N, 3, height, width), N at least 1, got {tuple(images.shape)}"
        )
    with evaluating(model), capture(model, taps) as activations:
        logits = model(images)
    if not torch.isfinite(logits).all():
        raise UserError(
            "the model's logits are not finite for these images: "
            "check the weights and the input range"
        )
    return logits, activations


def check_targets(targets: Tensor, classes: int, count: int) -> Tensor:
    """Targets as int64 (N,); a UserError if one is no class or there is not one per image."""
    targets = torch.as_tensor(targets, dtype=torch.int64).reshape(-1)
    if len(targets) != count or not ((targets >= 0) & (targets < classes)).all():
        raise UserError(
            f"targets must be {count} class numbers from 0 to {classes - 1}, got {targets.tolist()}"
        )
    return targets


def gradients_at_taps(
    model: nn.Module, images: Tensor, targets: Tensor, taps: Mapping[str, str] | None = None
) -> tuple[Tensor, dict[str, tuple[Tensor, Tensor]]]:
    """Activations and the target logit's gradients at all taps, by one pass forward and one back.

    For images (N, 3, H, W) and targets (N,), the classes explained: logits (N, K), and tap →
    (activations, gradients), each (N, C, h, w); all detached. The model's own parameters may be
    frozen.
    """
    with torch.enable_grad():
        inputs = images.detach().requires_grad_()  # so that a frozen model has gradients too
        inputs = inputs.clone()  # a model may write over its input, but not over a leaf
        logits, activations = logits_and_taps(model, inputs, taps)
        targets = check_targets(targets, logits.shape[1], len(images)).to(logits.device)
        chosen = logits.gather(1, targets[:, None]).sum()
        gradients = torch.autograd.grad(chosen, list(activations.values()))
    pairs = {}
    for tap, gradient in zip(activations, gradients, strict=True):
        pairs[tap] = (activations[tap].detach(), gradient)
    return logits.detach(), pairs


def features(model: nn.Module, images: Tensor, *, batch: int = 64) -> dict[str, np.ndarray]:
    """Activations averaged over space, tap → (N, C) float32, of images (N, 3, H, W).

    ``batch`` of them go through the model at once.
    """
    parts = []
    with torch.inference_mode():
        for chunk in images.split(batch):
            _, activations = logits_and_taps(model, chunk)
            means = {}
            for tap, values in activations.items():
                means[tap] = values.mean(dim=(2, 3)).float().cpu().numpy()
            parts.append(means)
    found = {}
    for tap in parts[0]:
        found[tap] = np.concatenate([part[tap] for part in parts])
    return found
