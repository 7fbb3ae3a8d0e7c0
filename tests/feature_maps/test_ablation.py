from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from kdnb.core.errors import UserError
from kdnb.core.profiles import LITE0
from kdnb.feature_maps.ablation import Tail, channel_means, probabilities_without, top_k_curve
from kdnb.training.students import FiveConv, make_student
from kdnb.training.teachers import make_teacher


@pytest.fixture
def student():
    torch.manual_seed(0)
    return FiveConv(4, 0.25)


@pytest.fixture
def images():
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


TARGETS, GROUPS = torch.tensor([0, 1, 3]), np.arange(3)


def probability(model, images, targets, path=None, channels=(), mean=None):
    """Reference: a full forward pass; a hook overwrites channels of one module's output."""

    def overwrite(_module, _inputs, output):
        output = output.clone()
        for channel in channels:
            output[:, channel] = mean[channel]
        return output

    handle = model.get_submodule(path).register_forward_hook(overwrite)
    with torch.no_grad():
        result = model.eval()(images).softmax(1).gather(1, targets[:, None])[:, 0]
    handle.remove()
    return result


def channel_effects(model, images, tap, mean):
    """(N, C) change of the target's probability when one channel alone is replaced by its mean."""
    masks = torch.cat([torch.zeros(1, len(mean)), torch.eye(len(mean))]).bool()
    found = [
        probabilities_without(model, image, tap, masks, mean=mean) for image in images.split(1)
    ]
    return torch.stack([p[1:, t] - p[0, t] for p, t in zip(found, TARGETS, strict=True)])


def assert_effects_equal_full_forwards(model, images, tap, channels):
    # far from what is there, so that effects are large
    mean = channel_means(model, images)[tap] + 0.5
    effects = channel_effects(model, images, tap, mean)
    path, before = model.taps[tap], probability(model, images, TARGETS, model.taps[tap])
    for channel in channels:
        after = probability(model, images, TARGETS, path, [channel], mean)
        torch.testing.assert_close(effects[:, channel], after - before, atol=1e-6, rtol=0)
    assert effects[:, channels].abs().amax() > 1e-4


@pytest.mark.parametrize("tap", FiveConv.taps)
def test_effects_equal_full_forwards_student(student, images, tap):
    assert_effects_equal_full_forwards(student, images, tap, [0, 3, 7])


@pytest.mark.slow
@pytest.mark.parametrize("tap", ["transition2", "final"])
def test_effects_equal_full_forwards_teacher(images, tap):
    assert_effects_equal_full_forwards(make_teacher(4), images, tap, [0, 300])


@pytest.mark.slow
@pytest.mark.parametrize("tap", ["conv4", "conv8"])
def test_effects_equal_full_forwards_as_coded(images, tap):
    """Its residual pair is added by a function: no chain before it, one after it."""
    model = make_student(4, name="as_coded", image_size=32)
    assert (Tail(model, images, tap).chain is None) == (tap == "conv4")
    for layer in model.modules():  # at its own initialisation the images hardly differ
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    assert_effects_equal_full_forwards(model, images, tap, [0, 5])


def test_masks_are_answered_in_order(student, images):
    mean = channel_means(student, images)["conv5"]
    masks = torch.eye(128, dtype=torch.bool)
    found = probabilities_without(student, images[:1], "conv5", masks, mean=mean)
    assert found.shape == (128, 4)
    chosen = probabilities_without(student, images[:1], "conv5", masks[[9, 2]], mean=mean)
    torch.testing.assert_close(found[[9, 2]], chosen)


def test_a_constant_channel_has_no_effect(student, images):
    nn.init.zeros_(student.block4.norm.weight)
    nn.init.constant_(student.block4.norm.bias, 0.3)
    mean = channel_means(student, images)["conv4"]
    torch.testing.assert_close(mean, torch.full((64,), 0.3))
    assert channel_effects(student, images, "conv4", mean).abs().amax() < 1e-6


def test_means_do_not_depend_on_the_batches(student, images):
    whole, parts = channel_means(student, images), channel_means(student, images, batch=2)
    for tap in student.taps:
        torch.testing.assert_close(whole[tap], parts[tap])


@pytest.mark.parametrize("name", ["densenet121", "resnet50", LITE0])
def test_tails_are_chains(name, images):
    model = make_teacher(4, name=name).train()
    with torch.no_grad():
        logits = model.eval()(images)
    model.train()
    for tap in model.taps:
        tail = Tail(model, images, tap)
        assert tail.chain is not None
        torch.testing.assert_close(
            tail(tail.activations(images), images), logits, atol=1e-5, rtol=1e-4
        )
    assert all(m.training for m in model.modules())
    assert not any(m._forward_hooks for m in model.modules())


