"""The layer stepper in a real JupyterLab and Chromium: by keyboard only, its numbers equal to Python's."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import nbformat
import numpy as np
import pytest

from kdnb.widgets.render import KINDS, SCALES, StepperState, number, palette, panel

ROOT = Path(__file__).parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MISSING = [name for name in ("playwright", "jupyterlab") if find_spec(name) is None] + ["chromium"] * (CHROMIUM is None)
pytestmark = [pytest.mark.browser, pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")]
SETUP = """
import torch
torch.set_num_threads(1)
from kdnb import phantoms
from kdnb.data.batches import to_tensor
from kdnb.models import FiveConv, TappedDenseNet121
from dataclasses import asdict
from kdnb.widgets import LayerStepper, StepperState, stepper_data
plan = phantoms.PhantomPlan(patients=8, slices=1)
pixels, _ = phantoms.render_all(plan, 64)
classes, table = phantoms.classes("brain"), phantoms.table(plan)
torch.manual_seed(3)
student, teacher = FiveConv(4, 0.25), TappedDenseNet121(4)
data = stepper_data(student, teacher, to_tensor(pixels), pixels, [classes.index(c) for c in table.label],
                    classes, list(table.image_id))
"""
READ = """() => {
  const root = document.querySelector(".kdnb-stepper"), text = (n) => n.textContent;
  const panes = [...root.querySelectorAll(".stage .pane")].slice(1).filter((p) => !p.hidden).map((p) => {
    const c = p.querySelector("canvas.map");
    return { legend: [...p.querySelectorAll(".legend span")].map(text), p: [...p.querySelectorAll(".p")].map(text),
      size: [c.height, c.width], opacity: +c.style.opacity,
      rgba: [...c.getContext("2d").getImageData(0, 0, c.width, c.height).data] };
  });
  return { live: text(root.querySelector(".live")), panes };
}"""


@contextmanager
def jupyterlab(folder, theme="JupyterLab Light"):
    """A JupyterLab server on ``folder`` with settings of its own; yields its address."""
    for name, value in {
        "@jupyterlab/apputils-extension/themes": {"theme": theme},
        "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
        "@jupyter-widgets/jupyterlab-manager/plugin": {"saveState": True},
    }.items():
        path = folder / "settings" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folders = {f"{name}_DIR": str(folder / name) for name in ("JUPYTER_CONFIG", "JUPYTERLAB_WORKSPACES")}
    folders |= {"JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"), "IPYTHONDIR": str(folder / "ipython")}
    env = os.environ | folders | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root",
               f"--port={port}", "--IdentityProvider.token=", "--LabApp.expose_app_in_browser=True",
               f"--ServerApp.root_dir={folder}"]  # fmt: skip
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(command, env=env, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield _ready(f"http://127.0.0.1:{port}", server, folder)
    finally:
        server.terminate()
        server.wait(timeout=30)


def _ready(address, server, folder):
    for _ in range(240):
        try:
            urllib.request.urlopen(f"{address}/api/status", timeout=2).close()
            return address
        except OSError:
            assert server.poll() is None, (folder / "server.log").read_text()
            time.sleep(0.5)
    raise AssertionError("JupyterLab did not start within two minutes")


@contextmanager
def stepper_page(folder, **options):
    """A page on which the widget has drawn its first image; yields it with the list of its console errors."""
    from playwright.sync_api import sync_playwright

    cells = [nbformat.v4.new_code_cell(code) for code in (SETUP, "w = LayerStepper(data, StepperState())\nw")]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / "stepper.ipynb")
    with jupyterlab(folder, **options) as address, sync_playwright() as p:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = p.chromium.launch(executable_path=CHROMIUM, args=flags)
        page, errors = browser.new_page(viewport={"width": 1200, "height": 1100}), []
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: errors.append(str(e)))
        page.goto(f"{address}/doc/tree/stepper.ipynb")
        kernel = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel"
        page.wait_for_function(f"{kernel} != null", timeout=120_000)
        page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
        page.wait_for_selector(".kdnb-stepper[aria-busy=false]", timeout=180_000)
        yield page, errors
        browser.close()


def execute(page, code):
    """Run code in the notebook's kernel and give back what it prints."""
    return page.evaluate("""async (code) => {
      const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
      let text = "";
      const future = kernel.requestExecute({ code, store_history: false });
      future.onIOPub = (m) => { text += m.content.text ?? m.content.evalue ?? ""; };
      await future.done;
      return text;
    }""", code)  # fmt: skip


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    with stepper_page(folder) as (page, errors):
        yield page, errors, folder


@pytest.fixture
def page(opened):
    """The page with the focus on the maps and the widget in its first state."""
    page = opened[0]
    execute(page, "w.layer = 2\nfor name, value in asdict(StepperState()).items(): setattr(w, name, value)")
    page.wait_for_function("document.querySelector('.live').textContent.includes('layer 1 of 5 (conv1')")
    page.locator(".kdnb-stepper .stage").focus()
    return page


@pytest.fixture(scope="module")
def data():
    scope = {}
    exec(SETUP, scope)
    return scope["data"]


