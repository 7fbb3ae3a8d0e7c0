"""The explanation explorer in a real JupyterLab and Chromium: by keyboard, its numbers and pixels equal Python's."""

from dataclasses import replace

import numpy as np
import pytest
from browser import NEEDS_BROWSER, accessible, execute, kernel_says, reachable_and_contained, saved_size

from kdnb.explanations import METHODS
from kdnb.widgets import Choice, explorer_panel
from kdnb.widgets.explained import ABOUT, first_states
from kdnb.widgets.render import number, palette

pytestmark = NEEDS_BROWSER
SETUP = """
import torch
torch.set_num_threads(1)
from kdnb import phantoms
from kdnb.data.batches import to_tensor
from kdnb.explanations import Context
from kdnb.models import FiveConv, TappedDenseNet121
from kdnb.widgets import ExplanationExplorer, explorer_data
plan = phantoms.PhantomPlan(patients=8, slices=1)
pixels, masks = phantoms.render_all(plan, 64)
classes, table, images = phantoms.classes("brain"), phantoms.table(plan), to_tensor(pixels)
torch.manual_seed(3)
models = {name: FiveConv(4, 0.25).eval() for name in ("KD student", "label-only student")}
models["teacher"] = TappedDenseNet121(4).eval()
data = explorer_data(models, images, pixels, [classes.index(c) for c in table.label], classes, list(table.image_id),
                     Context(images, samples=10, tap=2), masks=masks)
"""
WIDGET, CELL = ".kdnb-explorer", "w = ExplanationExplorer(data)\nw"
READ = """() => {
  const root = document.querySelector(".kdnb-explorer"), text = (n) => n.textContent;
  const sides = [...root.querySelectorAll(".pane")].slice(1).map((p) => {
    const c = p.querySelector("canvas.map");
    return { legend: [...p.querySelectorAll(".legend span")].map(text), refusal: text(p.querySelector(".refusal")),
      facts: [...p.querySelectorAll("dl > *")].map(text), opacity: +c.style.opacity,
      hidden: c.hidden, refused: p.querySelector(".refusal").checkVisibility(),
      rgba: c.hidden ? [] : [...c.getContext("2d").getImageData(0, 0, c.width, c.height).data] };
  });
  const alike = [...root.querySelectorAll(".pane:first-child dd")].map(text);
  return { live: text(root.querySelector(".live")), sides, alike };
}"""


@pytest.fixture
def page(opened, data):
    page, first = opened.page, first_states(data)[0]
    execute(page, f"w.image = {first.image}; w.opacity = 0.6; w.a = {tuple(first.a)}; w.b = {tuple(first.b)}")
    page.locator(".kdnb-explorer .stage").focus()
    page.keyboard.press("a")
    page.keyboard.press("+")  # a change, so that the live line no longer speaks of the side
    page.keyboard.press("-")
    agrees(page, data, first)
    return page


def agrees(page, data, state):
    """What is on the screen is what Python computes for the state."""
    expected = explorer_panel(data, state)
    page.wait_for_function(
        "t => document.querySelector('.kdnb-explorer .live').textContent === t", arg=expected.sentence
    )
    seen = page.evaluate(READ)
    assert seen["alike"] == ["unknown" if np.isnan(v) else f"{v:z.2f}" for v in expected.agreement.values()]
    for shown, view, choice in zip(seen["sides"], expected.views, (state.a, state.b), strict=True):
        assert shown["facts"] == [text for line in view.lines for text in line]
        assert shown["opacity"] == pytest.approx(state.opacity) and shown["refusal"] == view.refusal
        assert shown["hidden"] == shown["refused"] == (view.raw is None)
        if view.raw is not None:
            about = ABOUT[choice.method]
            assert shown["legend"] == [number(view.low), about.unit, number(view.high)]
            rgba = np.array(shown["rgba"]).reshape(64, 64, 4)
            assert np.array_equal(rgba[..., :3], palette(about.signed)[view.indices])


def test_every_key_shows_what_python_computes(page, data):
    state = first_states(data)[0]
    for key, change in [
        ("ArrowRight", {"a": Choice("integrated gradients", "KD student")}),
        ("ArrowRight", {"a": Choice("SHAP deep", "KD student")}), ("c", {"a": Choice("SHAP deep", "KD student", 0)}),
        ("b", {}), ("m", {"b": state.b._replace(model="label-only student")}), ("ArrowDown", {"image": 1}),
        ("-", {"opacity": 0.5}), ("x", {"a": state.b._replace(model="label-only student"),
                                        "b": Choice("SHAP deep", "KD student", 0)}),
        ("m", {"b": Choice("SHAP deep", "label-only student", 0)}), ("m", {"b": Choice("SHAP deep", "teacher", 0)}),
        ("ArrowLeft", {"b": Choice("integrated gradients", "teacher", 0)}), ("ArrowUp", {"image": 0}),
    ]:  # fmt: skip
        page.keyboard.press(key)
        if change:
            state = replace(state, **change)
            agrees(page, data, state)
        else:
            assert page.locator(".kdnb-explorer .live").text_content() == "The keys now change side B."
    kernel_says(page, explorer_panel(data, state).sentence)


def test_a_map_that_must_be_computed_is_waited_for_and_what_is_passed_over_is_not(page, data):
    place, names = list(METHODS).index("evidence"), list(METHODS)
    before = execute(page, "print(len(data.known))")
    page.locator("select[aria-label='model of side A']").select_option("teacher")
    page.locator(".kdnb-explorer .stage").focus()
    page.keyboard.press("a")
    for _ in names[place:]:  # round to the first method: the slow ones between are passed over
        page.keyboard.press("ArrowRight")
    assert page.locator(".kdnb-explorer").get_attribute("aria-busy") == "true"
    agrees(page, data, replace(first_states(data)[0], a=Choice(names[0], "teacher")))
    assert page.locator(".kdnb-explorer").get_attribute("aria-busy") == "false"
    assert int(execute(page, "print(len(data.known))")) - int(before) <= 3


def test_choices_are_made_from_the_lists_too(page, data):
    page.locator("select[aria-label='method of side B']").select_option("gradcam")
    page.locator("select[aria-label='class explained on side B']").select_option("2")
    agrees(page, data, replace(first_states(data)[0], b=Choice("gradcam", "KD student", 2)))


def test_axe_finds_no_fault_beside_a_refusal(page, data):
    execute(page, "w.b = ('SHAP deep', 'teacher', -1)")
    agrees(page, data, replace(first_states(data)[0], b=Choice("SHAP deep", "teacher")))
    accessible(page, ".kdnb-explorer")


def test_tab_reaches_everything_and_keys_stay_inside(page):
    reachable_and_contained(page, ".kdnb-explorer")


def test_the_console_stays_silent_and_the_notebook_small(opened, page):
    size = saved_size(page, opened.path)
    print(f"saved notebook: {size / 1000:.0f} kB")
    assert size < 100_000 and opened.errors == []
