"""Maps that explain nothing: what every metric must be compared with (notebook 05)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.ndimage import gaussian_filter, sobel
from torch import Tensor, nn

__all__ = ["BASELINES"]


def _random(_model: nn.Module, images: Tensor, _targets: Tensor) -> np.ndarray:
    """Noise of each image's own; a call anew gives the same, so a set is graded in one call."""
    return np.random.default_rng(0).random((len(images), *images.shape[2:]))


def _random_blurred(model: nn.Module, images: Tensor, targets: Tensor) -> np.ndarray:
    """Noise as smooth as the map of a late layer."""
    height, width = images.shape[2:]
    return gaussian_filter(_random(model, images, targets), (0, height / 12, width / 12))


def _centre(_model: nn.Module, images: Tensor, _targets: Tensor) -> np.ndarray:
    """A bell in the middle of every image."""
    height, width = images.shape[2:]
    y = np.linspace(-1, 1, height)[:, None]
    x = np.linspace(-1, 1, width)
    bell = np.exp(-(y**2 + x**2) / 0.5)
    return np.tile(bell, (len(images), 1, 1))


def _edges(_model: nn.Module, images: Tensor, _targets: Tensor) -> np.ndarray:
    """Sobel's edges of the grey image, one by one: the filter smooths along every other axis."""
    grey = images.mean(dim=1).cpu().numpy()
    return np.stack([np.hypot(sobel(one, axis=0), sobel(one, axis=1)) for one in grey])


BASELINES: dict[str, Callable[[nn.Module, Tensor, Tensor], np.ndarray]] = {
    "random": _random,
    "random, blurred": _random_blurred,
    "centre": _centre,
    "Sobel": _edges,
}