def agrees(page, data, state):
    seen, expected = page.evaluate(READ), panel(data, state)
    assert seen["live"] == expected.sentence
    assert len(seen["panes"]) == len(expected.panes)
    for shown, pane in zip(seen["panes"], expected.panes, strict=True):
        unit = KINDS[state.kind].unit
        assert shown["legend"] == [number(pane.low), unit, number(pane.high)]
        rgba = np.array(shown["rgba"]).reshape(*shown["size"], 4)
        assert np.array_equal(rgba[..., :3], palette(KINDS[state.kind].signed)[pane.indices])
        assert shown["opacity"] == pytest.approx(state.opacity)


def test_every_key_shows_what_python_computes(page, data):
    state = StepperState()
    agrees(page, data, state)
    for letter, kind in ("a", "average"), ("g", "gradcam"), ("e", "evidence"):
        for scale in SCALES:
            for layer in range(1, 6):
                page.keyboard.press("Home" if layer == 1 else "ArrowRight")
                page.keyboard.press(letter)
                state = replace(state, kind=kind, scale=scale, layer=layer)
                agrees(page, data, state)
            page.keyboard.press("s")
        page.keyboard.press("c")
        state = replace(state, target=state.target + 1)
    page.keyboard.press("ArrowDown")
    page.wait_for_selector(".kdnb-stepper[aria-busy=false]")
    agrees(page, data, state := replace(state, image=1, scale="map"))
    for key, change in ("-", {"opacity": 0.5}), ("m", {"shown": "student"}), ("m", {"shown": "teacher"}):
        page.keyboard.press(key)
        agrees(page, data, state := replace(state, **change))
    for _ in range(20):  # the view's last change may still be on its way to the kernel
        if (kernel := execute(page, "print(w.panel().sentence)").strip()) == panel(data, state).sentence:
            break
        page.wait_for_timeout(500)
    assert kernel == panel(data, state).sentence


def test_the_kernel_moves_the_view(page, data):
    execute(page, "w.layer = 4; w.image = 6; w.kind = 'gradcam'; w.target = 2")
    state = StepperState(image=6, layer=4, kind="gradcam", target=2)
    said = "text => document.querySelector('.live').textContent === text"
    page.wait_for_function(said, arg=panel(data, state).sentence)
    agrees(page, data, state)


def test_keys_do_not_reach_jupyterlab(page):
    read = "window.jupyterapp.shell.currentWidget.content.widgets.map((cell) => cell.model.type)"
    for key in (*"abxmyrddzcvACEG12", "Enter", "Space", "Space"):  # the second Space stops Play
        page.keyboard.press(key)
    assert page.evaluate(read) == ["code", "code"]
    assert page.evaluate("document.activeElement.className") == "stage"


def test_play_runs_to_the_last_layer_and_respects_reduced_motion(page):
    page.keyboard.press("p")
    page.wait_for_function("document.querySelector('.live').textContent.includes('layer 5 of 5')", timeout=15_000)
    page.wait_for_selector("button[aria-label='play through the layers']")
    page.emulate_media(reduced_motion="reduce")
    page.keyboard.press("Home")
    page.keyboard.press("p")
    page.wait_for_timeout(1500)
    assert "Play is off" in page.locator(".live").text_content() and execute(page, "print(w.layer)").strip() == "1"
    page.emulate_media(reduced_motion="no-preference")


def test_everything_is_reached_by_tab_named_and_large_enough(page):
    described = """() => {
      const e = document.activeElement, box = e.getBoundingClientRect(), outline = getComputedStyle(e).outlineStyle;
      return [e.getAttribute("aria-label"), Math.min(box.width, box.height), outline, !!e.closest(".kdnb-stepper")];
    }"""
    names, inside = [], True
    while inside:
        name, size, outline, inside = page.evaluate(described)
        if inside:
            assert name and size >= 24 and outline == "solid"
            names.append(name)
            page.keyboard.press("Tab")
    assert len(names) == len(set(names)) == page.locator(".kdnb-stepper :is(button, select, input, [tabindex])").count()


def test_a_step_takes_less_than_150_ms(page):
    page.evaluate("""() => {
      window.times = [];
      document.addEventListener("keydown", (e) => requestAnimationFrame(() => requestAnimationFrame(() =>
        window.times.push(performance.now() - e.timeStamp))), true);
    }""")
    for key in ["ArrowRight"] * 4 + ["Home", "e"] * 4 + ["ArrowRight"] * 4 + ["a", "Home"] * 4:
        page.keyboard.press(key)
        page.wait_for_timeout(60)
    times = page.evaluate("window.times")
    print(f"key to second frame: median {np.median(times):.0f} ms, 95 % {np.quantile(times, 0.95):.0f} ms")
    assert np.median(times) <= 150


def test_the_saved_notebook_is_small(opened, page):
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    page.wait_for_timeout(2000)
    text = (opened[2] / "stepper.ipynb").read_text()
    assert "widget-state+json" in text and "probabilities" in text and len(text) < 1_000_000
    print(f"saved notebook: {len(text) / 1000:.0f} kB")


def test_the_console_stays_silent(opened):
    assert opened[1] == []
