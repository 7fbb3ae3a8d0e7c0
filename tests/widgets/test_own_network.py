"""The stepper with networks of other people: torchvision's, timm's, and what cannot be shown."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from kdnb.core.errors import UserError
from kdnb.core.statistics import softmax
from kdnb.data.transforms import MEAN, STD, to_tensor
from kdnb.widgets.layer_maps import stepper_data
from kdnb.widgets.own_network import normalised, proposed_taps
from kdnb.widgets.stepper import LayerStepper
from kdnb.widgets.stepper_messages import ablated, arithmetic
from kdnb.widgets.stepper_numbers import StepperState, stepper_panel

SIDE = 48
PIXELS = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)


def network(name):
    torch.manual_seed(0)
    if name.startswith("timm:"):
        import timm

        return timm.create_model(name.removeprefix("timm:"), num_classes=3)
    from torchvision.models import get_model

    return get_model(name, num_classes=3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        "squeezenet1_1",
        "mobilenet_v3_small",
        "timm:resnet10t",
        "timm:mobilenetv3_small_050",
        "timm:convnext_atto",
    ],
)
def test_networks_of_torchvision_and_timm_are_stepped_through(name, capsys):
    model = network(name)
    in_place = [module for module in model.modules() if getattr(module, "inplace", False)]
    data = stepper_data(model, pixels=PIXELS)
    said = capsys.readouterr().out
    (shown,) = data.models
    assert "no taps of the student were given" in said
    assert all(f"{tap} = '" in said for tap in shown.taps)
    assert data.classes == ("class 1", "class 2", "class 3") and 3 <= len(shown.taps) <= 5
    with torch.no_grad():
        np.testing.assert_allclose(shown.logits, model.eval()(to_tensor(PIXELS)), atol=1e-4)
    assert all(module.inplace for module in in_place), "it stays as it was"
    assert not hasattr(model, "taps")

    LayerStepper(data)
    for layer in range(1, len(shown.taps) + 1):
        (pane,) = stepper_panel(data, StepperState(1, layer, "evidence", point=(9, 9))).panes
        assert np.isfinite(pane.raw).all() and pane.peak is not None
        found = arithmetic(data, 1, 0, layer, pane.cell)
        average = shown.maps[layer - 1][1, data.row("average")]
        assert found.mean == pytest.approx(average[pane.cell], rel=1e-4, abs=1e-4)
        assert found.steps[-1][1] == pytest.approx(found.value, rel=1e-4, abs=1e-4)
        assert np.isfinite(softmax(ablated(data, 0, 0, layer, [0]))).all()


@pytest.mark.slow
def test_taps_classes_and_normalisation_of_ones_own():
    model = network("resnet18")
    half = (0.5, 0.5, 0.5)
    taps = {"first": "layer1.0.relu", "last": "layer4"}
    with pytest.raises(UserError, match="'layer1.0.relu' runs 2 times in one pass"):
        stepper_data(model, pixels=PIXELS, taps=taps)
    taps["first"] = "layer1"
    data = stepper_data(
        model,
        network("squeezenet1_1"),
        pixels=PIXELS,
        targets=[2, 0],
        classes=["a", "b", "c"],
        taps=taps,
        teacher_taps={"x": "features.2", "y": "features.12"},
        normalisation=(half, half),
    )
    assert [shown.taps for shown in data.models] == [("first", "last"), ("x", "y")]
    images = torch.from_numpy(PIXELS.transpose(0, 3, 1, 2) / 127.5 - 1).float()
    np.testing.assert_allclose(data.images, images, atol=1e-6)
    with torch.no_grad():
        np.testing.assert_allclose(data.models[0].logits, model.eval()(images), atol=1e-4)


def test_without_a_normalisation_it_is_that_of_imagenet():
    np.testing.assert_allclose(normalised(PIXELS, (MEAN, STD)), normalised(PIXELS, None), atol=1e-5)


def test_proposed_taps_are_the_last_of_each_resolution():
    taps = proposed_taps(network("resnet18").eval(), to_tensor(PIXELS))
    assert list(taps.values()) == ["relu", "layer1", "layer2", "layer3", "layer4"]


class Keeping(nn.Module):
    """A network as tutorials write it: it declares a tap and keeps its map as an attribute."""

    taps = {"maps": "conv"}

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)

    def forward(self, x):
        self.maps = self.conv(x)
        return self.maps.mean((2, 3))


def test_the_stepper_acts_on_a_copy_of_every_network():
    student = Keeping().train()
    teacher = Keeping().train()
    student(to_tensor(PIXELS))  # what it keeps now has a graph, which cannot be copied
    shown = [model.network for model in stepper_data(student, teacher, pixels=PIXELS).models]
    for given, copy in zip((student, teacher), shown, strict=True):
        assert copy is not given and copy.conv is not given.conv
        assert given.training and torch.equal(copy.conv.weight, given.conv.weight)


def test_a_network_that_cannot_be_copied_is_refused():
    model = Keeping()
    model.scaled = model.conv.weight * 2  # part of a graph
    with pytest.raises(UserError, match="student cannot be copied .*: make it anew, and load"):
        stepper_data(model, pixels=PIXELS)


def test_the_ten_lines_of_the_page_run(tmp_path, monkeypatch, capsys):
    text = (Path(__file__).parents[2] / "docs/own_network.md").read_text("utf-8")
    code = text.split("```python\n")[1].split("```")[0]
    assert len([line for line in code.splitlines() if line]) <= 11
    monkeypatch.chdir(tmp_path)
    for name, picture in zip("ab", PIXELS, strict=True):
        Image.fromarray(picture).save(f"{name}.png")
    scope = {}
    exec(code, scope)
    assert LayerStepper(scope["layers"]).panel().sentence.startswith("student, layer 1 of 5")


def test_of_many_classes_those_that_one_asks_about_are_kept():
    my_model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    my_model.add_module("fc", nn.Linear(4, 300))
    for classes in None, [f"class {number}" for number in range(300)]:
        with pytest.raises(UserError, match="at most 50 of them, got 300: keep the outputs"):
            stepper_data(my_model, pixels=PIXELS, classes=classes)
    text = (Path(__file__).parents[2] / "docs/own_network.md").read_text("utf-8")
    exec(text.split("```python\n")[2].split("```")[0], {"my_model": my_model})
    assert stepper_data(my_model, pixels=PIXELS).models[0].logits.shape == (2, 3)


class Tuple(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)

    def forward(self, x):
        maps = self.conv(x)
        return maps.mean((2, 3)), maps


class Noise(nn.Module):
    """Dropout that does not rest in eval mode."""

    def forward(self, x):
        return nn.functional.dropout(x)


def headed(*head):
    """Two convolutions, pooling, and a head."""
    body = [nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, stride=2), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*body, *head)


class SharedActivation(nn.Module):
    """One ReLU for three convolutions, as many write it."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 4, 3, stride=2)
        self.b = nn.Conv2d(4, 4, 3, stride=2)
        self.relu = nn.ReLU()
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = self.relu(self.a(x))
        x = self.relu(self.b(x))
        return self.head(x.mean((2, 3)))


