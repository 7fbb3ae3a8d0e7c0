"""Do two maps of one image agree? Rank correlation, overlap of the strongest tenth, structure (notebooks 04, 05)."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import rankdata
from torchmetrics.functional.image import structural_similarity_index_measure

from kdnb.errors import UserError

__all__ = ["AGREEMENTS", "rank_correlation", "structural_similarity", "top_overlap"]


def _pair(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first, second = (np.asarray(m, dtype=np.float64) for m in (first, second))
    if first.ndim != 3 or first.shape != second.shape:
        raise UserError(f"both maps must be (N, height, width) of one size, got {first.shape} and {second.shape}: "
                        "bring them to one size with feature_maps.to_size")  # fmt: skip
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
    ranks = [rankdata(m.reshape(len(m), -1), axis=1) for m in _pair(first, second)]
    ranks = [r - r.mean(1, keepdims=True) for r in ranks]
    norm = np.sqrt((ranks[0] ** 2).sum(1) * (ranks[1] ** 2).sum(1))
    return np.where(norm > 0, (ranks[0] * ranks[1]).sum(1) / np.where(norm > 0, norm, 1), np.nan)


def top_overlap(first: np.ndarray, second: np.ndarray, share: float = 0.1) -> np.ndarray:
    """Intersection over union of the strongest pixels of two maps; NaN where a map is constant.

    A pixel at the map's lowest value is never among the strongest: a map of few bright pixels has fewer than its share.
    Two maps that have nothing to do with each other score share / (2 − share), about 0.05 for a tenth.

    Args:
        first: (N, H, W).
        second: (N, H, W).
        share: How many of the pixels are the strongest.

    Returns:
        (N,) in [0, 1].

    >>> top_overlap(np.array([[[1.0, 2.0, 3.0, 4.0]]]), np.array([[[4.0, 1.0, 2.0, 3.0]]]), share=0.5).round(3).tolist()
    [0.333]
    """
    flat = [m.reshape(len(m), -1) for m in _pair(first, second)]
    count = max(1, round(share * flat[0].shape[1]))
    # a tie at the edge brings in all that are tied, so that no place in the image is preferred
    tops = [(m >= np.partition(m, -count, axis=1)[:, -count, None]) & (m > m.min(1, keepdims=True)) for m in flat]
    constant = np.any([~(np.ptp(m, axis=1) > 0) for m in flat], axis=0)  # also where there is no map
    return np.where(constant, np.nan, (tops[0] & tops[1]).sum(1) / np.maximum((tops[0] | tops[1]).sum(1), 1))


def structural_similarity(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """SSIM (doi 10.1109/TIP.2003.819861) of two maps, each stretched to [0, 1]; NaN where a map is constant.

    Args:
        first: (N, H, W), at least 11 px a side.
        second: (N, H, W).

    Returns:
        (N,) in [-1, 1].
    """
    pair = _pair(first, second)
    spans = [np.ptp(m, axis=(1, 2), keepdims=True) for m in pair]
    unit = [(m - m.min((1, 2), keepdims=True)) / np.where(s > 0, s, 1) for m, s in zip(pair, spans, strict=True)]
    tensors = [torch.as_tensor(m)[:, None] for m in unit]
    found = structural_similarity_index_measure(*tensors, data_range=1.0, reduction="none").reshape(-1).numpy()
    return np.where((spans[0] * spans[1])[:, 0, 0] > 0, found, np.nan)


AGREEMENTS = {"Spearman": rank_correlation, "top-10 % IoU": top_overlap, "SSIM": structural_similarity}
