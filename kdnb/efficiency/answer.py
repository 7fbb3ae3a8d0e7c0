"""The answer of notebook 06: what the small network saves, in words made from numbers."""

from __future__ import annotations

from kdnb.core.intervals import Interval
from kdnb.core.number_text import percent, times

__all__ = ["cost_answer"]


def cost_answer(
    teacher: str, weights: float, macs: float, answering: Interval, explaining: Interval
) -> str:
    """How much the student saves in weights, work and time, in answering and in explaining.

    Args:
        teacher: Its name.
        weights: The student's share of the teacher's weights.
        macs: The student's share of the teacher's work.
        answering: The teacher's time over the student's, of one forward pass.
        explaining: The same, of the same SHAP.

    >>> clear = Interval((4.4, 4.1, 4.7))
    >>> print(cost_answer("densenet121", 0.23, 0.34, clear, Interval((1.1, 0.9, 1.3))))
    The student has 23% of the weights of densenet121 and needs 34% of its work. It answers 4.4 \
[4.1, 4.7] times as fast. That it explains faster by the same SHAP is not shown: 1.1 [0.9, 1.3] \
times.
    """
    said = (
        f"The student has {percent(weights)} of the weights of {teacher} and needs "
        f"{percent(macs)} of its work. "
    )
    said += _speed("answers", answering) + " "
    return said + _speed("explains", explaining, " by the same SHAP")


def _speed(verb: str, ratio: Interval, how: str = "") -> str:
    """One sentence about a ratio of times."""
    side = ratio.side(border=1)
    if side == "unknown":
        return f"How much faster it {verb}{how} was not measured well enough to tell."
    factor = f"{times(ratio.value)} [{times(ratio.low)}, {times(ratio.high)}]"
    if side == "above":
        return f"It {verb}{how} {factor} times as fast."
    if side == "below":
        return f"It {verb}{how} more slowly: {factor} times as fast."
    return f"That it {verb} faster{how} is not shown: {factor} times."
