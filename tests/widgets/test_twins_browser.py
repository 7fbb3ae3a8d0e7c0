"""The twin browser in a real JupyterLab and Chromium: by keyboard only, its numbers and pixels equal to Python's."""

import numpy as np
import pytest
from browser import NEEDS_BROWSER, execute, reachable_and_contained, saved_size

from kdnb.widgets import render
from kdnb.widgets.twins import difference, sentence

pytestmark = NEEDS_BROWSER
SETUP = """
from kdnb import leakage, phantoms
from kdnb.data import load
from kdnb.data.sources import phantom_source
from kdnb.settings import Settings
from kdnb.widgets import TwinBrowser, twin_pairs
plan = phantoms.PhantomPlan(patients=24, slices=2, duplicates=0.4, patient_leaks=0.25)
given = {"image_size": 64, "runs_dir": RUNS}
sets = {m: load(Settings.checked({**given, "split": m}), phantom_source(plan)) for m in ("published", "grouped")}
pixels = sets["grouped"].pixels
pairs = twin_pairs(sets, leakage.thumbnails(pixels), count=12)
"""
READ = """() => {
  const root = document.querySelector(".kdnb-twins");
  const images = [...root.querySelectorAll(".picture canvas")].map((c) =>
    [...c.getContext("2d").getImageData(0, 0, c.width, c.height).data]);
  return { live: root.querySelector(".live").textContent, images };
}"""


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    scope = {"RUNS": str(tmp_path_factory.mktemp("runs"))}
    exec(SETUP, scope)
    return scope


@pytest.fixture(scope="module")
def opened(lab, here):
    cells = [f"RUNS = {here['RUNS']!r}" + SETUP, "w = TwinBrowser(pairs, pixels)\nw"]
    opened = lab.open("twins", cells, ".kdnb-twins[aria-busy=false]")
    yield opened
    opened.page.close()


@pytest.fixture
def page(opened, here):
    page = opened.page
    execute(page, "w.split = 'published'; w.place = 1; w.place = 0")
    page.wait_for_function("t => document.querySelector('.kdnb-twins .live').textContent === t",
                           arg=sentence(here["pairs"], "published", 0))  # fmt: skip
    page.locator(".kdnb-twins .stage").focus()
    return page


def agrees(page, here, split, place):
    said = sentence(here["pairs"], split, place)
    page.wait_for_function("t => document.querySelector('.kdnb-twins .live').textContent === t", arg=said, timeout=5000)
    pair = here["pairs"][here["pairs"]["split"] == split].iloc[place]
    a, b = here["pixels"][pair["test"]], here["pixels"][pair["train"]]
    for rgba, expected in zip(
        page.evaluate(READ)["images"], (a, b, render.palette(False)[difference(a, b)]), strict=True
    ):
        assert np.array_equal(np.array(rgba).reshape(64, 64, 4)[..., :3], expected)


def test_every_key_shows_what_python_computes(page, here):
    last = (here["pairs"]["split"] == "grouped").sum() - 1
    agrees(page, here, "published", 0)
    for key, split, place in [
        ("ArrowLeft", "published", 0), ("ArrowRight", "published", 1), ("ArrowRight", "published", 2),
        ("ArrowDown", "grouped", 2), ("End", "grouped", last), ("ArrowRight", "grouped", last),
        ("Home", "grouped", 0), ("ArrowUp", "published", 0),
    ]:  # fmt: skip
        page.keyboard.press(key)
        agrees(page, here, split, place)
    wrong = here["pairs"][here["pairs"]["split"] == "published"].reset_index()["right"]
    page.keyboard.press("w")
    agrees(page, here, "published", int(wrong[1:].idxmin()))


def test_state_reaches_the_kernel(page):
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    for _ in range(20):
        if execute(page, "print(w.split, w.place)").strip() == "grouped 1":
            return
        page.wait_for_timeout(250)
    raise AssertionError("the kernel did not hear of the keys")


def test_tab_reaches_everything_and_keys_stay_inside(page):
    reachable_and_contained(page, ".kdnb-twins")


def test_the_console_stays_silent_and_the_notebook_small(opened, page):
    assert saved_size(page, opened.path) < 500_000
    assert opened.errors == []
