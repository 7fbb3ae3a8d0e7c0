from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from kdnb.core.errors import UserError
from kdnb.core.profiles import LITE0
from kdnb.training.students import FiveConv
from kdnb.training.teachers import make_teacher
from kdnb.xai.attribution import Context
from kdnb.xai.baselines import BASELINES
from kdnb.xai.methods import explain
from kdnb.xai.metrics import METRICS, explanation_metrics
from kdnb.xai.sanity_checks import class_switch, randomisation, randomised, runner_up, stability

DRAW = torch.Generator().manual_seed(7)
IMAGES, TARGETS = torch.randn(4, 3, 32, 32, generator=DRAW), torch.tensor([0, 3, 1, 2])
MASKS = np.random.default_rng(0).random((4, 32, 32)) > 0.9


@pytest.fixture(scope="module")
def student():
    torch.manual_seed(0)
    return FiveConv(4, 0.25).eval()


def by(method):
    context = Context(IMAGES, samples=10, tap=2)
    return lambda model, images, targets: explain(method, model, images, targets, context).maps


def test_class_switch_tells_class_blind_from_class_aware(student):
    others = (TARGETS + 1) % 4
    blind, aware = (
        class_switch(by(m), student, IMAGES, others, by(m)(student, IMAGES, TARGETS))
        for m in ("average map", "evidence")
    )
    assert np.allclose(blind, 1) and (aware < 0.9).all()


def test_runner_up_is_never_the_target():
    logits = np.random.default_rng(0).normal(size=(50, 4))
    targets = np.random.default_rng(1).integers(4, size=50)
    found = runner_up(logits, targets)
    assert (found != targets).all()
    assert all(np.sort(logits[i])[-2:].min() <= logits[i, found[i]] for i in range(50))


