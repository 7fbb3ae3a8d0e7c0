"""Intervals over groups of images and seeds, and softmax (notebooks 02-07).

Intervals resample *groups* (patients or families), since images of one patient are not independent.
A percentile bootstrap of few groups is too narrow: its ends are taken further out (`_tail`). Where
names only come near to patients, `Groups` says how much wider intervals must be. Where every
answer is right, or every one wrong, a bootstrap has no width: `with_unseen` is the rule for them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy import special, stats

from kdnb.core.intervals import Interval

__all__ = [
    "FEW",
    "Groups",
    "Statistic",
    "grade_interval",
    "group_bootstrap",
    "groups_of_rarest",
    "group_sums",
    "interval_of_seeds",
    "interval_table",
    "seed_interval",
    "share_interval",
    "softmax",
    "trials",
    "with_seeds",
    "with_unseen",
]

FEW = 5  # groups that an interval over groups needs at least
CONFIDENCE = 0.95  # coverage of every interval
MOST_WITHOUT = 0.02  # share of bootstrap draws that may have no number

Statistic = Callable[[np.ndarray], float]  # from row numbers (R,) to a number


@dataclass(frozen=True)
class Groups:
    """What intervals resample; arrays of names (N,) are taken as groups of widening 1.

    Attributes:
        names: (N,) the patient or family of each image.
        widening: Factor, 1 or more, by which groups lengthen their intervals' half-widths: 1 where
            they are independent, more where several of them may be of one patient.
    """

    names: np.ndarray
    widening: float = 1.0

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, rows: np.ndarray) -> Groups:
        return replace(self, names=self.names[rows])

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.names, dtype=dtype, copy=copy)

    @classmethod
    def of(cls, groups: Groups | np.ndarray) -> Groups:
        """The same groups, or names as groups."""
        return groups if isinstance(groups, cls) else cls(np.asarray(groups))


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Probabilities (…, K) float64 of logits (…, K) at a temperature.

    >>> softmax(np.array([[0.0, 0.0]])).tolist()
    [[0.5, 0.5]]
    """
    return special.softmax(np.asarray(logits, dtype=np.float64) / temperature, axis=-1)


def group_bootstrap(
    statistic: Statistic,
    groups: Groups | np.ndarray,
    *,
    bounds: tuple[float, float] = (-np.inf, np.inf),
    repeats: int = 1000,
    seed: int = 0,
    counting: int | None = None,
) -> Interval:
    """A statistic with its expanded percentile bootstrap interval.

    Groups are drawn with replacement. Fewer than ``FEW`` groups give no interval (NaN): it would be
    far too narrow. Draws of which there is no number (NaN) are left out; more than `MOST_WITHOUT`
    of them give no interval. A mean has a faster one: `seed_interval`, `share_interval`.

    Args:
        statistic: Computes the number from an int array of row numbers, in which a row may come
            twice.
        groups: (N,) the patient or family of each row.
        bounds: Between which the statistic can lie, and so a widened interval.
        repeats: Number of draws.
        seed: Of the draws.
        counting: Groups that decide how far the interval is expanded, where these are fewer than
            all: of a mean over classes those of the rarest class, see `groups_of_rarest`.
    """
    groups = Groups.of(groups)
    _, codes = np.unique(groups.names, return_inverse=True)
    members = [np.flatnonzero(codes == group) for group in range(codes.max() + 1)]
    rng = np.random.default_rng(seed)
    value = float(statistic(np.arange(len(codes))))
    counting = counting or len(members)
    if counting < FEW:
        return Interval((value, np.nan, np.nan))
    draws = []
    for _ in range(repeats):
        drawn = rng.integers(len(members), size=len(members))
        draws.append(statistic(np.concatenate([members[group] for group in drawn])))
    if np.isnan(draws).mean() > MOST_WITHOUT:
        return Interval((value, np.nan, np.nan))
    tail = _tail(counting)
    low, high = np.nanquantile(draws, [tail, 1 - tail])
    return _widened(Interval((value, float(low), float(high))), groups.widening, bounds)


def _widened(interval: Interval, factor: float, bounds: tuple[float, float]) -> Interval:
    """Both ends as many times as far from the value, within bounds; an end beyond it stays.

    >>> print(_widened(Interval((0.9, 0.8, 0.95)), 1.5, (0, 1)))
    0.900 [0.750, 0.975]
    """
    if factor == 1:
        return interval
    value, low, high = interval
    low = min(low, value - factor * (value - low))
    high = max(high, value + factor * (high - value))
    return Interval((value, max(low, bounds[0]), min(high, bounds[1])))


