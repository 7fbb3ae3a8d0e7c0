"""The answer of notebook 01: how much of a score is memory, in words made from numbers."""

from __future__ import annotations

import pandas as pd

from kdnb.core.differences import unpaired_difference
from kdnb.core.intervals import Interval, points
from kdnb.core.number_text import percent
from kdnb.core.statistics import share_interval
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
random, and 30% where known patients and copies are kept apart; always naming the most frequent \
class gives 25%. The difference, +50.0 [+42.9, +57.1] points, comes from patients and copies on \
both sides.
    """
    gap = unpaired_difference(random, grouped)
    said = (
        f"The nearest training image alone answers {percent(random.value)} of the test images "
        f"where images are split at random, and {percent(grouped.value)} where known patients and "
        f"copies are kept apart; always naming the most frequent class gives {percent(chance)}. "
    )
    side = gap.side()
    by = points(gap)
    if side == "unknown":
        return said + "How much of it is a leak, so few patients cannot tell."
    if side == "above":
        return said + f"The difference, {by}, comes from patients and copies on both sides."
    if side == "below":
        return said + f"Random is no easier for memory here: {by} between the two."
    return said + f"Whether random leaks, these images cannot tell: {by}."


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
