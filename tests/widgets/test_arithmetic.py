"""The arithmetic of a cell: its steps lead to the network's own value, or say that they do not."""

import numpy as np
import pytest
import torch
from torch import nn

from kdnb.core.errors import UserError
from kdnb.training.students import FiveConv
from kdnb.widgets.arithmetic import cell_arithmetic, trace_tap

IMAGE = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def settled(model):
    """With running statistics and biases that are not at their start."""
    generator = torch.Generator().manual_seed(2)
    for name, values in [*model.named_parameters(), *model.named_buffers()]:
        if name.endswith(("bias", "running_mean")):
            values.data.normal_(generator=generator)
        elif name.endswith("running_var"):
            values.data.uniform_(0.5, 2, generator=generator)
    return model.eval()


def at_tap(model, path):
    """The map (C, h, w) at a module."""
    kept = []
    handle = model.get_submodule(path).register_forward_hook(lambda *call: kept.append(call[2]))
    with torch.no_grad():
        model(IMAGE)
    handle.remove()
    return kept[0][0].numpy()


def cells(shape):
    height, width = shape
    return {(0, 0), (height - 1, width - 1), (0, width - 1), (height // 2, width // 3)}


def test_every_layer_of_the_student_adds_up_to_the_network():
    student = settled(FiveConv(3, 0.25))
    for tap, path in student.taps.items():
        wanted = at_tap(student, path)
        trace = trace_tap(student, IMAGE, tap)
        for cell in cells(wanted.shape[1:]):
            for channel in (0, 3, 7):
                found = cell_arithmetic(trace, cell, channel)
                assert found.value == pytest.approx(wanted[(channel, *cell)], abs=1e-5)
                assert found.steps[-1][1] == pytest.approx(found.value, rel=1e-4, abs=1e-4)
                names = " ".join(what for what, _ in found.steps)
                assert "products of a 3 × 3 patch" in names and "batch norm" in names
                assert found.steps[-1][0] == "ReLU makes it"
                shown = sum(product.total for product in found.products)
                assert shown + found.rest[1] == pytest.approx(found.steps[0][1], abs=1e-9)
                for product in found.products:
                    total = (product.patch * product.kernel).sum()
                    assert total == pytest.approx(product.total, abs=1e-12)


def test_the_first_patch_is_the_image_with_zeros_around_it():
    trace = trace_tap(settled(FiveConv(3, 0.25)), IMAGE, "conv1")
    padded = np.pad(IMAGE[0].numpy(), [(0, 0), (1, 1), (1, 1)])
    for product in cell_arithmetic(trace, (0, 31), 2).products:
        np.testing.assert_array_equal(product.patch, padded[product.channel, 0:3, 31:34])


def test_channels_of_a_cell_are_ranked_by_their_value():
    student = settled(FiveConv(3, 0.25))
    trace = trace_tap(student, IMAGE, "conv2")
    here = at_tap(student, student.taps["conv2"])[:, 4, 5]
    found = cell_arithmetic(trace, (4, 5))
    assert found.channel == here.argmax() and found.stronger == -1
    assert found.mean == pytest.approx(here.mean(), abs=1e-6)
    seen = [found.channel]
    while found.weaker >= 0:
        found = cell_arithmetic(trace, (4, 5), found.weaker)
        assert found.stronger == seen[-1]
        seen.append(found.channel)
    assert sorted(seen) == list(range(len(here)))


def net(*layers):
    """A network of some layers with a head; the tap is the last of them."""
    torch.manual_seed(0)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(2))
    model = nn.Sequential(*layers, head)
    model(IMAGE)
    model.taps = {"last": str(len(layers) - 1)}
    return settled(model)


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Conv2d(3, 8, 5, stride=2, padding=2)],
        [nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, groups=4, dilation=2), nn.SiLU()],
        [nn.Conv2d(3, 6, (3, 4), padding="same"), nn.Dropout(), nn.GELU()],
        [nn.Conv2d(3, 8, 3, padding=1, padding_mode="reflect"), nn.ReLU6()],
        [nn.Conv2d(3, 8, 3, padding="valid"), nn.BatchNorm2d(8), nn.ReLU(inplace=True)],
        [nn.MaxPool2d(2), nn.BatchNorm2d(3, affine=False), nn.Hardswish()],
    ],
    ids=str,
)
def test_layers_of_all_kinds_add_up(layers):
    model = net(*layers)
    wanted = at_tap(model, model.taps["last"])
    trace = trace_tap(model, IMAGE, "last")
    assert trace.modules
    for cell in cells(wanted.shape[1:]):
        for channel in range(len(wanted)):
            found = cell_arithmetic(trace, cell, channel)
            assert found.value == pytest.approx(wanted[(channel, *cell)], abs=1e-5)
            assert found.steps[-1][1] == pytest.approx(found.value, rel=1e-4, abs=1e-4)
            assert "on average" not in found.sentence


@pytest.mark.parametrize("pool", [nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2)], ids=str)
def test_of_a_pooling_layer_its_window_is_shown(pool):
    model = net(nn.Conv2d(3, 8, 3, padding=1), pool)
    wanted = at_tap(model, "1")
    found = cell_arithmetic(trace_tap(model, IMAGE, "last"), (3, 4), 5)
    before = at_tap(model, "0")[5]
    rows, columns = (
        (slice(5, 8), slice(7, 10))
        if isinstance(pool, nn.MaxPool2d)
        else (
            slice(6, 8),
            slice(8, 10),
        )
    )
    np.testing.assert_allclose(found.window, before[rows, columns], atol=1e-6)
    assert found.steps[0][1] == pytest.approx(wanted[5, 3, 4], abs=1e-5)


def test_padding_is_no_value_that_enters_a_largest_one():
    model = net(nn.Conv2d(3, 8, 3, padding=1), nn.MaxPool2d(3, 2, 1))
    found = cell_arithmetic(trace_tap(model, IMAGE, "last"), (0, 0), 5)
    assert np.isnan(found.window[0]).all() and np.isnan(found.window[:, 0]).all()
    assert "the largest of 4 values that enter" in found.steps[0][0]
    assert found.message()["window"][0] == [None] * 3, "JSON has no NaN"


class Residual(nn.Module):
    """A sum that no module makes, in place, so that it is easily overlooked."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        out = self.conv(x)
        out += x
        return self.relu(out)


def test_what_cannot_be_followed_shows_what_enters_and_leaves():
    model = net(Residual())
    trace = trace_tap(model, IMAGE, "last")
    found = cell_arithmetic(trace, (1, 2), 0)
    assert trace.modules == () and found.products == []
    assert found.steps[0] == (
        "3 channels of 32 × 32 cells enter, on average",
        pytest.approx(float(IMAGE.mean())),
    )
    assert found.steps[1][1] == found.value == pytest.approx(at_tap(model, "0")[0, 1, 2], abs=1e-5)


def test_a_cell_or_channel_that_is_not_there_is_refused():
    trace = trace_tap(FiveConv(3, 0.25), IMAGE, "conv5")
    for cell, channel in [((2, 0), 0), ((0, -1), 0), ((0, 0), 128), ((0, 0), -2)]:
        with pytest.raises(UserError, match="this map has 2 × 2 cells and channels from 0 to 127"):
            cell_arithmetic(trace, cell, channel)
