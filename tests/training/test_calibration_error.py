"""Scores of answers: calibration."""

from __future__ import annotations

import numpy as np
import pytest

from kdnb.training.evaluation import ece


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("surest", [1.0, 1 - 1e-12])
def test_confidences_of_1_share_the_last_of_15_bins(dtype, surest):
    """Both 50 answers at 1 and 50 at 0.95: together sure by 0.975, and right on 0.95."""
    confidence = np.repeat([surest, 0.95], 50)
    probabilities = np.stack([confidence, 1 - confidence], axis=1).astype(dtype)
    targets = np.zeros(100, dtype=int)
    targets[:5] = 1
    assert ece(probabilities, targets) == pytest.approx(0.025, abs=1e-5)
