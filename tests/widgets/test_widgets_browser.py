"""Every widget in a real JupyterLab and Chromium, by keyboard: one sees what Python computes."""

import json
from dataclasses import replace
from typing import NamedTuple

import nbformat
import numpy as np
import pytest
from browser import (
    NEEDS_BROWSER,
    VIEWPORT,
    Lab,
    accessible,
    contained,
    errors_of,
    execute,
    is_of_the_splash,
    jupyterlab,
    laid_out,
    reachable,
    saved_size,
    says,
    says_only,
)
from PIL import Image

from kdnb.core.number_text import number, plus, probability
from kdnb.core.statistics import softmax
from kdnb.widgets.base import script
from kdnb.widgets.explanation_panel import (
    ABOUT,
    Choice,
    agreement_text,
    explorer_panel,
    first_states,
)
from kdnb.widgets.layer_maps import MAP_KINDS, filters, stepper_data
from kdnb.widgets.page import to_html
from kdnb.widgets.soft_targets import SoftTargetState, soft_target_panel
from kdnb.widgets.stepper import exported_state
from kdnb.widgets.stepper_messages import ablated, arithmetic, effects, occluded
from kdnb.widgets.stepper_numbers import StepperState, palette, ranked, signed, stepper_panel
from kdnb.widgets.twins import difference, sentence
from kdnb.xai.methods import METHODS

pytestmark = NEEDS_BROWSER

KEY_NAMES = {"←": "ArrowLeft", "→": "ArrowRight", "↑": "ArrowUp", "↓": "ArrowDown", "−": "-"}
PIXELS = """(canvases) => canvases.map((c) => [c.height, c.width,
  [...c.getContext("2d").getImageData(0, 0, c.width, c.height).data]])"""
STYLES = "(nodes, name) => nodes.map((node) => parseFloat(node.style[name]))"
FAILING = """
import kdnb.widgets.stepper as module
answer = module.answer_message
def failing(data, question):
    if question["ask"] != "ablate":
        return answer(data, question)
    return {"to": question, "refused": "no memory", "again": True}, []
module.answer_message = failing
"""
BUSY = """() => {
  const { kernel } = window.jupyterapp.shell.currentWidget.sessionContext.session;
  kernel.requestExecute({ code: "import time; time.sleep(1)", store_history: false });
}"""
WIDE_KERNEL = """() => {
  for (const row of document.querySelectorAll(".arithmetic tr")) {
    const cells = Array.from({ length: 40 }, () => row.firstChild.cloneNode(true));
    row.append(...cells);
  }
  const rights = (selector) =>
    [...document.querySelectorAll(selector)].map((node) => node.getBoundingClientRect().right);
  return [Math.max(...rights(".arithmetic figure")), rights(".kdnb-stepper")[0]];
}"""
RESTART = "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()"
PHANTOMS = """
import torch
torch.set_num_threads(1)
from kdnb.data import phantoms
from kdnb.data.transforms import to_tensor
from kdnb.training.students import FiveConv
from kdnb.training.teachers import TappedDenseNet121
plan = phantoms.PhantomPlan(patients=8, slices=1)
pixels, masks = phantoms.render_all(plan, 64)
classes, table, images = phantoms.classes("brain"), phantoms.table(plan), to_tensor(pixels)
targets, titles = [classes.index(c) for c in table.label], list(table.image_id)
torch.manual_seed(3)
"""


class Seen(NamedTuple):
    """What a state must look like: of all that is visible, in the page's order."""

    sentence: str
    texts: dict[str, list[str]]  #: by selector
    styles: dict[str, tuple[str, list[float]]] = {}  #: by selector: property, its numbers
    canvases: str = "canvas.map"
    pictures: tuple[np.ndarray, ...] = ()  #: (h, w, 3) uint8 of these canvases

    def on(self, page, root):
        """Whether the widget ``root`` looks like it."""
        says_only(page, root, self.sentence)
        for selector, wanted in self.texts.items():
            assert page.locator(f"{root} {selector}:visible").all_text_contents() == wanted
        for selector, (name, wanted) in self.styles.items():
            found = page.locator(f"{root} {selector}").evaluate_all(STYLES, name)
            np.testing.assert_allclose(found, wanted, atol=0.01)
        canvases = page.locator(f"{root} {self.canvases}:visible").evaluate_all(PIXELS)
        for (height, width, rgba), wanted in zip(canvases, self.pictures, strict=True):
            assert np.array_equal(np.array(rgba).reshape(height, width, 4)[..., :3], wanted)


