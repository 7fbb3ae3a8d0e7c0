"""p of an interval, and its correction where many comparisons were planned (notebook 07)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from kdnb.core.statistics import Interval

__all__ = ["holm", "p_of_interval"]


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
