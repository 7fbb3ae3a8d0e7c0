"""Do two maps of one image agree? Rank correlation, overlap, structure (notebooks 04, 05)."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import rankdata
from torchmetrics.functional.image import structural_similarity_index_measure

from kdnb.core.errors import UserError

__all__ = ["AGREEMENTS", "rank_correlation", "structural_similarity", "top_overlap"]


def _pair(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as (N, H, W) float64, checked: numbers, or NaN alone where a map was refused."""
    first = np.asarray(first, dtype=np.float64)
    second = np.asarray(second, dtype=np.float64)
    if first.ndim != 3 or first.shape != second.shape:
        raise UserError(
            "both maps must be (N, height, width) of one size, "
            f"got {first.shape} and {second.shape}: "
            "bring them to one size with feature_maps.to_size"
        )
    for maps in (first, second):
        refused = np.isnan(maps).all(axis=(1, 2))  # an explanation that does not exist
        broken = ~np.isfinite(maps).all(axis=(1, 2)) & ~refused
        if broken.any():
            raise UserError(
                f"{broken.sum()} of {len(maps)} maps hold NaN or infinity, accepted are numbers: "
                "explain in float32, and check the weights"
            )
    return first, second


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
    first, second = _pair(first, second)
    a = _centred_ranks(first)
    b = _centred_ranks(second)
    norm = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    return np.where(norm > 0, (a * b).sum(1) / np.where(norm > 0, norm, 1), np.nan)


def _centred_ranks(maps: np.ndarray) -> np.ndarray:
    """(N, H · W) float64, the mean of each image 0."""
    ranks = rankdata(maps.reshape(len(maps), -1), axis=1)
    return ranks - ranks.mean(1, keepdims=True)


def top_overlap(first: np.ndarray, second: np.ndarray, share: float = 0.1) -> np.ndarray:
    """Intersection over union of the strongest pixels of two maps; NaN where a map is constant.

    A pixel at the map's lowest value is never among the strongest: a map of few bright pixels has
    fewer than its share. Two maps that have nothing to do with each other score
    share / (2 − share), about 0.05 for a tenth.

    Args:
        first: (N, H, W).
        second: (N, H, W).
        share: How many of the pixels are the strongest.

    Returns:
        (N,) in [0, 1].

    >>> a = np.array([[[1.0, 2.0, 3.0, 4.0]]])
    >>> b = np.array([[[4.0, 1.0, 2.0, 3.0]]])
    >>> top_overlap(a, b, share=0.5).round(3).tolist()
    [0.333]
    """
    first, second = _pair(first, second)
    a = _strongest(first, share)
    b = _strongest(second, share)
    overlap = (a & b).sum(1) / np.maximum((a | b).sum(1), 1)
    return np.where(_varies(first) & _varies(second), overlap, np.nan)


def _strongest(maps: np.ndarray, share: float) -> np.ndarray:
    """(N, H · W) bool; a tie at the edge brings in all that are tied: no place is preferred."""
    flat = maps.reshape(len(maps), -1)
    count = max(1, round(share * flat.shape[1]))
    edge = np.partition(flat, -count, axis=1)[:, -count, None]
    return (flat >= edge) & (flat > flat.min(1, keepdims=True))


def _varies(maps: np.ndarray) -> np.ndarray:
    """(N,) bool: False where a map is constant or not a number."""
    return np.ptp(maps, axis=(1, 2)) > 0


def structural_similarity(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """SSIM (doi 10.1109/TIP.2003.819861) of two maps, each stretched to [0, 1].

    NaN where a map is constant.

    Args:
        first: (N, H, W), at least 11 px a side.
        second: (N, H, W).

    Returns:
        (N,) in [-1, 1].
    """
    first, second = _pair(first, second)
    found = structural_similarity_index_measure(
        _stretched(first), _stretched(second), data_range=1.0, reduction="none"
    )
    known = _varies(first) & _varies(second)
    return np.where(known, found.reshape(-1).numpy(), np.nan)


def _stretched(maps: np.ndarray) -> torch.Tensor:
    """(N, 1, H, W) float64, each map in [0, 1]."""
    span = np.ptp(maps, axis=(1, 2), keepdims=True)
    unit = (maps - maps.min((1, 2), keepdims=True)) / np.where(span > 0, span, 1)
    return torch.as_tensor(unit)[:, None]


AGREEMENTS = {
    "Spearman": rank_correlation,
    "top-10 % IoU": top_overlap,
    "SSIM": structural_similarity,
}