class Widget:
    """A widget that is open in JupyterLab as ``w``; ``scope`` holds what ``setup`` makes."""

    root = setup = show = ""
    largest = 0  # characters of the saved notebook
    elsewhere = ""  # keys of the help that tests of their own press
    full = ("", "")  # code that fills the view, and words that are seen then
    state = "w.state"

    def __init__(self, lab, runs):
        setup = f"RUNS = {runs!r}\n{self.setup}"
        self.scope = {}
        exec(setup, self.scope)
        self.data = self.scope["data"]
        cells = [setup, f"w = {self.show}\nw"]
        self.lab = lab
        self.opened = lab.open(type(self).__name__, cells, f"{self.root}[aria-busy=false]")
        self.page = self.opened.page

    def move(self, state):
        """Let the kernel move the view."""
        execute(self.page, f"for item in vars({state}).items(): setattr(w, *item)")

    def start(self):
        self.move(replace(self.first(), image=1))
        self.move(self.first())
        self.page.locator(f"{self.root} .stage").focus()
        self.press("-", "+")  # ends what the live line said besides
        self.shows(self.first())

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def says(self, text):
        says(self.page, self.root, text)

    def shows(self, state):
        self.seen(state).on(self.page, self.root)

    def kernel_comes_to(self, state):
        """The view's last change may still be on its way to the kernel."""
        for _ in range(20):
            if execute(self.page, f"print({self.state} == {state})").strip() == "True":
                return
            self.page.wait_for_timeout(500)
        raise AssertionError(f"{execute(self.page, f'print({self.state})')} is not {state}")


def states_after(state, changes):
    """Each key with the state that its change of fields leads to."""
    steps = []
    for key, change in changes:
        state = replace(state, **change)
        steps.append((key, state))
    return steps


class Stepper(Widget):
    root = ".kdnb-stepper"
    setup = f"""{PHANTOMS}
from kdnb.widgets.layer_maps import stepper_data
from kdnb.widgets.stepper import LayerStepper
from kdnb.widgets.stepper_numbers import StepperState
student, teacher = FiveConv(4, 0.25), TappedDenseNet121(4)
data = stepper_data(student, teacher, images, pixels, targets, classes, titles, masks=masks,
                    provenance={{"seed": 3}})
"""
    show = "LayerStepper(data, StepperState())"
    largest = 1_000_000
    elsewhere = "poxj"
    full = (
        "w.versus, w.point, w.occluded, w.quiz, w.guess = 1, [9, 9], [1, 1], 'revealed', 1",
        "with the patch covered",
    )

    def first(self):
        return StepperState()

    def steps(self):
        changes = [(key, {"kind": kind}) for key, kind in zip("aighle", MAP_KINDS, strict=True)]
        for layer, scale in (2, "layer"), (3, "layers"), (4, "models"), (5, "map"):
            changes += [("ArrowRight", {"layer": layer}), ("s", {"scale": scale})]
        changes += [("c", {"target": -2}), ("c", {"target": 0}), ("c", {"target": 1})]
        changes += [("v", {"versus": 0}), ("ArrowLeft", {"layer": 4})]
        changes += [("s", {"scale": scale}) for scale in ("layer", "layers", "models")]
        changes += [("Home", {"layer": 1}), ("v", {"versus": 1}), ("v", {"versus": 2})]
        changes += [
            ("g", {"kind": "gradcam"}),
            ("ArrowDown", {"image": 1}),
            ("-", {"opacity": 0.5}),
        ]
        changes += [
            ("m", {"shown": "student"}),
            ("m", {"shown": "teacher"}),
            ("+", {"opacity": 0.6}),
        ]
        wrong = filters(self.data)["wrong"]  # the untrained student often is
        start = 1 if 1 in wrong else wrong[0]
        after = wrong[wrong.index(start) + 1]
        changes += [("f", {"only": "wrong", "image": start}), ("ArrowDown", {"image": after})]
        changes += [("ArrowUp", {"image": start}), ("End", {"layer": 5})]
        return states_after(self.first(), changes)

    def seen(self, state):
        return stepper_seen(self.data, state)


def stepper_seen(data, state):
    expected = stepper_panel(data, state)
    kept = filters(data)[state.only]
    legends = []
    widths = []
    opacities = [state.opacity if pane.peak else 0 for pane in expected.panes]
    for pane in expected.panes:
        legends += [number(pane.low), MAP_KINDS[state.kind].unit, number(pane.high)]
        largest = max(1e-12, *(abs(part) for bar in pane.bars for part in bar[:3]))
        widths += [50 * bar.supporting / largest for bar in pane.bars]
    return Seen(
        sentence=expected.sentence,
        texts={
            ".title": [data.titles[state.image]],
            ".pager .place": [f"{kept.index(state.image) + 1} of {len(kept)}"],
            ".legend span": legends,
        },
        styles={
            "canvas.map:visible": ("opacity", opacities),
            ".account:visible .ledger .support": ("width", widths),
        },
        pictures=tuple(palette(signed(state))[pane.indices] for pane in expected.panes),
    )


