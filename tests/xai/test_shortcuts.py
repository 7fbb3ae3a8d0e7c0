"""The phantoms with a trap, which are the same whatever images a study has."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from kdnb.core.settings import Settings
from kdnb.xai.shortcuts import LURING, _small, distractor_shares


def test_trap_phantoms_take_nothing_from_a_study_of_other_images(tmp_path):
    runs = {"runs_dir": str(tmp_path)}
    of_scans = {"window": [-160, 240], "mixup": True, "sizes_of": "patients", "difficulty": 0.9}
    plain = _small(SimpleNamespace(settings=Settings.checked(runs)), LURING)
    small = _small(SimpleNamespace(settings=Settings.checked(runs | of_scans)), LURING)
    assert small.settings == plain.settings
    assert small.image_set.hash == plain.image_set.hash


def test_a_brightness_filter_peaks_on_the_distractor_and_evidence_need_not():
    """The first layer copies brightness; the class is the mean brightness outside.

    So the evidence for class 1 is minus.
    """

    class Bright(nn.Module):
        taps = {"first": "relu"}

        def __init__(self):
            super().__init__()
            self.relu, self.gain = nn.ReLU(), nn.Parameter(torch.ones(()))

        def forward(self, x):
            total = self.relu(self.gain * x).mean((1, 2, 3))
            return torch.stack([total, -total], dim=1)

    images, distractors = torch.zeros(6, 3, 16, 16), np.zeros((6, 16, 16), bool)
    for i in range(6):
        images[i, :, i : i + 2, 3:5] = 1
        distractors[i, i : i + 2, 3:5] = True
    table = distractor_shares([Bright()] * 3, images, torch.ones(6), distractors, np.arange(6))
    assert table.loc["average map", "share"] == 1 and table.loc["class evidence", "share"] == 0
    assert table.loc["class evidence, for or against", "share"] == 1, "all of it is against"
    assert table.loc["average map", "low"] < 1 and table.loc["class evidence", "high"] > 0
    assert (table["seeds"] == 3).all() and table["chance"].iloc[0] == pytest.approx(4 / 256)