class Odd(nn.Module):
    """What breaks a chain: work in place, a function between modules, a module used twice."""

    def __init__(self, inplace=False, function=False):
        super().__init__()
        self.conv, self.more, self.head = (
            nn.Conv2d(3, 6, 3),
            nn.Conv2d(6, 6, 3, padding=1),
            nn.Linear(6, 4),
        )
        self.relu, self.twice = nn.ReLU(inplace=inplace), nn.Identity()
        self.pool, self.flatten = nn.AdaptiveMaxPool2d(1), nn.Flatten()
        self.function = function
        self.taps = {"conv": "conv"}

    def forward(self, x):
        x = self.relu(self.conv(x))
        x = self.twice(self.twice(self.more(x)))
        return self.head(self.flatten(self.pool(x.sigmoid() if self.function else x)))


@pytest.mark.parametrize("odd", [{}, {"inplace": True}, {"function": True}])
def test_models_without_a_chain(images, odd):
    torch.manual_seed(0)
    model = Odd(**odd)
    tail = Tail(model, images, "conv")
    assert (tail.chain is None) == bool(odd)
    activations = torch.randn(3, 6, 30, 30)
    kept = activations.clone()
    more = model.more(kept.relu())
    expected = model.head((more.sigmoid() if model.function else more).amax(dim=(2, 3)))
    torch.testing.assert_close(tail(activations, images), expected.detach())
    assert torch.equal(activations, kept)


def test_bad_input(student, images):
    mean, masks, zeros = torch.zeros(8), torch.zeros(1, 8, dtype=torch.bool), torch.zeros(3, 8)

    def curve(pictures, targets, contributions=zeros, k=1):
        top_k_curve(
            student, pictures, targets, "conv1", contributions, [k], mean=mean, groups=GROUPS
        )

    with pytest.raises(UserError, match="tap 'conv9' does not exist; there are conv1, conv2"):
        probabilities_without(student, images[:1], "conv9", masks, mean=mean)
    with pytest.raises(UserError, match="tap 'conv2' has 16 channels"):
        probabilities_without(student, images[:1], "conv2", masks, mean=mean)
    with pytest.raises(UserError, match="3 class numbers from 0 to 3"):
        curve(images, torch.tensor([0, 1, 4]))
    with pytest.raises(UserError, match="3 class numbers"):
        curve(images, TARGETS[:2])
    with pytest.raises(UserError, match=r"must have shape \(N, 3, height, width\)"):
        curve(images[:, :1], TARGETS)
    with pytest.raises(UserError, match="not finite"):
        curve(images * torch.nan, TARGETS)
    with pytest.raises(UserError, match=r"contributions must have shape \(3, 8\)"):
        curve(images, TARGETS, torch.zeros(3, 9))
    with pytest.raises(UserError, match=r"each k lie from 0 to 8, got .* \[9\]"):
        curve(images, TARGETS, k=9)
    model = Odd()
    model.taps = {"twice": "twice"}
    with pytest.raises(UserError, match="runs 2 times"):
        Tail(model, images, "twice")


def test_curve_equals_full_forwards_and_ends_in_one_point(student, images):
    mean = channel_means(student, images)["conv5"] + 0.5
    effects = channel_effects(student, images, "conv5", mean)
    curve = top_k_curve(
        student, images, TARGETS, "conv5", -effects, [0, 2, 128], mean=mean, groups=GROUPS, seed=1
    )
    assert curve.k.tolist() == [0, 2, 128]
    assert curve.iloc[0, 1:].abs().max() < 1e-7
    drops = []
    for i in range(3):
        one, target = images[i : i + 1], TARGETS[i : i + 1]
        top = effects[i].argsort()[:2].tolist()
        before, after = (
            probability(student, one, target, "block5.relu", c, mean) for c in ([], top)
        )
        drops.append(float(before - after))
    assert curve.ranked[1] == pytest.approx(sum(drops) / 3, abs=1e-6)
    assert curve.ranked[1] > curve.random[1]
    assert curve.ranked[2] == pytest.approx(curve.random[2], abs=1e-6)
    assert curve.filter(regex="_low|_high").isna().all(axis=None), (
        "three patients are too few for an interval"
    )
    six = torch.cat([images, images.flip(3)])
    wide = top_k_curve(
        student,
        six,
        TARGETS.repeat(2),
        "conv5",
        -effects.repeat(2, 1),
        [2],
        mean=mean,
        groups=np.arange(6),
        seed=1,
    ).iloc[0]
    assert wide.ranked_low < wide.ranked < wide.ranked_high
    assert wide.random_low < wide.random < wide.random_high


def test_random_channels_are_seeded_and_as_random_as_ranked(student, images):
    mean = channel_means(student, images)["conv3"] + 0.5
    noise = torch.rand(3, 32, generator=torch.Generator().manual_seed(5))
    curves = [
        top_k_curve(student, images, TARGETS, "conv3", noise, [4], mean=mean, groups=GROUPS, seed=s)
        for s in (0, 0, 1)
    ]
    assert curves[0].equals(curves[1]) and curves[0].random[0] != curves[2].random[0]
    assert curves[0].ranked[0] == curves[2].ranked[0]
