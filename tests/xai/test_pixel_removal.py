from __future__ import annotations

import numpy as np
import pytest
import torch
from pytorch_grad_cam.metrics.road import NoisyLinearImputer
from torch import nn
from torch.nn.functional import conv2d

from kdnb.core.errors import UserError
from kdnb.training.students import FiveConv
from kdnb.xai.pixel_removal import FILLS, curve, deletion, impute, insertion, ranks, road

DRAW = torch.Generator().manual_seed(0)
IMAGES, TARGETS = torch.randn(3, 3, 32, 32, generator=DRAW), torch.tensor([0, 3, 1])
MAPS = np.random.default_rng(0).normal(size=(3, 32, 32))


@pytest.fixture(scope="module")
def student():
    torch.manual_seed(0)
    return FiveConv(4, 0.25).eval()


@torch.no_grad()
def flipped_one_by_one(model, start, end, targets, maps, steps):
    """As `curve`, in a plain loop: one image, one pixel and one forward pass at a time."""
    found = []
    for image, other, target, place in zip(start, end, targets, ranks(maps), strict=True):
        image, order, row, done = image.clone(), place.argsort(), [], 0
        for taken in torch.linspace(0, maps[0].size, steps + 1).round().long().tolist():
            for pixel in order[done:taken].tolist():
                y, x = divmod(pixel, image.shape[-1])
                image[:, y, x] = other[:, y, x]
            done = taken
            row.append(model(image[None]).softmax(dim=1)[0, target].item())
        found.append(row)
    return np.array(found)


