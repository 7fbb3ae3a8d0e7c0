from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from kdnb.core.errors import UserError
from kdnb.data.transforms import to_tensor
from kdnb.efficiency import onnx_export as export
from kdnb.efficiency.onnx_export import PARITY, export_onnx, onnx_latency, onnx_model
from kdnb.efficiency.timing import Protocol
from kdnb.training.students import FiveConv

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    torch.manual_seed(0)
    model, path = FiveConv(4, 0.25), tmp_path_factory.mktemp("onnx") / "student.onnx"
    for module in model.modules():  # trained statistics, so that batch norm matters
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    ranges = {"16-bit integers": (0.0, 4095.0)}
    return model, path, export_onnx(model, path, 32, ["ä", "b", "c", "d"], ranges)


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_logits_equal_pytorch_for_any_batch(exported, batch):
    model, path, difference = exported
    images = torch.randn(batch, 3, 32, 32)
    assert difference <= PARITY and model.training
    with torch.no_grad():
        np.testing.assert_allclose(
            onnx_model(path)(images), model.eval()(images).numpy(), atol=PARITY
        )
    model.train()


def test_one_file_holds_everything(exported):
    _, path, _ = exported
    assert [p.name for p in path.parent.iterdir()] == ["student.onnx"]
    assert path.stat().st_size > 4 * sum(p.numel() for p in exported[0].parameters())


def test_the_file_says_how_to_use_it_and_nothing_of_this_machine(exported):
    import onnx

    _, path, _ = exported
    told = {prop.key: prop.value for prop in onnx.load(path).metadata_props}
    facts = {name: json.loads(value) for name, value in told.items()}
    assert facts["classes"] == ["ä", "b", "c", "d"] and facts["colour_order"] == "RGB"
    assert facts["mean"] == [0.485, 0.456, 0.406] and facts["image_size"] == 32
    assert facts["ranges"] == {"16-bit integers": [0, 4095]} and "bilinear" in facts["resize"]
    pixels = torch.randint(0, 256, (1, 32, 32, 3), dtype=torch.uint8).numpy()
    share = pixels / facts["scale"]
    by_hand = (share - facts["mean"]) / facts["deviation"]
    np.testing.assert_allclose(to_tensor(pixels)[0], by_hand[0].transpose(2, 0, 1), atol=1e-6)
    content = path.read_bytes()
    for word in (b".py", str(Path.home()).encode(), str(Path(export.__file__).parents[2]).encode()):
        assert word not in content, word


def test_latency_against_pytorch(exported):
    model, path, _ = exported
    table = onnx_latency(
        model, path, torch.randn(1, 3, 32, 32), Protocol(repeats=3, seconds=1, warm_up=1)
    )
    assert list(table.index) == [1, 32] and (table["logit_difference"] <= PARITY).all()
    assert {"ratio", "ratio_low", "pytorch_ms", "onnx_ms", "rounds"} <= set(table.columns)


def test_a_file_that_differs_is_refused_and_removed(tmp_path, monkeypatch):
    class Shifted(FiveConv):
        def forward(self, x):
            return super().forward(x) + 0.001 * (not torch.compiler.is_exporting())

    with pytest.raises(UserError, match="Shifted is refused: its logits differ by 0.001"):
        export_onnx(Shifted(4, 0.125), tmp_path / "x.onnx", 32)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", ["student.pt", "no/such/folder/student.onnx"])
def test_bad_place_is_one_clear_line(path, tmp_path):
    with pytest.raises(UserError, match="ends in .onnx in a folder that exists, got"):
        export_onnx(FiveConv(4, 0.125), tmp_path / path, 32)


def test_missing_packages_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(
        export, "find_spec", lambda package: None if package == "onnxscript" else package
    )
    with pytest.raises(UserError, match=r"pip install -e '\.\[onnx\]'"):
        export_onnx(FiveConv(4, 0.125), tmp_path / "x.onnx", 32)