def test_a_module_that_runs_twice_is_no_layer():
    data = stepper_data(SharedActivation(), pixels=PIXELS)
    (shown,) = data.models
    sides = [maps.shape[-1] for maps in shown.maps]
    assert shown.taps == ("stage1", "stage2") and sides == [23, 11]


def test_fields_of_view_belong_to_their_taps_in_whatever_order_these_are_named():
    student = headed(nn.Linear(4, 3))
    (early_first,) = stepper_data(student, pixels=PIXELS, taps={"e": "0", "l": "1"}).models
    (late_first,) = stepper_data(student, pixels=PIXELS, taps={"l": "1", "e": "0"}).models
    assert early_first.taps == late_first.taps == ("e", "l")
    np.testing.assert_array_equal(early_first.fields, late_first.fields)
    assert early_first.fields[0, 0] == 3


FLAT = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 2))
GREY = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"student": "resnet18"}, "student must be a torch.nn.Module, got str"),
        ({"student": Tuple()}, r"must give logits \(N, classes\), one tensor, got tuple: wrap it"),
        ({"student": FLAT}, "has no layer whose output is a map"),
        ({"student": GREY}, r"does not take images of \(2, 3, 48, 48\): .*expected input"),
        ({"pixels": None}, "pixels must be a numpy array .* got NoneType"),
        ({"pixels": torch.from_numpy(PIXELS)}, "pixels must be a numpy array .* got Tensor"),
        ({"pixels": PIXELS / 255}, "uint8, got ndarray .* float64"),
        ({"pixels": PIXELS[0]}, r"got ndarray \(48, 48, 3\)"),
        ({"images": PIXELS}, "images must be a tensor .* got ndarray: leave them out"),
        ({"normalisation": 0.5}, "normalisation must be mean and standard deviation .* got 0.5"),
        ({"normalisation": ((0, 0, 0), (1, 1, 0))}, "normalisation must be mean"),
        ({"normalisation": ((127.5,) * 3,) * 2}, "divide numbers of 0 to 255 by 255"),
        ({"student": headed(nn.Linear(4, 1))}, "gives one number per image"),
        ({"student": headed(nn.Linear(4, 3), nn.Softmax(1))}, "gives probabilities .* logits"),
        ({"student": headed(Noise(), nn.Linear(4, 3))}, "answers the same images differently"),
        ({"taps": {"a": "layer1.0.relu"}}, "'layer1.0.relu' runs 2 times in one pass"),
        ({"taps": {"a": "layer1.0.bn2"}}, "tap 'a' of the student is overwritten"),
        ({"taps": ["layer1"]}, r"taps of the student must map names .* got \['layer1'\]"),
        ({"taps": {"a": "layer9"}}, "no module 'layer9'"),
        ({"taps": {"a": "fc"}}, "is no map"),
        ({"classes": ["a", "b"]}, "3 outputs, but 2 class names"),
        ({"targets": [0]}, "2 targets from 0 to 2"),
        ({"targets": ["cat", "dog"]}, r"targets must be the number .* got \['cat', 'dog'\]"),
        ({"targets": [0.5, 1]}, "targets must be the number"),
        ({"targets": 0}, "targets must be the number"),
        ({"classes": "cat"}, "classes must be a list of names, each another one, got 'cat'"),
        ({"classes": ["a", "b", "a"]}, "each another one"),
        ({"classes": 3}, "each another one, got 3"),
        ({"masks": [[True]]}, "masks must be a numpy array .* got list"),
    ],
    ids=str,
)
def test_what_cannot_be_shown_is_said_in_one_line(given, message):
    student = given.get("student", network("resnet18"))
    arguments = {"pixels": PIXELS, "taps": None} | given
    arguments.pop("student", None)
    with pytest.raises(UserError, match=message) as caught:
        stepper_data(student, **arguments)
    assert "\n" not in str(caught.value)
