"""The ledger adds up and agrees with a decomposition written without hooks.

It refuses what it cannot account for.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import linear, max_pool2d, relu

from kdnb.core.errors import UserError
from kdnb.core.profiles import LITE0
from kdnb.feature_maps.cam import cams
from kdnb.feature_maps.ledger import decision_ledger, ledgers
from kdnb.training.students import FiveConv, make_student
from kdnb.training.teachers import make_teacher

IMAGES = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
TARGETS = torch.arange(6) % 4


def lived_in(model):
    """The model with batch statistics and biases that are not their initial ones."""
    torch.manual_seed(5)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias, 0, 0.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    model.train()
    with torch.no_grad():
        for _ in range(3):
            model(IMAGES)
    return model.eval()


MODELS = {
    "five_conv": lambda: make_student(4, seed=1),
    "as_coded": lambda: make_student(4, name="as_coded", image_size=32),
    "densenet121": lambda: make_teacher(4, seed=1),
    "resnet50": lambda: make_teacher(4, name="resnet50"),
    "lite0": lambda: make_teacher(4, name=LITE0),  # ReLU6, norms with an activation inside
}


@pytest.fixture(params=MODELS)
def model(request):
    return lived_in(MODELS[request.param]())


def test_evidence_and_bias_add_up_to_the_logit_at_every_tap(model):
    with torch.no_grad():
        logits = model(IMAGES).gather(1, TARGETS[:, None])[:, 0].double().numpy()
    ledger = decision_ledger(model, IMAGES, TARGETS)
    assert tuple(ledger.accounts) == tuple(model.taps)
    np.testing.assert_allclose(ledger.logits, logits, atol=1e-6)
    for account in ledger.accounts.values():
        whole = account.maps.sum((1, 2), dtype=np.float64) + account.bias
        np.testing.assert_allclose(whole, logits, atol=1e-4 * max(1, np.abs(logits).max()))
        np.testing.assert_allclose(
            account.supporting + account.opposing, account.evidence, atol=1e-4
        )
    largest = max(np.abs(account.bias).max() for account in ledger.accounts.values())
    assert largest > 1e-2  # else the biases were not tested


def test_bias_equals_a_forward_pass_with_frozen_gates():
    """Independent: with the gates of one image kept, the network on zeros gives the bias."""
    student = lived_in(FiveConv(4, 0.25)).double()
    x = IMAGES[:1].double()
    ledger = decision_ledger(student, x, [2])
    blocks = [getattr(student, f"block{i}") for i in range(1, 6)]
    gates, places, z = [], [], x
    for i, block in enumerate(blocks):
        z = block.norm(block.conv(z))
        gates.append((z > 0).double())
        z = relu(z)
        if i < 4:
            z, place = max_pool2d(z, 2, return_indices=True)
            places.append(place)
    for tap in range(5):
        z = torch.zeros_like(gates[tap])
        for i in range(tap, 5):
            if i > tap:
                z = blocks[i].norm(blocks[i].conv(z)) * gates[i]
            if i < 4:
                z = z.flatten(2).gather(2, places[i].flatten(2)).view(places[i].shape)
        bias = linear(z.mean((2, 3)), student.classifier.weight, student.classifier.bias)[
            0, 2
        ].item()
        assert ledger.accounts[f"conv{tap + 1}"].bias[0] == pytest.approx(bias, abs=1e-9)


def test_maps_are_the_signed_evidence_of_the_cam_family(model):
    ledger, maps = decision_ledger(model, IMAGES, TARGETS), cams(model, IMAGES, TARGETS, "evidence")
    for tap, account in ledger.accounts.items():
        scale = maps[tap].abs().max().item()
        np.testing.assert_allclose(account.maps, maps[tap].numpy(), atol=1e-5 * scale)


def test_all_classes_equal_one_by_one_and_the_batch_does_not_matter():
    student = lived_in(FiveConv(4, 0.25))
    together = ledgers(student, IMAGES, batch=4)
    for k, ledger in enumerate(together):
        alone = decision_ledger(student, IMAGES, [k] * 6)
        for tap, account in ledger.accounts.items():
            np.testing.assert_allclose(account.channels, alone.accounts[tap].channels, atol=1e-5)
            np.testing.assert_allclose(account.bias, alone.accounts[tap].bias, atol=1e-5)


def test_what_relu6_cuts_off_is_a_bias_of_the_image():
    """Independent: by hand, from what the convolution gives."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    model = nn.Sequential(*layers, nn.Linear(8, 4)).double().eval()
    model.taps = {"conv": "0"}
    images = 6 * IMAGES.double()
    before = model[0](images)  # (N, 8, h, w)
    cut = before >= 6
    assert 0.01 < cut.double().mean() < 0.5
    weight = model[4].weight[TARGETS]  # (N, 8)
    constant = (weight * 6 * cut.double().mean((2, 3))).sum(1)
    inside = torch.where((before > 0) & ~cut, before, 0).mean((2, 3))
    account = decision_ledger(model, images, TARGETS).accounts["conv"]
    bias = (constant + model[4].bias[TARGETS]).detach().numpy()
    np.testing.assert_allclose(account.bias, bias, atol=1e-12)
    np.testing.assert_allclose(account.evidence, (weight * inside).sum(1).detach(), atol=1e-6)


