"""A training that is killed at any moment goes on from its last checkpoint.

It ends bit-equal to an unbroken one.
"""

from __future__ import annotations

import multiprocessing
import time

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from kdnb.core.runs import Run
from kdnb.data.dataset import ImageSet
from kdnb.training.fit import CHECKPOINTS, Schedule, fit, label_loss

PLAN = Schedule(epochs=8, batch_size=8, learning_rate=1e-2, views=3, seed=0)


def small_set():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"image_id": [f"{i:02}" for i in range(60)], "target": np.arange(60) % 3})
    table["part"] = np.where(np.arange(60) < 48, "train", "val")
    pixels = rng.integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)
    return ImageSet("small", tuple("abc"), table, pixels, None, 32, "random", "", pd.DataFrame())


def train(folder):
    """Train a network with batch norm and dropout, whose random numbers must come back too."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    layers = (
        nn.Conv2d(3, 8, 3, 2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
    )
    model = nn.Sequential(*layers, nn.Linear(32, 3))
    fit(model, small_set(), label_loss, PLAN, Run("student", "x", folder), torch.device("cpu"))
    (folder / "finished").touch()


@pytest.fixture(scope="module")
def context():
    # a child that has torch loaded starts in milliseconds
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["kdnb.training.fit"])
    return context


def results(folder):
    history = pd.read_csv(folder / "history.csv").drop(columns=["seconds", "images_per_second"])
    return load_file(folder / "model.safetensors"), history


@pytest.mark.slow
def test_kills_at_random_moments_change_nothing(context, tmp_path):
    whole, rng, kills, resumed = tmp_path / "whole", np.random.default_rng(0), 0, 0
    whole.mkdir()
    child = context.Process(target=train, args=(whole,))
    child.start()
    child.join()
    start = time.perf_counter()
    (tmp_path / "timed").mkdir()
    child = context.Process(target=train, args=(tmp_path / "timed",))
    child.start()
    child.join()
    seconds = time.perf_counter() - start
    weights, history = results(whole)
    while kills < 10:
        folder = tmp_path / f"killed{kills}"
        folder.mkdir()
        child = context.Process(target=train, args=(folder,))
        child.start()
        if kills % 2:  # half of them once an epoch is finished, however long the start takes
            while child.is_alive() and not (folder / "checkpoint.pt").exists():
                time.sleep(0.001)
            child.join(timeout=rng.uniform(0, 0.1) * seconds)
        else:
            child.join(timeout=rng.uniform(0.05, 1) * seconds)
        if child.is_alive():
            child.kill()  # SIGKILL
            child.join()
        if (folder / "finished").exists():
            seconds *= 0.9  # it was faster than the moment of the kill: try an earlier one
            folder.rename(tmp_path / f"too_fast{rng.integers(1 << 40)}")
            continue
        kills += 1
        resumed += any((folder / name).exists() for name in CHECKPOINTS)
        child = context.Process(target=train, args=(folder,))
        child.start()
        child.join()
        again, told = results(folder)
        assert all(torch.equal(weights[name], again[name]) for name in weights)
        pd.testing.assert_frame_equal(history, told, check_exact=True)
    assert resumed >= 3  # kills that fell after the first epoch
