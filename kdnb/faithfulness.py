"""First questions to any map: does it point at what defines the class, and do two maps agree? (notebook 05)"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from kdnb.errors import UserError

__all__ = ["energy_in_mask", "peak_in_mask", "rank_correlation"]


def _check(maps: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    maps, masks = np.asarray(maps, dtype=np.float64), np.asarray(masks)
    if maps.ndim != 3 or maps.shape != masks.shape:
        raise UserError(f"maps and masks must both be (N, height, width), got {maps.shape} and {masks.shape}")
    return maps, masks


def energy_in_mask(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Share of a map's positive part that lies inside the mask; NaN where the map has none or the mask is empty.

    A map that points nowhere in particular scores the mask's share of the image: compare with ``masks.mean((1, 2))``.

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
    known = (total > 0) & masks.any((1, 2))
    return np.where(known, (positive * masks).sum((1, 2)) / np.where(total > 0, total, 1), np.nan)


def peak_in_mask(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Pointing game: whether the largest value lies inside the mask; NaN where the mask is empty.

    >>> peak_in_mask(np.array([[[3.0, 1.0]]]), np.array([[[True, False]]])).tolist()
    [1.0]
    """
    maps, masks = _check(maps, masks)
    flat = masks.reshape(len(masks), -1)
    hit = flat[np.arange(len(maps)), maps.reshape(len(maps), -1).argmax(1)]
    return np.where(flat.any(1), hit, np.nan).astype(float)


def rank_correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of two maps, image by image; NaN where a map is constant.

    Args:
        first: (N, H, W).
        second: (N, H, W).

    Returns:
        (N,) in [-1, 1].

    >>> rank_correlation(np.array([[[1.0, 2.0, 3.0]]]), np.array([[[10.0, 20.0, 90.0]]])).tolist()
    [1.0]
    """
    first, second = _check(first, second)
    ranks = [rankdata(m.reshape(len(m), -1), axis=1) for m in (first, second)]
    ranks = [r - r.mean(1, keepdims=True) for r in ranks]
    norm = np.sqrt((ranks[0] ** 2).sum(1) * (ranks[1] ** 2).sum(1))
    product = (ranks[0] * ranks[1]).sum(1)
    return np.where(norm > 0, product / np.where(norm > 0, norm, 1), np.nan)
