from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from kdnb.core.errors import UserError
from kdnb.core.profiles import LITE0
from kdnb.training.students import make_student
from kdnb.training.teachers import make_teacher
from kdnb.xai import shap_values
from kdnb.xai.attribution import Context
from kdnb.xai.methods import explain
from kdnb.xai.shap_values import shap_deep, shap_gradient

IMAGES, TARGETS = (
    torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)),
    torch.tensor([0, 3, 1]),
)
BACKGROUND = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=[make_student, make_teacher], ids=["student", "teacher"])
def model(request):
    return request.param(4, seed=1).eval()


def test_shap_gradient_is_seeded_and_restores_the_mode(model):
    model.train()
    first, again, other = (
        shap_gradient(model, IMAGES[:1], TARGETS[:1], Context(BACKGROUND, samples=10, seed=seed))
        for seed in (0, 0, 1)
    )
    assert model.training
    assert np.array_equal(first.values, again.values)
    assert not np.array_equal(first.values, other.values)
    assert first.values.shape == (1, 3, 32, 32) and -1 <= first.repeatability[0] <= 1


def test_shap_gradient_comes_closer_to_additivity_with_more_samples():
    student = make_student(4, seed=1).eval()
    few, many = (
        explain("SHAP gradient", student, IMAGES, TARGETS, Context(BACKGROUND, samples=samples))
        for samples in (10, 100)
    )
    assert many.repeatability.mean() > few.repeatability.mean()
    assert many.delta.mean() < few.delta.mean() + 1e-3


def test_shap_deep_adds_up_on_the_student_and_leaves_no_trace():
    student = make_student(4, seed=1).train()
    before = {name: set(vars(m)) for name, m in student.named_modules()}
    found = explain("SHAP deep", student, IMAGES, TARGETS, Context(BACKGROUND))
    assert found.delta.max() <= 1e-3 and student.training
    assert before == {name: set(vars(m)) for name, m in student.named_modules()}


def test_shap_deep_is_refused_on_the_teacher_with_the_number():
    teacher = make_teacher(4, seed=1)
    with pytest.raises(
        UserError, match=r"refused on TappedDenseNet121: its attributions miss the logit by [\d.]+%"
    ):
        explain("SHAP deep", teacher, IMAGES, TARGETS, Context(BACKGROUND))


def test_shap_deep_is_refused_where_a_network_works_in_place():
    """EfficientNet adds its shortcuts in place, which the explainer's hooks forbid."""
    with pytest.raises(
        UserError, match="refused on EfficientNet: .* modified inplace; use Gradient SHAP"
    ):
        shap_deep(
            make_teacher(4, name="efficientnet_b0"), IMAGES[:1], TARGETS[:1], Context(BACKGROUND)
        )


def test_gradient_shap_explains_a_teacher_of_timm():
    """Its pixels pass through another normalisation; the values are those of the study's images."""
    teacher = make_teacher(4, name=LITE0, seed=1)
    found = shap_gradient(teacher, IMAGES[:1], TARGETS[:1], Context(BACKGROUND, samples=10))
    assert found.values.shape == IMAGES[:1].shape
    assert np.isfinite(found.values).all() and np.abs(found.values).max() > 0


def test_bad_background():
    with pytest.raises(UserError, match="at least 2 images"):
        shap_gradient(make_student(4), IMAGES, TARGETS, Context(BACKGROUND[:1]))


@pytest.mark.parametrize(
    ("second", "wanted"), [([1.0, 2.0, 3.0], 1.0), ([3.0, 2.0, 1.0], 0.0), ([3.0, 1.0, 2.0], 0.0)]
)
def test_halves_that_do_not_agree_are_not_repeatable(monkeypatch, second, wanted):
    """At -0.5 the formula alone would give -2, at -1 it divides by 0."""
    halves = {0: [1.0, 2.0, 3.0], 1: second}

    class Explainer:
        def __init__(self, _model, _background):
            pass

        def shap_values(self, _image, nsamples, rseed):
            return np.array(halves[rseed])

    monkeypatch.setattr(
        shap_values, "_load_shap", lambda: SimpleNamespace(GradientExplainer=Explainer)
    )
    image = torch.zeros(1, 3, 1, 1)
    found = shap_gradient(nn.Identity(), image, TARGETS[:1], Context(BACKGROUND))
    assert found.repeatability[0] == pytest.approx(wanted)


def test_what_is_the_same_everywhere_has_no_known_repeatability():
    assert np.isnan(shap_values._spearman_brown(np.nan))
