"""Batches: normalised, channels-last tensors, with augmented views that can be replayed (01-06).

A view may also be a mixture of two images (mixup), which is replayed in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from kdnb.data.dataset import ImageSet
from kdnb.data.splits import image_keys

__all__ = ["Batch", "MEAN", "STD", "augment", "batches", "to_tensor"]

MEAN = (0.485, 0.456, 0.406)  # of ImageNet: red, green, blue
STD = (0.229, 0.224, 0.225)
AUGMENTED_BY = 7  # random numbers behind a view


@dataclass(frozen=True)
class Batch:
    """A batch of images: what a network sees, and which rows of the set it came from.

    Where images are mixed, each holds ``share`` of its own row and the rest of a partner's.
    """

    images: Tensor  # (B, 3, S, S) float32, ImageNet-normalised, channels_last
    targets: Tensor  # (B,) int64
    rows: Tensor  # (B,) int64, rows of the ImageSet
    view: int  # number of the augmented view, -1 = not augmented
    share: Tensor | None = None  # (B,) float32 in [0.5, 1), None = not mixed
    partner_targets: Tensor | None = None  # (B,) int64


def to_tensor(pixels: np.ndarray) -> Tensor:
    """Pixels (B, S, S, 3) uint8 to (B, 3, S, S) float32, ImageNet-normalised, channels_last.

    >>> to_tensor(np.zeros((2, 8, 8, 3), np.uint8)).shape
    torch.Size([2, 3, 8, 8])
    """
    return _normalise(_to_unit_range(pixels))


def augment(images: Tensor, keys: np.ndarray) -> Tensor:
    """One random view per image: turned, shifted, zoomed, mirrored, with other light.

    Turn ±10°, shift ±5 %, zoom ±10 %, mirror left-right, brightness and contrast ±10 %. All seven
    parameters come from the image's own key (splitmix64, Steele et al. 2014,
    doi:10.1145/2660193.2660195), and all arithmetic is per image: a view is bit-equal in any order,
    batch size and process.

    Args:
        images: (B, 3, S, S) float32 in [0, 1].
        keys: (B,) uint64, one per image.

    Returns:
        (B, 3, S, S) float32 in [0, 1]; what lies outside the image repeats its border.
    """
    turn, right, down, zoom, mirror, bright, contrast = _uniform(keys, AUGMENTED_BY)
    angle = turn * math.pi / 18
    scale = 1 / (1 + 0.1 * zoom)
    cosine = np.cos(angle) * scale
    sine = np.sin(angle) * scale
    side = np.where(mirror < 0, -1.0, 1.0)
    # not affine_grid: its matrix product may round differently in another batch size
    x = _read_from(images.shape[-1], side * cosine, -side * sine, 0.1 * right)
    y = _read_from(images.shape[-1], sine, cosine, 0.1 * down)
    grid = torch.stack([x, y], dim=-1)  # (B, S, S, 2)
    views = grid_sample(images, grid, padding_mode="border", align_corners=False)
    gain = (1 + 0.1 * bright) * (1 + 0.1 * contrast)
    views.mul_(_per_image(gain)[:, None])
    views.sub_(_per_image(0.05 * contrast)[:, None])
    return views.clamp_(0, 1)


def batches(
    image_set: ImageSet,
    rows: np.ndarray,
    batch_size: int,
    *,
    seed: int = 0,
    epoch: int | None = None,
    view: int = -1,
    order: int = 0,
    mixup: bool = False,
) -> Iterator[Batch]:
    """The given rows of a set as batches, the last one possibly shorter.

    Mixed views are as in mixup with shares drawn evenly (arXiv 1710.09412, with alpha = 1). Each
    image's partner and share are drawn from (seed, image_id, view) among the given rows, and never
    from the order: so a teacher's answers to mixed views can be replayed (arXiv 2106.05237).

    Args:
        image_set: pixels and targets.
        rows: (N,) int64 rows of the set.
        batch_size: images per batch, at least 1.
        seed: fixes the order and the augmented views.
        epoch: None for the order of `rows`, else the number of the epoch; its order is drawn from
            (seed, epoch, order).
        view: -1 for the plain images, else the number of the view, augmented from
            (seed, image_id, view).
        order: another number, another order; the views stay.
        mixup: whether augmented views are mixed with those of partners.
    """
    rows = np.asarray(rows, dtype=np.int64)
    pool = np.sort(rows)
    if epoch is not None:
        rows = np.random.default_rng((seed, epoch, order)).permutation(rows)
    targets = image_set.table["target"].to_numpy(np.int64)
    for start in range(0, len(rows), batch_size):
        some = rows[start : start + batch_size]
        images = _view(image_set, some, seed, view)
        mixture = {}
        if mixup and view >= 0:
            partners, share = _partners(image_set, some, seed, view, pool)
            others = _view(image_set, partners, seed, view)
            images = torch.lerp(others, images, share[:, None, None, None])
            partner_targets = torch.from_numpy(targets[partners])
            mixture = {"share": share, "partner_targets": partner_targets}
        yield Batch(
            images=_normalise(images),
            targets=torch.from_numpy(targets[some]),
            rows=torch.from_numpy(some.copy()),
            view=view,
            **mixture,
        )


def _view(image_set: ImageSet, rows: np.ndarray, seed: int, view: int) -> Tensor:
    """(B, 3, S, S) float32 in [0, 1]: the plain images of rows (B,), or one view of each."""
    images = _to_unit_range(image_set.pixels[rows])
    if view < 0:
        return images
    return augment(images, _keys(image_set, rows, seed, view))


def _partners(
    image_set: ImageSet, rows: np.ndarray, seed: int, view: int, pool: np.ndarray
) -> tuple[np.ndarray, Tensor]:
    """A partner (B,) of the pool for every row (B,), and the share (B,) of the row itself.

    Shares lie in [0.5, 1): a smaller one is the same mixture seen from the partner.
    """
    place, own = _uniform(_keys(image_set, rows, seed, view), AUGMENTED_BY + 2)[AUGMENTED_BY:]
    partners = pool[((place + 1) / 2 * len(pool)).astype(np.int64)]
    return partners, torch.from_numpy((0.75 + own / 4).astype(np.float32))


def _keys(image_set: ImageSet, rows: np.ndarray, seed: int, view: int) -> np.ndarray:
    """(B,) uint64: what the views of rows (B,) are drawn from."""
    return image_keys(image_set.table["image_id"].iloc[rows], seed, view)


def _to_unit_range(pixels: np.ndarray) -> Tensor:
    """Pixels (B, S, S, 3) uint8 as (B, 3, S, S) float32 in [0, 1]."""
    values = torch.from_numpy(np.asarray(pixels)).float()  # float before permute: 5 times faster
    return values.div_(255).permute(0, 3, 1, 2)


def _normalise(images: Tensor) -> Tensor:
    mean = torch.tensor(MEAN)[:, None, None]
    std = torch.tensor(STD)[:, None, None]
    return images.sub_(mean).div_(std).contiguous(memory_format=torch.channels_last)


def _read_from(size: int, along_x: np.ndarray, along_y: np.ndarray, shift: np.ndarray) -> Tensor:
    """One coordinate (B, S, S), in [-1, 1] inside the image, at which each pixel of a view is read.

    It is along_x · x + along_y · y + shift, with three numbers (B,) for each image.
    """
    centres = (2 * torch.arange(size, dtype=torch.float32) + 1) / size - 1  # of pixels, in [-1, 1]
    start = _per_image(along_y) * centres[:, None] + _per_image(shift)  # (B, S, 1)
    return _per_image(along_x) * centres + start


def _per_image(values: np.ndarray) -> Tensor:
    """Numbers (B,) as (B, 1, 1) float32."""
    return torch.from_numpy(values.astype(np.float32))[:, None, None]


def _uniform(keys: np.ndarray, count: int) -> np.ndarray:
    """(count, B) float64 in [-1, 1): the start of the splitmix64 stream that begins at each key."""
    steps = np.arange(1, count + 1, dtype=np.uint64)[:, None] * np.uint64(0x9E3779B97F4A7C15)
    z = np.asarray(keys, dtype=np.uint64) + steps
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)) * 2.0**-52 - 1