class Explorer(Widget):
    root = ".kdnb-explorer"
    setup = f"""{PHANTOMS}
from kdnb.widgets.explanation_panel import Choice, ExplorerState, explorer_data
from kdnb.widgets.explorer import ExplanationExplorer
from kdnb.xai.attribution import Context
models = {{name: FiveConv(4, 0.25).eval() for name in ("KD student", "label-only student")}}
models["teacher"] = TappedDenseNet121(4).eval()
data = explorer_data(models, images, pixels, targets, classes, titles,
                     Context(images, samples=10, tap=2), masks=masks)
"""
    show = "ExplanationExplorer(data)"
    largest = 400_000
    elsewhere = ("esc",)
    full = ("w.b = ('SHAP deep', 'teacher', -1)", "Deep SHAP is refused")

    def first(self):
        return first_states(self.data)[0]

    def start(self):
        super().start()
        self.press("a")
        self.says("The keys now change side A.")

    def steps(self):
        deep = Choice("SHAP deep", "KD student", 0)
        gradients = Choice("integrated gradients", "KD student")
        other = self.first().b._replace(model="label-only student")
        changes = [
            ("ArrowRight", {"a": gradients}),
            ("ArrowRight", {"a": Choice("SHAP deep", "KD student")}),
            ("c", {"a": deep}),
            ("b m", {"b": other}),
            ("ArrowDown", {"image": 1}),
            ("-", {"opacity": 0.5}),
            ("+", {"opacity": 0.6}),
            ("x", {"a": other, "b": deep}),
            ("m", {"b": deep._replace(model="label-only student")}),
            ("m", {"b": deep._replace(model="teacher")}),  # refused
            ("ArrowLeft", {"b": gradients._replace(model="teacher", target=0)}),
            ("ArrowUp", {"image": 0}),
            ("a m", {"a": other._replace(model="teacher")}),
        ]
        return states_after(self.first(), changes)

    def seen(self, state):
        expected = explorer_panel(self.data, state)
        facts = []
        for measure, value in expected.agreement.items():
            facts += [measure, agreement_text(value)]
        legends = []
        pictures = []
        refusals = []
        for view, choice in zip(expected.views, (state.a, state.b), strict=True):
            for line in view.lines:
                facts += line
            if view.raw is None:
                refusals.append(view.refusal)
            else:
                legends += [number(view.low), ABOUT[choice.method].unit, number(view.high)]
                pictures.append(palette(ABOUT[choice.method].signed)[view.indices])
        return Seen(
            sentence=expected.sentence,
            texts={".legend span": legends, ".refusal": refusals, "dl > *": facts},
            styles={"canvas.map:visible": ("opacity", [state.opacity] * len(pictures))},
            pictures=tuple(pictures),
        )


class SoftTargets(Widget):
    root = ".kdnb-soft"
    setup = """
import numpy as np
from kdnb.widgets.soft_targets import Answers, SoftTargetExplorer, SoftTargetState
rng = np.random.default_rng(0)
data = Answers(3 * rng.normal(size=(5, 4)), rng.normal(size=(5, 4)), (0, 1, 2, 3, 0),
               tuple("vwxyz"), tuple("abcd"))
"""
    show = "SoftTargetExplorer(data)"
    largest = 300_000

    def first(self):
        return SoftTargetState()

    def steps(self):
        changes = [("ArrowRight", {"temperature": 12.0}), ("ArrowLeft", {"temperature": 10.0})]
        changes += [("ArrowUp", {"alpha": 0.75}), ("ArrowDown", {"alpha": 0.7})]
        changes += [("Home", {"temperature": 1.0}), ("End", {"temperature": 50.0})]
        changes += [("n", {"image": 1}), ("l", {"loss": "as_coded"}), ("l", {"loss": "dkd"})]
        return states_after(self.first(), [*changes, ("p", {"image": 0})])

    def seen(self, state):
        found = soft_target_panel(self.data, state)
        answers = np.stack([found.sure, found.teacher, found.student], axis=1)  # (K, 3)
        pushes = np.stack([found.hard, found.soft, found.hard + found.soft], axis=1)  # (K, 3)
        shown = [f"{value:.3f}" for value in answers.flat] + [plus(value) for value in pushes.flat]
        return Seen(sentence=found.sentence, texts={".chart .p": shown})


class Twins(Widget):
    root = ".kdnb-twins"
    setup = """
from kdnb.core.settings import Settings
from kdnb.data import duplicates, phantoms
from kdnb.data.dataset import load
from kdnb.data.sources import phantom_source
from kdnb.widgets.twins import TwinBrowser, twin_pairs
plan = phantoms.PhantomPlan(patients=24, slices=2, duplicates=0.4, patient_leaks=0.25)
sets = {}
for split in ("published", "grouped"):
    settings = Settings.checked({"image_size": 64, "runs_dir": RUNS, "split": split})
    sets[split] = load(settings, phantom_source(plan))
pixels = sets["grouped"].pixels
data = twin_pairs(sets, duplicates.thumbnails(pixels), count=12)
"""
    show = "TwinBrowser(data, pixels)"
    largest = 500_000
    state = "(w.split, w.place)"

    def first(self):
        return "published", 0

    def start(self):
        execute(self.page, f"w.place = 1; w.split, w.place = {self.first()}")
        self.page.locator(f"{self.root} .stage").focus()
        self.shows(self.first())

    def steps(self):
        last = (self.data["split"] == "grouped").sum() - 1
        right = self.data[self.data["split"] == "published"]["right"].to_numpy()
        wrong = 1 + int(np.argmin(right[1:]))
        steps = [("ArrowLeft", ("published", 0)), ("ArrowRight", ("published", 1))]
        steps += [("ArrowRight", ("published", 2)), ("ArrowDown", ("grouped", 2))]
        steps += [("End", ("grouped", last)), ("ArrowRight", ("grouped", last))]
        steps += [("Home", ("grouped", 0)), ("ArrowUp", ("published", 0))]
        return [*steps, ("w", ("published", wrong))]

    def seen(self, state):
        split, place = state
        pair = self.data[self.data["split"] == split].iloc[place]
        test = self.scope["pixels"][pair["test"]]
        train = self.scope["pixels"][pair["train"]]
        return Seen(
            sentence=sentence(self.data, split, place),
            texts={},
            canvases=".picture canvas",
            pictures=(test, train, palette(False)[difference(test, train)]),
        )