def _tail(groups: int) -> float:
    """Share of bootstrap draws of so many groups to leave out at each end of a 95 % interval.

    As many as make it as wide as Student's t (expanded percentile interval, arXiv 1411.5279): with
    2.5 %, only 84 % of the intervals over 5 groups cover a true mean, and 92 % over 20.

    >>> [round(_tail(n), 4) for n in (5, 20, 1000)]
    [0.001, 0.0159, 0.0248]
    """
    widening = (groups / (groups - 1)) ** 0.5
    return float(stats.norm.cdf(-widening * stats.t.ppf((1 + CONFIDENCE) / 2, groups - 1)))


def interval_table(intervals: dict[str, Interval]) -> pd.DataFrame:
    """One row per score (index ``score``) with columns ``value, low, high``."""
    return pd.DataFrame(intervals, index=["value", "low", "high"]).T.rename_axis("score")


def seed_interval(
    values: np.ndarray,
    groups: Groups | np.ndarray,
    *,
    bounds: tuple[float, float] = (-np.inf, np.inf),
    seed: int = 0,
) -> Interval:
    """Mean over seeds and images with its 95 % interval: what new seeds and new groups would move.

    The groups' part is their bootstrap, times their widening, the seeds' part Student's t on the
    means of the seeds (3 seeds: t = 4.3); the two half-widths are added as squares. With one seed
    the seeds' part is unknown and left out. Fewer than ``FEW`` groups give no interval (NaN). For
    numbers of seeds that stand for no images, see `interval_of_seeds`.

    Args:
        values: (S, N), for example a gain per seed and image; images that are NaN for a seed are
            left out.
        groups: (N,) the patient or family of each image.
        bounds: Between which the mean can lie, and so its interval.
        seed: Of the bootstrap draws: 20,000, fewer for more than 500 groups, 2,000 at least.
    """
    known = ~np.isnan(values).any(axis=0)
    if not known.any():
        return Interval((np.nan, np.nan, np.nan))
    values = values[:, known]
    value = float(np.mean(values))
    groups = Groups.of(groups)[known]
    sums, sizes = group_sums(values, groups.names)
    if len(sizes) < FEW:
        return Interval((value, np.nan, np.nan))
    weights = _weights(len(sizes), seed).astype(float)
    draws = weights @ sums.mean(0) / (weights @ sizes)
    tail = _tail(len(sizes))
    of_groups = groups.widening * (value - np.quantile(draws, [tail, 1 - tail]))
    below, above = np.hypot(of_groups, _seeds_part(values.mean(1)))
    low, high = np.clip([value - below, value + above], *bounds).tolist()
    return Interval((value, low, high))


def interval_of_seeds(numbers: np.ndarray) -> Interval:
    """Mean of one number per seed (S,) with Student's t interval; one seed has none (NaN).

    >>> print(interval_of_seeds(np.array([0.1, 0.2, 0.3])))
    0.200 [-0.048, 0.448]
    """
    value = float(np.mean(numbers))
    if len(numbers) < 2:
        return Interval((value, np.nan, np.nan))
    half = _seeds_part(numbers)
    return Interval((value, value - half, value + half))


def with_seeds(interval: Interval, means: np.ndarray, bounds: tuple[float, float]) -> Interval:
    """An interval over groups with what new seeds would move, as in `seed_interval`.

    For statistics that are no mean over all images.

    Args:
        interval: Over groups, the seeds as they are.
        means: (S,) the statistic of every seed.
        bounds: Between which the statistic can lie.

    >>> print(with_seeds(Interval((0.2, 0.1, 0.3)), np.array([0.1, 0.2, 0.3]), (0, 1)))
    0.200 [0.000, 0.468]
    """
    value, low, high = interval
    of_seeds = _seeds_part(means[~np.isnan(means)])
    below = np.hypot(value - low, of_seeds)
    above = np.hypot(high - value, of_seeds)
    return Interval((value, max(value - below, bounds[0]), min(value + above, bounds[1])))


def _seeds_part(means: np.ndarray) -> float:
    """Half the width of Student's t interval of the means (S,) of seeds; 0 of one seed."""
    seeds = len(means)
    if seeds < 2:
        return 0.0
    return float(stats.t.ppf(0.975, seeds - 1) * np.std(means, ddof=1) / seeds**0.5)


