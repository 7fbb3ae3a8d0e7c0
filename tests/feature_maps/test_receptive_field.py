from __future__ import annotations

import pytest
import torch
from torch import nn

from kdnb.core.errors import UserError
from kdnb.core.profiles import LITE0
from kdnb.feature_maps.receptive_field import field_box, receptive_fields
from kdnb.training.students import FiveConv, make_student
from kdnb.training.taps import capture
from kdnb.training.teachers import make_teacher


def fields(model, size, taps):
    """The table of the model with other taps."""
    model.taps = taps
    return receptive_fields(model, size)


def support(model, shape, images=2):
    """Per tap: a cell in the middle, and the rows of the image that change it, by autograd.

    Positive weights, so that nothing cancels; float64, since a far pixel weighs 1e-40; noise, so
    that max-pooling chooses other places in other channels and images.
    """
    torch.manual_seed(0)
    model = model.double().eval().requires_grad_(False)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight.uniform_(0.5, 1.5).div_(layer.weight[0].numel() ** 0.5)
    pixels = torch.rand(images, 3, *shape, dtype=torch.float64, requires_grad=True)
    with capture(model) as seen:
        model(pixels)
    for tap, a in seen.items():
        cell = a.shape[2] // 2
        gradient = torch.autograd.grad(a[:, :, cell].sum(), pixels, retain_graph=True)[0]
        rows = gradient.amax(dim=(0, 1, 3)).nonzero()[:, 0]
        yield tap, cell, int(rows[0]), int(rows[-1]) + 1


def assert_rows_equal(model, shape):
    table = receptive_fields(model, 64)
    for tap, cell, top, bottom in support(model, shape):
        assert 0 < top < bottom < shape[0], "the image must be large enough"
        assert bottom - top == table.field[tap]
        assert field_box(table.loc[tap], (cell, 0), shape[0])[::2] == (top, bottom)


def test_student():
    table = receptive_fields(make_student(4), 64)
    assert table.field.tolist() == [3, 8, 18, 38, 78]
    assert table.jump.tolist() == [1, 2, 4, 8, 16]
    assert_rows_equal(FiveConv(4, 0.25), (160, 32))


@pytest.mark.slow
def test_resnet50():
    assert_rows_equal(make_teacher(4, name="resnet50"), (576, 32))


@pytest.mark.slow
def test_timm_s_padding_inside_layers_and_convnext():
    lite0 = make_teacher(4, name=LITE0)
    for module in lite0.modules():
        if isinstance(getattr(module, "act", None), nn.ReLU6):
            module.act = nn.ReLU()  # positive weights would drive it to 6, where no gradient is
    lite0.taps = {tap: lite0.taps[tap] for tap in ("stage1", "stage2", "stage3")}
    assert_rows_equal(lite0, (256, 32))
    convnext = receptive_fields(make_teacher(4, name="timm:convnext_atto"), 64)
    assert convnext.field.tolist() == [4, 52, 152, 736, 1136]  # 7 × 7 windows, strides 4 2 2 2
    assert convnext.jump.tolist() == [4, 4, 8, 16, 32]


