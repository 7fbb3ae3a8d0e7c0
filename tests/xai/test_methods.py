"""All methods behind one signature: shapes, axioms, seeds, modes, and what is refused."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients, Occlusion
from torch import nn
from torch.nn.functional import dropout

from kdnb.core.errors import UserError
from kdnb.core.method_names import method_name
from kdnb.feature_maps.cam import CAMS, cams
from kdnb.training.students import FiveConv
from kdnb.xai import attribution, methods
from kdnb.xai.attribution import AXIOM, Context
from kdnb.xai.integrated_gradients import integrated_gradients
from kdnb.xai.methods import METHODS, explain
from kdnb.xai.occlusion import occlusion

DRAW = torch.Generator().manual_seed(0)
IMAGES, TARGETS = torch.randn(3, 3, 32, 32, generator=DRAW), torch.tensor([0, 3, 1])
BACKGROUND = torch.randn(4, 3, 32, 32, generator=DRAW)
CONTEXT = Context(BACKGROUND, samples=20, seed=1)
ADDITIVE = ("integrated gradients", "SHAP deep", "SHAP partition")


@pytest.fixture(scope="module")
def student():
    torch.manual_seed(0)
    model = FiveConv(4, 0.25)
    # statistics as after training, so that the ReLUs are neither all on nor all off
    for module in model.modules():
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
    assert first.maps.shape == (3, 32, 32)
    assert np.isfinite(first.values).all()
    assert np.ptp(first.maps) > 0
    assert first.delta.shape == first.repeatability.shape == (3,)
    assert all(module.training for module in student.modules()), "modes come back"
    assert all(torch.equal(value, state[name]) for name, value in student.state_dict().items())
    assert torch.equal(drawn[0], torch.get_rng_state())
    assert np.array_equal(drawn[1], np.random.get_state()[1])
    if method in ADDITIVE:
        assert first.delta.max() <= AXIOM


@pytest.mark.parametrize("method", METHODS)
def test_only_the_class_blind_methods_ignore_the_class(student, method):
    one, other = (
        explain(method, student, IMAGES, torch.full((3,), k), CONTEXT).values for k in (0, 1)
    )
    assert np.array_equal(one, other) == (method in ("average map", "eigencam"))


@pytest.mark.slow
def test_integrated_gradients_equal_captum_with_many_steps(student):
    ours = integrated_gradients(student.eval(), IMAGES, TARGETS, CONTEXT)
    theirs = IntegratedGradients(student).attribute(IMAGES, CONTEXT.baseline, TARGETS, n_steps=1000)
    correlation = np.corrcoef(ours.values.ravel(), theirs.detach().numpy().ravel())[0, 1]
    assert correlation > 0.99


def test_integrated_gradients_of_a_linear_model_are_exact():
    """Weight times difference, in any number of steps."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4))
    found = integrated_gradients(model, IMAGES, TARGETS, CONTEXT)
    expected = model[1].weight[TARGETS].view(3, 3, 32, 32) * (IMAGES - CONTEXT.baseline)
    np.testing.assert_allclose(found.values, expected.detach().numpy(), atol=1e-6)


def test_integrated_gradients_are_refused_with_the_number_where_they_do_not_close():
    class Step(nn.Module):
        """A jump has no gradient: what it adds to the logit is nowhere on the path."""

        def forward(self, x):
            total = x.sum((1, 2, 3))
            return torch.stack([total + 9 * (total > 10), -total], dim=1)

    images = torch.full((1, 3, 32, 32), 0.01)  # logit 30.72 + 9, of which 9 are missed
    with pytest.raises(
        UserError, match=r"Integrated Gradients is refused on Step: .* miss the logit by 22.66%"
    ):
        explain(
            "integrated gradients",
            Step(),
            images,
            torch.tensor([0]),
            Context(torch.zeros(2, 3, 32, 32)),
        )


