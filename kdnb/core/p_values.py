"""p of paired answers, of intervals and over seeds; its correction for many comparisons (03-07)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import optimize, stats

from kdnb.core.intervals import Interval
from kdnb.core.statistics import FEW, Groups, group_sums, interval_of_seeds, seed_interval

__all__ = ["holm", "p_of_interval", "p_over_seeds", "paired_test"]

SMALLEST = 1e-15  # p that is looked for


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
    """Two-sided p of "zero": of a normal distribution as wide as the interval on zero's side.

    So p is below 0.05 just where the 95 % interval leaves out zero.

    >>> round(p_of_interval(Interval((0.02, 0.0, 0.09))), 3)
    0.05
    """
    value, low, high = interval
    half = value - low if value > 0 else high - value
    if not half > 0:  # no interval, or one without width: it can tell nothing
        return np.nan
    return float(2 * stats.norm.sf(abs(value) / half * stats.norm.ppf(0.975)))


def p_over_seeds(values: np.ndarray, groups: Groups | np.ndarray) -> float:
    """Two-sided p of "zero" for new seeds and new groups, from what `seed_interval` is made of.

    It is 1 minus the level at which that interval would just reach zero: Student's t for the seeds
    and for the groups, the two half-widths added as squares. NaN where there is no interval, or one
    without width.

    Args:
        values: (S, N), as for `seed_interval`.
        groups: (N,) the patient or family of each image.

    >>> of_one_patient_each = np.arange(8)
    >>> seeds = np.array([[0.1] * 8, [0.2] * 8, [0.3] * 8])
    >>> float(round(p_over_seeds(seeds, of_one_patient_each), 3))  # a t test of the three seeds
    0.074
    """
    known = ~np.isnan(values).any(axis=0)
    if not known.any():
        return np.nan
    values = values[:, known]
    groups = Groups.of(groups)[known]
    value, low, high = seed_interval(values.mean(0)[None], groups)
    of_groups = value - low if value > 0 else high - value
    of_seeds = value - interval_of_seeds(values.mean(1)).low if len(values) > 1 else 0.0
    if not max(of_groups, of_seeds) > 0:
        return np.nan
    count = len(np.unique(groups.names))

    def half_width(p: float) -> float:
        return np.hypot(
            of_groups * _times_as_wide(p, count), of_seeds * _times_as_wide(p, len(values))
        )

    if half_width(SMALLEST) < abs(value):
        return SMALLEST
    return float(optimize.brentq(lambda p: half_width(p) - abs(value), SMALLEST, 1))


def _times_as_wide(p: float, count: int) -> float:
    """How many times as wide as at 95 % Student's t interval of a count of draws is at 1 - p."""
    if count < 2:
        return 0.0
    return float(stats.t.isf(p / 2, count - 1) / stats.t.isf(0.025, count - 1))


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
