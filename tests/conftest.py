"""Shared: one small trained study on phantoms, made once per session."""

from __future__ import annotations

import os

import pytest
from browser import CHROMIUM

os.environ.setdefault("MPLBACKEND", "agg")
os.environ["KDNB_LIVE"] = "0"

from kdnb.core.settings import Settings
from kdnb.study.study import Study

SMALL = {
    "profile": "smoke",
    "patients": 24,
    "slices": 2,
    "difficulty": 0.0,
    "teacher_epochs": 1,
    "student_epochs": 2,
    "batch_size": 16,
}


@pytest.fixture(scope="session")
def runs_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def settings(runs_dir):
    return Settings.checked({**SMALL, "runs_dir": str(runs_dir)})


@pytest.fixture(scope="session")
def study(settings):
    study = Study(settings)
    study.train()
    return study


@pytest.fixture(scope="session")
def chromium():
    """The browser of all tests of a worker: Playwright starts once in a process."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = p.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()
