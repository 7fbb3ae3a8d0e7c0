"""The answer of notebook 01: how much of a score is memory, in words made from numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kdnb.core.differences import unpaired_difference
from kdnb.core.number_text import percent
from kdnb.core.statistics import Interval, share_interval
from kdnb.data.study_images import StudyImages

__all__ = ["crossing_words", "memory_answer", "memory_share"]


def memory_share(images: StudyImages) -> Interval:
    """The leak meter of a split with its 95 % interval over patients or families."""
    right = images.leak_meter["predictions"] == images.test_targets  # (N,)
    return share_interval(right[None].astype(float), images.test_groups)


def memory_answer(random: Interval, grouped: Interval, chance: float) -> str:
    """How much of a score is memory, image by image and with patients and copies kept apart.

    Args:
        random: `memory_share` under the split random.
        grouped: Under the split grouped.
        chance: The score of always naming the most frequent class, in [0, 1].

    >>> near = Interval((0.30, 0.25, 0.35))
    >>> print(memory_answer(Interval((0.80, 0.75, 0.85)), near, 0.25))
    The nearest training image alone answers 80% of the test images where images are split at \
random, and 30% where patients and copies are kept apart; always naming the most frequent class \
gives 25%. So 50 points [43, 57] of it come from patients and copies on both sides.
    """
    gap = unpaired_difference(random, grouped)
    said = (
        f"The nearest training image alone answers {percent(random[0])} of the test images where "
        f"images are split at random, and {percent(grouped[0])} where patients and copies are kept "
        f"apart; always naming the most frequent class gives {percent(chance)}. "
    )
    if np.isnan(gap[1]):
        return said + "How much of it is a leak, so few patients cannot tell."
    points = f"{100 * gap[0]:.0f} points [{100 * gap[1]:.0f}, {100 * gap[2]:.0f}]"
    if gap[1] > 0:
        return said + f"So {points} of it come from patients and copies on both sides."
    if gap[2] < 0:
        return said + f"Random is no easier for memory here: {points} between the two."
    return said + f"Whether random leaks, these images cannot tell: a difference of {points}."


def crossing_words(ledger: pd.DataFrame) -> str:
    """How many test images have a relative among those seen, by split.

    Args:
        ledger: Of `kdnb.data.audit.audit_splits`.
    """
    into_test = ledger[ledger["part_b"] == "test"]
    counts = into_test.groupby("split")["id_b"].nunique()
    if counts.empty:
        return "No test image of any split has a known relative in train or val."
    said = ", ".join(f"{count} under {split}" for split, count in counts.items())
    return f"Test images with a relative in train or val: {said}; none under the other splits."
