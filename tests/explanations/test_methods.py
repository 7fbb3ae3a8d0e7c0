"""All methods behind one signature: shapes, axioms, seeds, modes, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients, Occlusion
from torch import nn
from torch.nn.functional import dropout

from kdnb.errors import UserError
from kdnb.explanations import METHODS, Context, explain, integrated_gradients, occlusion, shap_partition
from kdnb.explanations.attribution import AXIOM
from kdnb.models import FiveConv

DRAW = torch.Generator().manual_seed(0)
IMAGES, TARGETS = torch.randn(3, 3, 32, 32, generator=DRAW), torch.tensor([0, 3, 1])
BACKGROUND = torch.randn(4, 3, 32, 32, generator=DRAW)
CONTEXT = Context(BACKGROUND, samples=20, seed=1)
ADDITIVE = ("integrated gradients", "SHAP deep", "SHAP partition")


@pytest.fixture(scope="module")
def student():
    torch.manual_seed(0)
    model = FiveConv(4, 0.25)
    for module in model.modules():  # statistics as after training, so that the ReLUs are neither all on nor all off
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias, std=0.5)
    return model.eval()


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_one_signature_and_is_bit_equal_again(student, method):
    student.train()
    state = {name: value.clone() for name, value in student.state_dict().items()}
    drawn = torch.get_rng_state(), np.random.get_state()[1].copy()
    first, again = (explain(method, student, IMAGES, TARGETS, CONTEXT) for _ in range(2))
    assert np.array_equal(first.values, again.values)
    assert first.maps.shape == (3, 32, 32) and np.isfinite(first.values).all() and np.ptp(first.maps) > 0
    assert first.delta.shape == first.repeatability.shape == (3,)
    assert all(module.training for module in student.modules()), "modes come back"
    assert all(torch.equal(value, state[name]) for name, value in student.state_dict().items())
    assert torch.equal(drawn[0], torch.get_rng_state()) and np.array_equal(drawn[1], np.random.get_state()[1])
    if method in ADDITIVE:
        assert first.delta.max() <= AXIOM


@pytest.mark.parametrize("method", METHODS)
def test_only_the_class_blind_methods_ignore_the_class(student, method):
    one, other = (explain(method, student, IMAGES, torch.full((3,), k), CONTEXT).values for k in (0, 1))
    assert np.array_equal(one, other) == (method in ("average map", "eigencam"))


def test_integrated_gradients_equal_captum_with_many_steps(student):
    ours = integrated_gradients(student.eval(), IMAGES, TARGETS, CONTEXT.baseline)
    theirs = IntegratedGradients(student).attribute(IMAGES, CONTEXT.baseline, TARGETS, n_steps=1000)
    correlation = np.corrcoef(ours.values.ravel(), theirs.detach().numpy().ravel())[0, 1]
    assert correlation > 0.99


def test_integrated_gradients_of_a_linear_model_are_exact():
    """Weight times difference, in any number of steps."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4))
    found = integrated_gradients(model, IMAGES, TARGETS, CONTEXT.baseline)
    expected = model[1].weight[TARGETS].view(3, 3, 32, 32) * (IMAGES - CONTEXT.baseline)
    np.testing.assert_allclose(found.values, expected.detach().numpy(), atol=1e-6)


def test_integrated_gradients_are_refused_with_the_number_where_they_do_not_close():
    class Step(nn.Module):
        """A jump has no gradient: what it adds to the logit is nowhere on the path."""

        def forward(self, x):
            total = x.sum((1, 2, 3))
            return torch.stack([total + 9 * (total > 10), -total], dim=1)

    images = torch.full((1, 3, 32, 32), 0.01)  # logit 30.72 + 9, of which 9 are missed
    with pytest.raises(UserError, match=r"integrated gradients is refused on Step: .* miss the logit by 22.66%"):
        integrated_gradients(Step(), images, torch.tensor([0]), torch.zeros_like(images))


