from __future__ import annotations

import numpy as np
import pytest
import torch

from kdnb.efficiency import closed_form_macs, cost_table, explanation_times, flops_of, interleaved, latency, macs
from kdnb.models import FiveConv, TappedDenseNet121, make_student


def by_hand(size, classes=4):
    channels, total = [3, 32, 64, 128, 256, 512], 512 * classes
    return total + sum(9 * channels[i] * channels[i + 1] * (size >> i) ** 2 for i in range(5))


@pytest.mark.parametrize("size", [32, 64, 128, 224])
def test_student_macs_equal_the_closed_form_exactly(size):
    assert macs(FiveConv(4), size) == closed_form_macs(FiveConv(4), size) == by_hand(size)


def test_numbers_of_the_design_at_224():
    assert round(macs(FiveConv(4), 224) / 1e6, 1) == 968.2
    teacher = TappedDenseNet121(4)
    assert macs(teacher, 224) == pytest.approx(2.83e9, rel=0.0015) and macs(teacher, 224) == closed_form_macs(
        teacher, 224
    )


def test_backward_passes_are_counted():
    student, images = make_student(4).eval(), torch.randn(1, 3, 32, 32)
    forward = flops_of(lambda: student(images))
    assert 2.5 < flops_of(lambda: student(images).sum().backward()) / forward < 3.1


def test_interleaving_is_abba():
    order = []
    a, b = interleaved(lambda: order.append("A"), lambda: order.append("B"), repeats=4, warm_up=1)
    assert "".join(order) == "AB" + "ABBAABBA" and a.shape == b.shape == (4,) and np.all(a > 0)


def test_tables_have_both_factors():
    teacher, student = TappedDenseNet121(4).eval(), FiveConv(4).eval()
    image = torch.randn(1, 3, 32, 32)
    assert set(cost_table({"teacher": teacher, "student": student}, 32).columns) == {
        "parameters",
        "depth",
        "macs",
        "flops",
    }
    assert list(latency(teacher, student, image, repeats=3).index) == [1, 32]
    table = explanation_times(teacher, student, image, 1, torch.randn(3, 3, 32, 32), repeats=3, samples=10)
    rows = table.dropna(subset=["ratio"])
    assert len(rows) == 4 and (rows["ratio_low"] <= rows["ratio"]).all() and (rows["ratio"] <= rows["ratio_high"]).all()
    forwards = rows.loc["average maps, 5 taps", ["teacher_forwards", "student_forwards"]]
    assert forwards.tolist() == pytest.approx([1, 1], abs=0.01)
    assert np.isnan(table.loc["SHAP deep (student only)", "teacher_ms"])
