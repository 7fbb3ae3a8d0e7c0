"""Differences of scores: of two models on the same images, or of two samples (01, 02, 03, 07)."""

from __future__ import annotations

import numpy as np

from kdnb.core.intervals import Difference, Interval
from kdnb.core.statistics import Groups, seed_interval

__all__ = ["paired_gain", "unpaired_difference"]


def paired_gain(gain: np.ndarray, groups: Groups | np.ndarray) -> Difference:
    """Mean of differences (N,) between two models on the same images, with its 95 % interval.

    Where no image tells them apart it is a tie, which has none, however few groups there are. So it
    is where gains and losses cancel within every group.
    """
    count = len(np.unique(Groups.of(groups).names))
    if not gain.any():
        return Difference((0.0, 0.0, 0.0), groups=count)
    return Difference(seed_interval(gain[None], groups, bounds=(-1, 1)), groups=count)


def unpaired_difference(first: Interval, second: Interval) -> Interval:
    """The first minus the second, of samples that are taken as independent, from their intervals.

    Images in both make the interval too wide. Every end is as far away as the two ends that pull
    there, added as squares (MOVER, Zou and Donner 2008).

    >>> print(unpaired_difference(Interval((0.9, 0.8, 0.95)), Interval((0.7, 0.6, 0.74))))
    0.200 [0.092, 0.312]
    """
    a, a_low, a_high = first
    b, b_low, b_high = second
    below = np.hypot(a - a_low, b_high - b)
    above = np.hypot(a_high - a, b - b_low)
    return Interval((a - b, a - b - below, a - b + above))