class Sum(nn.Module):
    """Two logits: ± the sum of the first colour over the left half; what matters is known."""

    def forward(self, x):
        total = x[:, 0, :, : x.shape[-1] // 2].sum((1, 2)) / 10
        return torch.stack([total, -total], dim=1)


@pytest.mark.parametrize("fill", FILLS)
def test_curves_equal_a_plain_loop_over_pixels(student, fill):
    other = FILLS[fill](IMAGES)
    for start, end in ((IMAGES, other), (other, IMAGES)):
        ours = curve(student, start, end, TARGETS, MAPS, steps=8)
        theirs = flipped_one_by_one(student, start, end, TARGETS, MAPS, steps=8)
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_curve_ends_are_the_plain_answers(student):
    end = torch.zeros_like(IMAGES)
    found = curve(student, IMAGES, end, TARGETS, MAPS, steps=4)
    with torch.no_grad():
        for values, images in ((found[:, 0], IMAGES), (found[:, -1], end)):
            plain = student(images).softmax(1)[range(3), TARGETS]
            np.testing.assert_allclose(values, plain, atol=1e-6)


def test_the_true_map_beats_its_opposite_by_every_metric():
    images = torch.rand(4, 3, 16, 16, generator=DRAW) / 16
    images[:, 0, 4:8, 2:6] += 1.0  # what makes class 0
    targets, truth = torch.zeros(4, dtype=torch.int64), np.zeros((4, 16, 16))
    truth[:, 4:8, 2:6] = 1
    given = Sum(), images, targets
    for fill in FILLS:
        assert (insertion(*given, truth, fill=fill) > insertion(*given, -truth, fill=fill)).all()
        assert (deletion(*given, truth, fill=fill) < deletion(*given, -truth, fill=fill)).all()
    assert (road(*given, truth) > 0.1).all() and (road(*given, -truth) < -0.1).all()


def test_imputation_equals_pytorch_grad_cams_sparse_solver():
    missing = torch.rand(3, 32, 32, generator=DRAW) < torch.tensor([0.2, 0.6, 0.95])[:, None, None]
    ours = impute(IMAGES, missing, noise=0)
    for image, hole, filled in zip(IMAGES, missing, ours, strict=True):
        theirs = NoisyLinearImputer(noise=0)(image, (~hole).float())
        np.testing.assert_allclose(filled, theirs, atol=1e-4)


def neighbours(values):
    """The sum of every pixel's eight neighbours, weighted; (N, C, H, W) like the values."""
    channels = values.shape[1]
    kernel = torch.tensor([[1.0, 2, 1], [2, 0, 2], [1, 2, 1]], dtype=values.dtype) / 12
    return conv2d(values, kernel.expand(channels, 1, 3, 3), padding=1, groups=channels)


@pytest.mark.parametrize("shape", [(32, 32), (20, 36)])
def test_an_imputed_pixel_is_the_weighted_mean_of_its_neighbours(shape):
    images = torch.randn(3, 3, *shape, generator=DRAW)
    missing = torch.rand(3, *shape, generator=DRAW) < torch.tensor([0.1, 0.5, 0.9])[:, None, None]
    missing[:, 4:18, 12:] = True
    filled = impute(images, missing, noise=0).double()
    mean = neighbours(filled) / neighbours(torch.ones_like(filled))
    hole = missing[:, None].expand_as(filled)
    torch.testing.assert_close(filled[hole], mean[hole], atol=1e-5, rtol=0)
    torch.testing.assert_close(filled[~hole], images.double()[~hole], atol=0, rtol=0)


def test_an_image_without_a_hole_stays_as_it_is():
    missing = torch.zeros(3, 32, 32, dtype=torch.bool)
    missing[0, 5, 5] = True
    filled = impute(IMAGES, missing)
    assert torch.equal(filled[1:], IMAGES[1:]) and not torch.equal(filled[0], IMAGES[0])


def test_imputation_keeps_what_is_there_and_continues_a_slope():
    slope = torch.linspace(0, 1, 32).expand(1, 3, 32, 32)
    missing = torch.zeros(1, 32, 32, dtype=torch.bool)
    missing[:, 8:24, 8:24] = True
    np.testing.assert_allclose(impute(slope, missing, noise=0), slope, atol=1e-3)
    noisy = impute(IMAGES[:1], missing)
    assert torch.equal(noisy[:, :, ~missing[0]], IMAGES[:1][:, :, ~missing[0]])
    assert torch.equal(noisy, impute(IMAGES[:1], missing))
    assert not torch.equal(noisy, impute(IMAGES[:1], missing, seed=1))


def test_road_equals_pytorch_grad_cams_at_one_share_without_noise(student):
    share, block = 0.4, np.s_[0:1]
    ours = road(student, IMAGES[block], TARGETS[block], MAPS[block], shares=(share,))
    left = []
    for order in (1, -1):  # least relevant kept out first, then most relevant
        rank = (order * MAPS[0]).ravel().argsort().argsort().reshape(32, 32)
        kept = torch.as_tensor(rank >= share * rank.size).float()
        filled = NoisyLinearImputer(noise=0)(IMAGES[0], kept)
        with torch.no_grad():
            left.append(student(filled[None]).softmax(1)[0, TARGETS[0]].item())
    assert ours[0] == pytest.approx(left[0] - left[1], abs=2e-3)  # ours has the noise of the method


def test_equal_values_prefer_no_corner():
    """Half of a constant map's pixels take away half of the left half, not all of it or nothing."""
    white = torch.full((1, 3, 16, 16), 0.1)
    black = torch.zeros(1, 3, 16, 16)
    with torch.no_grad():
        found = curve(Sum(), white, black, torch.tensor([0]), np.zeros((1, 16, 16)), steps=2)
    logit = torch.logit(torch.tensor(found))
    shown = logit[0] * 10 / 2 / 0.1  # pixels of the left half that are still white
    assert shown[0] == pytest.approx(128, abs=2) and shown[1] == pytest.approx(64, abs=16)
    assert abs(shown[2]) < 1e-3


@pytest.mark.parametrize("metric", [deletion, insertion, road])
def test_maps_of_another_size_are_refused(student, metric):
    refused = r"maps must be \(N, height, width\) of the 3 images \(32, 32\).* \(3, 16, 16\)"
    with pytest.raises(UserError, match=refused):
        metric(student, IMAGES, TARGETS, MAPS[:, :16, :16])


@pytest.mark.parametrize("metric", [deletion, insertion, road])
def test_maps_without_numbers_are_refused_before_anything_is_removed(student, metric):
    maps = MAPS.copy()
    maps[2, 5, 5] = np.nan
    with pytest.raises(UserError, match="1 of 3 maps hold NaN or infinity"):
        metric(student, IMAGES, TARGETS, maps)


def test_images_that_are_not_square_can_be_blurred():
    assert FILLS["blur"](IMAGES[:, :, :8]).shape == (3, 3, 8, 32)
