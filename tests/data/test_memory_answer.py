"""The words of notebook 01 on made-up numbers, and who crosses."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kdnb.core.intervals import Interval
from kdnb.data.answer import crossing_words, memory_answer
from kdnb.data.audit import Audit, crossings

LEDGER = pd.DataFrame(
    [
        ["random", "exact", "train", "test", "t1"],
        ["random", "patient", "train", "test", "t1"],
        ["random", "patient", "val", "test", "t2"],
        ["deduplicated", "patient", "train", "val", "v1"],
    ],
    columns=["split", "kind", "part_a", "part_b", "id_b"],
)


def test_memory_is_said_to_be_part_of_the_score_only_where_the_interval_shows_it():
    high = Interval((0.8, 0.75, 0.85))
    low = Interval((0.3, 0.25, 0.35))
    assert (
        "The difference, +50.0 [+42.9, +57.1] points, comes from patients and copies on both sides"
        in memory_answer(high, low, 0.25)
    )
    assert "Random is no easier for memory here: -50.0 [" in memory_answer(low, high, 0.25)
    wide = Interval((0.75, 0.5, 0.95))
    assert "these images cannot tell: +5.0 [" in memory_answer(high, wide, 0.25)
    unknown = memory_answer(high, Interval((0.3, np.nan, np.nan)), 0.25)
    assert unknown.endswith("so few patients cannot tell.") and "nan" not in unknown


def test_every_crossing_is_counted_also_between_training_parts():
    audit = Audit(
        summary=pd.DataFrame(index=["grouped", "random", "deduplicated"]),
        ledger=LEDGER,
        notes=(),
        data="",
    )
    found = crossings(audit)
    assert list(found) == ["exact", "patient"]
    assert found.loc["grouped"].to_numpy().tolist() == [[0, 0]]
    assert found.loc[("random", "train to test")].tolist() == [1, 1]
    assert found.loc[("deduplicated", "train to val")].tolist() == [0, 1], "not dropped"
    assert "2 under random; none" in crossing_words(LEDGER)
    assert crossing_words(LEDGER[:0]).startswith("No test image")


def test_no_crossing_at_all_is_one_row():
    audit = Audit(pd.DataFrame(index=["grouped"]), LEDGER[:0], (), "")
    assert crossings(audit).index.tolist() == [("grouped", "none")]
