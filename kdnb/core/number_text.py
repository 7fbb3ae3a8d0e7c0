"""Numbers as text, with the digits that a reader needs; the widgets' browser side writes the same.

Used by the layer report and the widgets (notebooks 03-05).
"""

from __future__ import annotations

__all__ = ["number", "plus", "probability"]


def number(value: float) -> str:
    """Three significant digits; the browser writes the same.

    >>> number(0.42), number(1234.5), number(-0.000012), number(0)
    ('0.420', '1235', '-1.20e-5', '0')
    """
    if value == 0:
        return "0"
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
