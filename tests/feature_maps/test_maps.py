from __future__ import annotations

import pytest
import torch
from torch import nn

from kdnb.core.errors import UserError
from kdnb.feature_maps.maps import average_maps, to_size
from kdnb.training.students import make_student
from kdnb.training.taps import capture
from kdnb.training.teachers import make_teacher


@pytest.mark.parametrize("make", [make_student, make_teacher])
def test_average_maps_equal_the_mean_of_each_tap_computed_alone(make):
    model, images = make(4).eval(), torch.randn(2, 3, 32, 32)
    maps = average_maps(model, images)
    modules = dict(model.named_modules())
    for name, path in model.taps.items():
        out = {}
        handle = modules[path].register_forward_hook(lambda _m, _i, o, out=out: out.update(value=o))
        with torch.no_grad():
            model(images)
        handle.remove()
        torch.testing.assert_close(maps[name], out["value"].mean(1))


def test_one_forward_pass_only():
    model, calls = make_student(4), []
    model.register_forward_pre_hook(lambda *_: calls.append(1))
    assert list(average_maps(model, torch.randn(1, 3, 32, 32))) == list(model.taps)
    assert len(calls) == 1


def test_hooks_are_removed_even_after_an_error():
    model = make_student(4)
    with pytest.raises(RuntimeError), capture(model):
        model(torch.randn(1, 5, 32, 32))
    assert not any(m._forward_hooks for m in model.modules())


def test_mode_is_restored():
    model = make_student(4).train()
    average_maps(model, torch.randn(1, 3, 32, 32))
    assert all(m.training for m in model.modules())


def test_any_module_with_named_taps():
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert average_maps(model, torch.randn(1, 3, 8, 8), {"only": "1"})["only"].shape == (1, 6, 6)


def test_bad_input():
    with pytest.raises(
        UserError, match=r"shape \(N, 3, height, width\), N at least 1, got \(1, 1, 32, 32\)"
    ):
        average_maps(make_student(4), torch.randn(1, 1, 32, 32))
    with pytest.raises(UserError, match="not finite"):
        average_maps(make_student(4), torch.full((1, 3, 32, 32), float("nan")))


@pytest.mark.parametrize("side", [1, 2, 4])
@pytest.mark.parametrize("size", [32, 96])
def test_a_constant_map_stays_constant_to_the_last_digit(side, size):
    values = torch.rand(200, 1, 1, generator=torch.Generator().manual_seed(side))
    resized = to_size(values.expand(-1, side, side), size)
    assert torch.equal(resized, values.expand(-1, size, size))


def test_other_maps_are_resized_bilinearly():
    maps = torch.rand(2, 3, 3)
    expected = torch.nn.functional.interpolate(maps[None], size=12, mode="bilinear")[0]
    assert torch.equal(to_size(maps, 12), expected)
