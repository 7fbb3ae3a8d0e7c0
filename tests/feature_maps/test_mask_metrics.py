from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from kdnb.core.errors import UserError
from kdnb.core.statistics import share_interval
from kdnb.feature_maps.mask_metrics import (
    LOCALISATION,
    auc_of_mask,
    energy_in_mask,
    overlap_with_mask,
    pointing_game,
)

MASK = np.zeros((2, 8, 8), bool)
MASK[0, 2:4, 2:4] = True  # the second mask is empty


def test_all_inside_all_outside_and_chance():
    inside, outside = MASK.astype(float), (~MASK).astype(float)
    assert energy_in_mask(inside, MASK)[0] == 1 and energy_in_mask(outside, MASK)[0] == 0
    assert energy_in_mask(np.ones_like(inside), MASK)[0] == MASK[0].mean()
    assert pointing_game(inside, MASK)[0] == 1 and pointing_game(outside, MASK)[0] == 0
    assert overlap_with_mask(inside, MASK)[0] == 1 and overlap_with_mask(outside, MASK)[0] == 0


def test_nothing_to_find_is_unknown_not_zero():
    maps = np.ones(MASK.shape)
    assert all(
        np.isnan(metric(maps, MASK)[1])
        for metric in (energy_in_mask, pointing_game, overlap_with_mask)
    )
    assert np.isnan(energy_in_mask(-maps, MASK)).all()
    of_bytes = MASK.astype(np.uint8) * 255  # as a picture holds it
    np.testing.assert_array_equal(energy_in_mask(maps, of_bytes), energy_in_mask(maps, MASK))


def test_overlap_equals_a_plain_count():
    rng = np.random.default_rng(0)
    maps, masks = rng.random((5, 9, 9)), rng.random((5, 9, 9)) > 0.7
    for i, found in enumerate(overlap_with_mask(maps, masks)):
        top = set(np.argsort(-maps[i].ravel())[: masks[i].sum()])
        inside = set(np.flatnonzero(masks[i]))
        assert found == pytest.approx(len(top & inside) / len(top | inside))


def test_the_overlap_of_tied_values_is_that_of_a_draw_among_them():
    """A map of few lit pixels says where they are; a constant one says nothing."""
    mask = np.zeros((1, 10, 10), bool)
    mask[0, :3, :3] = True
    lit = np.where(mask, 1.0, 0.0)
    lit[0, 0, 0] = 0  # 8 of the 9 pixels inside
    noise = np.random.default_rng(0).random((500, 10, 10))
    for maps in (lit, np.ones((1, 10, 10))):
        drawn = overlap_with_mask(maps + 1e-9 * noise, np.repeat(mask, 500, axis=0)).mean()
        assert overlap_with_mask(maps, mask)[0] == pytest.approx(drawn, abs=0.01)


def test_auc_equals_scikit_learns_with_ties_and_a_constant_map_knows_nothing():
    rng = np.random.default_rng(0)
    maps, masks = rng.integers(0, 6, (5, 9, 9)).astype(float), rng.random((5, 9, 9)) > 0.7
    for of_map, mask, found in zip(maps, masks, auc_of_mask(maps, masks), strict=True):
        assert found == pytest.approx(roc_auc_score(mask.ravel(), of_map.ravel()))
    assert auc_of_mask(np.full((1, 8, 8), 3.0), MASK[:1])[0] == 0.5
    assert np.isnan(auc_of_mask(np.ones((2, 8, 8)), np.stack([MASK[1], ~MASK[1]]))).all()


def test_pointing_shares_ties_and_a_constant_map_scores_the_masks_share():
    constant = np.full(MASK.shape, 0.3)
    assert pointing_game(constant, MASK)[0] == MASK[0].mean()
    assert pointing_game(np.zeros(MASK.shape), MASK)[0] == MASK[0].mean()
    corner = np.zeros(MASK.shape)
    corner[:, 1:3, 2:4] = 0.7  # two of its four largest values are inside
    assert pointing_game(corner, MASK)[0] == 0.5
    corner[0, 1, 2] *= 1 + 1e-9
    assert pointing_game(corner, MASK)[0] == 0.5, "rounding makes no peak"
    one = np.random.default_rng(0).random((2, 8, 8))
    assert pointing_game(one, MASK)[0] == MASK[0].ravel()[one[0].argmax()]
    assert np.isnan(pointing_game(one, MASK)[1])


@pytest.mark.parametrize("metric", LOCALISATION.values())
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_map_without_numbers_is_refused(metric, value):
    maps = np.ones(MASK.shape)
    maps[1, 0, 0] = value
    with pytest.raises(UserError, match="1 of 2 maps hold NaN or infinity"):
        metric(maps, MASK)


def test_share_of_hits_at_both_ends_and_with_unknown_images():
    groups = np.arange(10)
    none, every = (share_interval(np.full((3, 10), value), groups) for value in (0.0, 1.0))
    assert none[0] == none[1] == 0 < none[2] == pytest.approx(1 - every[1])
    some = np.full((2, 10), np.nan)
    some[:, :6] = [[1, 0, 1, 0, 1, 0], [1, 1, 0, 0, 1, 0]]
    value, low, high = share_interval(some, groups)
    assert value == 0.5 and low < 0.5 < high
    assert np.isnan(share_interval(np.full((1, 3), np.nan), np.arange(3))).all()


@pytest.mark.parametrize("metric", LOCALISATION.values())
def test_shapes_must_agree(metric):
    with pytest.raises(
        UserError, match=r"must both be \(N, height, width\), got \(2, 4, 4\) and \(2, 8, 8\)"
    ):
        metric(np.ones((2, 4, 4)), MASK)
