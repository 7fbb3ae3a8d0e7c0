"""Does a map point at what defines the class, or at a distractor? For drawn truth (04, 05)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from torch import Tensor, nn

from kdnb.core.errors import UserError
from kdnb.core.statistics import Groups, share_interval
from kdnb.xai.attribution import Context
from kdnb.xai.methods import explain

__all__ = ["distractor_shares", "energy_in_mask", "overlap_with_mask", "peak_in_mask"]


def _check(maps: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Maps (N, H, W) float64 and masks (N, H, W)."""
    maps = np.asarray(maps, dtype=np.float64)
    masks = np.asarray(masks)
    if maps.ndim != 3 or maps.shape != masks.shape:
        raise UserError(
            "maps and masks must both be (N, height, width), "
            f"got {maps.shape} and {masks.shape}: "
            "bring the maps to the masks' size with feature_maps.to_size"
        )
    return maps, masks


def energy_in_mask(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Share of a map's positive part that lies inside the mask.

    NaN where the map has no positive part or the mask is empty. A map that points nowhere in
    particular scores the mask's share of the image: compare with ``masks.mean((1, 2))``.

    Args:
        maps: (N, H, W), any scale.
        masks: (N, H, W) bool.

    Returns:
        (N,) in [0, 1].

    >>> energy_in_mask(np.array([[[3.0, 1.0]]]), np.array([[[True, False]]])).tolist()
    [0.75]
    """
    maps, masks = _check(maps, masks)
    positive = np.clip(maps, 0, None)
    total = positive.sum((1, 2))
    inside = (positive * masks).sum((1, 2))
    known = (total > 0) & masks.any((1, 2))
    return np.where(known, inside / np.where(total > 0, total, 1), np.nan)


def peak_in_mask(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Pointing game: whether the largest value lies inside the mask; NaN where the mask is empty.

    >>> peak_in_mask(np.array([[[3.0, 1.0]]]), np.array([[[True, False]]])).tolist()
    [1.0]
    """
    maps, masks = _check(maps, masks)
    inside = masks.reshape(len(masks), -1)
    peak = maps.reshape(len(maps), -1).argmax(1)
    hit = inside[np.arange(len(maps)), peak]
    return np.where(inside.any(1), hit, np.nan).astype(float)


def overlap_with_mask(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """IoU of the mask with as many of the map's largest values as the mask has pixels.

    NaN where the mask is empty.

    >>> masks = np.array([[[True, False, True]]])
    >>> overlap_with_mask(np.array([[[3.0, 2.0, 1.0]]]), masks).round(3).tolist()
    [0.333]
    """
    maps, masks = _check(maps, masks)
    flat = maps.reshape(len(maps), -1)
    inside = masks.reshape(len(masks), -1).astype(bool)
    count = inside.sum(1)
    largest_first = -np.sort(-flat, axis=1)
    last = np.maximum(count - 1, 0)
    cut = np.take_along_axis(largest_first, last[:, None], axis=1)
    top = flat >= cut
    overlap = (top & inside).sum(1) / np.maximum((top | inside).sum(1), 1)
    return np.where(count > 0, overlap, np.nan)


def distractor_shares(
    models: Sequence[nn.Module],
    images: Tensor,
    targets: Tensor,
    distractors: np.ndarray,
    groups: Groups | np.ndarray,
    *,
    tap: int = 0,
) -> pd.DataFrame:
    """How often the average map and the signed class evidence peak on a distractor.

    That is a bright thing that tells nothing of the class.

    Args:
        models: Students of several seeds.
        images: (N, 3, H, W).
        targets: (N,) class numbers.
        distractors: (N, H, W) bool, see :class:`kdnb.data.phantoms.drawing.Phantom`.
        groups: (N,) patient of each image.
        tap: Number of the tap, 0 is the first.

    Returns:
        Index ``map``; ``share`` of images whose peak lies on the distractor, with its 95 % interval
        over seeds and groups (low, high), ``chance`` (the distractor's share of the image),
        ``seeds`` and ``images``.
    """
    context = Context(images, tap=tap)
    rows = {}
    for name, method in {"average map": "average map", "class evidence": "evidence"}.items():
        hits = []
        for model in models:
            maps = explain(method, model, images, targets, context).maps
            hits.append(peak_in_mask(maps, distractors))
        share, low, high = share_interval(np.stack(hits), groups)
        rows[name] = {
            "share": share,
            "low": low,
            "high": high,
            "chance": distractors.mean(),
            "seeds": len(models),
            "images": len(images),
        }
    return pd.DataFrame(rows).T.astype({"seeds": int, "images": int}).rename_axis("map")