@pytest.fixture(scope="module")
def use(chromium, tmp_path_factory):
    """Class → the widget, opened once."""
    folder = tmp_path_factory.mktemp("lab")
    runs = str(tmp_path_factory.mktemp("runs"))
    used = {}
    with jupyterlab(folder) as address:

        def open_once(kind):
            if kind not in used:
                used[kind] = kind(Lab(folder, address, chromium), runs)
            return used[kind]

        yield open_once
        for widget in used.values():
            widget.page.close()


@pytest.mark.parametrize("kind", [SoftTargets, Twins, Explorer, Stepper])
def test_a_widget_is_used_by_keyboard_alone(use, kind):
    widget = use(kind)
    page = widget.page
    widget.start()
    pressed = set(widget.elsewhere)
    for keys, state in widget.steps():
        widget.press(*keys.split())
        widget.shows(state)
        pressed.update(keys.lower().split())
    widget.kernel_comes_to(state)
    help_keys = page.locator(f"{widget.root} .help kbd").all_text_contents()
    assert {KEY_NAMES.get(key, key).lower() for key in " ".join(help_keys).split()} <= pressed

    widget.start()
    accessible(page, widget.root)
    reachable(page, widget.root)
    contained(page, widget.root)
    laid_out(page, widget.root)
    fill, words = widget.full
    if fill:
        execute(page, fill)
        widget.says(words)
        accessible(page, widget.root)
        laid_out(page, widget.root)

    assert saved_size(page, widget.opened.path) < widget.largest
    saved = widget.opened.path.read_text()
    assert "widget-state+json" in saved and "spec" in saved
    assert widget.opened.errors == []


def test_no_key_on_a_slider_is_lost_while_the_kernel_is_slow(use):
    explorer = use(SoftTargets)
    explorer.start()
    page = explorer.page
    slow = "from time import sleep; w.observe(lambda _: sleep(0.4), 'panel')"
    execute(page, slow)
    slider = page.locator("input[aria-label='alpha: weight of the labels']")
    slider.focus()
    for _ in range(5):
        explorer.press("ArrowLeft")
        page.wait_for_timeout(200)
    assert slider.input_value() == "0.45"
    state = replace(explorer.first(), alpha=0.45)
    explorer.shows(state)
    explorer.kernel_comes_to(state)
    execute(page, "w.unobserve_all('panel')")


def reopened(widget, notebook, name):
    """A page with a copy of a widget's notebook, trusted, on a kernel that has run nothing."""
    from nbformat.sign import NotebookNotary

    copy = widget.opened.path.with_name(name)
    nbformat.write(notebook, copy)
    NotebookNotary().sign(notebook)
    page = widget.lab.browser.new_page(viewport=VIEWPORT)
    page.goto(f"{widget.lab.address}/doc/tree/{name}")
    return page


def check_still_picture(page):
    """Where the view cannot be made again, the picture and what to do stand in its place."""
    failed = page.get_by_text("Error displaying widget")
    failed.wait_for(state="attached", timeout=120_000)
    assert not failed.is_visible()
    shown = page.locator("[data-kdnb-still]")
    assert shown.locator("img").is_visible()
    assert "run this cell again" in shown.inner_text()


def test_a_notebook_without_its_kernel_shows_the_picture(use):
    explorer = use(SoftTargets)
    still = explorer.page.locator("[data-kdnb-still]")
    assert still.count() == 1 and not still.is_visible(), "a view that lives hides it"
    saved_size(explorer.page, explorer.opened.path)
    notebook = nbformat.read(explorer.opened.path, as_version=4)
    notebook.metadata.pop("widgets")
    page = reopened(explorer, notebook, "reopened.ipynb")
    check_still_picture(page)
    page.close()


def test_a_saved_view_without_its_kernel_says_so(use):
    """JupyterLab restores its state, or (at times, when it is slow) finds no model of it."""
    explorer = use(SoftTargets)
    saved_size(explorer.page, explorer.opened.path)
    notebook = nbformat.read(explorer.opened.path, as_version=4)
    assert notebook.metadata.widgets
    page = reopened(explorer, notebook, "with_state.ipynb")
    stage = page.locator(f"{explorer.root} .stage")
    failed = page.get_by_text("Error displaying widget")
    stage.or_(failed).first.wait_for(state="attached", timeout=120_000)
    if failed.count():
        check_still_picture(page)
    else:
        stage.focus()
        page.keyboard.press("ArrowRight")
        says(page, explorer.root, "if no kernel runs, run this cell again")
    page.close()


