from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from kdnb.core.errors import UserError
from kdnb.core.runs import Run, write_json
from kdnb.training.imagenet_weights import imagenet_state
from kdnb.training.modules import (
    count_parameters,
    evaluating,
    load_weights,
    modules_at,
    save_weights,
)
from kdnb.training.students import FiveConv, make_student
from kdnb.training.teachers import TappedDenseNet121, make_teacher
from kdnb.training.train_teacher import load_teacher
from kdnb.training.trained_students import load_student


@pytest.mark.parametrize("size", [32, 64, 224])
def test_teacher_logits_equal_stock_torchvision(size):
    ours = TappedDenseNet121(7).eval()
    stock = torchvision.models.densenet121(num_classes=7).eval()
    stock.load_state_dict(ours.state_dict())
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        assert (ours(images) - stock(images)).abs().max() <= 1e-6


def test_teacher_and_stock_have_equal_gradients():
    ours = TappedDenseNet121(4).eval()
    stock = torchvision.models.densenet121(num_classes=4).eval()
    stock.load_state_dict(ours.state_dict())
    gradients = []
    for model in (ours, stock):
        images = torch.ones(1, 3, 32, 32, requires_grad=True)
        gradients.append(torch.autograd.grad(model(images).sum(), images)[0])
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-7)


def test_nothing_in_the_teacher_is_in_place():
    assert not [m for m in TappedDenseNet121().modules() if getattr(m, "inplace", False)]


def test_sizes_known_from_the_design():
    assert count_parameters(FiveConv(4)) == 1_571_620
    assert count_parameters(TappedDenseNet121(4)) == 6_957_956


@pytest.mark.parametrize(
    ("model", "sides"),
    [(FiveConv(4), [64, 32, 16, 8, 4]), (TappedDenseNet121(4), [32, 16, 8, 4, 2])],
)
def test_taps_are_relu_outputs_at_falling_resolution(model, sides):
    outputs = []
    for module in modules_at(model).values():
        assert isinstance(module, nn.ReLU)
        module.register_forward_hook(lambda _m, _i, out: outputs.append(out))
    model.eval()(torch.randn(1, 3, 64, 64))
    assert [out.shape[-1] for out in outputs] == sides
    assert all((out >= 0).all() for out in outputs)


def test_width_scales_channels():
    assert FiveConv(4, width=0.25).classifier.in_features == 128


def test_unknown_tap_lists_the_modules():
    with pytest.raises(
        UserError, match="no module 'block9.relu'; the model has block1, block1.conv"
    ):
        modules_at(FiveConv(), {"x": "block9.relu"})
    with pytest.raises(UserError, match="declares no taps"):
        modules_at(nn.Linear(2, 2))


def test_same_seed_same_weights():
    a, b, c = (make_student(4, seed=s).state_dict()["block1.conv.weight"] for s in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_weights_come_back(tmp_path):
    model = make_teacher(4, seed=3)
    save_weights(model, tmp_path / "w.safetensors")
    other = load_weights(make_teacher(4, seed=4), tmp_path / "w.safetensors")
    assert all(
        torch.equal(a, b)
        for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True)
    )
    with pytest.raises(UserError, match="do not fit FiveConv"):
        load_weights(make_student(4), tmp_path / "w.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes((tmp_path / "w.safetensors").read_bytes()[:1000])
    for unreadable in (cut, tmp_path / "gone.safetensors"):
        with pytest.raises(UserError, match=rf"'.*{unreadable.name}' cannot be read \(.*: train"):
            load_weights(model, unreadable)


@pytest.mark.parametrize("kind", ["student", "teacher"])
def test_loading_a_network_leaves_the_random_generator_alone(tmp_path, kind):
    architecture = {"student": {"name": "five_conv", "width": 0.25}, "teacher": "densenet121"}
    model = make_student(4, width=0.25) if kind == "student" else make_teacher(4)
    run = Run(kind, "x", tmp_path)
    save_weights(model, run.path("model.safetensors"))
    write_json(run.path("spec.json"), {"parameters": {"model": architecture[kind]}})
    load = {"student": load_student, "teacher": load_teacher}[kind]
    torch.manual_seed(5)
    before = torch.rand(3)
    after = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(3), before)
    loaded = load(run, 4, torch.device("cpu"))
    assert torch.equal(torch.rand(3), after), "as if nothing had been loaded"
    for ours, theirs in zip(loaded.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("weights", ["auto", "ImageNet", ""])
def test_other_words_for_weights_are_refused(weights):
    with pytest.raises(UserError, match=f"must be 'none' or 'imagenet', got '{weights}'"):
        make_teacher(4, weights=weights)


def test_evaluating_restores_each_module():
    model = make_student(4).train()
    model.block1.eval()
    with evaluating(model):
        assert not any(m.training for m in model.modules())
    assert model.training and model.block2.training and not model.block1.norm.training


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A torch hub cache of our own, so that nothing is downloaded."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


def test_imagenet_weights_load_from_the_cache(hub):
    """The stand-in has the published file's old names, like ``norm.1.weight``."""
    stock = torchvision.models.densenet121()
    old = {}
    for name, value in stock.state_dict().items():
        if "denselayer" in name:
            for kind in ("norm", "conv"):
                name = name.replace(f"{kind}1.", f"{kind}.1.").replace(f"{kind}2.", f"{kind}.2.")
        old[name] = value
    url = torchvision.models.DenseNet121_Weights.IMAGENET1K_V1.url
    torch.save(old, hub / url.rsplit("/", 1)[1])
    teacher = make_teacher(4, weights="imagenet")
    layer = "features.denseblock2.denselayer3.conv1.weight"
    assert torch.equal(teacher.state_dict()[layer], stock.state_dict()[layer])


def test_imagenet_weights_offline_is_one_clear_line(hub, monkeypatch):
    def no_network(*_args, **_kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr("torch.hub.download_url_to_file", no_network)
    with pytest.raises(UserError, match="ImageNet weights can't be had here .*weights='none'"):
        imagenet_state()
