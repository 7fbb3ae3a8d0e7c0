"""The words of notebook 03 on made-up numbers, and the default ladder."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from kdnb.core.settings import Settings
from kdnb.distillation.answer import (
    brief,
    distillation_answer,
    ladder_widths,
    published_controls,
    published_grid,
)
from kdnb.distillation.plots import grid_heatmap, ladder

WORTH = pd.DataFrame(
    {"difference": [0.2, 0.05], "difference_low": [0.1, 0.01], "difference_high": [0.3, 0.1]},
    index=["memory", "a student on labels alone"],
)


def grid(gain, low, high, seeds=3):
    cells = {
        "alpha": [1.0, 0.7],
        "temperature": [1.0, 10.0],
        "seeds": seeds,
        "val_accuracy": [0.8, 0.9],
        "accuracy": [0.8, 0.8 + gain],
        "accuracy_low": 0.7,
        "accuracy_high": 0.95,
        "gain": [0.0, gain],
        "gain_low": [0.0, low],
        "gain_high": [0.0, high],
        "p": [1.0, 0.02],
        "agreement": 0.9,
        "kl": 0.1,
        "ece": 0.05,
    }
    return pd.DataFrame(cells)


@pytest.mark.parametrize(
    ("gain", "said"),
    [
        ((0.03, 0.01, 0.05), "Yes, here: the teacher adds +3.0 [+1.0, +5.0] points"),
        ((-0.03, -0.05, -0.01), "No, here the teacher harms"),
        ((0.01, -0.02, 0.04), "Cannot tell: +1.0 [-2.0, +4.0] points"),
        ((0.01, np.nan, np.nan), "of too few patients"),
        ((0.0, 0.0, 0.0), "no test image tells it from the student on labels alone"),
    ],
)
def test_the_answer_says_what_the_interval_shows(gain, said):
    text, sure = distillation_answer(grid(*gain), WORTH, "40 patients or families")
    assert said in text and "nan" not in text
    assert "not shown to know more" not in text
    assert sure.startswith("3 seeds and 40 patients or families, alpha 0.7 and T 10")
    assert "cannot speak for the method" not in sure and "chosen" not in sure


def test_a_choice_among_cells_is_said():
    one = grid(0.03, 0.01, 0.05)
    several = pd.concat([one, one[1:].assign(temperature=4.0)], ignore_index=True)
    assert (
        "chosen among 2 on the validation part"
        in distillation_answer(several, WORTH, "40 patients or families")[1]
    )


def test_the_cell_is_chosen_on_validation_not_on_test():
    one = grid(0.03, 0.01, 0.05)
    better_on_test = one[1:].assign(
        temperature=4.0, val_accuracy=0.5, gain=0.3, gain_low=0.2, gain_high=0.4
    )
    both = pd.concat([one, better_on_test], ignore_index=True)
    text, sure = distillation_answer(both, WORTH, "40 patients or families")
    assert "+3.0 [+1.0, +5.0] points" in text and "T 10, chosen" in sure


def test_a_control_and_another_loss_are_named():
    text, sure = distillation_answer(
        grid(0.03, 0.01, 0.05),
        WORTH,
        "40 patients or families",
        loss="attention",
        control="shuffled",
    )
    assert text.startswith("Yes, here: the control 'shuffled' adds")
    assert "alpha 0.7 and T 10, loss attention" in sure


def test_one_seed_and_a_weak_teacher_are_said():
    weak = WORTH.assign(difference_low=-0.01)
    text, sure = distillation_answer(
        grid(0.03, 0.01, 0.05, seeds=1), weak, "40 patients or families"
    )
    assert "not shown to know more" in text and "cannot speak for the method" in sure
    assert (
        "Nothing can be told"
        in distillation_answer(grid(0, 0, 0)[:1], WORTH, "40 patients or families")[0]
    )


def test_a_brief_table_has_its_intervals_as_text():
    table = brief(grid(0.03, 0.01, 0.05))
    assert table["gain over labels alone"].tolist()[1] == "+0.030 [+0.010, +0.050]"
    assert table["accuracy"].tolist()[1] == "0.83 [0.70, 0.95]"
    assert table["gain over labels alone"].tolist()[0] == "labels alone"


def test_the_ladder_has_three_widths_unless_the_student_has_one():
    assert ladder_widths(Settings.checked({})) == [0.25, 0.5, 1.0]
    assert ladder_widths(Settings.checked({"width": 0.25})) == [0.125, 0.25]
    assert ladder_widths(Settings.checked({"widths": [2.0]})) == [2.0]
    assert ladder_widths(Settings.checked({"student": "as_coded"})) == [1.0]


def test_the_same_network_stands_at_the_same_place():
    rows = []
    for training in ("KD", "labels alone"):
        for macs, width in ((10**7, 1.0), (10**6, 0.25)):
            row = {"training": training, "width": width, "macs": macs, "accuracy": 0.8}
            rows.append(row | {"low": 0.7, "high": 0.9})
    axes = ladder(pd.DataFrame(rows)).figure.axes[0]
    places = [line.get_xdata().tolist() for line in axes.lines if line.get_marker() in "os"]
    assert places == [[10**6, 10**7]] * 2
    ticks = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
    names = {place: text.get_text() for place, text in ticks}
    assert names == {10**6: "1.00 M\n× 0.25", 10**7: "10.0 M\n× 1"}


def test_published_tables_can_be_shown_where_a_run_has_none(tmp_path, monkeypatch):
    folder = tmp_path / "figures" / "results"
    folder.mkdir(parents=True)
    monkeypatch.setattr("kdnb.distillation.answer.project_root", lambda: tmp_path)
    assert published_grid().empty and published_controls().empty, "not published yet"
    grid = pd.DataFrame(
        {
            "dataset": ["brain_tumor", "brain_tumor", "eye_disease"],
            "alpha": [0.4, 1.0, 0.4],
            "temperature": [5.0, 1.0, 5.0],
            "gain": [0.02, 0.0, 0.1],
            "gain_low": [0.01, 0.0, 0.1],
            "gain_high": [0.03, 0.0, 0.1],
            "val_accuracy": 0.8,
            "accuracy": 0.8,
            "accuracy_low": 0.7,
            "accuracy_high": 0.9,
            "seeds": 1,
        }
    )
    grid.to_csv(folder / "grid.csv", index=False)
    assert len(published_grid()) == 2
    assert "Heatmap of the gain" in grid_heatmap(published_grid()).alt
    gains = pd.DataFrame(
        {
            "dataset": "brain_tumor",
            "fraction": [1.0, 1.0, 0.5, 1.0],
            "taught_by": ["the teacher", "shuffled", "the teacher", "the teacher"],
            "against": ["labels alone", "labels alone", "labels alone", "shuffled"],
            "difference": 0.02,
            "difference_low": 0.01,
            "difference_high": 0.03,
            "p": 0.01,
            "seeds": 3,
            "size_px": 64,
        }
    )
    gains.to_csv(folder / "gains.csv", index=False)
    assert published_controls()["gain"].to_dict() == {"shuffled": "+0.020 [+0.010, +0.030]"}
    differences = gains.iloc[:2].assign(
        split="patients",
        counted=["all classes", "known patients"],
        rival="student of an untrained teacher",
        difference=0.015,
        size_px=96,
    )
    differences.to_csv(folder / "differences.csv", index=False)
    assert published_controls()["px"].to_dict() == {"shuffled": 64, "an untrained teacher": 96}
    gains.iloc[:1].to_csv(folder / "gains.csv", index=False)
    assert list(published_controls().index) == ["an untrained teacher"]
