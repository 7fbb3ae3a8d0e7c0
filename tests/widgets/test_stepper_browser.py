"""The layer stepper in a real JupyterLab and Chromium: by keyboard only, its numbers equal to Python's."""

import json
from dataclasses import replace

import numpy as np
import pytest
from browser import NEEDS_BROWSER, accessible, execute, kernel_says, tab_through

from kdnb.widgets.layers import KINDS, filters, stepper_data
from kdnb.widgets.page import to_html
from kdnb.widgets.questions import ablated, effects, occluded
from kdnb.widgets.render import SCALES, StepperState, number, palette, panel, plus, ranked, signed
from kdnb.widgets.stepper import LayerStepper, exported_state

pytestmark = NEEDS_BROWSER
SETUP = """
from dataclasses import asdict
import torch
torch.set_num_threads(1)
from kdnb import phantoms
from kdnb.data.batches import to_tensor
from kdnb.models import FiveConv, TappedDenseNet121
from kdnb.widgets import LayerStepper, StepperState, stepper_data
plan = phantoms.PhantomPlan(patients=8, slices=1)
pixels, masks = phantoms.render_all(plan, 64)
classes, table = phantoms.classes("brain"), phantoms.table(plan)
torch.manual_seed(3)
student, teacher = FiveConv(4, 0.25), TappedDenseNet121(4)
data = stepper_data(student, teacher, to_tensor(pixels), pixels, [classes.index(c) for c in table.label],
                    classes, list(table.image_id), masks=masks, provenance={"seed": 3})
"""
WIDGET, CELL = ".kdnb-widget", "w = LayerStepper(data, StepperState())\nw"
READ = """() => {
  const root = document.querySelector(".kdnb-widget"), text = (n) => n.textContent;
  const panes = [...root.querySelectorAll(".stage .pane")].slice(1).filter((p) => !p.hidden).map((p) => {
    const c = p.querySelector("canvas.map");
    const line = (n) => n.style.width;
    return { legend: [...p.querySelectorAll(".legend span")].map(text), p: [...p.querySelectorAll(".p")].map(text),
      sum: text(p.querySelector(".sum")), bars: [...p.querySelectorAll(".ledger .support")].map(line),
      size: [c.height, c.width], opacity: +c.style.opacity,
      rgba: [...c.getContext("2d").getImageData(0, 0, c.width, c.height).data] };
  });
  return { live: text(root.querySelector(".live")), panes };
}"""


@pytest.fixture
def page(opened):
    """The page with the focus on the maps and the widget in its first state."""
    page = opened.page
    execute(page, "w.layer = 2\nfor name, value in asdict(StepperState()).items(): setattr(w, name, value)")
    page.wait_for_function("document.querySelector('.live').textContent.includes('layer 1 of 5 (conv1')")
    page.locator(".kdnb-widget .stage").focus()
    return page


def agrees(page, data, state):
    page.wait_for_selector(".kdnb-widget[aria-busy=false]")
    seen, expected = page.evaluate(READ), panel(data, state)
    assert seen["live"] == expected.sentence
    assert len(seen["panes"]) == len(expected.panes)
    for shown, pane in zip(seen["panes"], expected.panes, strict=True):
        unit = KINDS[state.kind].unit
        assert shown["legend"] == [number(pane.low), unit, number(pane.high)]
        rgba = np.array(shown["rgba"]).reshape(*shown["size"], 4)
        assert np.array_equal(rgba[..., :3], palette(signed(state))[pane.indices])
        assert shown["opacity"] == pytest.approx(state.opacity)
        largest = max(abs(v) for bar in pane.bars for v in bar[:3])
        widths = [float(width.removesuffix("%")) for width in shown["bars"]]
        np.testing.assert_allclose(widths, [50 * bar.supporting / largest for bar in pane.bars], atol=0.01)


def says(page, text):
    """Wait until the live line holds a text."""
    page.wait_for_function("text => document.querySelector('.live').textContent.includes(text)", arg=text)