def test_table_has_a_row_per_image_and_tap():
    table = decision_ledger(lived_in(FiveConv(4, 0.25)), IMAGES, TARGETS).table()
    assert len(table) == 6 * 5
    assert table["residual"].abs().max() < 1e-4
    assert table["bias_share"].between(0, 1).all()
    np.testing.assert_allclose(table["evidence"] + table["bias"], table["logit"], atol=1e-4)


def test_the_model_is_left_as_it_was():
    student = FiveConv(4, 0.25).train().requires_grad_(False)
    images = IMAGES.clone()
    decision_ledger(student, images, TARGETS)
    assert student.training and not images.requires_grad
    assert not any(module._forward_hooks for module in student.modules())


class Leaky(nn.Module):
    """A skip path around the tap, or a sigmoid that is no module: both break the account."""

    taps = {"conv": "conv"}

    def __init__(self, skip):
        super().__init__()
        self.conv, self.head, self.skip = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 2), skip

    def forward(self, x):
        z = self.conv(x)
        z = z + x.mean(1, keepdim=True) if self.skip else torch.sigmoid(z)
        return self.head(z.mean((2, 3)))


@pytest.mark.parametrize("skip", [True, False])
def test_a_tap_that_does_not_carry_the_whole_signal_is_refused_with_the_number(skip):
    torch.manual_seed(0)
    with pytest.raises(
        UserError, match=r"does not add up at tap 'conv': it misses the logit by [\d.]+"
    ):
        decision_ledger(Leaky(skip), IMAGES + 1, TARGETS % 2)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: make_teacher(4, name="efficientnet_b0"),
            "has a layer SiLU: the ledger is exact only for",
        ),
        (
            lambda: make_teacher(4, name="timm:mobilenetv3_small_050"),
            "has a layer Hardswish: the ledger is exact only for",
        ),
        (lambda: FiveConv(4, 0.25).half(), "needs a model in float32, got torch.float16"),
        (
            lambda: nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False)),
            "without running statistics",
        ),
    ],
)
def test_what_it_is_not_exact_for_is_refused(build, message):
    model = build()
    model.taps = getattr(model, "taps", {"all": "0"})
    with pytest.raises(UserError, match=message):
        decision_ledger(model, IMAGES, TARGETS)


def test_bad_targets_and_images():
    with pytest.raises(UserError, match="targets must be 6 class numbers from 0 to 3"):
        decision_ledger(FiveConv(4, 0.25), IMAGES, [0, 1, 2, 3, 4, 0])
    with pytest.raises(UserError, match="targets must be 6 class numbers, one per image, got 1"):
        decision_ledger(FiveConv(4, 0.25), IMAGES, [0], batch=2)
    with pytest.raises(UserError, match="images must have shape"):
        decision_ledger(FiveConv(4, 0.25), IMAGES[:0], [])
