from __future__ import annotations

import pytest
import torch
from captum.attr import LayerActivation, LayerGradCam, LayerGradientXActivation
from pytorch_grad_cam import EigenCAM, GradCAM, HiResCAM, LayerCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

from kdnb.core.errors import UserError
from kdnb.feature_maps.cam import CAMS, cams
from kdnb.training.modules import modules_at
from kdnb.training.students import make_student
from kdnb.training.taps import gradients_at_taps
from kdnb.training.teachers import make_teacher

IMAGES, TARGETS = (
    torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)),
    torch.tensor([0, 3, 1]),
)
THEIRS = {"gradcam": GradCAM, "hirescam": HiResCAM, "layercam": LayerCAM, "eigencam": EigenCAM}


@pytest.fixture(params=[make_student, make_teacher], ids=["student", "teacher"])
def model(request):
    return request.param(4, seed=1).eval()


def assert_same(ours, theirs):
    """Equal to 1e-5 of the largest value; no map is stretched, so the scale is compared too."""
    scale = theirs.abs().max().clamp_min(1e-12)
    assert ((ours - theirs) / scale).abs().max() <= 1e-5


def of_grad_cam(model, module, method):
    """The raw map of pytorch-grad-cam's method, before it is stretched to [0, 1]."""
    targets = [ClassifierOutputTarget(int(k)) for k in TARGETS]
    with THEIRS[method](model, [module]) as cam:
        cam(IMAGES, targets)
        a, g = cam.activations_and_grads.activations[0].numpy(), cam.activations_and_grads.gradients
        return torch.as_tensor(
            cam.get_cam_image(IMAGES, module, targets, a, g[0].numpy() if g else None, False)
        )


@pytest.mark.parametrize("method", ["gradcam", "hirescam", "layercam"])
def test_equals_pytorch_grad_cam_at_every_tap(model, method):
    ours = cams(model, IMAGES, TARGETS, method)
    for name, module in modules_at(model).items():
        assert_same(ours[name], of_grad_cam(model, module, method).clamp_min(0))


def test_eigen_cam_equals_pytorch_grad_cam_but_for_the_sign_of_the_axis(model):
    """Theirs keeps the sign that the decomposition happens to return.

    A tap of one cell has no axis at all.
    """
    ours = cams(model, IMAGES, TARGETS, "eigencam")
    for name, module in modules_at(model).items():
        both = of_grad_cam(model, module, "eigencam")
        for mine, theirs in zip(ours[name], both, strict=True):
            error = min((mine - side.clamp_min(0)).abs().max() for side in (theirs, -theirs))
            assert error <= 1e-5 * theirs.abs().max() + 1e-9


@pytest.mark.slow
def test_equals_captum_at_every_tap(model):
    found = {method: cams(model, IMAGES, TARGETS, method) for method in CAMS}
    for name, module in modules_at(model).items():
        grad = LayerGradCam(model, module).attribute(IMAGES, TARGETS, relu_attributions=True)[:, 0]
        # (N, C, h, w)
        product = LayerGradientXActivation(model, module).attribute(IMAGES, TARGETS).detach()
        active = LayerActivation(model, module).attribute(IMAGES).detach()
        assert_same(found["gradcam"][name], grad.detach())
        assert_same(found["evidence"][name], product.sum(1))
        assert_same(found["hirescam"][name], product.sum(1).clamp_min(0))
        # behind a ReLU activations are not negative, so the product has the gradient's sign
        assert (active >= 0).all()
        assert_same(found["layercam"][name], product.clamp_min(0).sum(1))


def test_last_tap_is_class_activation_mapping():
    """With a global-average-pooling head the map is the classifier's weights times activations.

    Divided by the area.
    """
    student = make_student(4, seed=2).eval()
    _, pairs = gradients_at_taps(student, IMAGES, TARGETS)
    activation, _ = pairs["conv5"]
    weights = student.classifier.weight[TARGETS][:, :, None, None] / activation.shape[-1] ** 2
    expected = (weights * activation).sum(1).clamp_min(0).detach()
    torch.testing.assert_close(cams(student, IMAGES, TARGETS)["conv5"], expected)
    torch.testing.assert_close(cams(student, IMAGES, TARGETS, "hirescam")["conv5"], expected)


@pytest.mark.parametrize("method", CAMS)
def test_batch_equals_one_by_one(model, method):
    together = cams(model, IMAGES, TARGETS, method)
    for i in range(3):
        alone = cams(model, IMAGES[i : i + 1], TARGETS[i : i + 1], method)
        for name, maps in alone.items():
            torch.testing.assert_close(together[name][i : i + 1], maps, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("method", CAMS)
def test_a_frozen_model_has_the_same_maps_and_the_images_stay_as_they_are(model, method):
    images = IMAGES.clone()
    wanted = cams(model, images, TARGETS, method)
    for tap, maps in cams(model.requires_grad_(False), images, TARGETS, method).items():
        assert torch.equal(maps, wanted[tap])
    assert torch.equal(images, IMAGES) and not images.requires_grad and images.grad is None


def test_a_model_may_write_over_its_input():
    first = nn.Conv2d(3, 2, 1)
    model = nn.Sequential(nn.ReLU(inplace=True), first, nn.Flatten(), nn.Linear(2 * 32 * 32, 4))
    images = IMAGES.clone()
    maps = cams(model, images, TARGETS, taps={"first": "1"})
    assert maps["first"].shape == (3, 32, 32) and torch.equal(images, IMAGES)


@pytest.mark.parametrize("targets", [[0, 1], [0, 1, 4], [-1, 0, 0]])
def test_bad_targets(targets):
    with pytest.raises(UserError, match="targets must be 3 class numbers from 0 to 3"):
        cams(make_student(4), IMAGES, torch.tensor(targets))


def test_unknown_method_is_answered_with_the_list():
    with pytest.raises(
        UserError, match="method must be one of gradcam, hirescam, layercam.*got 'gradcam\\+\\+'"
    ):
        cams(make_student(4), IMAGES, TARGETS, "gradcam++")