def test_every_key_shows_what_python_computes(page, data):
    state = StepperState()
    agrees(page, data, state)
    for letter, kind in ("a", "average"), ("g", "gradcam"), ("e", "evidence"):
        for scale in SCALES:
            for layer in (1, 2, 3, 4, 5) if kind == "evidence" else (1, 2):
                page.keyboard.press("Home" if layer == 1 else "ArrowRight")
                page.keyboard.press(letter)
                state = replace(state, kind=kind, scale=scale, layer=layer)
                agrees(page, data, state)
            page.keyboard.press("s")
        page.keyboard.press("c")
        state = replace(state, target=state.target + 1)
    for letter, kind in ("i", "eigencam"), ("h", "hirescam"), ("l", "layercam"):
        page.keyboard.press(letter)
        agrees(page, data, state := replace(state, kind=kind, scale="map"))
    for versus in (0, 1):
        page.keyboard.press("v")
        for scale in SCALES:
            agrees(page, data, state := replace(state, versus=versus, scale=scale))
            page.keyboard.press("s")
    page.keyboard.press("ArrowDown")
    agrees(page, data, state := replace(state, image=1, scale="map"))
    for key, change in ("-", {"opacity": 0.5}), ("m", {"shown": "student"}), ("m", {"shown": "teacher"}):
        page.keyboard.press(key)
        agrees(page, data, state := replace(state, **change))
    kernel_says(page, panel(data, state).sentence)


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


def test_axe_finds_no_fault_in_any_state(page):
    accessible(page, ".kdnb-widget")
    execute(page, "w.versus = 1; w.point = [9, 9]; w.occluded = [1, 1]; w.quiz = 'revealed'; w.guess = 1")
    says(page, "with the patch covered")
    accessible(page, ".kdnb-widget")


def test_everything_is_reached_by_tab_named_and_large_enough(page):
    names = tab_through(page)
    stops = ".kdnb-widget :is(button, select, input, [tabindex]):not([tabindex='-1']):visible"
    assert len(names) == len(set(names)) == page.locator(stops).count()


def test_a_channel_is_ablated_from_the_keyboard(page, data):
    execute(page, "w.layer = 3; w.target = 2; w.image = 1")
    says(page, "layer 3 of 5 (conv3")
    page.locator(".channels button[tabindex='0']").focus()
    name, order = data.classes[2], ranked(data.models[0].contributions[2][1, 2])
    without = effects(data, 1, 0, 3)
    before = data.models[0].probabilities[1, 2]
    steps = [("", 0), ("ArrowRight", 1), ("ArrowDown", 9), ("End", 23), ("ArrowRight", 24), ("ArrowLeft", 23),
             ("Home", 0), ("ArrowLeft", 0), ("PageDown", 24)]  # fmt: skip
    for step, place in steps:
        if step:
            page.keyboard.press(step)
        channel = order[place]
        drop = before - without[channel, 2]
        label = f"without it p({name}) {'falls' if drop >= 0 else 'rises'} by {number(abs(float(np.float32(drop))))}"
        page.wait_for_function("text => document.activeElement.getAttribute('aria-label')?.endsWith(text)", arg=label)
        assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith(f"channel {channel}, ")
    page.keyboard.press("Enter")
    first = int(order[24])
    says(page, f"student without channel {first}: p({name}) {before:.2f} → {ablated(data, 1, 0, 3, [first])[2]:.2f}")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    two = sorted([first, int(order[25])])
    says(page, f"without channels {two[0]}, {two[1]}: p({name}) {before:.2f} → {ablated(data, 1, 0, 3, two)[2]:.2f}")
    assert execute(page, "print(w.ablated)").strip() == str(two)
    page.locator(".kdnb-widget .stage").focus()
    page.keyboard.press("ArrowRight")  # another layer has other channels
    page.wait_for_function("!document.querySelector('.live').textContent.includes('without channel')")


def test_a_place_is_pointed_at_and_covered_from_the_keyboard(page, data):
    page.keyboard.press("End")
    page.locator("[aria-label^='map of the student']").focus()
    page.keyboard.press("ArrowUp")  # the first arrow puts the pointer into the middle
    page.keyboard.press("ArrowUp")
    state = StepperState(layer=5, point=(24, 40))
    agrees(page, data, state)
    page.keyboard.press("o")
    ((probabilities, evidence),) = occluded(data, 0, [(3, 5)])
    before = data.models[1].probabilities[0, 0]
    says(page, f"teacher with the patch covered: p(glioma) {before:.2f} → {probabilities[1, 0]:.2f}")
    assert f"conv5 {plus(float(evidence[0][4, 0]))}" in page.locator(".live").text_content()
    page.keyboard.press("x")
    agrees(page, data, StepperState(layer=5))


