import hashlib
import importlib
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import affine_grid, grid_sample
from torchvision.transforms.functional import normalize

from kdnb.data.transforms import MEAN, STD, augment, batches, to_tensor

module = importlib.import_module("kdnb.data.transforms")  # the package has a function of this name

DIGEST = """
import hashlib, numpy as np, torch
from kdnb.data.transforms import augment
images = torch.from_numpy(np.random.default_rng(0).random((32, 3, 40, 40), np.float32))
seen = augment(images, np.arange(32, dtype=np.uint64)).contiguous().numpy()
print(hashlib.sha256(seen.tobytes()).hexdigest())
"""


@pytest.fixture(scope="module")
def image_set():
    pixels = np.random.default_rng(0).integers(0, 256, (50, 24, 24, 3), dtype=np.uint8)
    table = pd.DataFrame(
        {"image_id": [f"image {i}" for i in range(50)], "target": np.arange(50) % 4}
    )
    return SimpleNamespace(pixels=pixels, table=table)


@pytest.fixture
def images():
    return torch.from_numpy(np.random.default_rng(0).random((32, 3, 40, 40), np.float32))


def test_to_tensor_normalises_like_torchvision(image_set):
    expected = normalize(torch.from_numpy(image_set.pixels).permute(0, 3, 1, 2) / 255, MEAN, STD)
    found = to_tensor(image_set.pixels)
    torch.testing.assert_close(found, expected, check_stride=False)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_every_row_comes_once_and_epochs_differ(image_set):
    rows, orders = np.arange(3, 50), []
    for epoch in (None, 0, 1):
        shown = list(batches(image_set, rows, 16, seed=5, epoch=epoch))
        orders.append(torch.cat([b.rows for b in shown]).tolist())
        assert [len(b.targets) for b in shown] == [16, 16, 15] and all(b.view == -1 for b in shown)
        for b in shown:
            torch.testing.assert_close(b.images, to_tensor(image_set.pixels[b.rows]))
            assert (b.targets == b.rows % 4).all()
            assert b.targets.dtype == b.rows.dtype == torch.int64
    assert orders[0] == rows.tolist() and sorted(orders[1]) == sorted(orders[2]) == orders[0]
    assert orders[1] != orders[2] and orders[1] != orders[0]


@pytest.mark.parametrize("size", [1, 7, 50])
def test_a_view_is_bit_equal_in_any_order_and_batch_size(image_set, size):
    rows = np.arange(50)
    whole = next(batches(image_set, rows, 50, seed=1, view=2)).images
    for epoch in (None, 4):
        for b in batches(image_set, rows, size, seed=1, epoch=epoch, view=2):
            assert torch.equal(b.images, whole[b.rows])
            assert b.images.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("size", [7, 50])
def test_a_mixed_view_is_the_mixture_of_two_views_in_any_order(image_set, size):
    rows = np.arange(10, 50)
    plain = next(batches(image_set, np.arange(50), 50, seed=1, view=2)).images
    whole = next(batches(image_set, rows, 50, seed=1, view=2, mixup=True))
    assert ((whole.share >= 0.5) & (whole.share < 1)).all()
    partners = find_partners(image_set, rows)
    assert set(partners) <= set(rows) and len(set(partners)) > 20
    assert (whole.partner_targets == torch.from_numpy(partners % 4)).all()
    share = whole.share[:, None, None, None]
    expected = share * plain[rows] + (1 - share) * plain[partners]
    torch.testing.assert_close(whole.images, expected, atol=1e-5, rtol=0, check_stride=False)
    for b in batches(image_set, rows, size, seed=1, epoch=3, view=2, order=9, mixup=True):
        assert torch.equal(b.images, whole.images[b.rows - 10])
        assert torch.equal(b.share, whole.share[b.rows - 10])


def find_partners(image_set, rows):
    return module._partners(image_set, rows, 1, 2, np.sort(rows))[0]


def test_plain_images_are_never_mixed(image_set):
    [batch] = batches(image_set, np.arange(5), 5, mixup=True)
    assert batch.share is None
    torch.testing.assert_close(batch.images, to_tensor(image_set.pixels[:5]))


@pytest.mark.slow
def test_a_view_is_bit_equal_in_another_process_and_memory_format(images):
    keys = np.arange(32, dtype=np.uint64)
    view = augment(images, keys)
    assert torch.equal(augment(images.contiguous(memory_format=torch.channels_last), keys), view)
    there = subprocess.run(
        [sys.executable, "-c", DIGEST], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert hashlib.sha256(view.contiguous().numpy().tobytes()).hexdigest() == there


def test_views_seeds_and_images_differ(image_set):
    rows = np.zeros(2, np.int64)
    first, other_view, other_seed = (
        next(batches(image_set, rows, 2, seed=seed, view=view)).images
        for seed, view in ((0, 0), (0, 1), (1, 0))
    )
    assert torch.equal(*first)
    assert not torch.equal(first, other_view)
    assert not torch.equal(first, other_seed)
    same = (
        torch.from_numpy(image_set.pixels[:1])
        .permute(0, 3, 1, 2)
        .div(255)
        .expand(2, -1, -1, -1)
        .contiguous()
    )
    assert not torch.equal(*augment(same, module.image_keys(["a", "b"])))


@pytest.mark.parametrize("mirror", [1, -1])
def test_augment_agrees_with_torch_affine_grid(images, monkeypatch, mirror):
    turn, right, down, zoom, bright, contrast = 0.5, -0.3, 0.8, 0.6, 0.4, -0.7
    monkeypatch.setattr(
        module,
        "_uniform",
        lambda keys, count: np.tile(
            np.array([turn, right, down, zoom, mirror, bright, contrast])[:, None], len(keys)
        ),
    )
    angle = np.deg2rad(10 * turn)
    theta = np.array(
        [[np.cos(angle) * mirror, -np.sin(angle) * mirror, 0], [np.sin(angle), np.cos(angle), 0]]
    )
    theta = theta / (1 + 0.1 * zoom) + [[0, 0, 0.1 * right], [0, 0, 0.1 * down]]
    theta = torch.from_numpy(np.tile(theta, (32, 1, 1)).astype(np.float32))
    grid = affine_grid(theta, list(images.shape), align_corners=False)
    expected = grid_sample(images, grid, padding_mode="border", align_corners=False)
    expected = ((expected * (1 + 0.1 * bright) - 0.5) * (1 + 0.1 * contrast) + 0.5).clamp(0, 1)
    torch.testing.assert_close(
        augment(images, np.arange(32, dtype=np.uint64)), expected, atol=2e-5, rtol=0
    )


def test_parameters_are_splitmix64():
    # of seed 1234567
    z = np.array([6457827717110365317, 3203168211198807973, 9817491932198370423], np.uint64)
    expected = (z >> np.uint64(11)) * 2.0**-52 - 1
    np.testing.assert_array_equal(
        module._uniform(np.array([1234567], np.uint64), 3)[:, 0], expected
    )
    drawn = module._uniform(module.image_keys([f"{i}" for i in range(4000)], 0, 1), 7)
    assert abs(drawn.mean(axis=1)).max() < 0.05 and drawn.min() >= -1 and drawn.max() < 1
    assert abs(np.corrcoef(drawn) - np.eye(7)).max() < 0.06
