from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from kdnb.core.profiles import LITE0, LITE0_NAMES
from kdnb.distillation.train_student import train_student
from kdnb.training import precision
from kdnb.training.fit import saved_logits

CPU = torch.device("cpu")
CUDA = torch.device("cuda")


@pytest.fixture
def auto(study, tmp_path):
    changes = {"precision": "auto", "runs_dir": str(tmp_path / "runs")}
    return study.settings.model_copy(update=changes)


def give_processor(monkeypatch, instructions, onednn=True):
    """Let torch find a processor with these instructions and no others."""
    found = {"avx512_f": True, "amx_tile": True, "neon": True, "architecture": "any"}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found | instructions)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: onednn)


def give_card(monkeypatch, major, emulated):
    """Let torch find a card of this major compute capability, with or without emulation."""

    class Properties:
        pass

    Properties.major = major
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: Properties)
    monkeypatch.setattr(torch.cuda, "_check_bf16_tensor_supported", lambda device: emulated)


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
@pytest.mark.parametrize("device", [CPU, CUDA], ids=str)
@pytest.mark.parametrize("able", [True, False])
def test_what_is_named_is_taken(study, monkeypatch, name, device, able):
    give_processor(monkeypatch, {"amx_bf16": able})
    give_card(monkeypatch, major=9 if able else 7, emulated=able)
    settings = study.settings.model_copy(update={"precision": name})
    assert precision.resolve_precision(settings, device) == name


@pytest.mark.parametrize(
    ("instructions", "chosen"),
    [
        ({"amx_bf16": True, "avx512_bf16": True}, "bfloat16"),
        ({"amx_bf16": True, "avx512_bf16": False}, "bfloat16"),
        ({"amx_bf16": False, "avx512_bf16": True}, "bfloat16"),
        ({"bf16": True}, "bfloat16"),  # Arm
        ({"amx_bf16": False, "avx512_bf16": False}, "float32"),
        ({"bf16": False}, "float32"),
        ({}, "float32"),
    ],
)
def test_auto_on_a_processor_goes_by_its_instructions(auto, monkeypatch, instructions, chosen):
    give_processor(monkeypatch, instructions)
    assert precision.resolve_precision(auto, CPU) == chosen


def test_auto_is_float32_for_a_network_that_a_processor_is_slower_with_in_bfloat16(
    auto, monkeypatch
):
    give_processor(monkeypatch, {"amx_bf16": True})
    give_card(monkeypatch, major=9, emulated=False)
    for name in LITE0_NAMES:
        assert precision.resolve_precision(auto, CPU, name) == "float32"
    assert precision.resolve_precision(auto, CUDA, LITE0) == "bfloat16"
    assert precision.resolve_precision(auto, CPU, "densenet121") == "bfloat16"


def test_auto_is_float32_where_torch_cannot_use_the_instructions(auto, monkeypatch):
    give_processor(monkeypatch, {"amx_bf16": True}, onednn=False)
    assert precision.resolve_precision(auto, CPU) == "float32"


@pytest.mark.parametrize(("major", "chosen"), [(9, "bfloat16"), (8, "bfloat16"), (7, "float32")])
def test_auto_on_a_card_goes_by_what_it_computes_in(auto, monkeypatch, major, chosen):
    give_card(monkeypatch, major=major, emulated=True)  # also a card of 2018 emulates bfloat16
    give_processor(monkeypatch, {"amx_bf16": chosen == "float32"})  # the processor has no say
    assert precision.resolve_precision(auto, CUDA) == chosen


def test_auto_is_float32_on_any_other_device(auto, monkeypatch):
    give_processor(monkeypatch, {"amx_bf16": True})
    give_card(monkeypatch, major=9, emulated=True)
    assert precision.resolve_precision(auto, torch.device("mps")) == "float32"


def test_nothing_is_timed_and_nothing_is_kept(auto, tmp_path, monkeypatch):
    give_processor(monkeypatch, {"avx512_bf16": True})
    with monkeypatch.context() as patch:
        for clock in ("perf_counter", "monotonic", "process_time", "time"):
            patch.setattr(time, clock, None)
        assert precision.resolve_precision(auto, CPU) == "bfloat16"
    assert not (tmp_path / "runs").exists()


def test_torch_tells_the_instructions_of_this_processor():
    found = torch.cpu.get_capabilities()
    expected = {
        "x86_64": {"amx_bf16", "avx512_bf16"},
        "arm64": {"bf16"},
        "aarch64": {"bf16"},
    }
    assert set(precision.INSTRUCTIONS) == set.union(*expected.values())
    assert expected.get(found["architecture"], set()) <= set(found)


def test_a_student_in_bfloat16_is_another_run_with_nearly_the_same_answers(
    study, monkeypatch, capsys
):
    give_processor(monkeypatch, {"amx_bf16": False})
    runs = {}
    for name in ("bfloat16", "float32"):
        settings = study.settings.model_copy(update={"precision": name})
        runs[name] = train_student(settings, study.image_set, study.teacher, CPU, alpha=1.0)
    said = capsys.readouterr().out
    assert said.count("this processor has no instructions for it") == 1, "of bfloat16 alone"
    rounded = runs["bfloat16"]
    plain = runs["float32"]
    assert rounded.id != plain.id
    assert rounded.json("spec.json")["parameters"]["schedule"]["precision"] == "bfloat16"
    a = saved_logits(rounded)
    b = saved_logits(plain)
    assert not np.array_equal(a, b)
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.8
