"""Activations and gradients captured at named taps, and the paper's average feature maps (notebooks 04-06)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from kdnb.errors import UserError
from kdnb.models import evaluating, modules_at

__all__ = ["average_maps", "capture", "check_images", "check_targets", "gradients_at_taps", "logits_and_taps",
           "to_size"]  # fmt: skip


@contextmanager
def capture(model: nn.Module, taps: Mapping[str, str] | None = None) -> Iterator[OrderedDict[str, Tensor]]:
    """Collect the activations at the taps of every forward pass inside the block; hooks are always removed.

    Args:
        model: Any module with an attribute ``taps``, or with ``taps`` given.
        taps: Tap name → dotted module path.

    Yields:
        A dictionary, filled by the latest forward pass in order of depth: tap → activations (N, C, h, w), attached
        to the autograd graph.

    Raises:
        UserError: If a tap does not exist; the message lists the modules that do.
    """
    seen: OrderedDict[str, Tensor] = OrderedDict()

    def keep(name: str):  # noqa: ANN202
        return lambda _module, _inputs, output: seen.__setitem__(name, output)

    handles = [module.register_forward_hook(keep(name)) for name, module in modules_at(model, taps).items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def logits_and_taps(
    model: nn.Module, images: Tensor, taps: Mapping[str, str] | None = None
) -> tuple[Tensor, OrderedDict[str, Tensor]]:
    """Logits (N, K) and the activations (N, C, h, w) at all taps, from one forward pass in eval mode.

    Raises:
        UserError: If ``images`` is not (N, 3, H, W), or an activation is not finite.
    """
    check_images(images)
    with evaluating(model), capture(model, taps) as seen:
        logits = model(images)
    if not torch.isfinite(logits).all():
        raise UserError("the model's logits are not finite for these images: check the weights and the input range")
    return logits, seen


def check_images(images: Tensor) -> None:
    """Refuse what is no batch of images (N, 3, H, W) with a UserError."""
    if images.ndim != 4 or images.shape[1] != 3 or len(images) == 0:
        raise UserError(f"images must have shape (N, 3, height, width), N at least 1, got {tuple(images.shape)}")


def check_targets(targets: Tensor, classes: int, count: int) -> Tensor:
    """Targets as int64 (N,).

    Raises:
        UserError: If a target is no class or there is not one per image.
    """
    targets = torch.as_tensor(targets, dtype=torch.int64).reshape(-1)
    if len(targets) != count or not ((targets >= 0) & (targets < classes)).all():
        raise UserError(f"targets must be {count} class numbers from 0 to {classes - 1}, got {targets.tolist()}")
    return targets


def gradients_at_taps(
    model: nn.Module, images: Tensor, targets: Tensor, taps: Mapping[str, str] | None = None
) -> tuple[Tensor, OrderedDict[str, tuple[Tensor, Tensor]]]:
    """Activations and the target logit's gradients at all taps, from one forward and one backward pass.

    Args:
        model: Any module with taps.
        images: (N, 3, H, W).
        targets: (N,) the class whose logit is explained.
        taps: Tap name → module path.

    Returns:
        Logits (N, K), and tap → (activations, gradients), each (N, C, h, w); all detached.
    """
    with torch.enable_grad():
        logits, seen = logits_and_taps(model, images, taps)
        targets = check_targets(targets, logits.shape[1], len(images)).to(logits.device)
        chosen = logits.gather(1, targets[:, None]).sum()
        gradients = torch.autograd.grad(chosen, list(seen.values()))
    pairs = zip(seen.items(), gradients, strict=True)
    return logits.detach(), OrderedDict((name, (a.detach(), g)) for (name, a), g in pairs)


def average_maps(model: nn.Module, images: Tensor, taps: Mapping[str, str] | None = None) -> OrderedDict[str, Tensor]:
    """The paper's average feature map at every tap: the mean over channels, from one forward pass.

    KD-FMV (doi 10.1609/aaai.v39i17.33941) overlays these maps on the image; LaFAM (arXiv 2407.06059) is the same map
    at the last layer. No class enters the formula, so the map is the same whichever class is asked about.

    Args:
        model: Student or teacher (or any module, with ``taps``).
        images: (N, 3, H, W) normalised images.
        taps: Tap name → module path.

    Returns:
        Tap → (N, h, w) raw maps at the tap's own resolution, ≥ 0 after a ReLU, not stretched to [0, 1].
    """
    with torch.inference_mode():
        _, seen = logits_and_taps(model, images, taps)
        return OrderedDict((name, _channel_mean(activation)) for name, activation in seen.items())


def _channel_mean(activation: Tensor) -> Tensor:
    """(N, C, h, w) to (N, h, w); in channels-last memory the product is many times faster than ``mean(dim=1)``."""
    channels = activation.shape[1]
    return activation.movedim(1, -1) @ activation.new_full((channels,), 1 / channels)


def to_size(maps: Tensor, size: int) -> Tensor:
    """Maps (N, h, w) resized bilinearly to (N, size, size).

    >>> to_size(torch.ones(1, 2, 2), 4).shape
    torch.Size([1, 4, 4])
    """
    return interpolate(maps[:, None], size=(size, size), mode="bilinear", align_corners=False)[:, 0]
