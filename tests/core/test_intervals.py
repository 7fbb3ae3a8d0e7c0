"""What an interval lets a reader say."""

from __future__ import annotations

import numpy as np
import pytest

from kdnb.core.intervals import Difference, Interval


@pytest.mark.parametrize(
    ("numbers", "border", "side"),
    [
        ((0.2, 0.1, 0.3), 0, "above"),
        ((-0.2, -0.3, -0.1), 0, "below"),
        ((0.1, 0.0, 0.2), 0, "open"),  # an end on the border leaves it in
        ((0.0, 0.0, 0.0), 0, "open"),
        ((0.1, np.nan, np.nan), 0, "unknown"),
        ((1.2, 1.1, 1.3), 1, "above"),
        ((0.9, 0.8, 1.1), 1, "open"),
    ],
)
def test_a_side_is_told_where_the_whole_interval_lies_there(numbers, border, side):
    assert Interval(numbers).side(border) == side


def test_no_difference_on_any_image_is_a_tie():
    assert Difference((0.0, 0.0, 0.0)).side() == "tie"
    assert Difference((0.0, -0.1, 0.1)).side() == "open"
    assert Difference((0.2, 0.1, 0.3)).side() == "above"
