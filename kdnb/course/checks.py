"""Exercises that check an answer, say what is wrong and record the outcome (notebooks 01-06)."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

import numpy as np

__all__ = ["COLOURS", "MIME", "Outcome", "check", "progress"]

MIME = "application/vnd.kdnb.check+json"  # how an outcome is kept in a saved notebook, for grading
COLOURS = {"passed": "#1b7f4b", "not passed": "#b35900", "not tried": "#6b7280"}  # never alone
STATE_SYMBOLS = {"passed": "✓", "not passed": "✗", "not tried": "○"}
UNTRIED = "Not tried yet: write your answer in place of None, then run both cells again."
NOTHING_RETURNED = (
    "Not tried yet, or nothing is returned: end your function with return and a value."
)
NEARLY = 0.01  # relative difference up to which a wrong number may be a rounded right one


@dataclass(frozen=True)
class Outcome:
    """What a check found; true if passed. The last value of a cell is shown and saved."""

    exercise: str  #: its number, such as "03.2"
    state: str  #: "passed", "not passed" or "not tried"
    said: str  #: what the learner reads

    def __bool__(self) -> bool:
        return self.state == "passed"

    def __repr__(self) -> str:
        return self.said

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        """IPython's hook: words, a coloured line, and the record that grading reads."""
        title = f"Exercise {escape(self.exercise)}" if self.exercise else ""
        line = (
            f'<div role="status" style="border-left: 4px solid {COLOURS[self.state]}; '
            f'padding: 6px 12px"><strong>{STATE_SYMBOLS[self.state]} {title}</strong> '
            f"{escape(self.said)}</div>"
        )
        return {"text/plain": self.said, "text/html": line, MIME: asdict(self)}


def check(
    answer: Any,
    expected: Any,
    hints: Mapping[Any, str] | Iterable[tuple[Any, str]] = (),
    tolerance: float = 1e-4,
    *,
    given: Sequence[Any] = (),
    parts: Sequence[str] = (),
    exercise: str = "",
) -> Outcome:
    """Compare a learner's answer with the expected one, and say what the mistake looks like.

    Args:
        answer: A number, array, tensor or table, a function that returns one, or None for
            "not tried yet".
        expected: The right number or array.
        hints: Typical wrong answer → what it means; pairs where the wrong answers are arrays.
        tolerance: Accepted relative difference; 0 for counts.
        given: What an answer that is a function is called with.
        parts: What each number of an expected list is, for what is said of a wrong one.
        exercise: Its number, under which the outcome is recorded.

    Raises:
        AssertionError: If it is not passed and nbgrader runs the notebook, which counts a check as
            failed only if its cell raises.

    >>> check(6, expected=3, hints={6: "these are FLOPs"})
    Not yet: these are FLOPs.
    >>> bool(check(lambda x: x + 2, expected=3, given=[1]))
    True
    """
    outcome = _outcome(answer, expected, hints, tolerance, given, parts, exercise)
    if not outcome and "NBGRADER_EXECUTION" in os.environ:  # set by nbgrader autograde and validate
        raise AssertionError(outcome.said)
    return outcome


def _outcome(
    answer: Any,
    expected: Any,
    hints: Mapping[Any, str] | Iterable[tuple[Any, str]],
    tolerance: float,
    given: Sequence[Any],
    parts: Sequence[str],
    exercise: str,
) -> Outcome:
    """What ``check`` finds, whoever runs the notebook."""
    if not given and (inspect.isbuiltin(answer) or inspect.ismethod(answer)):
        said = "Not yet: this is a method: call it, with parentheses."
        return Outcome(exercise=exercise, state="not passed", said=said)
    untried = UNTRIED
    if callable(answer):
        untried = NOTHING_RETURNED
        try:
            answer = answer(*given)
        except Exception as error:  # whatever it is, the learner must read it
            said = f"Not yet: your function raised {type(error).__name__}: {error}."
            return Outcome(exercise=exercise, state="not passed", said=said)
    if answer is None:
        return Outcome(exercise=exercise, state="not tried", said=untried)
    pairs = hints.items() if isinstance(hints, Mapping) else hints
    fault = _fault(answer, expected, pairs, tolerance, parts)
    if fault:
        return Outcome(exercise=exercise, state="not passed", said=f"Not yet: {fault}.")
    return Outcome(exercise=exercise, state="passed", said="Right.")


def _fault(
    answer: Any,
    expected: Any,
    hints: Iterable[tuple[Any, str]],
    tolerance: float,
    parts: Sequence[str],
) -> str:
    """What is wrong with an answer; empty where nothing is."""
    wanted = _numbers(expected)
    needed = f"an array of shape {wanted.shape}" if wanted.ndim else "a single number"
    try:
        got = _numbers(answer)
    except (TypeError, ValueError):
        return f"{needed} is needed, this is {type(answer).__name__}"
    if not wanted.ndim and got.size == 1:
        got = got.reshape(())
    fits = got.shape == wanted.shape
    if fits and np.allclose(got, wanted, rtol=tolerance, atol=1e-9, equal_nan=True):
        return ""
    common_mistakes = (
        (100 * wanted, "this looks like per cent: give a share", NEARLY),
        (-wanted, "the sign is turned round", tolerance),
    )
    mistakes = [(wrong, hint, tolerance) for wrong, hint in hints]
    for wrong, hint, off in (*mistakes, *common_mistakes):
        value = _numbers(wrong)
        same_shape = value.shape == got.shape
        if same_shape and np.allclose(got, value, rtol=off, atol=1e-9, equal_nan=True):
            return hint
    if not fits:
        return f"{needed} is needed, this one has shape {got.shape}"
    if np.allclose(got, wanted, rtol=NEARLY, atol=0):
        return "nearly, within 1 % of the right value: do not round, or count again"
    return _first_wrong_place(got, wanted, tolerance, parts)


def _first_wrong_place(
    got: np.ndarray, wanted: np.ndarray, tolerance: float, parts: Sequence[str]
) -> str:
    """Which value is off, and in which direction; the arrays have one shape and differ."""
    wrong = ~np.isclose(got, wanted, rtol=tolerance, atol=1e-9, equal_nan=True)
    place = tuple(int(i) for i in np.argwhere(wrong)[0])
    if np.isnan(got[place]):
        size = "no number"
    elif got[place] > wanted[place]:
        size = "too large"
    else:
        size = "too small"
    fault = f"{got[place]:.6g} is {size}"
    if parts:
        return f"{parts[place[0]]}: {fault}"
    if wanted.ndim:
        return f"{wrong.sum()} of {wrong.size} values are off; at {list(place)} {fault}"
    return fault


def _numbers(value: Any) -> np.ndarray:
    """An array of float64 from a number, array, table or tensor on any device; text is none."""
    if isinstance(value, str | bytes):
        raise TypeError("text is no number")
    if hasattr(value, "detach"):
        value = value.detach().cpu().double()
    return np.asarray(value, dtype=np.float64)


def progress(outputs: Mapping[int, Any], *exercises: str) -> Any:
    """Where the learner stands in this notebook: one row per exercise (``pandas.DataFrame``).

    ``outputs`` is IPython's ``Out``; the latest outcome of each exercise counts.
    """
    import pandas as pd

    states = dict.fromkeys(exercises, "not run")
    for _, output in sorted(outputs.items()):
        if isinstance(output, Outcome) and output.exercise in states:
            states[output.exercise] = output.state
    return pd.Series(states, name="state").rename_axis("exercise").to_frame()
