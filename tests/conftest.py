"""Shared: one small trained study on phantoms, made once per session; and the order of tests."""

from __future__ import annotations

import os
import sys

import hypothesis
import pytest

# the process that hands out tests reads this file too: fixtures import what loads for seconds

sys.modules.setdefault("rfc3987_syntax", None)  # as in tools: five seconds that nobody needs

os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")  # tests compare what one processor computes
os.environ["KDNB_LIVE"] = "0"

LONGEST = (  # files that take longest, by their names; the first is handed out first
    "test_whole_study.py",
    "test_widgets_browser.py",
    "test_notebooks_alone.py",
    "test_run_many.py",
    "test_real_archives.py",
    "test_contributing.py",
    "test_nbgrader.py",
    "test_book.py",
    "test_exercises.py",
    "test_published.py",
    "test_explanation_cost.py",
)
SMALL = {
    "profile": "smoke",
    "precision": "float32",
    "patients": 24,
    "slices": 2,
    "difficulty": 0.0,
    "teacher_epochs": 1,
    "student_epochs": 2,
    "batch_size": 16,
    "shap_samples": 10,
}


# a busy machine may take longer for one example than hypothesis's fifth of a second
hypothesis.settings.register_profile("kdnb", deadline=None)
hypothesis.settings.load_profile("kdnb")


def pytest_collection_modifyitems(items):
    """Long files come first, so that workers that share the tests end at about the same time."""
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(LONGEST)))


@pytest.fixture(scope="session")
def runs_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def settings(runs_dir):
    from kdnb.core.settings import Settings

    return Settings.checked({**SMALL, "runs_dir": str(runs_dir)})


@pytest.fixture(scope="session")
def study(settings):
    from kdnb.study.study import Study

    study = Study(settings)
    study.train()
    return study


@pytest.fixture(scope="session")
def chromium():
    """The browser of all tests of a worker: Playwright starts once in a process."""
    from browser import CHROMIUM
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = p.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()
