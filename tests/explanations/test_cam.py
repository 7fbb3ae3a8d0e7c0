from __future__ import annotations

import pytest
import torch
from captum.attr import LayerGradCam

from kdnb.errors import UserError
from kdnb.explanations import grad_cam
from kdnb.feature_maps import gradients_at_taps
from kdnb.models import make_student, make_teacher, modules_at

IMAGES, TARGETS = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 3, 1])


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


@pytest.mark.parametrize("targets", [[0, 1], [0, 1, 4], [-1, 0, 0]])
def test_bad_targets(targets):
    with pytest.raises(UserError, match="targets must be 3 class numbers from 0 to 3"):
        grad_cam(make_student(4), IMAGES, torch.tensor(targets))
