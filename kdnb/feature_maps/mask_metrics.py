"""How much of a map lies inside a mask, and whether its peak does (notebooks 04, 05)."""

from __future__ import annotations

import numpy as np

from kdnb.core.errors import UserError

__all__ = [
    "LOCALISATION",
    "auc_of_mask",
    "energy_in_mask",
    "overlap_with_mask",
    "pointing_game",
]

TIE = 1e-6  # of a map's range; closer to the largest value is as large, but for rounding


def _check(maps: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Maps (N, H, W) float64 and masks (N, H, W) bool: what is not 0 lies inside."""
    maps = np.asarray(maps, dtype=np.float64)
    masks = np.asarray(masks)
    if maps.ndim != 3 or maps.shape != masks.shape:
        raise UserError(
            "maps and masks must both be (N, height, width), "
            f"got {maps.shape} and {masks.shape}: "
            "bring the maps to the masks' size with feature_maps.to_size"
        )
    finite = np.isfinite(maps).all(axis=(1, 2))
    if not finite.all():
        raise UserError(
            f"{(~finite).sum()} of {len(maps)} maps hold NaN or infinity, accepted are numbers: "
            "grade no refused explanation, and explain in float32"
        )
    return maps, masks.astype(bool)


def energy_in_mask(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Share of a map's positive part that lies inside the mask.

    In the field: relevance mass accuracy (Arras et al. 2022, arXiv 2003.07258, section 3.2).
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


def pointing_game(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Share of the largest values that lie inside the mask; NaN where the mask is empty.

    The pointing game (arXiv 1608.00507, section 4.1): 1 where a map's peak is inside, 0 where it is
    outside. A constant map has no peak: all its pixels tie, and it scores the mask's share of the
    image, as does a guess. Pixels within a millionth of the map's range tie.

    Args:
        maps: (N, H, W), any scale.
        masks: (N, H, W) bool.

    Returns:
        (N,) in [0, 1].

    >>> maps = np.array([[[3.0, 1.0]], [[2.0, 2.0]]])
    >>> pointing_game(maps, np.array([[[True, False]], [[True, False]]])).tolist()
    [1.0, 0.5]
    """
    maps, masks = _check(maps, masks)
    flat = maps.reshape(len(maps), -1)
    inside = masks.reshape(len(masks), -1)
    highest = flat.max(axis=1, keepdims=True)
    span = highest - flat.min(axis=1, keepdims=True)
    tied = flat >= highest - TIE * span
    share = (tied & inside).sum(1) / tied.sum(1)
    return np.where(inside.any(1), share, np.nan)


def auc_of_mask(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """ROC AUC of the pixels: how often a pixel inside has a larger value than one outside.

    Ties count one half, so a constant map scores 0.5. NaN where nothing is inside, or all is.

    Args:
        maps: (N, H, W), any scale.
        masks: (N, H, W) bool.

    Returns:
        (N,) in [0, 1].

    >>> auc_of_mask(np.array([[[3.0, 1.0, 2.0]]]), np.array([[[True, True, False]]])).tolist()
    [0.5]
    """
    maps, masks = _check(maps, masks)
    ordered = np.sort(maps.reshape(len(maps), -1), axis=1)
    found = np.full(len(maps), np.nan)
    for number, (of_map, mask) in enumerate(zip(maps, masks, strict=True)):
        inside = of_map[mask]
        outside = ordered.shape[1] - len(inside)
        if not len(inside) or not outside:
            continue
        below = np.searchsorted(ordered[number], inside, "left")
        not_above = np.searchsorted(ordered[number], inside, "right")
        ranks = (below + not_above + 1) / 2  # from 1; ties share their mean
        smallest = len(inside) * (len(inside) + 1) / 2
        found[number] = (ranks.sum() - smallest) / (len(inside) * outside)
    return found


def overlap_with_mask(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """IoU of the mask with as many of the map's largest values as the mask has pixels.

    Where equal values are more than places are left, each counts for its share of them. So a
    constant map scores no more than a random one. NaN where the mask is empty.

    >>> masks = np.array([[[True, False, True]]])
    >>> overlap_with_mask(np.array([[[3.0, 2.0, 1.0]]]), masks).round(3).tolist()
    [0.333]
    >>> overlap_with_mask(np.array([[[3.0, 0.0, 0.0]]]), masks).round(3).tolist()
    [0.6]
    """
    maps, masks = _check(maps, masks)
    flat = maps.reshape(len(maps), -1)
    inside = masks.reshape(len(masks), -1)
    count = inside.sum(1)
    largest_first = -np.sort(-flat, axis=1)
    last = np.maximum(count - 1, 0)
    cut = np.take_along_axis(largest_first, last[:, None], axis=1)
    above = flat > cut
    tied = flat == cut
    share = (count - above.sum(1)) / tied.sum(1)  # of the tied values that find a place
    hits = (above & inside).sum(1) + share * (tied & inside).sum(1)
    overlap = hits / np.maximum(2 * count - hits, 1)
    return np.where(count > 0, overlap, np.nan)


# what a map is graded by where a mask is known; of all, large is good
LOCALISATION = {
    "pointing game": pointing_game,
    "ROC AUC": auc_of_mask,
    "energy in mask": energy_in_mask,
    "IoU with mask": overlap_with_mask,
}
