"""The twin browser without a browser: pairs, words, traits and messages, the static twin."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from kdnb.core.errors import UserError
from kdnb.core.settings import Settings
from kdnb.data import duplicates, leakage, phantoms
from kdnb.data.dataset import load
from kdnb.data.sources import phantom_source
from kdnb.widgets.twins import (
    TwinBrowser,
    difference,
    sentence,
    static_twins,
    twin_browser,
    twin_pairs,
)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Phantoms with planted copies under two splits, their thumbnails and pairs."""
    source = phantom_source(
        phantoms.PhantomPlan(patients=24, slices=4, duplicates=0.4, patient_leaks=0.25)
    )
    given = {"image_size": 64, "runs_dir": str(tmp_path_factory.mktemp("runs"))}
    sets = {
        mode: load(Settings.checked({**given, "split": mode}), source)
        for mode in ("published", "grouped")
    }
    thumbs = duplicates.thumbnails(sets["grouped"].pixels)
    return sets, thumbs, twin_pairs(sets, thumbs, count=10_000)


def test_every_test_image_has_its_nearest_training_image(found):
    sets, thumbs, pairs = found
    for split, rows in pairs.groupby("split"):
        train, test = sets[split].rows("train", "val"), sets[split].rows("test")
        likeness = thumbs[test] @ thumbs[train].T
        assert sorted(rows["test"]) == sorted(test) and set(rows["train"]) <= set(train)
        best = pd.Series(likeness.max(axis=1), test)
        np.testing.assert_allclose(rows["similarity"], best[rows["test"]], atol=1e-6)
        assert rows["similarity"].is_monotonic_decreasing
        meter = leakage.leak_meter(sets[split].table, thumbs)
        assert rows["right"].mean() == pytest.approx(meter["accuracy"])


def test_relations_are_the_planted_ones(found):
    sets, _, pairs = found
    for split, rows in pairs.groupby("split"):
        table = sets[split].table
        for pair in rows.itertuples():
            a, b = table.iloc[pair.test], table.iloc[pair.train]
            assert (pair.relation == "the same file") == (a["sha256"] == b["sha256"])
            assert (pair.relation == "of the same patient") <= (a["patient"] == b["patient"])
            assert (pair.relation == "of different patients") == (a["patient"] != b["patient"])
    by_split = pairs.groupby("split")["relation"].agg(set)
    assert "the same file" in by_split["published"]
    assert "of one copy family" in by_split["published"]
    assert by_split["grouped"] == {"of different patients"}


def test_unknown_patients_are_said_to_be_unknown(found):
    sets, thumbs, _ = found
    import dataclasses

    blind = dataclasses.replace(sets["grouped"], table=sets["grouped"].table.assign(patient=""))
    assert set(twin_pairs({"grouped": blind}, thumbs)["relation"]) == {"patient unknown"}


def test_a_few_pairs_are_spread_through_the_ranking(found):
    sets, thumbs, every = found
    few = twin_pairs({"published": sets["published"]}, thumbs, count=5)
    published = every[every["split"] == "published"]
    assert len(few) == 5
    assert (
        few["similarity"].iloc[[0, -1]].tolist() == published["similarity"].iloc[[0, -1]].tolist()
    )


def test_sentence_tells_all_that_is_shown(found):
    pair = found[2][found[2]["split"] == "published"].iloc[2]
    said = sentence(found[2], "published", 2)
    assert said.startswith("published split, pair 3 of ")
    for part in (pair["test_id"], pair["train_id"], f"{pair['similarity']:.4f}", pair["relation"]):
        assert part in said


def test_difference_is_zero_only_for_equal_pixels():
    a = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    b = a.copy()
    b[3, 4, 1] ^= 255
    assert not difference(a, a).any() and np.argwhere(difference(a, b)).tolist() == [[3, 4]]


def test_the_widget_checks_its_state_and_answers_with_pixels(found):
    sets, _, pairs = found
    pixels, sent = sets["grouped"].pixels, []
    widget = TwinBrowser(pairs, pixels)
    assert widget.split == "published" and widget.place == 0
    assert len(widget.spec["pairs"]["grouped"]) == (pairs["split"] == "grouped").sum()
    with pytest.raises(UserError, match="split must be one of published, grouped, got 'other'"):
        widget.split = "other"
    with pytest.raises(UserError, match="place must lie between 0 and"):
        widget.set_state({"place": -1, "split": "grouped"})
    assert widget.split == "published" and widget.place == 0
    widget.send = lambda content, buffers: sent.append((content, buffers))
    widget._answer(widget, {"ask": "pair", "split": "grouped", "place": 1}, [])
    pair = pairs[pairs["split"] == "grouped"].iloc[1]
    assert sent == [
        (
            {"split": "grouped", "place": 1},
            [pixels[pair["test"]].tobytes(), pixels[pair["train"]].tobytes()],
        )
    ]
    for wrong in (
        {"ask": "pair", "split": "other", "place": 0},
        {"ask": "pair", "split": "grouped", "place": 10**6},
        {},
    ):
        widget._answer(widget, wrong, [])
    assert len(sent) == 1
    with pytest.raises(UserError, match="no pairs to show"):
        TwinBrowser(pairs.head(0), pixels)


def test_static_twin_shows_the_same_numbers(found, monkeypatch):
    sets, _, pairs = found
    picture = static_twins(pairs, sets["grouped"].pixels, columns=4)
    assert picture.pixels
    assert sentence(pairs, "published", 0) in picture.alt
    assert sentence(pairs, "grouped", 0) in picture.alt
    drawn = [text for ax in picture.figure.axes for text in (ax.get_title(), ax.get_xlabel())]
    assert any(f"{pairs['similarity'].iloc[0]:.4f}" in text for text in drawn)
    plt.close(picture.figure)
    assert "<img alt=" in twin_browser(pairs, sets["grouped"].pixels).data
    monkeypatch.setenv("KDNB_LIVE", "1")
    assert isinstance(twin_browser(pairs, sets["grouped"].pixels), TwinBrowser)
