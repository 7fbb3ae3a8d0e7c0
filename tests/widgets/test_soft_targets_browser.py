"""The soft-target explorer in a real JupyterLab and Chromium: by keyboard only, its numbers equal to Python's."""

import numpy as np
import pytest
from browser import NEEDS_BROWSER, execute, reachable_and_contained, saved_size

from kdnb.widgets.render import number
from kdnb.widgets.soft_targets import SoftTargetState, soft_target_panel

pytestmark = NEEDS_BROWSER
SETUP = """
import numpy as np
from kdnb.widgets import Answers, SoftTargetExplorer
rng = np.random.default_rng(0)
data = Answers(3 * rng.normal(size=(5, 4)), rng.normal(size=(5, 4)), (0, 1, 2, 3, 0), tuple("vwxyz"), tuple("abcd"))
"""
WIDGET, CELL = ".kdnb-soft", "w = SoftTargetExplorer(data)\nw"
READ = """() => {
  const root = document.querySelector(".kdnb-soft"), text = (n) => n.textContent;
  const [answers, pushes] = [...root.querySelectorAll(".chart")].map((c) => [...c.querySelectorAll(".p")].map(text));
  return { live: text(root.querySelector(".live")), answers, pushes };
}"""


def agrees(page, data, state):
    expected = soft_target_panel(data, state)
    page.wait_for_function("t => document.querySelector('.kdnb-soft .live').textContent === t", arg=expected.sentence)
    seen = page.evaluate(READ)
    assert seen["answers"] == [
        f"{v[k]:.3f}" for k in range(4) for v in (expected.sure, expected.teacher, expected.student)
    ]
    pushes = [v[k] for k in range(4) for v in (expected.hard, expected.soft, expected.hard + expected.soft)]
    assert seen["pushes"] == [("+" if v > 0 else "") + number(v) for v in pushes]


@pytest.fixture
def page(opened, data):
    page = opened.page
    execute(page, "w.image = 1; w.image = 0; w.alpha = 0.7; w.temperature = 10.0; w.loss = 'kd'")
    page.locator(".kdnb-soft .stage").focus()
    agrees(page, data, SoftTargetState())
    return page


def test_every_key_shows_what_python_computes(page, data):
    for key, state in [
        ("ArrowRight", SoftTargetState(temperature=12)), ("ArrowLeft", SoftTargetState(temperature=10)),
        ("ArrowUp", SoftTargetState(alpha=0.75)), ("ArrowDown", SoftTargetState(alpha=0.7)),
        ("Home", SoftTargetState(temperature=1)), ("End", SoftTargetState(temperature=50)),
        ("n", SoftTargetState(image=1, temperature=50)), ("l", SoftTargetState(1, 0.7, 50, "as_coded")),
        ("l", SoftTargetState(1, 0.7, 50, "dkd")), ("p", SoftTargetState(0, 0.7, 50, "dkd")),
    ]:  # fmt: skip
        page.keyboard.press(key)
        agrees(page, data, state)


def test_an_answer_takes_less_than_100_ms(page):
    page.evaluate("""() => {
      window.times = [];
      const live = document.querySelector(".kdnb-soft .live");
      let start = 0;
      document.addEventListener("keydown", (e) => { start = e.timeStamp; }, true);
      new MutationObserver(() => window.times.push(performance.now() - start)).observe(live, { childList: true });
    }""")
    for key in ["ArrowRight", "ArrowLeft"] * 10:
        page.keyboard.press(key)
        page.wait_for_timeout(120)
    times = page.evaluate("window.times")
    print(f"key to new numbers: median {np.median(times):.0f} ms, 95 % {np.quantile(times, 0.95):.0f} ms")
    assert len(times) == 20 and np.median(times) < 100


def test_tab_reaches_everything_and_keys_stay_inside(page):
    reachable_and_contained(page, ".kdnb-soft")


def test_the_console_stays_silent_and_the_notebook_small(opened, page):
    assert saved_size(page, opened.path) < 300_000
    assert opened.errors == []