def test_occlusion_equals_captum_and_a_plain_loop(student):
    ours = occlusion(student.eval(), IMAGES[:1], TARGETS[:1], CONTEXT).values[0, 0]
    theirs = Occlusion(student).attribute(
        IMAGES[:1], (3, 4, 4), (3, 2, 2), CONTEXT.baseline, target=TARGETS[:1]
    )
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
    context = Context(BACKGROUND, samples=1100)
    found = explain("SHAP partition", model, IMAGES[:1], TARGETS[:1], context).maps[0]
    parts = (
        (model[1].weight[TARGETS[0]].view(3, 32, 32) * (IMAGES[0] - CONTEXT.baseline[0]))
        .sum(0)
        .detach()
        .numpy()
    )
    squares = parts.reshape(16, 2, 16, 2).mean((1, 3)).repeat(2, 0).repeat(2, 1)
    np.testing.assert_allclose(found, squares, atol=1e-5)


def test_sides_that_the_squares_do_not_divide_still_add_up(student):
    images = torch.randn(1, 3, 50, 50, generator=torch.Generator().manual_seed(3))
    context = Context(torch.zeros(2, 3, 50, 50), samples=30)
    assert explain("SHAP partition", student, images, TARGETS[:1], context).delta[0] <= AXIOM


class Noisy(nn.Module):
    """A student whose input loses pixels at random, in eval mode too."""

    def __init__(self, student, share):
        super().__init__()
        self.inner = student
        self.share = share
        self.taps = {name: f"inner.{path}" for name, path in student.taps.items()}

    def forward(self, x):
        return self.inner(dropout(x, self.share))


@pytest.mark.parametrize("method", METHODS)
def test_a_model_that_is_random_in_eval_mode_is_refused(student, method):
    message = (
        rf"{method_name(method)} is refused on Noisy: asked again, its logits differ by [\d.]+%"
    )
    with pytest.raises(UserError, match=message):
        explain(method, Noisy(student, 0.5), IMAGES, TARGETS, CONTEXT)


def test_a_model_that_draws_but_answers_the_same_is_explained(student):
    """Drawn numbers are a reason to ask again, not to refuse."""

    class Drawing(Noisy):
        def forward(self, x):
            torch.rand(1)
            return self.inner(x)

    drawing = explain("gradcam", Drawing(student, 0.0), IMAGES, TARGETS, CONTEXT)
    still = explain("gradcam", student, IMAGES, TARGETS, CONTEXT)
    assert np.array_equal(drawing.values, still.values)


class Counted(torch.autograd.Function):
    """Logits unchanged; each pass over them is noted, forward and backward."""

    @staticmethod
    def forward(ctx, logits, passes):
        ctx.passes = passes
        passes.append("forward")
        return logits.view_as(logits)

    @staticmethod
    def backward(ctx, gradient):
        ctx.passes.append("backward")
        return gradient, None


@contextmanager
def passes_of(model):
    passes = []
    with model.register_forward_hook(lambda _model, _images, logits: Counted.apply(logits, passes)):
        yield passes


@pytest.mark.parametrize("method", CAMS)
def test_a_class_activation_map_takes_one_pass_forward_and_one_back(student, method):
    with passes_of(student) as of_explain:
        explain(method, student, IMAGES[:1], TARGETS[:1], CONTEXT)
    with passes_of(student) as of_all_taps:
        maps = cams(student, IMAGES[:1], TARGETS[:1], method)
    assert len(maps) == len(student.taps)
    assert of_explain == of_all_taps == ["forward", "backward"]


def test_an_average_map_takes_one_pass_forward(student):
    with passes_of(student) as passes:
        explain("average map", student, IMAGES[:1], TARGETS[:1], CONTEXT)
    assert passes == ["forward"]


def test_many_images_take_as_many_passes_as_batches(student):
    images = IMAGES[:1].expand(17, -1, -1, -1)
    targets = torch.zeros(17, dtype=torch.int64)
    with passes_of(student) as passes:
        explain("gradcam", student, images, targets, CONTEXT)
    assert passes == ["forward", "backward"] * 2


