"""A real JupyterLab for the tests of widgets, and what tests in Chromium share."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
NEEDED = ("playwright", "jupyterlab", "axe_playwright_python")
BOXES = (ROOT / "tests/boxes.js").read_text("utf-8")
MISSING = [name for name in NEEDED if find_spec(name) is None] + ["chromium"] * (CHROMIUM is None)
VIEWPORT = {"width": 1200, "height": 1100}
NEEDS_BROWSER = [
    pytest.mark.browser,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]


@contextmanager
def jupyterlab(folder, theme="JupyterLab Light"):
    """A JupyterLab server on ``folder`` with settings of its own; yields its address."""
    for name, value in {
        "@jupyterlab/apputils-extension/themes": {"theme": theme},
        "@jupyterlab/apputils-extension/notification": {
            "fetchNews": "false",
            "checkForUpdates": False,
        },
        "@jupyter-widgets/jupyterlab-manager/plugin": {"saveState": True},
    }.items():
        path = folder / "settings" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folders = {
        "JUPYTER_CONFIG_DIR": str(folder / "JUPYTER_CONFIG"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "JUPYTERLAB_WORKSPACES"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "IPYTHONDIR": str(folder / "ipython"),
    }
    env = os.environ | folders | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        f"--port={port}",
        "--IdentityProvider.token=",
        "--LabApp.expose_app_in_browser=True",
        f"--ServerApp.root_dir={folder}",
    ]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(
            command, env=env, cwd=folder, stdout=log, stderr=subprocess.STDOUT
        )
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


def errors_of(page):
    """A list that fills with the errors in a page's console."""
    errors = []
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda e: None if is_of_the_splash(e) else errors.append(str(e)))
    return errors


def is_of_the_splash(error):
    """Whether an error is of JupyterLab's splash screen, which may take its node away twice.

    It fades away while the page opens. Its removeChild is in JupyterLab's own file, and nothing of
    a widget stands in the stack.
    """
    calls = [line for line in (error.stack or "").splitlines() if line.strip().startswith("at ")]
    of_jupyterlab = bool(calls) and all("/jlab_core." in line for line in calls)
    return "removeChild" in str(error) and of_jupyterlab


class Opened(NamedTuple):
    """A notebook in JupyterLab: its page, the console errors so far, and its file."""

    page: object
    errors: list
    path: Path


class Lab:
    """A JupyterLab and a browser that open notebooks written for a test."""

    def __init__(self, folder, address, browser):
        self.folder, self.address, self.browser = folder, address, browser

    def open(self, name, cells, selector, timeout=180_000):
        """Run all cells of a new notebook and wait for ``selector``."""
        cells = [nbformat.v4.new_code_cell(code) for code in cells]
        kernel = {
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
        }
        path = self.folder / f"{name}.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)
        page = self.browser.new_page(viewport=VIEWPORT)
        errors = errors_of(page)
        page.goto(f"{self.address}/doc/tree/{name}.ipynb")
        kernel = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel"
        page.wait_for_function(f"{kernel} != null", timeout=120_000)
        page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
        page.wait_for_selector(selector, timeout=timeout)
        return Opened(page, errors, path)


EXECUTE = """async (code) => {
  const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  let text = "";
  const future = kernel.requestExecute({ code, store_history: false });
  future.onIOPub = (m) => { text += m.content.text ?? m.content.evalue ?? ""; };
  await future.done;
  return text;
}"""


def execute(page, code):
    """Run code in the notebook's kernel and give back what it prints."""
    return page.evaluate(EXECUTE, code)


def says(page, root, text):
    """The live line of the widget ``root`` comes to hold a text."""
    from playwright.sync_api import expect

    expect(page.locator(f"{root} .live")).to_contain_text(text, timeout=30_000)


def says_only(page, root, text):
    """The live line of the widget ``root`` comes to be a text."""
    from playwright.sync_api import expect

    expect(page.locator(f"{root} .live")).to_have_text(text, timeout=30_000)


TAB_STOPS = """() => {
  const e = document.activeElement;
  const box = e.getBoundingClientRect();
  const outline = getComputedStyle(e).outlineStyle;
  const inside = !!e.closest(".kdnb-widget");
  return [e.getAttribute("aria-label"), Math.min(box.width, box.height), outline, inside];
}"""


def tab_through(page):
    """Names of all stops from the focus on to the widget's end.

    Each must be named, large enough and outlined.
    """
    names, inside = [], True
    while inside:
        name, size, outline, inside = page.evaluate(TAB_STOPS)
        if inside:
            assert name and size >= 24 and outline == "solid", (name, size, outline)
            names.append(name)
            page.keyboard.press("Tab")
    return names


def accessible(page, root):
    """axe-core finds no serious or critical fault inside the widget ``root``."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, root).response["violations"]
    grave = [v for v in found if v["impact"] in ("serious", "critical")]
    faults = {v["id"]: [node["html"][:150] for node in v["nodes"]] for v in grave}
    assert not faults, faults


def reachable(page, root):
    """Tab reaches every control of the widget ``root`` by a name of its own."""
    stops = page.locator(
        f"{root} :is(button, input, select, [tabindex]):not([tabindex='-1']):visible"
    )
    stops.first.focus()
    names = tab_through(page)
    assert len(names) == len(set(names)) == stops.count()


def laid_out(page, root, widths=(600, 860, 1024, 1280, 1600)):
    """At none of the widths does anything in the widget overlap, leave the frame or be cut off."""
    page.set_viewport_size({"width": 2100, "height": 1100})
    for width in widths:
        page.locator(root).evaluate(
            "(node, width) => { node.parentElement.style.width = `${width}px`; }", width
        )
        page.wait_for_timeout(100)
        faults = page.evaluate(BOXES, root)
        assert not faults, (width, faults)
    page.locator(root).evaluate("(node) => { node.parentElement.style.width = ''; }")
    page.set_viewport_size(VIEWPORT)


def contained(page, root):
    """Keys inside the widget ``root`` neither edit the notebook nor move the focus.

    Ctrl+S saves it.
    """
    page.locator(f"{root} .stage").focus()
    for key in (*"abxmyrddzcvACEG12", "Enter", "Space", "Space"):  # the second Space stops Play
        page.keyboard.press(key)
    read = "window.jupyterapp.shell.currentWidget.content.widgets.map((cell) => cell.model.type)"
    assert page.evaluate(read) == ["code", "code"]
    assert page.evaluate("document.activeElement.className") == "stage"
    page.keyboard.press("Control+s")
    page.wait_for_function("!window.jupyterapp.shell.currentWidget.context.model.dirty")


def saved_size(page, path):
    """Characters of the notebook as JupyterLab saves it."""
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    page.wait_for_timeout(2000)
    return len(path.read_text())
