from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torchmetrics.image import StructuralSimilarityIndexMeasure

from kdnb.core.errors import UserError
from kdnb.xai.map_agreement import AGREEMENTS, rank_correlation, structural_similarity, top_overlap

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(2, 5, 16, 16))


def test_rank_correlation_equals_scipy():
    a, b = RNG.integers(0, 9, size=(2, 5, 8, 8)).astype(float)
    expected = [spearmanr(x.ravel(), y.ravel()).statistic for x, y in zip(a, b, strict=True)]
    assert np.allclose(rank_correlation(a, b), expected)


def test_top_overlap_equals_a_plain_count():
    for i, found in enumerate(top_overlap(A, B)):
        tops = [set(np.argsort(-m[i].ravel())[:26]) for m in (A, B)]  # a tenth of 256
        assert found == pytest.approx(len(tops[0] & tops[1]) / len(tops[0] | tops[1]))


def test_ssim_is_torchmetrics_on_maps_from_0_to_1():
    unit = [torch.tensor((m[:1] - m[0].min()) / np.ptp(m[0]))[:, None] for m in (A, B)]
    assert structural_similarity(A, B)[0] == pytest.approx(
        StructuralSimilarityIndexMeasure(data_range=1.0)(*unit).item()
    )


@pytest.mark.parametrize("name", AGREEMENTS)
def test_a_map_agrees_with_itself_at_any_scale_and_not_with_noise(name):
    measure = AGREEMENTS[name]
    assert np.allclose(measure(A, 3 * A + 1), 1)
    assert np.abs(measure(A, B)).max() < 0.25
    assert np.isnan(measure(A, np.ones_like(A))).all(), "a constant map has nothing to agree on"
    with pytest.raises(UserError, match=r"of one size, got \(5, 16, 16\) and \(5, 8, 8\)"):
        measure(A, B[:, :8, :8])


@pytest.mark.parametrize("measure", AGREEMENTS.values())
def test_maps_with_some_nan_are_refused_and_one_that_was_refused_is_unknown(measure):
    broken = B.copy()
    broken[3, 0, 0] = np.inf
    with pytest.raises(UserError, match="1 of 5 maps hold NaN or infinity"):
        measure(A, broken)
    broken[3] = np.nan
    assert np.isnan(measure(A, broken)).tolist() == [False, False, False, True, False]
