"""Exercises that check an answer, say what is wrong with it, and record the outcome (notebooks 01-06)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

import numpy as np

__all__ = ["MIME", "Outcome", "check", "progress"]

MIME = "application/vnd.kdnb.check+json"  # how an outcome is kept in a saved notebook, for `kdnb course grade`
COLOURS = {"passed": "#1b7f4b", "not passed": "#b35900", "not tried": "#6b7280"}  # beside words, never alone
MARKS = {"passed": "✓", "not passed": "✗", "not tried": "○"}


@dataclass(frozen=True)
class Outcome:
    """What a check found; true if passed. As the last value of a cell it is shown, and saved with the notebook."""

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
        line = (f'<div role="status" style="border-left: 4px solid {COLOURS[self.state]}; padding: 6px 12px">'
                f"<strong>{MARKS[self.state]} {title}</strong> {escape(self.said)}</div>")  # fmt: skip
        return {"text/plain": self.said, "text/html": line, MIME: asdict(self)}


def check(
    answer: Any, expected: Any, hints: Mapping[Any, str] | Iterable[tuple[Any, str]] = (), tolerance: float = 1e-4, *,
    given: Sequence[Any] = (), exercise: str = "",
) -> Outcome:  # fmt: skip
    """Compare a learner's answer with the expected one, and say what the mistake looks like.

    Args:
        answer: A number, array, tensor or table, a function that returns one, or None for "not tried yet".
        expected: The right number or array.
        hints: Typical wrong answer → what it means; pairs where the wrong answers are arrays.
        tolerance: Accepted relative difference.
        given: What an answer that is a function is called with.
        exercise: Its number, under which the outcome is recorded.

    >>> check(6, expected=3, hints={6: "these are FLOPs"})
    Not yet: these are FLOPs.
    >>> bool(check(lambda x: x + 2, expected=3, given=[1]))
    True
    """
    try:
        answer = answer(*given) if callable(answer) else answer
    except Exception as error:  # whatever the learner's function raises is what the learner must read
        return Outcome(exercise, "not passed", f"Not yet: your function raised {type(error).__name__}: {error}.")
    if answer is None:
        said = "Not tried yet: write your answer in place of None, then run both cells again."
        return Outcome(exercise, "not tried", said)
    fault = _fault(answer, expected, hints.items() if isinstance(hints, Mapping) else hints, tolerance)
    return Outcome(exercise, "not passed", f"Not yet: {fault}.") if fault else Outcome(exercise, "passed", "Right.")


def _fault(answer: Any, expected: Any, hints: Iterable[tuple[Any, str]], tolerance: float) -> str:
    """What is wrong with an answer; empty where nothing is."""
    wanted = _numbers(expected)
    needed = f"an array of shape {wanted.shape}" if wanted.ndim else "a single number"
    try:
        got = _numbers(answer)
    except (TypeError, ValueError):
        return f"{needed} is needed, this is {type(answer).__name__}"
    got = got.reshape(()) if not wanted.ndim and got.size == 1 else got
    close = np.isclose(got, wanted, rtol=tolerance, atol=1e-9, equal_nan=True) if got.shape == wanted.shape else None
    if close is not None and close.all():
        return ""
    slips = (100 * wanted, "this looks like per cent: give a share"), (-wanted, "the sign is turned round")
    for wrong, hint in (*hints, *slips):
        value = _numbers(wrong)
        if value.shape == got.shape and np.allclose(got, value, rtol=tolerance, atol=1e-9):
            return hint
    if close is None:
        return f"{needed} is needed, this one has shape {got.shape}"
    place = tuple(int(i) for i in np.argwhere(~close)[0])
    size = "no number" if np.isnan(got[place]) else "too large" if got[place] > wanted[place] else "too small"
    where = f"{(~close).sum()} of {close.size} values are off; at {list(place)} " if wanted.ndim else ""
    return f"{where}{got[place]:.6g} is {size}"


def _numbers(value: Any) -> np.ndarray:
    """An array of float64 from a number, array, table or tensor on any device."""
    return np.asarray(value.detach().cpu().double() if hasattr(value, "detach") else value, dtype=np.float64)


def progress(outputs: Mapping[int, Any], *exercises: str) -> Any:
    """Where the learner stands in this notebook: one row per exercise, by number (``pandas.DataFrame``).

    ``outputs`` is IPython's ``Out``; the latest outcome of each exercise counts.
    """
    import pandas as pd

    latest = {o.exercise: o for _, o in sorted(outputs.items()) if isinstance(o, Outcome)}
    states = {name: latest[name].state if name in latest else "not run" for name in exercises}
    return pd.Series(states, name="state").rename_axis("exercise").to_frame()
