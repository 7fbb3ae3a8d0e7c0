from __future__ import annotations

import pytest
import torch
from torch import nn

from kdnb.efficiency.memory import memory_table, peak_memory
from kdnb.training.students import FiveConv

CPU = torch.device("cpu")
ONE = torch.zeros(1000, 1000)  # 4 MB


def test_peak_is_what_lives_at_once():
    def three_at_once():
        a, b = ONE + 1, ONE + 2
        return a + b

    def one_after_another():
        for _ in range(5):
            _ = (ONE + 1).sum()

    assert peak_memory(lambda: ONE + 1, CPU) == pytest.approx(4e6, rel=0.001)
    assert peak_memory(lambda: (ONE + 1) * 2, CPU) == pytest.approx(8e6, rel=0.001)
    assert peak_memory(three_at_once, CPU) == pytest.approx(12e6, rel=0.001)
    assert peak_memory(one_after_another, CPU) == pytest.approx(4e6, rel=0.001)
    assert peak_memory(lambda: None, CPU) == 0


def test_peak_is_the_same_in_every_run():
    model, images = FiveConv(4, 0.25).eval(), torch.randn(2, 3, 32, 32)
    assert len({peak_memory(lambda: model(images), CPU) for _ in range(3)}) == 1


def test_a_layer_by_layer_network_needs_two_neighbouring_activations():
    model = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2))
    table = memory_table({"net": model}, torch.randn(1, 3, 64, 64))
    whole = 4 * 3 * 64 * 64 / 1e6
    assert table.loc["net", "weights"] == 0
    # a pool keeps the places of its maxima as int64 beside its values
    assert whole * 1.25 <= table.loc["net", "batch 1"] <= whole * 1.76
    assert table.loc["net", "batch 32"] == pytest.approx(32 * table.loc["net", "batch 1"], rel=0.02)