def test_a_slow_map_is_grey_until_it_is_there_and_can_be_stopped(use):
    explorer = use(Explorer)
    explorer.start()
    page = explorer.page
    first = explorer.first()
    slow = "object.__setattr__(data, 'context', Context(images, samples={}, tap=2))"
    execute(page, slow.format(20_000))
    page.locator("select[aria-label='method of side B']").select_option("SHAP partition")
    page.wait_for_function(
        "document.querySelector('.kdnb-explorer .live').textContent.startsWith('computing')"
    )
    old = page.locator("section[aria-label='side B'] .waiting")
    assert old.is_visible()
    assert not page.locator("section[aria-label='side A'] .waiting").is_visible()
    page.keyboard.press("Escape")
    explorer.says("Stopped.")
    explorer.kernel_comes_to(first)
    assert not old.is_visible()
    assert "SHAP partition" not in execute(page, "print(list(data.known))")
    execute(page, slow.format(10))


def test_lists_choose_too_and_maps_that_are_passed_over_are_not_computed(use):
    explorer = use(Explorer)
    explorer.start()
    page = explorer.page
    page.locator("select[aria-label='model of side A']").select_option("teacher")
    page.locator("select[aria-label='method of side B']").select_option("gradcam")
    page.locator("select[aria-label='class explained on side B']").select_option("2")
    a = Choice("evidence", "teacher")
    state = replace(explorer.first(), a=a, b=Choice("gradcam", "KD student", 2))
    explorer.shows(state)
    before = int(execute(page, "print(len(data.known))"))
    page.locator(".kdnb-explorer .stage").focus()
    names = list(METHODS)
    explorer.press("a", *["ArrowRight"] * len(names[names.index("evidence") :]))  # to the first
    assert page.locator(".kdnb-explorer").get_attribute("aria-busy") == "true"
    explorer.shows(replace(state, a=a._replace(method=names[0])))
    assert page.locator(".kdnb-explorer").get_attribute("aria-busy") == "false"
    assert int(execute(page, "print(len(data.known))")) - before <= 2
    assert explorer.opened.errors == []


BARS = {
    SoftTargets: [
        f".bars .of-{name} .fill" for name in ("sure", "student", "hard", "soft", "total")
    ],
    Stepper: [".ledger .support", ".ledger .against", ".ledger .bias", ".chosen .fill"],
}
CONTRAST = """([root, bars]) => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const linear = (v) => (v <= 0.04 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const light = (rgb) => {
    const [red, green, blue] = rgb.map((v) => linear(v / 255));
    return 0.05 + 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const ground = numbers(getComputedStyle(document.querySelector(root)).backgroundColor);
  return bars.map((bar) => {
    const style = getComputedStyle(document.querySelector(`${root} ${bar}`));
    const stripe = style.backgroundImage.match(/rgba?\\([^)]*\\)/)?.[0]; // the first of a pattern
    const [r, g, b, alpha = 1] = numbers(stripe ?? style.backgroundColor);
    const seen = light([r, g, b].map((v, i) => alpha * v + (1 - alpha) * ground[i]));
    return Math.max(seen, light(ground)) / Math.min(seen, light(ground));
  });
}"""
THEME = "window.jupyterapp.commands.execute('apputils:change-theme', {{ theme: 'JupyterLab {}' }})"


@pytest.mark.parametrize("kind", BARS)
def test_bars_stand_out_from_a_dark_ground(use, kind):
    page = use(kind).page
    page.evaluate(THEME.format("Dark"))
    page.wait_for_function("document.body.dataset.jpThemeLight === 'false'")
    contrasts = page.evaluate(CONTRAST, [kind.root, BARS[kind]])
    page.evaluate(THEME.format("Light"))
    page.wait_for_function("document.body.dataset.jpThemeLight === 'true'")
    assert min(contrasts) >= 3, contrasts


@pytest.mark.parametrize("kind", BARS)
def test_bars_are_seen_where_the_system_forces_its_colours(use, kind):
    page = use(kind).page
    page.emulate_media(forced_colors="active")
    parts = [".patch", ".key.against", "[aria-pressed=true]"] if kind is Stepper else [".key .fill"]
    contrasts = page.evaluate(CONTRAST, [kind.root, BARS[kind] + parts])
    page.emulate_media(forced_colors="none")
    assert min(contrasts) >= 2, contrasts


@pytest.fixture
def stepper(use):
    stepper = use(Stepper)
    stepper.start()
    yield stepper
    assert stepper.opened.errors == []


