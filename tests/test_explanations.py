from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam

from kdnb.errors import UserError
from kdnb.explanations import grad_cam, gradients_at_taps, shap_deep, shap_gradient
from kdnb.models import make_student, make_teacher, modules_at

IMAGES, TARGETS = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 3, 1])
BACKGROUND = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=[make_student, make_teacher], ids=["student", "teacher"])
def model(request):
    return request.param(4, seed=1).eval()


def test_grad_cam_equals_captum_at_every_tap(model):
    ours = grad_cam(model, IMAGES, TARGETS)
    for name, module in modules_at(model).items():
        theirs = LayerGradCam(model, module).attribute(IMAGES, TARGETS, relu_attributions=True)[:, 0]
        scale = theirs.abs().max().clamp_min(1e-12)
        assert ((ours[name] - theirs.detach()) / scale).abs().max() <= 1e-5


def test_last_tap_is_class_activation_mapping():
    """With a global-average-pooling head the map is the classifier's weights times activations, divided by the area."""
    student = make_student(4, seed=2).eval()
    _, pairs = gradients_at_taps(student, IMAGES, TARGETS)
    activation, _ = pairs["conv5"]
    weights = student.classifier.weight[TARGETS][:, :, None, None] / activation.shape[-1] ** 2
    torch.testing.assert_close(
        grad_cam(student, IMAGES, TARGETS)["conv5"], (weights * activation).sum(1).clamp_min(0).detach()
    )


def test_grad_cam_batch_equals_one_by_one(model):
    together = grad_cam(model, IMAGES, TARGETS)
    for i in range(3):
        alone = grad_cam(model, IMAGES[i : i + 1], TARGETS[i : i + 1])
        for name, maps in alone.items():
            torch.testing.assert_close(together[name][i : i + 1], maps, rtol=1e-3, atol=1e-6)


def test_shap_gradient_is_seeded_and_restores_the_mode(model):
    model.train()
    first, again, other = (
        shap_gradient(model, IMAGES[:1], TARGETS[:1], BACKGROUND, samples=10, seed=s) for s in (0, 0, 1)
    )
    assert model.training
    assert np.array_equal(first.values, again.values) and not np.array_equal(first.values, other.values)
    assert first.values.shape == (1, 3, 32, 32) and -1 <= first.repeatability[0] <= 1


def test_shap_gradient_comes_closer_to_additivity_with_more_samples():
    student = make_student(4, seed=1).eval()
    few, many = (shap_gradient(student, IMAGES, TARGETS, BACKGROUND, samples=n) for n in (10, 400))
    assert many.repeatability.mean() > few.repeatability.mean()
    assert many.delta.mean() < few.delta.mean() + 1e-3


def test_shap_deep_adds_up_on_the_student_and_leaves_no_trace():
    student = make_student(4, seed=1).train()
    before = {name: set(vars(m)) for name, m in student.named_modules()}
    found = shap_deep(student, IMAGES, TARGETS, BACKGROUND)
    assert found.delta.max() <= 1e-3 and student.training
    assert before == {name: set(vars(m)) for name, m in student.named_modules()}


def test_shap_deep_is_refused_on_the_teacher_with_the_number():
    teacher = make_teacher(4, seed=1)
    with pytest.raises(UserError, match=r"refused on TappedDenseNet121: its attributions miss the logit by [\d.]+%"):
        shap_deep(teacher, IMAGES, TARGETS, BACKGROUND)


@pytest.mark.parametrize("targets", [[0, 1], [0, 1, 4], [-1, 0, 0]])
def test_bad_targets(targets):
    with pytest.raises(UserError, match="targets must be 3 class numbers from 0 to 3"):
        grad_cam(make_student(4), IMAGES, torch.tensor(targets))


def test_bad_background():
    with pytest.raises(UserError, match="at least 2 images"):
        shap_gradient(make_student(4), IMAGES, TARGETS, BACKGROUND[:1])
