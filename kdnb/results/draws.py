"""What draws of the default study gave, as lines of a page (docs/results.md).

The table is that of ``benchmarks/difficulty.py``: one row per seed of the phantoms.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from kdnb.core.intervals import Interval
from kdnb.core.model_names import MODELS
from kdnb.core.statistics import interval_of_seeds

__all__ = ["DRAWN_AFTER", "draws_lines"]

DRAWN_AFTER = 5  # the first seed that had no part in choosing the difficulty and the schedule
GAINS = ("teacher - labels", "KD - labels")
HEAD = """\
| seed | teacher | distilled student | labels alone | memory | teacher − labels alone, points | \
distilled − labels alone, points |
|---|---|---|---|---|---|---|
"""


def draws_lines(table: pd.DataFrame) -> str:
    """A table of the seeds from `DRAWN_AFTER` on, and what they say together.

    Args:
        table: Columns seed and memory; the accuracies ``MODELS`` and the differences ``GAINS``,
            each with its 95 % interval, ``NAME, low`` and ``NAME, high``.
    """
    drawn = table[table["seed"] >= DRAWN_AFTER]
    rows = [_row(row) for row in drawn.to_dict("records")]
    teacher, student = (_verdicts(drawn, gain) for gain in GAINS)
    of_teacher, of_student = (_over_draws(drawn[gain]) for gain in GAINS)
    return (
        f"{HEAD}{''.join(rows)}\n"
        f"Over these draws the teacher is {of_teacher} points above labels alone, the distilled "
        f"student {of_student} (mean, Student's t). By the patients of a draw alone the teacher is "
        f"above on {teacher}, its student on {student}. Bold: the 95 % interval over patients "
        "leaves out zero.\n"
    )


def _over_draws(gains: pd.Series) -> str:
    """Mean of a difference over draws, in points of a hundred, with its 95 % interval."""
    interval = interval_of_seeds(gains.to_numpy())
    return f"{Interval(100 * value for value in interval):+z.1f}"


def _row(row: Mapping[str, float]) -> str:
    """One seed."""
    shares = [f"{100 * row[name]:.1f}%" for name in (*MODELS, "memory")]
    gains = [_points(row, name) for name in GAINS]
    return f"| {' | '.join([str(int(row['seed'])), *shares, *gains])} |\n"


def _points(row: Mapping[str, float], name: str) -> str:
    """A difference in points of a hundred, bold where it is not zero."""
    low, high = row[f"{name}, low"], row[f"{name}, high"]
    told = f"{Interval(100 * value for value in (row[name], low, high)):+z.1f}"
    return f"**{told}**" if low > 0 or high < 0 else told


def _verdicts(drawn: pd.DataFrame, name: str) -> str:
    """On how many seeds a difference is above zero, and on how many it is below."""
    above = int((drawn[f"{name}, low"] > 0).sum())
    below = int((drawn[f"{name}, high"] < 0).sum())
    told = f"{above} of {len(drawn)} seeds"
    return f"{told} (below on {below})"
