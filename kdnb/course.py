"""Exercises that check an answer and say what is wrong with it (notebooks 01-06)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

__all__ = ["check"]


def check(answer: object, expected: object, hints: Mapping[object, str] | None = None, tolerance: float = 1e-4) -> bool:
    """Compare a learner's number with the expected one; print "right", or what the mistake looks like.

    Args:
        answer: A number, a one-element tensor, or None for "not tried yet".
        expected: The right number.
        hints: Typical wrong number → what it means.
        tolerance: Accepted relative difference.

    Returns:
        Whether the answer is right.

    >>> check(6, expected=3, hints={6: "these are FLOPs"})
    Not yet: these are FLOPs.
    False
    """
    if answer is None:
        print("Not tried yet: replace None with your answer and run the cell again.")
        return False
    try:
        value = float(answer)
    except (TypeError, ValueError):
        print(f"Not yet: a single number is needed, this is {type(answer).__name__}.")
        return False
    if np.isclose(value, float(expected), rtol=tolerance, atol=1e-9):
        print("Right.")
        return True
    matching = [
        hint for wrong, hint in (hints or {}).items() if np.isclose(value, float(wrong), rtol=tolerance, atol=1e-9)
    ]
    print(
        f"Not yet: {matching[0]}."
        if matching
        else f"Not yet: {value:.6g} is too {'large' if value > float(expected) else 'small'}."
    )
    return False
