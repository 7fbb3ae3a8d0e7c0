from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from kdnb.core.profiles import LITE0
from kdnb.core.settings import STUDENTS, TEACHERS
from kdnb.training.model_cost import closed_form_macs, cost_table, flops_of, macs
from kdnb.training.modules import depth
from kdnb.training.students import FiveConv, make_student
from kdnb.training.teachers import TappedDenseNet121, make_teacher


def by_hand(size, classes=4):
    channels, total = [3, 32, 64, 128, 256, 512], 512 * classes
    return total + sum(9 * channels[i] * channels[i + 1] * (size >> i) ** 2 for i in range(5))


@pytest.mark.parametrize("size", [32, 64, 128, 224])
def test_student_macs_equal_the_closed_form_exactly(size):
    assert macs(FiveConv(4), size) == closed_form_macs(FiveConv(4), size) == by_hand(size)


@pytest.mark.parametrize("size", [64, pytest.param(224, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", [*TEACHERS, LITE0, "timm:convnext_tiny", *STUDENTS])
def test_two_counters_agree_on_every_model(name, size):
    with torch.device("meta"):
        model = (
            make_teacher(4, name=name)
            if name not in STUDENTS
            else make_student(4, name=name, image_size=size)
        )
    assert macs(model, size) == pytest.approx(closed_form_macs(model, size), rel=0.01)


@pytest.mark.parametrize(
    ("name", "layers"), [("densenet121", 121), ("resnet50", 50), ("timm:convnext_atto", 41)]
)
def test_depth_counts_every_layer_on_the_way(name, layers):
    """A ResNet's downsampling stands beside its blocks, a ConvNeXt's between its stages."""
    with torch.device("meta"):
        model = make_teacher(4, name=name)
    assert depth(model) == layers


@given(st.integers(1, 3), st.integers(1, 2), st.sampled_from([1, 2, 4]), st.booleans())
@settings(max_examples=20, deadline=None)
def test_counters_agree_on_strides_groups_and_bias(kernel, stride, groups, bias):
    model = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.Conv2d(4, 8, kernel, stride, groups=groups, bias=bias)
    )
    assert macs(model, 9) == closed_form_macs(model, 9)


def test_numbers_of_the_design_at_224():
    assert round(macs(FiveConv(4), 224) / 1e6, 1) == 968.2
    assert macs(TappedDenseNet121(4), 224) == pytest.approx(2.83e9, rel=0.0015)


def test_counting_leaves_the_model_as_it_was():
    model = make_student(4, width=0.25).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    table = cost_table({"student": model}, 32)
    assert list(table.columns) == ["parameters", "depth", "macs", "macs_by_hand", "flops"]
    assert model.training and not any(m._forward_hooks for m in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_backward_passes_are_counted():
    student, images = make_student(4).eval(), torch.randn(1, 3, 32, 32)
    forward = flops_of(lambda: student(images))
    assert forward == 2 * macs(student, 32)
    assert 2.5 < flops_of(lambda: student(images).sum().backward()) / forward < 3.1