def test_randomised_cascades_from_the_top_and_leaves_the_model_alone(student):
    before = {k: v.clone() for k, v in student.state_dict().items()}
    weights = [f"block{i}.conv.weight" for i in range(1, 6)] + ["classifier.weight"]
    changed = [
        [not torch.equal(copy.state_dict()[name], before[name]) for name in weights]
        for copy in randomised(student, 11)
    ]
    counts = [sum(row) for row in changed]
    assert counts == sorted(counts) and counts[0] == 1 and counts[-1] == len(weights)
    assert all(row == sorted(row) for row in changed), "the top layers are drawn first"
    assert all(torch.equal(v, before[k]) for k, v in student.state_dict().items())
    drawn = [next(iter(randomised(student, 1, seed=s))).classifier.weight for s in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


def test_edges_survive_random_weights_and_evidence_does_not(student):
    edges, maps = BASELINES["Sobel"], by("evidence")(student, IMAGES, TARGETS)
    kept = randomisation(edges, student, IMAGES, TARGETS, edges(student, IMAGES, TARGETS), stages=2)
    lost = randomisation(by("evidence"), student, IMAGES, TARGETS, maps, stages=2)
    assert kept.shape == (2, 4) and np.allclose(kept, 1) and np.abs(lost[-1]).mean() < 0.5


def test_a_method_refused_on_random_weights_is_unknown_there(student):
    def refusing(model, images, targets):
        raise UserError("an axiom fails")

    assert np.isnan(randomisation(refusing, student, IMAGES, TARGETS, np.ones((4, 32, 32)))).all()


def test_a_map_that_goes_empty_has_changed_altogether(student):
    maps = by("evidence")(student, IMAGES, TARGETS)
    maps[1] = 0  # nothing is there to compare with

    def empty_for_two(model, images, targets):
        new = by("evidence")(model, images, targets)
        new[[0, 1]] = 0
        new[3] = np.nan
        return new

    likeness = class_switch(empty_for_two, student, IMAGES, TARGETS, maps)
    np.testing.assert_allclose(likeness, [0, np.nan, 1, np.nan])


def test_stability_is_1_without_noise_and_falls_with_it(student):
    maps = by("evidence")(student, IMAGES, TARGETS)
    none, little, much = (
        stability(by("evidence"), student, IMAGES, TARGETS, maps, noise=n).mean()
        for n in (0.0, 0.05, 1.0)
    )
    assert none == pytest.approx(1) and none + 1e-6 >= little > much


def test_what_is_refused_for_other_classes_or_images_leaves_the_other_grades(student):
    """Only the first maps can be had."""
    asked = []

    def picky(model, images, targets):
        asked.append(model)
        if len(asked) > 1:
            raise UserError("refused")
        return by("evidence")(model, images, targets)

    found = explanation_metrics(picky, student, IMAGES, TARGETS, MASKS, steps=4)
    for metric in ("class switch", "randomisation", "stability"):
        assert np.isnan(found[metric]).all()
    assert np.isfinite(found["maps"]).all() and np.isfinite(found["ROAD"]).all()


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_know_neither_class_nor_weights(student, name):
    maps = BASELINES[name](student, IMAGES, TARGETS)
    assert maps.shape == (4, 32, 32) and (np.ptp(maps, axis=(1, 2)) > 0).all()
    found = explanation_metrics(BASELINES[name], student, IMAGES, TARGETS, MASKS, steps=4)
    assert np.allclose(found["class switch"], 1) and np.allclose(found["randomisation"], 1)


def test_edges_of_an_image_do_not_depend_on_its_neighbours(student):
    edges = BASELINES["Sobel"]
    alone = np.concatenate(
        [edges(student, IMAGES[i : i + 1], TARGETS[i : i + 1]) for i in range(len(IMAGES))]
    )
    np.testing.assert_array_equal(edges(student, IMAGES, TARGETS), alone)


def test_grade_knows_every_metric_and_says_what_it_does_not_know(student):
    whole = explanation_metrics(by("evidence"), student, IMAGES, TARGETS, MASKS, steps=4)
    assert list(whole) == ["maps", *METRICS] and not np.isnan([whole[m] for m in METRICS]).any()
    part = explanation_metrics(by("evidence"), student, IMAGES, TARGETS, None, steps=4, checked=2)
    assert np.isnan(part["energy in mask"]).all()
    assert np.isnan(part["class switch"]).tolist() == [False, False, True, True]
    np.testing.assert_allclose(part["class switch"][:2], whole["class switch"][:2], atol=1e-3)


def test_grade_leaves_modes_and_weights(student):
    model = FiveConv(4, 0.25).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    explanation_metrics(by("average map"), model, IMAGES, TARGETS, MASKS, steps=2)
    assert all(m.training for m in model.modules() if not isinstance(m, nn.Identity))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


class Scaled(nn.Module):
    """A block with a layer scale of its own, as in ConvNeXt."""

    def __init__(self):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(3))
        self.conv = nn.Conv2d(3, 3, 1)


def test_bare_parameters_are_drawn_anew_with_the_block_that_holds_them():
    model = nn.Sequential(nn.Conv2d(3, 3, 1), Scaled(), nn.Conv2d(3, 3, 1))
    names = ["0.weight", "1.gamma", "1.conv.weight", "2.weight"]
    own = model.state_dict()
    changed = [
        [not torch.equal(copy.state_dict()[name], own[name]) for name in names]
        for copy in randomised(model, 4)
    ]
    assert [sum(row) for row in changed] == [1, 2, 3, 4]
    assert all(row == sorted(row) for row in changed), "the top layers are drawn first"
    gamma = list(randomised(model, 4))[-1][1].gamma
    assert 0 < gamma.abs().max() < 0.2, "as narrow as timm draws such parameters"


@pytest.mark.parametrize("name", ["densenet121", LITE0])
def test_the_study_s_own_networks_have_no_bare_parameters(name):
    """So their random weights are those of earlier versions."""
    for model in (FiveConv(4, 0.25), make_teacher(4, name=name)):
        for module in model.modules():
            if not hasattr(module, "reset_parameters"):
                assert not list(module.parameters(recurse=False))
