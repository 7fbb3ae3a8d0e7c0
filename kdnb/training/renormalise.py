"""A teacher's own normalisation of pixels as its first layer: the batch stays the study's (02)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kdnb.data.transforms import MEAN, STD

__all__ = ["Renormalise", "Renormalised", "with_own_normalisation"]


class Renormalise(nn.Module):
    """Images normalised as the study does it → as a network was trained: (pixel − mean) / std.

    It is scale · image + shift, with one number of each per channel. Both follow from constants, so
    that they are no part of the saved weights.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """From the network's own mean and standard deviation: red, green, blue, in [0, 1]."""
        super().__init__()
        scale = [ours / own for ours, own in zip(STD, std, strict=True)]
        shift = [(ours - own) / s for ours, own, s in zip(MEAN, mean, std, strict=True)]
        self.register_buffer("scale", torch.tensor(scale)[:, None, None], persistent=False)
        self.register_buffer("shift", torch.tensor(shift)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:  # (N, 3, H, W)
        """Images of the same shape, normalised anew."""
        return images * self.scale + self.shift


class Renormalised(nn.Module):
    """A network behind its own normalisation; its ``taps`` and ``pretrained`` are the network's."""

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        """A teacher's network, and the mean and standard deviation that it was trained with."""
        super().__init__()
        self.renormalise = Renormalise(mean, std)
        self.network = network
        self.taps = {tap: f"network.{path}" for tap, path in network.taps.items()}
        self.pretrained = frozenset(f"network.{parameter}" for parameter in network.pretrained)

    def forward(self, images: Tensor) -> Tensor:  # (N, 3, H, W), normalised as the study does it
        """Logits (N, classes)."""
        return self.network(self.renormalise(images))


def with_own_normalisation(
    network: nn.Module, mean: Sequence[float], std: Sequence[float]
) -> nn.Module:
    """The network behind its own normalisation, or itself where that is the study's."""
    if tuple(mean) == MEAN and tuple(std) == STD:
        return network
    return Renormalised(network, mean, std)
