"""A number with its 95 % interval, how it is written, and what it lets a reader say (01-07)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np

__all__ = ["Difference", "Interval", "Side", "in_points", "points"]

Side = Literal["unknown", "tie", "above", "below", "open"]


class Interval(tuple):
    """A value with its 95 % interval: ``(value, low, high)``; the ends are NaN where none is known.

    >>> print(Interval((0.9, 0.85, 0.94)))
    0.900 [0.850, 0.940]
    """

    __slots__ = ()

    @property
    def value(self) -> float:
        """The number itself."""
        return self[0]

    @property
    def low(self) -> float:
        """The lower end."""
        return self[1]

    @property
    def high(self) -> float:
        """The upper end."""
        return self[2]

    @property
    def is_known(self) -> bool:
        """Whether there is an interval: of too few patients there is none."""
        return not np.isnan(self.low)

    def side(self, border: float = 0.0) -> Side:
        """On which side of a border the whole interval lies.

        Returns:
            "above" or "below"; "open" where the border lies inside, "unknown" without an interval.

        >>> Interval((4.4, 4.1, 4.7)).side(border=1), Interval((0.1, -0.1, 0.3)).side()
        ('above', 'open')
        """
        if not self.is_known:
            return "unknown"
        if self.low > border:
            return "above"
        return "below" if self.high < border else "open"

    def __format__(self, how: str) -> str:
        value, low, high = (format(number, how or "z.3f") for number in self)
        if not self.is_known:
            return f"{value} (no interval)"
        return f"{value} [{low}, {high}]"

    def __str__(self) -> str:
        return format(self)

    def named(self, name: str) -> dict[str, float]:
        """The three as columns ``name``, ``name_low``, ``name_high``."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}


class Difference(Interval):
    """One model's score minus another's on the same images, with its 95 % interval.

    Where no patient tells the two apart, that is what it says: their difference has no interval.

    Attributes:
        groups: Number of patients or families behind it; 0 where that is not known.

    >>> print(Difference((0.02, -0.01, 0.05)), "|", Difference((0.0, 0.0, 0.0), groups=12))
    0.020 [-0.010, 0.050] | cannot be told apart on 12 patients or families
    """

    groups: int

    def __new__(cls, values: Iterable[float], groups: int = 0) -> Difference:
        """From value, low and high, and how many groups stand behind them."""
        made = super().__new__(cls, values)
        made.groups = groups
        return made

    @property
    def is_tie(self) -> bool:
        """Whether it is zero for every patient or family, and so in every draw."""
        return tuple(self) == (0, 0, 0)

    def side(self, border: float = 0.0) -> Side:
        """As `Interval.side`; "tie" where no patient tells the two models apart."""
        return "tie" if self.is_tie else super().side(border)

    def __format__(self, how: str) -> str:
        if not self.is_tie:
            return super().__format__(how)
        seen = f" on {self.groups} patients or families" if self.groups else ""
        return f"cannot be told apart{seen}"


def points(difference: Iterable[float]) -> str:
    """A difference of shares, (value, low, high), in points of a hundred.

    >>> points((0.1, -0.02, 0.2)), points((0.1, float("nan"), float("nan"))), points((0, 0, 0))
    ('+10.0 [-2.0, +20.0] points', '+10.0 points (no interval)', '+0.0 points (no patient differs)')
    """
    interval = Difference(difference)
    if interval.is_tie:
        return "+0.0 points (no patient differs)"
    if not interval.is_known:
        return f"{100 * interval.value:+z.1f} points (no interval)"
    return f"{in_points(interval)} points"


def in_points(difference: Iterable[float]) -> str:
    """A difference of shares, (value, low, high), in points of a hundred, without the word.

    An end that would round to zero has a second digit, so that its side can be seen.

    >>> in_points((0.068, -0.0002, 0.141))
    '+6.8 [-0.02, +14.1]'
    """
    value, *ends = (100 * end for end in difference)
    if np.isnan(ends).any():
        return f"{value:+z.1f} (no interval)"
    low, high = (f"{end:+.2f}" if 0 < abs(end) < 0.05 else f"{end:+z.1f}" for end in ends)
    return f"{value:+z.1f} [{low}, {high}]"
