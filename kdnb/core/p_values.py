"""p of paired answers and of an interval, and its correction for many comparisons (03, 07)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from kdnb.core.intervals import Interval
from kdnb.core.statistics import FEW, Groups, group_sums

__all__ = ["holm", "p_of_interval", "paired_test"]


def paired_test(
    differences: np.ndarray, groups: Groups | np.ndarray, *, repeats: int = 10_000, seed: int = 0
) -> float:
    """Two-sided p of "no difference" between these very models.

    A sign-flip permutation test over groups. It speaks of other patients, not of other seeds; the
    mean over the given seeds is tested. What chance gives is multiplied by the groups' widening.
    Fewer than ``FEW`` groups can tell nothing (NaN), as in an interval.

    Args:
        differences: (S, N) scores of A minus scores of B per seed and image; images that are NaN
            for a seed are left out.
        groups: (N,) patient or family, which flips its sign as a whole.
        repeats: Number of random sign patterns.
        seed: Of the signs.
    """
    known = ~np.isnan(differences).any(axis=0)
    groups = Groups.of(groups)[known]
    if len(np.unique(groups.names)) < FEW:
        return np.nan
    sums, _ = group_sums(differences[:, known], groups.names)
    sums = sums.sum(0)  # (G,)
    observed = abs(sums.sum()) - 1e-9  # as large, but for rounding
    rng = np.random.default_rng(seed)
    as_large = 0
    for start in range(0, repeats, 500):  # in blocks: all signs at once may not fit into memory
        block = (min(500, repeats - start), len(sums))
        signs = 2.0 * rng.integers(0, 2, size=block, dtype=np.int8) - 1
        as_large += int((groups.widening * np.abs(signs @ sums) >= observed).sum())
    return (1 + as_large) / (1 + repeats)


def p_of_interval(interval: Interval) -> float:
    """Two-sided p of "zero": of a normal distribution with the width of the 95 % interval.

    >>> round(p_of_interval(Interval((0.02, 0.0, 0.04))), 3)
    0.05
    """
    value, low, high = interval
    error = (high - low) / (2 * stats.norm.ppf(0.975))
    if not error > 0:  # no interval, or one without width: it can tell nothing
        return np.nan
    return float(2 * stats.norm.sf(abs(value) / error))


def holm(p_values: Sequence[float], count: int = 0) -> np.ndarray:
    """p (N,) corrected for N comparisons, so that any false finding has the chance that is stated.

    Holm (1979): the smallest times N, the next times N - 1, and so on; never less than one before.
    NaN stays, and counts as a comparison.

    Args:
        p_values: Of the comparisons.
        count: How many were planned; while some are missing, every p is multiplied by all.

    >>> holm([0.01, 0.04, 0.03]).round(3).tolist(), holm([0.01], count=4).tolist()
    ([0.03, 0.06, 0.06], [0.04])
    """
    values = np.asarray(p_values, dtype=float)
    if len(values) < count:
        return np.minimum(values * count, 1)
    order = np.argsort(values, kind="stable")  # NaN last
    factors = len(values) - np.arange(len(values))
    in_order = np.maximum.accumulate(values[order] * factors)
    corrected = np.empty(len(values))
    corrected[order] = np.minimum(in_order, 1)
    return corrected
