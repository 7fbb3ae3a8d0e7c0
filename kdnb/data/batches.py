"""Batches: normalised, channels-last tensors with augmentation that can be replayed (every notebook with a network)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from kdnb.data.loading import ImageSet
from kdnb.data.splits import image_keys

__all__ = ["MEAN", "STD", "Batch", "augment", "batches", "to_tensor"]

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet, red green blue


@dataclass(frozen=True)
class Batch:
    """A batch of images: what a network sees, and which rows of the set it came from."""

    images: Tensor  # (B, 3, S, S) float32, ImageNet-normalised, channels_last
    targets: Tensor  # (B,) int64
    rows: Tensor  # (B,) int64, rows of the ImageSet
    view: int  # number of the augmented view, -1 = not augmented


def to_tensor(pixels: np.ndarray) -> Tensor:
    """Pixels (B, S, S, 3) uint8 to (B, 3, S, S) float32, ImageNet-normalised, channels_last.

    >>> to_tensor(np.zeros((2, 8, 8, 3), np.uint8)).shape
    torch.Size([2, 3, 8, 8])
    """
    return _normalise(_unit(pixels))


def augment(images: Tensor, keys: np.ndarray) -> Tensor:
    """One random view per image: turn ±10°, shift ±5 %, zoom ±10 %, mirror left-right, brightness and contrast ±10 %.

    All seven parameters come from the image's own key (splitmix64, Steele et al. 2014, doi:10.1145/2660193.2660195),
    and all arithmetic is per image: a view is bit-equal in any order, batch size and process.

    Args:
        images: (B, 3, S, S) float32 in [0, 1].
        keys: (B,) uint64, one per image.

    Returns:
        (B, 3, S, S) float32 in [0, 1]; what lies outside the image repeats its border.
    """
    size = images.shape[-1]
    turn, right, down, zoom, mirror, bright, contrast = _uniform(keys, 7)
    angle, scale = turn * math.pi / 18, 1 / (1 + 0.1 * zoom)
    side = np.where(mirror < 0, -1.0, 1.0)
    along, across = np.cos(angle) * scale, np.sin(angle) * scale
    rows = (side * along, -side * across, 0.1 * right), (across, along, 0.1 * down)
    at = (2 * torch.arange(size, dtype=torch.float32) + 1) / size - 1  # pixel centres in [-1, 1]
    # (B, S, S, 2); not affine_grid: its matrix product may round differently in another batch size
    grid = torch.stack([_column(a) * at + (_column(b) * at[:, None] + _column(c)) for a, b, c in rows], dim=-1)
    views = grid_sample(images, grid, padding_mode="border", align_corners=False)
    gain = (1 + 0.1 * bright) * (1 + 0.1 * contrast)
    return views.mul_(_column(gain)[:, None]).sub_(_column(0.05 * contrast)[:, None]).clamp_(0, 1)


def batches(
    image_set: ImageSet, rows: np.ndarray, batch_size: int, *, seed: int = 0, epoch: int | None = None, view: int = -1,
    order: int = 0,
) -> Iterator[Batch]:  # fmt: skip
    """The given rows of a set as batches, the last one possibly shorter.

    Args:
        image_set: pixels and targets.
        rows: (N,) int64 rows of the set.
        batch_size: images per batch, at least 1.
        seed: fixes the order and the augmented views.
        epoch: None for the order of `rows`, else the number of the epoch; its order is drawn from (seed, epoch, order).
        view: -1 for the plain images, else the number of the view, augmented from (seed, image_id, view).
        order: another number, another order; the views stay.
    """
    rows = np.asarray(rows, dtype=np.int64)
    if epoch is not None:
        rows = np.random.default_rng((seed, epoch, order)).permutation(rows)
    targets = torch.from_numpy(image_set.table["target"].to_numpy(np.int64)[rows])
    keys = image_keys(image_set.table["image_id"].iloc[rows], seed, view) if view >= 0 else None
    for start in range(0, len(rows), batch_size):
        part = slice(start, start + batch_size)
        images = _unit(image_set.pixels[rows[part]])
        if keys is not None:
            images = augment(images, keys[part])
        yield Batch(_normalise(images), targets[part], torch.from_numpy(rows[part].copy()), view)


def _unit(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(pixels)).float().div_(255).permute(0, 3, 1, 2)  # float first: 5x faster


def _normalise(images: Tensor) -> Tensor:
    mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    return images.sub_(mean).div_(std).contiguous(memory_format=torch.channels_last)


def _column(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))[:, None, None]  # (B, 1, 1)


def _uniform(keys: np.ndarray, count: int) -> np.ndarray:
    """(count, B) float64 in [-1, 1): the first `count` numbers of the splitmix64 stream that starts at each key."""
    step = np.arange(1, count + 1, dtype=np.uint64)[:, None] * np.uint64(0x9E3779B97F4A7C15)
    z = np.asarray(keys, dtype=np.uint64) + step
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(11)) * 2.0**-52 - 1
