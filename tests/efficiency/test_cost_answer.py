"""The words and the picture of notebook 06 on made-up numbers."""

from __future__ import annotations

import numpy as np

from kdnb.core.intervals import Interval
from kdnb.efficiency.answer import cost_answer
from kdnb.efficiency.plots import headline_steps


def test_faster_slower_and_unknown_are_said_as_the_interval_shows():
    fast = Interval((4.4, 4.1, 4.7))
    slow = Interval((0.8, 0.7, 0.9))
    said = cost_answer("densenet121", 0.23, 0.34, fast, slow)
    assert "It answers 4.4 [4.1, 4.7] times as fast." in said
    assert "It explains by the same SHAP more slowly: 0.8 [0.7, 0.9]" in said
    unsure = cost_answer("x", 0.2, 0.3, Interval((1.1, 0.9, 1.3)), Interval((2, np.nan, np.nan)))
    assert "That it answers faster is not shown" in unsure and "nan" not in unsure


def test_a_headline_is_drawn_as_the_two_factors_that_multiply_to_it():
    picture = headline_steps(4.4, 38.0, ("SHAP", "average map"))
    assert "teacher → student, both SHAP × 4.4" in picture.alt
    assert "both the student × 38; the headline that mixes both × 167" in picture.alt
    bars = picture.figure.axes[0].patches
    model, method, whole = [
        np.log(bar.get_x() + bar.get_width()) - np.log(bar.get_x()) for bar in bars
    ]
    assert np.isclose(model + method, whole), "on a scale of factors they add up"
