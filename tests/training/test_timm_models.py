"""Models of timm as teachers: taps, own normalisation, refusals, weights from a cache."""

from __future__ import annotations

import pytest
import timm
import torch
from safetensors.torch import save_file

from kdnb.core.errors import UserError
from kdnb.core.profiles import LITE0
from kdnb.core.settings import Settings
from kdnb.feature_maps.cam import cams
from kdnb.training import timm_models
from kdnb.training.imagenet_weights import resolve_weights, resolve_weights_offline
from kdnb.training.modules import load_weights, save_weights
from kdnb.training.taps import logits_and_taps
from kdnb.training.teachers import make_teacher

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
SIDES = {
    LITE0: [32, 16, 8, 4, 2],
    "timm:resnet18": [32, 16, 8, 4, 2],
    "timm:convnext_atto": [16, 16, 8, 4, 2],  # four stages: its stem comes first
    "timm:mobilenetv3_small_100": [32, 16, 8, 4, 2],
    "timm:regnetx_002": [32, 16, 8, 4, 2],
}


@pytest.mark.parametrize("name", SIDES)
def test_five_taps_that_carry_gradients_and_weights_that_come_back(name, tmp_path):
    model = make_teacher(4, name=name, seed=3, image_size=64)
    logits, activations = logits_and_taps(model, IMAGES)
    assert logits.shape == (2, 4) and list(activations) == [f"stage{i}" for i in range(1, 6)]
    assert [maps.shape[-1] for maps in activations.values()] == SIDES[name]
    assert not [module for module in model.modules() if getattr(module, "inplace", False)]
    evidence = cams(model, IMAGES, torch.tensor([0, 3]), "evidence")
    assert all(maps.abs().max() > 0 for maps in evidence.values())
    save_weights(model, tmp_path / "w.safetensors")
    again = load_weights(make_teacher(4, name=name, seed=4), tmp_path / "w.safetensors")
    with torch.no_grad():
        assert torch.equal(again(IMAGES), logits)


def test_a_normalisation_like_the_study_s_adds_no_layer():
    teacher = make_teacher(4, name="timm:resnet18")
    assert set(teacher.state_dict()) == set(timm.create_model("resnet18").state_dict())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm:resnet81", r"has no model 'resnet81'.*did you mean timm:resnet18 or"),
        ("timm:qqqq", r"has no model 'qqqq'.*take one such as timm:tf_efficientnet_lite0"),
        ("timm:resnet18.mine", "no weights 'mine' of 'resnet18'.*timm:resnet18.a1_in1k"),
        ("timm:vit_tiny_patch16_224", r"no maps .*blocks.11' is \(1, 197, 192\).*timm:resnet18"),
        ("timm:efficientvit_m0", "maps of 3 resolutions, the study compares 5"),
        ("timm:botnet26t_256", "refuses images of 64 px .*made for 256 px; set image_size=256"),
        ("resnet18", "teacher must be one of densenet121, .* or timm:NAME, such as .*got 'resnet"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(name, message):
    with pytest.raises(UserError, match=message) as error:
        make_teacher(4, name=name, image_size=64)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_a_network_of_other_images_or_without_classes_is_refused(monkeypatch):
    make = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, num_classes: make(name, num_classes=0))
    with pytest.raises(UserError, match=r"no classifier: its output .* \(1, 512\), not \(1, 4\)"):
        make_teacher(4, name="timm:resnet18")
    overlay = {"input_size": (1, 64, 64)}
    monkeypatch.setattr(
        timm, "create_model", lambda name, **given: make(name, pretrained_cfg_overlay=overlay)
    )
    with pytest.raises(UserError, match="takes images of 1 channels, the study's have 3"):
        make_teacher(4, name="timm:resnet18")


def test_settings_check_the_form_and_leave_the_name_to_timm():
    assert Settings.checked({"teacher": "timm:resnet81"}).teacher == "timm:resnet81"
    for wrong in ("timm:", "timm:a b", "timm:../x", "resnet18"):
        with pytest.raises(UserError, match="teacher must be one of densenet121.*or timm:NAME"):
            Settings.checked({"teacher": wrong})


@pytest.fixture
def without_network(tmp_path, monkeypatch):
    """No hub, and an empty cache of it in this folder."""
    from huggingface_hub import constants

    monkeypatch.setattr(timm_models, "_answers", lambda _address: False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    return tmp_path


def test_weights_come_from_the_hub_s_cache_and_else_it_says_that_there_are_none(
    without_network, capsys
):
    name = "timm:mobilenetv3_small_050"
    with pytest.raises(UserError, match="can't be had here .*weights='none'.* or teacher='timm:tf"):
        make_teacher(4, name=name, weights="imagenet")
    assert resolve_weights("auto", name) == resolve_weights_offline("auto", name) == "none"
    assert "the teacher starts from scratch" in capsys.readouterr().out
    stock = timm.create_model("mobilenetv3_small_050")
    cached = without_network / "models--timm--mobilenetv3_small_050.lamb_in1k"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("0" * 40)
    (cached / "snapshots" / ("0" * 40)).mkdir(parents=True)
    save_file(stock.state_dict(), cached / "snapshots" / ("0" * 40) / "model.safetensors")
    assert resolve_weights("auto", name) == resolve_weights_offline("auto", name) == "imagenet"
    said = capsys.readouterr().out
    assert "timm/mobilenetv3_small_050.lamb_in1k in Hugging Face's cache" in said
    teacher = make_teacher(4, name=name, weights="imagenet")
    assert torch.equal(teacher.blocks[1][0].conv_pw.weight, stock.blocks[1][0].conv_pw.weight)


def test_a_wrong_name_is_an_error_for_auto_weights_too():
    with pytest.raises(UserError, match="has no model 'resnet81'"):
        resolve_weights("auto", "timm:resnet81")