def test_play_runs_to_the_last_layer_and_respects_reduced_motion(stepper):
    page = stepper.page
    stepper.press("p")
    stepper.says("layer 5 of 5")
    page.wait_for_selector("button[aria-label='play through the layers']")
    page.emulate_media(reduced_motion="reduce")
    stepper.press("Home", "p")
    stepper.says("Play is off")
    page.wait_for_timeout(1500)  # longer than a step of Play
    assert execute(page, "print(w.layer)").strip() == "1"
    page.emulate_media(reduced_motion="no-preference")


def test_space_on_a_map_plays_and_scrolls_nothing(stepper):
    page = stepper.page
    page.locator("[aria-label^='map of the student']").focus()
    before = page.locator(".kdnb-stepper").bounding_box()
    stepper.press("Space")
    stepper.says("layer 2 of 5")
    stepper.press("Space")
    page.wait_for_selector("button[aria-label='play through the layers']")
    assert page.locator(".kdnb-stepper").bounding_box() == before


def test_a_channel_is_ablated_from_the_keyboard(stepper):
    page = stepper.page
    data = stepper.data
    execute(page, "w.layer, w.target, w.image = 3, 2, 1")
    stepper.says("layer 3 of 5 (conv3")
    page.locator(".channels button[tabindex='0']").focus()
    order = ranked(data.models[0].contributions[2][1, 2]).tolist()
    without = softmax(effects(data, 1, 0, 3).astype(np.float32))[:, 2]
    before = data.models[0].probabilities[1, 2]
    chance = f"p({data.classes[2]})"
    focused = "document.activeElement.getAttribute('aria-label')"
    way = "ArrowRight ArrowDown End ArrowRight ArrowLeft Home ArrowLeft PageDown"
    for key, place in zip(way.split(), (1, 9, 23, 24, 23, 0, 0, 24), strict=True):  # 24 on a page
        stepper.press(key)
        channel = order[place]
        drop = float(np.float32(before - without[channel]))
        label = f"without it {chance} {'falls' if drop >= 0 else 'rises'} by {number(abs(drop))}"
        page.wait_for_function(f"text => {focused}?.endsWith(text)", arg=label)
        assert page.evaluate(focused).startswith(f"channel {channel}, ")

    stepper.press("Enter")
    without_one = ablated(data, 1, 0, 3, [order[24]])
    one = probability(softmax(without_one)[2])
    said = f"student without channel {order[24]}: {chance} {probability(before)} → {one}, logit "
    stepper.says(said + f"{plus(data.models[0].logits[1, 2])} → {plus(without_one[2])}")
    shown = page.locator(".kdnb-stepper .classes").first.locator(".chosen .p")
    assert shown.all_text_contents() == [one, f"{without_one[2]:+.2f}"]
    stepper.press("ArrowRight", "Space")
    both = sorted(order[24:26])
    two = probability(softmax(ablated(data, 1, 0, 3, both))[2])
    stepper.says(f"without channels {both[0]}, {both[1]}: {chance} {probability(before)} → {two}")
    assert execute(page, "print(w.ablated)").strip() == str(both)
    page.locator(".kdnb-stepper .stage").focus()
    stepper.press("ArrowRight")  # another layer has other channels
    stepper.shows(StepperState(image=1, layer=4, target=2))


def test_effects_of_layers_that_are_passed_over_are_not_computed(stepper):
    page = stepper.page
    order = page.locator("select[aria-label='order of the channels']")
    title = page.locator(".channel-part strong")
    execute(page, "seen = []; w.on_msg(lambda _w, asked, _b: seen.append(asked))")
    order.select_option("effect")
    page.locator(".kdnb-stepper .stage").focus()
    page.evaluate(BUSY)  # so that all keys come before the first answer
    stepper.press(*["ArrowRight"] * 4, *["ArrowLeft"] * 2)
    stepper.says("layer 3 of 5")
    page.wait_for_function("node => node.textContent.endsWith('conv3')", arg=title.element_handle())
    asked = execute(page, "print([q['layer'] for q in seen if q['ask'] == 'effects'])")
    assert len(json.loads(asked)) <= 3, "the first, the one that was next, and the last"
    order.select_option("contribution")


def test_what_failed_once_is_asked_again(stepper):
    execute(stepper.page, FAILING)
    channel = stepper.page.locator(".channels button").first
    channel.click()
    stepper.says("no memory")
    execute(stepper.page, "module.answer_message = answer")
    channel.click()
    channel.click()
    stepper.says("student without channel")


def test_a_place_is_pointed_at_and_covered_from_the_keyboard(stepper):
    stepper.press("End")
    stepper.page.locator("[aria-label^='map of the student']").focus()
    stepper.press("ArrowUp", "ArrowUp")  # the first one puts the pointer into the middle
    stepper.press("Control+ArrowUp")  # not the widget's
    stepper.shows(StepperState(layer=5, point=(24, 40)))
    stepper.press("o")
    (covered,) = occluded(stepper.data, 0, [(3, 5)])
    truth = stepper.data.targets[0]
    before = probability(stepper.data.models[1].probabilities[0, truth])
    after = probability(softmax(covered.logits[1])[truth])
    name = stepper.data.classes[truth]
    stepper.says(f"teacher with the patch covered: p({name}) {before} → {after}, logit ")
    stepper.says(f"conv5 {plus(float(covered.evidence[0][4, truth]))}")
    stepper.page.locator(".channels button").first.click()
    stepper.says("student without channel")
    assert stepper.page.locator(".kdnb-stepper .patch:visible").count() == 0
    said = stepper.page.locator(".kdnb-stepper .live").text_content()
    assert "with the patch covered" not in said, "one picture at a time"
    stepper.page.locator(".kdnb-stepper .stage").focus()
    stepper.press("x")
    stepper.shows(StepperState(layer=5))


