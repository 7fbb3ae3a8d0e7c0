"""How phantoms are drawn: random draws, coordinates, coverage, paint, smooth noise (notebook 01).

The order of the random draws decides the pixels: a draw that moves changes every image. Difficulty
moves the ranges of the draws, not their order, so at 0 nothing changes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import SimpleNamespace

import numpy as np
from PIL import Image

__all__ = ["Ranges", "edge", "grid", "harder", "paint", "sample", "texture", "turn"]

Ranges = Mapping[str, tuple[float, float]]  # name → ends of a uniform draw


def sample(rng: np.random.Generator, ranges: Ranges) -> SimpleNamespace:
    """One uniform draw per named range, in the order of the mapping."""
    return SimpleNamespace(**{name: rng.uniform(low, high) for name, (low, high) in ranges.items()})


def harder(ranges: Ranges, hardest: Ranges, difficulty: float) -> Ranges:
    """The ranges on their way to the hardest ones; at difficulty 0 they are as given.

    >>> harder({"size": (0.2, 0.3), "x": (0, 1)}, {"size": (0.0, 0.1)}, 0.5)
    {'size': (0.1, 0.2), 'x': (0.0, 1.0)}
    """
    moved = {}
    for name, (low, high) in ranges.items():
        hardest_low, hardest_high = hardest.get(name, (low, high))
        moved[name] = (
            low + difficulty * (hardest_low - low),
            high + difficulty * (hardest_high - high),
        )
    return moved


def grid(size: int) -> list[np.ndarray]:
    """Pixel centres x (to the right) and y (downwards) in [-1, 1], each (S, S) float32."""
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1
    return list(np.meshgrid(axis, axis))


def turn(x: np.ndarray, y: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """The coordinates in axes that are rotated by `angle` (radians)."""
    cosine = math.cos(angle)
    sine = math.sin(angle)
    return x * cosine + y * sine, y * cosine - x * sine


def edge(distance: np.ndarray, width: float = 0.04) -> np.ndarray:
    """Coverage in [0, 1]: 1 where the signed distance is negative, a ramp around zero."""
    return np.clip(0.5 - distance / width, 0.0, 1.0)


def paint(image: np.ndarray, value: float | tuple | np.ndarray, cover: np.ndarray) -> None:
    """Blend `value` in place into the image, (S, S) or (S, S, 3), by the coverage (S, S)."""
    if image.ndim == 3:
        cover = cover[..., None]
    image += (np.asarray(value, image.dtype) - image) * cover


def texture(rng: np.random.Generator, cells: int, size: int) -> np.ndarray:
    """Smooth noise (S, S) float32 of mean 0: cells x cells normal draws, alike at any size."""
    field = Image.fromarray(rng.standard_normal((cells, cells), dtype=np.float32))
    return np.asarray(field.resize((size, size), Image.Resampling.BICUBIC))
