"""How fast the layer stepper answers in a real JupyterLab and Chromium, and how large it saves.

Phantoms at 64 px, the student at full width and DenseNet121. Prints median and 95 % quantile in
milliseconds:
- step: from the key press to the second animation frame after it (the first shows the new pixels),
- ablation and ranking: from the key press or choice to the text that the kernel's answer makes,
- first render: from running the cell to the maps on the screen, the networks loaded;
then the size of the saved notebook and of a page with 12 images, and how many requests that page
makes.

Run: python benchmarks/stepper.py [--repeats 20]   (needs Chromium and the packages of the tests)
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from browser import CHROMIUM, Lab, execute, jupyterlab, saved_size  # noqa: E402

SETUP = """
import torch
from kdnb.data import phantoms
from kdnb.data.transforms import to_tensor
from kdnb.training.students import FiveConv
from kdnb.training.teachers import TappedDenseNet121
from kdnb.widgets.layer_maps import stepper_data
from kdnb.widgets.page import to_html
from kdnb.widgets.stepper import LayerStepper
plan = phantoms.PhantomPlan(patients=12, slices=1)
pixels, masks = phantoms.render_all(plan, 64)
classes, table = phantoms.classes("brain"), phantoms.table(plan)
torch.manual_seed(3)
student, teacher = FiveConv(4), TappedDenseNet121(4)
targets = [classes.index(name) for name in table.label]
given = student, teacher, to_tensor(pixels), pixels, targets, classes
"""
SHOW = "data = stepper_data(*given, list(table.image_id), masks=masks)\nw = LayerStepper(data)\nw"
STEPS = """() => {
  window.times = [];
  const note = (e) => () => window.times.push(performance.now() - e.timeStamp);
  const second = (e) => () => requestAnimationFrame(note(e));
  document.addEventListener("keydown", (e) => requestAnimationFrame(second(e)), true);
}"""
KEYS = "ArrowRight ArrowRight e c ArrowRight g v ArrowRight a Home"
UNTIL = "text => document.querySelector('.live').textContent.includes(text)"


def report(name: str, times: list[float]) -> None:
    middle = np.median(times)
    high = np.quantile(times, 0.95)
    print(f"{name}: median {middle:.0f} ms, 95 % {high:.0f} ms, {len(times)} times")


def steps(page, repeats: int) -> list[float]:
    """Every layer, map and class."""
    page.locator(".kdnb-widget .stage").focus()
    page.evaluate(STEPS)
    for _ in range(repeats):
        for key in KEYS.split():
            page.keyboard.press(key)
            page.wait_for_timeout(40)
    return page.evaluate("window.times")


def ablations(page, repeats: int) -> list[float]:
    """One channel after the other at each layer of the student."""
    found = []
    for i in range(repeats):
        execute(page, f"w.ablated = []; w.layer = {i % 5 + 1}")
        page.wait_for_timeout(300)
        page.locator(".channels button[tabindex='0']").focus()
        page.wait_for_timeout(1500)  # the effects of all channels, asked at the first focus
        start = time.perf_counter()
        page.keyboard.press("Enter")
        page.wait_for_function(UNTIL, arg="without channel", polling="raf")
        found.append(1000 * (time.perf_counter() - start))
    return found


def rankings(page) -> list[float]:
    """All channels of each layer of the student by the effect of ablation, on a new image each."""
    found = []
    for layer in range(1, 6):
        execute(page, f"w.order = 'contribution'; w.image = {layer}; w.layer = {layer}")
        page.wait_for_timeout(1500)
        start = time.perf_counter()
        page.locator("select[aria-label='order of the channels']").select_option("effect")
        waiting = "document.querySelector('.channel-part strong').textContent.includes('asking')"
        label = "document.querySelector('.channels button').getAttribute('aria-label')"
        shown = f"{label}.includes('without it')"
        page.wait_for_function(f"!{waiting} && {shown}", polling="raf")
        found.append(1000 * (time.perf_counter() - start))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="kdnb-stepper-"))
    with sync_playwright() as playwright, jupyterlab(folder) as address:
        lab = Lab(
            folder,
            address,
            playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"]),
        )
        opened = lab.open("stepper", [SETUP, "print('ready')"], "text=ready")
        page = opened.page
        start = time.perf_counter()
        page.evaluate(
            """(code) => {
          const notebook = window.jupyterapp.shell.currentWidget.content;
          notebook.activeCellIndex = 1;
          notebook.activeCell.model.sharedModel.setSource(code);
          return window.jupyterapp.commands.execute("notebook:run-cell");
        }""",
            SHOW,
        )
        page.wait_for_selector(".kdnb-widget[aria-busy=false]", timeout=60_000)
        print(f"first render: {time.perf_counter() - start:.1f} s with all maps of 12 images")
        report("step", steps(page, options.repeats))
        report("ablation", ablations(page, max(5, options.repeats // 2)))
        report("ranking all channels", rankings(page))
        saved = saved_size(page, folder / "stepper.ipynb")
        print(f"saved notebook: {saved / 1e6:.2f} MB, console errors: {len(opened.errors)}")
        execute(page, f"to_html(data, r'{folder / 'page.html'}')")
        size, requests = (folder / "page.html").stat().st_size, []
        alone = lab.browser.new_context(offline=True).new_page()
        alone.on("request", lambda request: requests.append(request.url))
        alone.goto(f"file://{folder / 'page.html'}")
        alone.wait_for_selector(".kdnb-widget[aria-busy=false]")
        print(
            f"page with 12 images: {size / 1e6:.1f} MB, {len(requests) - 1} requests besides itself"
        )


if __name__ == "__main__":
    main()