@pytest.mark.parametrize("method", METHODS)
def test_what_computes_checks_nothing(student, method, monkeypatch):
    """A bare computation asks for no promise, and is what `explain` returns."""
    explained = explain(method, student, IMAGES, TARGETS, CONTEXT)

    def never(*_):
        raise AssertionError("a check ran")

    monkeypatch.setattr(attribution, "completeness", never)
    monkeypatch.setattr(methods, "checked_targets", never)
    monkeypatch.setattr(methods, "_check_determinism", never)
    raw = METHODS[method].compute(student, IMAGES, TARGETS, CONTEXT)
    assert np.array_equal(raw.values, explained.values)
    with pytest.raises(AssertionError, match="a check ran"):
        explain(method, student, IMAGES, TARGETS, CONTEXT)


@pytest.mark.parametrize("method", METHODS)
def test_a_class_is_checked_even_where_the_last_linear_layer_is_not_the_classifier(student, method):
    class Padded(nn.Module):
        """Another linear layer, wider than there are classes, is registered last."""

        def __init__(self):
            super().__init__()
            self.inner = student
            self.unused = nn.Linear(1, 9)
            self.taps = {name: f"inner.{path}" for name, path in student.taps.items()}

        def forward(self, x):
            return self.inner(x)

    with pytest.raises(
        UserError, match=r"targets must be 3 class numbers from 0 to 3, got \[0, 3, 5\]"
    ):
        explain(method, Padded(), IMAGES, torch.tensor([0, 3, 5]), CONTEXT)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "wrong", [[0, 3], [0, 3, 4], [0, 3, -1]], ids=["count", "large", "negative"]
)
def test_bad_targets_are_refused_by_every_method(student, method, wrong):
    with pytest.raises(UserError, match="targets must be 3 class numbers from 0 to 3, got"):
        explain(method, student, IMAGES, torch.tensor(wrong), CONTEXT)


def test_tap_is_chosen_by_number(student):
    maps = [
        explain("gradcam", student, IMAGES, TARGETS, Context(BACKGROUND, tap=tap)).maps
        for tap in (4, -1, 0)
    ]
    assert np.array_equal(maps[0], maps[1]) and not np.array_equal(maps[0], maps[2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"method": "lime"},
            "method must be one of average map, gradcam, .*, occlusion, got 'lime'",
        ),
        ({"targets": torch.tensor([0, 3, 4])}, r"class numbers from 0 to 3, got \[0, 3, 4\]"),
        ({"method": "SHAP deep", "context": Context(BACKGROUND[:1])}, "at least 2 images"),
        ({"method": "occlusion", "context": Context(BACKGROUND[:1])}, "at least 2 images"),
        (
            {"context": Context(BACKGROUND, tap=5)},
            "tap must be a number from -5 to 4 for conv1, .*, got 5",
        ),
        ({"images": IMAGES.half()}, "must be in float32 to be explained, got torch.float16"),
        (
            {"model": FiveConv(4, 0.25).bfloat16()},
            "must be in float32 to be explained, got torch.bfloat16",
        ),
        ({"images": IMAGES[:, :1]}, r"images must have shape \(N, 3, height, width\)"),
    ],
)
def test_bad_input_ends_in_one_clear_line(student, change, message):
    given = {
        "method": "gradcam",
        "model": student,
        "images": IMAGES,
        "targets": TARGETS,
        "context": CONTEXT,
    }
    with pytest.raises(UserError, match=message):
        explain(**(given | change))


@pytest.mark.parametrize("method", METHODS)
def test_maps_of_images_that_are_not_square_have_their_shape(student, method):
    wide = Context(BACKGROUND[:, :, :, :24], samples=10)
    found = explain(method, student, IMAGES[:1, :, :, :24], TARGETS[:1], wide)
    assert found.maps.shape == (1, 32, 24)