def test_a_guess_hides_the_answer_until_it_is_revealed(page, data):
    page.locator("button[aria-label='guess first']").click()
    says(page, "Which class is it?")
    assert not page.locator(".kdnb-widget .classes").first.is_visible()
    page.locator("select[aria-label='your guess']").select_option("1")
    page.locator("button[aria-label='reveal the answer']").click()
    says(page, panel(data, StepperState(quiz="revealed", guess=1)).sentence)
    assert page.locator(".kdnb-widget .classes").first.is_visible()
    assert page.locator(".title").text_content() == data.titles[0]
    page.locator("select[aria-label='your guess']").select_option("-1")  # guess again
    says(page, "Which class is it?")
    assert page.locator(".title").text_content() == "image 1", "a title may tell the class"
    page.locator("select[aria-label='your guess']").select_option("2")
    page.locator("button[aria-label='reveal the answer']").click()
    says(page, f"you said {data.classes[2]}")
    other = next(name for name, kept in filters(data).items() if kept and 0 not in kept)
    page.locator("select[aria-label='images shown']").select_option(other)
    says(page, "Which class is it?")  # another image is asked anew


def test_the_pager_stops_at_filtered_images(page, data):
    page.keyboard.press("f")  # the untrained student is often wrong
    kept = [i for i, t in enumerate(data.targets) if data.models[0].probabilities[i].argmax() != t]
    for image in kept[1:3]:
        page.keyboard.press("ArrowDown")
        place = f"document.querySelector('.place').textContent.startsWith('{kept.index(image) + 1} of')"
        page.wait_for_function(place)
        page.wait_for_selector(".kdnb-widget[aria-busy=false]")
        assert page.locator(".title").text_content() == data.titles[image]


def test_an_export_can_be_shown_again(page, data, tmp_path):
    execute(page, "w.layer = 2; w.kind = 'evidence'; w.versus = 3; w.point = [5, 6]")
    says(page, "glioma minus pituitary")
    saved = []
    page.on("download", lambda item: saved.append(item))
    page.locator("button[aria-label='export picture and data']").click()
    says(page, "saved brain_p0000_s00-layer2-evidence.png")
    page.wait_for_timeout(500)
    for item in saved:
        item.save_as(tmp_path / item.suggested_filename)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["brain_p0000_s00-layer2-evidence.json", "brain_p0000_s00-layer2-evidence.png"]
    assert (tmp_path / names[1]).read_bytes()[:4] == b"\x89PNG"
    state = exported_state(tmp_path / names[0])
    assert state == StepperState(layer=2, kind="evidence", versus=3, point=(5, 6))
    content = json.loads((tmp_path / names[0]).read_text())
    assert content["seed"] == 3 and content["sentence"].startswith(LayerStepper(data, state).panel().sentence)


def test_the_saved_page_works_without_kernel_and_network(opened, chromium, data, tmp_path):
    state = StepperState(image=1, layer=2, kind="gradcam", target=2)
    networks, two = (model.network for model in data.models), (data.images[:2], data.pixels[:2], [data.targets[0], -1])
    data = stepper_data(*networks, *two, data.classes, data.titles[:2])
    path = to_html(data, tmp_path / "stepper.html", state)
    context = chromium.new_context(offline=True)
    page, errors = context.new_page(), []
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda e: errors.append(str(e)))
    page.goto(f"file://{path}")
    agrees(page, data, state)
    assert "true class" not in page.locator(".kdnb-widget").inner_text()  # nobody knows that of the second image
    page.locator(".stage").focus()
    for key, change in ("e", {"kind": "evidence"}), ("ArrowRight", {"layer": 3}), ("ArrowUp", {"image": 0}):
        page.keyboard.press(key)
        agrees(page, data, state := replace(state, **change))
    assert "true class" in page.locator(".kdnb-widget").inner_text()
    page.keyboard.press("o")
    ((probabilities, _),) = occluded(data, 0, [(4, 4)])
    says(page, f"→ {probabilities[0, 2]:.2f}")
    page.keyboard.press("x")
    page.locator(".channels button[tabindex='0']").focus()
    page.keyboard.press("Enter")
    channel = int(ranked(data.models[0].contributions[2][0, 2])[0])
    says(page, f"without channel {channel}: p(notumor)")
    says(page, f"→ {ablated(data, 0, 0, 3, [channel])[2]:.2f}")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    says(page, "more needs a running notebook")
    assert errors == []
    context.close()


def test_the_saved_notebook_is_small(opened, page):
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    page.wait_for_timeout(2000)
    text = (opened.path).read_text()
    assert "widget-state+json" in text and "probabilities" in text and len(text) < 1_000_000
    print(f"saved notebook: {len(text) / 1000:.0f} kB")


def test_the_console_stays_silent(opened):
    assert opened.errors == []
