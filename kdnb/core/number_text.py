"""Numbers as text, with the digits that a reader needs (notebooks 01-07).

The widgets' browser side writes `number` and `probability` in the same way.
"""

from __future__ import annotations

import math
from numbers import Integral

__all__ = ["counted", "number", "percent", "percent_range", "plus", "probability", "short", "times"]

THOUSANDS = ("", " k", " M", " G", " T")  # of a large number, as engineers write it


def number(value: float) -> str:
    """Three significant digits; the browser writes the same.

    >>> number(0.42), number(1234.5), number(-0.000012), number(0)
    ('0.420', '1235', '-1.20e-5', '0')
    """
    if value == 0:
        return "0"
    if not math.isfinite(value):
        return str(float(value))
    value *= 1 + 1e-12  # ties away from zero, as in JavaScript
    mantissa, exponent = f"{value:.2e}".split("e")
    power = int(exponent)
    if not -4 <= power < 4:
        return f"{mantissa}e{power}"
    return f"{value:.{max(0, 2 - power)}f}"


def plus(value: float) -> str:
    """A number with its sign."""
    return ("+" if value > 0 else "") + number(value)


def probability(value: float) -> str:
    """A probability with two digits; ties away from zero, as in JavaScript.

    >>> probability(0.125)
    '0.13'
    """
    return f"{value + 1e-12:.2f}"


def short(value: float) -> str:
    """Three significant digits, of large numbers with k, M or G; counts below a million are whole.

    >>> short(30932369408), short(1573188), short(0.98765), short(5031), short(999_600.0)
    ('30.9 G', '1.57 M', '0.988', '5,031', '1.00 M')
    """
    if isinstance(value, Integral) and abs(value) < 10**6:
        return f"{value:,}"
    size = abs(value)
    if not math.isfinite(size):
        return str(value)
    if size >= 10_000:
        value = float(f"{value:.3g}")  # 999,600 has the digits of a million
        size = abs(value)
    steps = min(int(math.log10(size) // 3), len(THOUSANDS) - 1) if size >= 10_000 else 0
    scaled = value / 1000**steps
    if size < 1:
        scaled = float(f"{scaled:.3g}")  # 0.09999 has the digits of 0.1
    power = math.floor(math.log10(abs(scaled))) if scaled else 0
    text = f"{scaled:.{max(0, 2 - power)}f}" if power >= -4 else f"{scaled:.2e}"
    return f"{text}{THOUSANDS[steps]}"


def percent(value: float) -> str:
    """A share in percent, with one digit behind the point where it is close to none or all.

    What is not quite all or none never reads so.

    >>> percent(0.417), percent(0.994), percent(1), percent(0.004), percent(0.9999)
    ('42%', '99.4%', '100%', '0.4%', 'over 99.9%')
    """
    if 0 < value < 0.0005:
        return "below 0.1%"
    if 0.9995 <= value < 1:
        return "over 99.9%"
    near_an_end = 0 < value < 0.05 or 0.95 < value < 1
    return f"{value:.1%}" if near_an_end else f"{value:.0%}"


def percent_range(least: float, most: float) -> str:
    """Two shares in percent, with the same digits: one behind the point where whole ones mislead.

    >>> percent_range(0.929, 0.968), percent_range(0.62, 0.979), percent_range(0.95, 0.998)
    ('93% to 97%', '62% to 98%', '95.0% to 99.8%')
    """
    whole = f"{least:.0%}", f"{most:.0%}"
    misleads = (whole[0] == "0%" and least > 0) or (whole[1] == "100%" and most < 1)
    return f"{least:.1%} to {most:.1%}" if misleads else " to ".join(whole)


def times(value: float) -> str:
    """A factor with two significant digits, whole from 10 on.

    >>> times(4.391), times(169.6), times(0.6234), times(3.997)
    ('4.4', '170', '0.62', '4.0')
    """
    if value >= 9.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 0.995 else f"{value:.2g}"


def counted(number: int, noun: str) -> str:
    """A number of things, by a noun whose plural ends in s.

    >>> counted(1, "test"), counted(3, "test")
    ('1 test', '3 tests')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