def test_the_arrows_on_the_layers_slider_change_its_value(stepper):
    stepper.page.locator("input[aria-label='layer']").focus()
    stepper.press("ArrowUp", "ArrowUp", "ArrowRight", "ArrowDown", "ArrowLeft")
    stepper.press("ArrowUp")
    stepper.shows(StepperState(layer=3))


def test_the_arithmetic_of_a_cell_is_shown_and_said(stepper):
    from playwright.sync_api import expect

    page = stepper.page
    words = page.locator(".arithmetic .words")
    page.locator("[aria-label^='map of the student']").focus()
    stepper.press("ArrowDown", "ArrowLeft")  # the first one puts the pointer into the middle
    found = arithmetic(stepper.data, 0, 0, 1, [32, 31])
    expect(words).to_have_text(found.sentence)
    assert page.locator(".arithmetic dd").all_text_contents()[-2:] == [
        number(found.value),
        number(found.mean),
    ]
    assert page.locator(".arithmetic td").count() == 3 * 27  # patch, kernel and products of colours
    right, frame = page.evaluate(WIDE_KERNEL)
    assert right <= frame, "a large kernel stays in the frame"
    page.locator("button[aria-label='channel that is next weaker here']").click()
    expect(words).to_have_text(arithmetic(stepper.data, 0, 0, 1, [32, 31], found.weaker).sentence)
    page.locator("[aria-label^='map of the teacher']").click(position={"x": 9, "y": 9})
    expect(page.locator(".arithmetic strong")).to_contain_text("teacher, stem, row")
    expect(words).to_contain_text("the network gives")
    stepper.press("x")
    expect(words).to_contain_text("Point at a cell of a map")


def test_a_guess_hides_the_answer_until_it_is_revealed(stepper):
    page = stepper.page
    data = stepper.data
    guess = page.locator("select[aria-label='your guess']")
    reveal = page.locator("button[aria-label='reveal the answer']")
    title = page.locator(".kdnb-stepper .title")
    answers = page.locator(".kdnb-stepper .classes").first
    page.locator("button[aria-label='guess first']").click()
    stepper.says("Which class is it?")
    assert not answers.is_visible()
    followed = page.locator("select[aria-label='class whose logit is explained'] option")
    assert followed.all_text_contents()[:2] == ["true class (?)", "predicted (?)"]
    guess.select_option("1")
    reveal.click()
    stepper.shows(StepperState(quiz="revealed", guess=1))
    assert answers.is_visible()
    guess.select_option("-1")  # guess again
    stepper.says("Which class is it?")
    assert title.text_content() == "image 1", "a title may tell the class"
    guess.select_option("2")
    reveal.click()
    stepper.says(f"you said {data.classes[2]}")
    other = next(name for name, kept in filters(data).items() if kept and 0 not in kept)
    page.locator("select[aria-label='images shown']").select_option(other)
    stepper.says("Which class is it?")  # another image is asked anew


def test_an_export_can_be_shown_again(stepper, tmp_path):
    page = stepper.page
    execute(page, "w.layer, w.kind, w.target, w.versus, w.point = 2, 'evidence', 0, 3, [5, 6]")
    execute(page, "w.occluded = [7, 7]")
    stepper.says("teacher's evidence with the patch covered")
    saved = []
    page.on("download", lambda item: saved.append(item))
    stepper.press("j")
    stepper.says("saved brain_p0000_s00-layer2-evidence.png")
    while len(saved) < 2:  # Playwright's own time limit ends this
        page.wait_for_event("download")
    for item in saved:
        item.save_as(tmp_path / item.suggested_filename)
    picture = tmp_path / "brain_p0000_s00-layer2-evidence.png"
    state = exported_state(picture.with_suffix(".json"), stepper.data)
    assert state == StepperState(
        layer=2, kind="evidence", target=0, versus=3, point=(5, 6), occluded=(7, 7)
    )
    content = json.loads(picture.with_suffix(".json").read_text())
    assert content["seed"] == 3
    assert content["sentence"].endswith(stepper_panel(stepper.data, state).sentence)
    sheet = np.asarray(Image.open(picture).convert("RGB"))
    corners = sheet[32 + 319, [16 + 319, 2 * 16 + 320 + 319, 3 * 16 + 2 * 320 + 319]]
    assert (corners == 0x88).all(), "the patch covers a corner of the image and of both maps"


