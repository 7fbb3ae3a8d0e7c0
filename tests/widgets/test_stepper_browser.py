"""The layer stepper in a real JupyterLab and Chromium: by keyboard only, its numbers equal to Python's."""

from dataclasses import replace

import numpy as np
import pytest
from browser import NEEDS_BROWSER, execute, tab_through

from kdnb.widgets.render import KINDS, SCALES, StepperState, number, palette, panel

pytestmark = NEEDS_BROWSER
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
  const root = document.querySelector(".kdnb-widget"), text = (n) => n.textContent;
  const panes = [...root.querySelectorAll(".stage .pane")].slice(1).filter((p) => !p.hidden).map((p) => {
    const c = p.querySelector("canvas.map");
    return { legend: [...p.querySelectorAll(".legend span")].map(text), p: [...p.querySelectorAll(".p")].map(text),
      size: [c.height, c.width], opacity: +c.style.opacity,
      rgba: [...c.getContext("2d").getImageData(0, 0, c.width, c.height).data] };
  });
  return { live: text(root.querySelector(".live")), panes };
}"""


@pytest.fixture(scope="module")
def opened(lab):
    cells = [SETUP, "w = LayerStepper(data, StepperState())\nw"]
    page, errors = lab.open("stepper", cells, ".kdnb-widget[aria-busy=false]")
    yield page, errors, lab.folder
    page.close()


@pytest.fixture
def page(opened):
    """The page with the focus on the maps and the widget in its first state."""
    page = opened[0]
    execute(page, "w.layer = 2\nfor name, value in asdict(StepperState()).items(): setattr(w, name, value)")
    page.wait_for_function("document.querySelector('.live').textContent.includes('layer 1 of 5 (conv1')")
    page.locator(".kdnb-widget .stage").focus()
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
    page.wait_for_selector(".kdnb-widget[aria-busy=false]")
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
    names = tab_through(page)
    assert len(names) == len(set(names)) == page.locator(".kdnb-widget :is(button, select, input, [tabindex])").count()


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