@lru_cache(maxsize=24)  # tables hold many intervals over the same few sets of groups
def _weights(groups: int, seed: int) -> np.ndarray:
    """How often each of so many groups comes in a bootstrap draw: (R, G) of whole numbers."""
    repeats = int(np.clip(10**7 // groups, 2_000, 20_000))
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(groups, np.full(groups, 1 / groups), size=repeats)
    return counts.astype(np.min_scalar_type(groups))  # 20 MB at most, up to 5,000 groups


def share_interval(
    hits: np.ndarray, groups: Groups | np.ndarray, *, seed: int = 0, least: int = 1
) -> Interval:
    """Share of hits (S, N) over seeds and images with its 95 % interval, in [0, 1].

    As `seed_interval`. Where nothing or everything hits, the interval is one-sided and known also
    of few groups, see `with_unseen`.

    Args:
        hits: (S, N) 1 for a hit, 0 for none, NaN for an image that is left out.
        groups: (N,) the patient or family of each image.
        seed: Of the bootstrap draws.
        least: Groups that such a one-sided interval needs at least.

    >>> print(share_interval(np.zeros((3, 5)), np.arange(5)))
    0.000 [0.000, 0.522]
    """
    interval = seed_interval(hits, groups, bounds=(0, 1), seed=seed)
    known = ~np.isnan(hits).any(axis=0)
    if not known.any() or np.ptp(hits[:, known]) > 0:
        return interval
    of_known = Groups.of(groups)[known]
    if len(np.unique(of_known.names)) < least:
        return interval
    return with_unseen(interval, trials(of_known), unlike=1 - interval.value)


def grade_interval(grades: np.ndarray, groups: Groups | np.ndarray) -> Interval:
    """Mean of grades (S, N) in [0, 1] with its 95 % interval: a share where all are 0 or 1."""
    if np.isin(grades[~np.isnan(grades)], (0, 1)).all():
        return share_interval(grades, groups)
    return seed_interval(grades, groups, bounds=(0, 1))


def with_unseen(interval: Interval, trials: float, unlike: float) -> Interval:
    """The interval of a score of answers that are all right, or all wrong: one-sided.

    Every patient seen was alike, but a share of all patients may be unlike them. That share reaches
    from 0 to 1 minus the lower end of Clopper and Pearson's interval (Biometrika 1934), which is
    about 3.7 / trials: a rule of three. The score's end moves towards what such patients score.

    Args:
        interval: The value, and what the bootstrap says of it: nothing (NaN), or no width, or the
            width that it has beside its answers being right.
        trials: Number of `trials`, above 0.
        unlike: The score of patients that are unlike all that were seen.

    >>> print(with_unseen(Interval((1.0, 1.0, 1.0)), trials=12, unlike=0.0))
    1.000 [0.735, 1.000]
    >>> print(with_unseen(Interval((0.0, np.nan, np.nan)), trials=3, unlike=1.0))
    0.000 [0.000, 0.708]
    """
    value, low, high = interval
    low = value if np.isnan(low) else low
    high = value if np.isnan(high) else high
    share = 1 - float(stats.beta.ppf((1 - CONFIDENCE) / 2, trials, 1))
    if unlike < value:
        low = (1 - share) * low + share * unlike
    else:
        high = (1 - share) * high + share * unlike
    return Interval((value, low, high))


def trials(groups: Groups | np.ndarray, targets: np.ndarray | None = None) -> float:
    """Independent trials behind images: their groups, divided by the square of their widening.

    Args:
        groups: (N,) the patient or family of each image.
        targets: (N,) class indices, for a score that is a mean over classes: each class then counts
            as many groups as the rarest one has. A mean of shares p is at least their geometric
            mean, so for a mean recall this is on the safe side.

    >>> trials(np.array([0, 0, 1, 2])), trials(Groups(np.arange(20), 2.0))
    (3.0, 5.0)
    >>> trials(np.arange(10), np.array([0] * 8 + [1] * 2))
    4.0
    """
    groups = Groups.of(groups)
    count = len(np.unique(groups.names))
    if targets is not None:
        count = min(count, groups_of_rarest(targets, groups) * len(np.unique(targets)))
    return count / groups.widening**2


def groups_of_rarest(targets: np.ndarray, groups: Groups | np.ndarray) -> int:
    """How many groups the class has that has fewest, of those among the targets.

    >>> groups_of_rarest(np.array([0, 0, 0, 1, 1]), np.array([0, 1, 2, 3, 3]))
    1
    """
    names = Groups.of(groups).names
    return min(len(np.unique(names[targets == one])) for one in np.unique(targets))


def group_sums(values: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums (S, G) of values (S, N) per group, and the sizes (G,) of the groups."""
    names, codes = np.unique(groups, return_inverse=True)
    sums = np.stack([np.bincount(codes, weights=row, minlength=len(names)) for row in values])
    return sums, np.bincount(codes)