class Looking(nn.Module):
    """Each cell sees the mean of the image, by a function that no hook on a layer notices."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.end = nn.Identity()
        self.taps = {"conv": "conv", "end": "end"}

    def forward(self, x):
        x = self.conv(x)
        return self.end(x * torch.sigmoid(x.mean((2, 3), keepdim=True)))


def test_a_function_that_sees_the_whole_image_is_found_out():
    message = "'end' has no closed form: its cells see more than the 3 px"
    with pytest.raises(UserError, match=message):
        receptive_fields(Looking(), 16)


def test_squeeze_and_excitation_with_a_function_sees_the_whole_image():
    table = receptive_fields(make_teacher(4, name="timm:mobilenetv3_small_050"), 64)
    assert table.field.tolist() == [3, *[float("inf")] * 4]


@pytest.mark.slow
def test_densenet121():
    assert_rows_equal(make_teacher(4), (2304, 32))


def test_one_cell_alone():
    """Rows and columns at once, of single cells, also where the border cuts the field off."""
    model = FiveConv(4, 0.25)
    table = fields(model, 32, {"conv3": "block3.relu"})
    model = model.eval()
    nn.init.uniform_(model.block1.conv.weight, 0.5, 1.5)
    pixels = torch.rand(8, 3, 32, 32, requires_grad=True)
    with capture(model) as seen:
        model(pixels)
    for cell in ((0, 3), (7, 5)):
        answer = seen["conv3"][:, :, *cell].sum()
        gradient = torch.autograd.grad(answer, pixels, retain_graph=True)[0]
        places = gradient.abs().amax(dim=(0, 1)).nonzero()
        box = (*places.amin(0).tolist(), *(places.amax(0) + 1).tolist())
        assert box == field_box(table.loc["conv3"], cell, 32)


LAYERS = [
    nn.Conv2d(3, 3, 3, padding=2, dilation=2),
    nn.Conv2d(3, 3, 4, stride=3, padding=2),
    nn.Conv2d(3, 3, 1, stride=2),
    nn.AvgPool2d(3, 2, 1),
]


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_layers_one_by_one(layer):
    model = nn.Sequential(layer, nn.ReLU())
    row = fields(model, 32, {"only": "1"}).loc["only"]
    pixels = torch.rand(1, 3, 32, 32, requires_grad=True)
    if isinstance(layer, nn.Conv2d):
        nn.init.constant_(layer.weight, 1.0)
    out = model(pixels)
    gradient = torch.autograd.grad(out[:, :, 3, 3].sum(), pixels)[0]
    seen = gradient.amax(dim=(0, 1, 3)).nonzero()[:, 0]
    assert field_box(row, (3, 3), 32)[::2] == (seen.amin(), seen.amax() + 1)


def test_after_global_pooling_everything_is_seen():
    table = fields(make_student(4), 32, {"conv1": "block1.relu", "pooled": "pool5"})
    assert table.field.tolist() == [3, float("inf")]
    assert field_box(table.loc["pooled"], (0, 0), 32) == (0, 0, 32, 32)
    normed = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4))
    assert fields(normed, 16, {"before": "0", "after": "1"}).field.tolist() == [3, float("inf")]
    table = receptive_fields(make_teacher(4, name="efficientnet_b0"), 64)
    assert table.jump.tolist() == [2, 4, 8, 16, 32]


class Resizing(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.relu(nn.functional.max_pool2d(self.conv(x), 2))


OTHERS = [
    nn.Upsample(scale_factor=2),
    nn.ConvTranspose2d(3, 3, 2, stride=2),
    nn.ZeroPad2d(1),
    nn.Conv2d(3, 3, (3, 1)),
    nn.Conv2d(3, 3, (3, 1), padding=(1, 0)),  # the side stays, the window is no square
    nn.Conv2d(3, 3, 3, padding="same"),
    nn.AdaptiveAvgPool2d(5),
    nn.AdaptiveAvgPool2d(8),
    nn.LPPool2d(2, 2),
]


@pytest.mark.parametrize("layer", OTHERS, ids=str)
def test_layers_without_a_closed_form_are_named(layer):
    model = nn.Sequential(nn.ReLU(), layer, nn.ReLU())
    name = type(layer).__name__
    with pytest.raises(UserError, match=f"'after' has no closed form: before it runs '1' .{name}"):
        fields(model, 16, {"after": "2"})
    assert fields(model, 16, {"before": "0"}).field.tolist() == [1]
    assert not any(m._forward_hooks for m in model.modules())


def test_functions_that_resize_and_taps_that_are_no_maps():
    with pytest.raises(UserError, match="16 cells were expected along a side, got 8"):
        fields(Resizing(), 16, {"end": "relu"})
    with pytest.raises(UserError, match="no map"):
        fields(make_student(4), 32, {"logits": "classifier"})
    with pytest.raises(UserError, match="no module 'block9'"):
        fields(make_student(4), 32, {"conv9": "block9"})
