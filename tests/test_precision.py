from __future__ import annotations

import numpy as np
import pytest
import torch

from kdnb import precision
from kdnb.distillation import distil
from kdnb.training import saved_logits

CPU = torch.device("cpu")


def test_what_is_named_is_taken(study):
    for name in ("float32", "bfloat16"):
        assert precision.resolve_precision(study.settings.model_copy(update={"precision": name}), CPU) == name


@pytest.mark.parametrize(
    ("times", "chosen"), [((3.0, 2.0), "bfloat16"), ((2.0, 2.0), "float32"), ((1.0, 2.0), "float32")]
)
def test_auto_takes_what_is_measured_to_be_faster(study, tmp_path, monkeypatch, times, chosen):
    monkeypatch.setattr(precision, "_has_bfloat16", lambda device: True)
    asked = []

    def interleaved(first, second, **_):
        asked.append((first, second))
        return tuple(np.full(3, t) for t in times)

    monkeypatch.setattr(precision, "interleaved", interleaved)
    settings = study.settings.model_copy(update={"precision": "auto", "runs_dir": str(tmp_path)})
    assert precision.known_precision(settings, CPU) is None and not asked  # a name measures nothing
    assert precision.resolve_precision(settings, CPU) == chosen
    assert precision.known_precision(settings, CPU) == chosen
    assert precision.resolve_precision(settings, CPU) == chosen and len(asked) == 1  # measured once per machine
    for step in asked[0]:
        step()  # both sides run
    precision.resolve_precision(settings.model_copy(update={"teacher": "resnet50"}), CPU)
    assert len(asked) == 2  # another network may be another matter


def test_auto_is_float32_where_there_is_no_bfloat16(study, monkeypatch):
    monkeypatch.setattr(precision, "_has_bfloat16", lambda device: False)
    assert precision.resolve_precision(study.settings.model_copy(update={"precision": "auto"}), CPU) == "float32"


def test_a_student_in_bfloat16_is_another_run_with_nearly_the_same_answers(study):
    chosen = [study.settings.model_copy(update={"precision": name}) for name in ("bfloat16", "float32")]
    rounded, plain = (distil(settings, study.image_set, study.teacher, CPU, alpha=1.0) for settings in chosen)
    assert rounded.id != plain.id and rounded.json("spec.json")["parameters"]["schedule"]["precision"] == "bfloat16"
    a, b = saved_logits(rounded), saved_logits(plain)
    assert not np.array_equal(a, b) and np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.8