def test_occlusion_equals_captum_and_a_plain_loop(student):
    ours = occlusion(student.eval(), IMAGES[:1], TARGETS[:1], CONTEXT.baseline).maps[0]
    theirs = Occlusion(student).attribute(IMAGES[:1], (3, 4, 4), (3, 2, 2), CONTEXT.baseline, target=TARGETS[:1])
    np.testing.assert_allclose(ours, theirs[0, 0].numpy(), atol=1e-5)
    drops, counts = np.zeros((32, 32)), np.zeros((32, 32))
    with torch.no_grad():
        whole = student(IMAGES[:1])[0, TARGETS[0]].item()
        for top in range(0, 29, 2):
            for left in range(0, 29, 2):
                place, covered = np.s_[top : top + 4, left : left + 4], IMAGES[:1].clone()
                covered[:, :, place[0], place[1]] = CONTEXT.baseline[:, :, place[0], place[1]]
                drops[place] += whole - student(covered)[0, TARGETS[0]].item()
                counts[place] += 1
    np.testing.assert_allclose(ours, drops / counts, atol=1e-4)


def test_partition_values_of_an_additive_model_are_its_own_parts():
    """Where every pixel adds by itself, a square's value is the sum of what its pixels add."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4))
    found = shap_partition(model, IMAGES[:1], TARGETS[:1], CONTEXT.baseline, samples=1100).maps[0]
    parts = (model[1].weight[TARGETS[0]].view(3, 32, 32) * (IMAGES[0] - CONTEXT.baseline[0])).sum(0).detach().numpy()
    squares = parts.reshape(16, 2, 16, 2).mean((1, 3)).repeat(2, 0).repeat(2, 1)
    np.testing.assert_allclose(found, squares, atol=1e-5)


def test_sides_that_the_squares_do_not_divide_still_add_up(student):
    images = torch.randn(1, 3, 50, 50, generator=torch.Generator().manual_seed(3))
    assert shap_partition(student, images, TARGETS[:1], torch.zeros(1, 3, 50, 50), samples=30).delta[0] <= AXIOM


def test_a_model_that_is_random_in_eval_mode_is_refused(student):
    class Noisy(nn.Module):
        taps = student.taps

        def __init__(self):
            super().__init__()
            self.inner = student

        def forward(self, x):
            return student(dropout(x, 0.5))

    with pytest.raises(UserError, match=r"occlusion is refused on Noisy: asked again, its logits differ by [\d.]+%"):
        explain("occlusion", Noisy(), IMAGES, TARGETS, CONTEXT)


def test_tap_is_chosen_by_number(student):
    maps = [explain("gradcam", student, IMAGES, TARGETS, Context(BACKGROUND, tap=tap)).maps for tap in (4, -1, 0)]
    assert np.array_equal(maps[0], maps[1]) and not np.array_equal(maps[0], maps[2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "lime"}, "method must be one of average map, gradcam, .*, occlusion, got 'lime'"),
        ({"targets": torch.tensor([0, 3, 4])}, r"class numbers from 0 to 3, got \[0, 3, 4\]"),
        ({"method": "SHAP deep", "context": Context(BACKGROUND[:1])}, "at least 2 images"),
        ({"method": "occlusion", "context": Context(BACKGROUND[:1])}, "at least 2 images"),
        ({"context": Context(BACKGROUND, tap=5)}, "tap must be a number from -5 to 4 for conv1, .*, got 5"),
        ({"images": IMAGES.half()}, "must be in float32 to be explained, got torch.float16"),
        ({"model": FiveConv(4, 0.25).bfloat16()}, "must be in float32 to be explained, got torch.bfloat16"),
        ({"images": IMAGES[:, :1]}, r"images must have shape \(N, 3, height, width\)"),
    ],
)
def test_bad_input_ends_in_one_clear_line(student, change, message):
    given = {"method": "gradcam", "model": student, "images": IMAGES, "targets": TARGETS, "context": CONTEXT}
    with pytest.raises(UserError, match=message):
        explain(**(given | change))