OUTLINE = """async (side) => {
  const inside = (v) => v >= side / 4 && v < (3 * side) / 4;
  const mask = Array.from({ length: side ** 2 }, (_, i) => +(inside(i % side) && inside(i / side)));
  const image = h("canvas", { width: side, height: side });
  const edge = h("canvas", { class: "smooth" });
  image.getContext("2d").fillRect(0, 0, side, side);
  drawOutline(edge, mask, side);
  const layers = [[image, 1], [edge, 1]];
  const saved = await exportPicture([{ title: "", range: "", patch: null, layers }], "");
  const bitmap = await createImageBitmap(saved);
  const sheet = h("canvas", { width: bitmap.width, height: bitmap.height });
  const pen = sheet.getContext("2d");
  pen.drawImage(bitmap, 0, 0);
  return [[16, 192], [176, 32]].map(([left, top]) => {
    const [wide, high] = left === 16 ? [320, 1] : [1, 320];
    return [...pen.getImageData(left, top, wide, high).data].filter((_, i) => i % 4 === 0);
  });
}"""


def test_an_exported_picture_keeps_its_outline(chromium):
    page = chromium.new_page()
    page.add_script_tag(content=script("stepper_numbers.js", "stepper_parts.js"))
    for side in 32, 64, 96, 128, 224:
        for reds in page.evaluate(OUTLINE, side):  # of a line across and of a line down
            bright = {round(place / 80) for place, red in enumerate(reds) if red > 100}
            assert bright == {1, 3}, side  # at a quarter and at three quarters of 320
    page.close()


def test_the_saved_page_works_without_kernel_and_network(stepper, chromium, tmp_path):
    student, teacher = (model.network for model in stepper.data.models)
    data = stepper_data(
        student,
        teacher,
        stepper.data.images[:2],
        stepper.data.pixels[:2],
        [stepper.data.targets[0], -1],  # nobody knows the second image's class
        stepper.data.classes,
        stepper.data.titles[:2],
    )
    state = StepperState(image=1, layer=2, kind="gradcam", target=2)
    path = to_html(data, tmp_path / "stepper.html", state)
    context = chromium.new_context(offline=True)
    page = context.new_page()
    errors = errors_of(page)
    page.goto(f"file://{path}")
    stepper_seen(data, state).on(page, ".kdnb-stepper")
    truth = page.locator(".kdnb-stepper .truth").first
    assert truth.text_content() == ""
    page.locator(".stage").focus()
    changes = [("e", {"kind": "evidence"}), ("ArrowRight", {"layer": 3}), ("ArrowUp", {"image": 0})]
    for key, now in states_after(state, changes):
        page.keyboard.press(key)
        stepper_seen(data, now).on(page, ".kdnb-stepper")
    assert truth.text_content() == f"✓ true class: {data.classes[data.targets[0]]}"

    page.keyboard.press("o")
    (covered,) = occluded(data, 0, [(4, 4)])
    says(page, ".kdnb-stepper", f"→ {probability(softmax(covered.logits[0])[2])},")
    page.keyboard.press("x")
    page.locator(".channels button[tabindex='0']").focus()
    page.keyboard.press("Enter")
    channel = int(ranked(data.models[0].contributions[2][0, 2])[0])
    says(page, ".kdnb-stepper", f"without channel {channel}: p(notumor)")
    says(page, ".kdnb-stepper", f"→ {probability(softmax(ablated(data, 0, 0, 3, [channel]))[2])},")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    says(page, ".kdnb-stepper", "more needs a running notebook")
    assert errors == []
    context.close()


@pytest.mark.parametrize(  # last: their kernels are gone after it
    ("kind", "keys"),
    [(Twins, ["End"]), (Explorer, ["ArrowDown"] * 3), (Stepper, ["End"])],
    ids=["Twins", "Explorer", "Stepper"],
)
def test_a_view_says_that_its_kernel_is_gone(use, kind, keys):
    widget = use(kind)
    widget.start()
    page = widget.page
    if kind is Stepper:  # with the arithmetic of a cell each layer asks the kernel
        page.locator("[aria-label^='map of the student']").click()
        page.wait_for_selector(".arithmetic dd")
    page.evaluate(RESTART)
    page.locator(f"{widget.root} .stage").focus()
    widget.press(*keys)
    widget.says("The kernel of this view is gone: run this cell again.")
    if kind is Stepper:
        widget.says("layer 5 of 5")  # what needs no kernel is drawn still


def test_only_the_splash_screen_of_jupyterlab_is_passed_over():
    class Raised(Exception):
        def __init__(self, message, stack):
            super().__init__(message)
            self.stack = stack

    message = "Failed to execute 'removeChild' on 'Node'"
    of_lab = "\n    at http://127.0.0.1:1/static/lab/jlab_core.88.js:1:7"
    of_widget = "\n    at render (blob:http://127.0.0.1:1/2:3:4)"
    assert is_of_the_splash(Raised(message, message + of_lab))
    assert not is_of_the_splash(Raised(message, message + of_widget + of_lab))
    assert not is_of_the_splash(Raised(message, message)), "of an unknown place"
    assert not is_of_the_splash(Raised("x is null", "x is null" + of_lab))
