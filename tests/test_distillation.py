from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdnb.distillation import as_coded_loss, cached_logits, distil, kd_loss, soft_gradient, soft_loss
from kdnb.errors import UserError
from kdnb.training import load_teacher, predict


def reference(student, teacher, targets, alpha, temperature):
    """Independent: numpy, float64, sums written out."""

    def log_softmax(z):
        z = z - z.max(axis=1, keepdims=True)
        return z - np.log(np.exp(z).sum(axis=1, keepdims=True))

    hard = -log_softmax(student)[np.arange(len(targets)), targets].mean()
    log_s, log_t = log_softmax(student / temperature), log_softmax(teacher / temperature)
    soft = (np.exp(log_t) * (log_t - log_s)).sum(axis=1).mean()
    return alpha * hard + (1 - alpha) * temperature**2 * soft


def logits(classes=4, seed=0, batch=8):
    rng = np.random.default_rng(seed)
    return (
        3 * rng.normal(size=(batch, classes)),
        3 * rng.normal(size=(batch, classes)),
        rng.integers(classes, size=batch),
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 20), st.integers(0, 99), st.floats(0, 1), st.floats(0.5, 50))
def test_kd_loss_equals_the_reference(classes, seed, alpha, temperature):
    student, teacher, targets = logits(classes, seed)
    ours = kd_loss(torch.tensor(student), torch.tensor(teacher), torch.tensor(targets), alpha, temperature).item()
    assert abs(ours - reference(student, teacher, targets, alpha, temperature)) <= 1e-6
    single = [torch.tensor(z, dtype=torch.float32) for z in (student, teacher)]
    assert kd_loss(*single, torch.tensor(targets), alpha, temperature).item() == pytest.approx(ours, rel=1e-4, abs=1e-4)


def test_ends_of_alpha():
    student, teacher, targets = map(torch.tensor, logits())
    cross = torch.nn.functional.cross_entropy(student, targets)
    assert kd_loss(student, teacher, targets, 1.0, 7.0) == cross
    assert kd_loss(student, teacher, targets, 0.0, 7.0) == soft_loss(student, teacher, 7.0)
    assert soft_loss(teacher, teacher, 3.0).item() == pytest.approx(0, abs=1e-9)


def test_gradient_stays_the_same_size_when_the_temperature_grows():
    student, teacher, targets = map(torch.tensor, logits())
    lengths = [soft_gradient(kd_loss, student, teacher, targets, t) for t in (10.0, 20.0, 40.0)]
    assert max(lengths) < 1.2 * min(lengths)


@pytest.mark.parametrize("temperature", [1.0, 5.0, 15.0])
def test_liveness(temperature):
    student, teacher, targets = map(torch.tensor, logits())
    assert soft_gradient(kd_loss, student, teacher, targets, temperature) > 0
    assert soft_gradient(as_coded_loss, student, teacher, targets, temperature) == 0.0


def test_no_gradient_reaches_the_teacher():
    student, teacher, targets = (torch.tensor(x) for x in logits())
    student.requires_grad_(), teacher.requires_grad_()
    kd_loss(student, teacher, targets, 0.5, 2.0).backward()
    assert teacher.grad is None and student.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": 1.1}, "alpha must be a number in"),
        ({"temperature": 0.0}, "temperature must be a number above 0, got 0.0"),
        ({"temperature": float("nan")}, "temperature must be a number above 0, got nan"),
        ({"teacher": torch.zeros(8, 3)}, r"one shape, got \(8, 4\) and \(8, 3\)"),
    ],
)
def test_bad_arguments(change, message):
    student, teacher, targets = map(torch.tensor, logits())
    good = {"student": student, "teacher": teacher, "targets": targets, "alpha": 0.5, "temperature": 2.0}
    with pytest.raises(UserError, match=message):
        kd_loss(**{**good, **change})


def test_cached_logits_equal_the_teacher_online(study):
    cache = cached_logits(study.settings, study.image_set, study.teacher, study.device)
    stored = np.load(cache.path("logits.npy"))
    rows = study.image_set.rows("train")[::3]
    teacher = load_teacher(study.teacher, 4, study.device)
    for view in range(study.settings.views):
        online = predict(teacher, study.image_set, rows, 4, study.device, seed=study.settings.seed, view=view)
        assert np.abs(stored[view, rows] - online).max() <= 1e-4
    assert np.isnan(stored[:, study.image_set.rows("test")]).all()
    assert not np.allclose(stored[0, rows], stored[1, rows])


def test_label_only_student_needs_no_teacher_and_temperature_changes_the_kd_student(study):
    control = distil(study.settings, study.image_set, study.teacher, study.device, alpha=1.0)
    warmer = study.settings.model_copy(update={"temperature": 2.0})
    assert distil(warmer, study.image_set, study.teacher, study.device, alpha=1.0).id == control.id
    assert distil(warmer, study.image_set, study.teacher, study.device).id != study.student.id
    spec = control.json("spec.json")
    assert spec["upstream"] == [study.image_set.hash] and spec["parameters"]["loss"] == "labels"
