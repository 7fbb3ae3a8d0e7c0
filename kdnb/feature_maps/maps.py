"""The paper's average feature maps (notebooks 04, 07)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from kdnb.training.taps import logits_and_taps

__all__ = ["average_map", "average_maps", "to_size"]


def average_maps(
    model: nn.Module, images: Tensor, taps: Mapping[str, str] | None = None
) -> dict[str, Tensor]:
    """The paper's average feature map at every tap: the mean over channels, from one forward pass.

    KD-FMV (doi 10.1609/aaai.v39i17.33941) overlays these maps on the image; LaFAM (arXiv
    2407.06059) is the same map at the last layer. No class enters the formula, so the map is the
    same whichever class is asked about.

    For normalised images (N, 3, H, W): tap → (N, h, w) raw maps at the tap's own resolution, ≥ 0
    after a ReLU, not stretched to [0, 1].
    """
    with torch.inference_mode():
        _, seen = logits_and_taps(model, images, taps)
        return {tap: average_map(activations) for tap, activations in seen.items()}


def average_map(activations: Tensor) -> Tensor:
    """The mean over channels (N, h, w) of activations (N, C, h, w).

    >>> average_map(torch.tensor([1.0, 3.0]).reshape(1, 2, 1, 1)).tolist()
    [[[2.0]]]
    """
    channels = activations.shape[1]
    # in channels-last memory this product is many times faster than mean(dim=1)
    return activations.movedim(1, -1) @ activations.new_full((channels,), 1 / channels)


def to_size(maps: Tensor, size: int | Sequence[int]) -> Tensor:
    """Maps (N, h, w) resized bilinearly to (N, height, width).

    ``size`` is the side of a square, or height and width. A constant map stays constant to the last
    digit, as no interpolation promises: it has no peak and no order, and must not get one.

    >>> to_size(torch.ones(1, 2, 2), 4).shape, to_size(torch.ones(1, 2, 2), (4, 6)).shape
    (torch.Size([1, 4, 4]), torch.Size([1, 4, 6]))
    """
    shape = (size, size) if isinstance(size, int) else tuple(size)
    resized = interpolate(maps[:, None], size=shape, mode="bilinear", align_corners=False)[:, 0]
    least = maps.amin(dim=(1, 2), keepdim=True)
    is_constant = least == maps.amax(dim=(1, 2), keepdim=True)
    return torch.where(is_constant, least, resized)
