from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from kdnb.errors import UserError
from kdnb.faithfulness import energy_in_mask, peak_in_mask, rank_correlation

MASK = np.zeros((2, 8, 8), bool)
MASK[0, 2:4, 2:4] = True  # the second mask is empty


def test_all_inside_all_outside_and_chance():
    inside, outside = MASK.astype(float), (~MASK).astype(float)
    assert energy_in_mask(inside, MASK)[0] == 1 and energy_in_mask(outside, MASK)[0] == 0
    assert energy_in_mask(np.ones_like(inside), MASK)[0] == MASK[0].mean()
    assert peak_in_mask(inside, MASK)[0] == 1 and peak_in_mask(outside, MASK)[0] == 0


def test_nothing_to_find_is_unknown_not_zero():
    maps = np.ones(MASK.shape)
    assert np.isnan(energy_in_mask(maps, MASK)[1]) and np.isnan(peak_in_mask(maps, MASK)[1])
    assert np.isnan(energy_in_mask(-maps, MASK)).all()


def test_rank_correlation_equals_scipy():
    a, b = np.random.default_rng(0).integers(0, 9, size=(2, 5, 8, 8)).astype(float)
    expected = [spearmanr(x.ravel(), y.ravel()).statistic for x, y in zip(a, b, strict=True)]
    assert np.allclose(rank_correlation(a, b), expected)
    assert np.isnan(rank_correlation(np.ones_like(a), b)).all()


def test_shapes_must_agree():
    with pytest.raises(UserError, match=r"must both be \(N, height, width\)"):
        energy_in_mask(np.ones((2, 4, 4)), MASK)
