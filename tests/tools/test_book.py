"""The book from one executed notebook: whole, offline, searchable, and usable by everybody."""

import json
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from browser import NEEDS_BROWSER, accessible
from executed import write_study

from kdnb.batch.papermill_runs import run_notebook
from kdnb.core.errors import UserError
from kdnb.core.notebook_files import notebooks
from kdnb.core.settings import Settings
from kdnb.course.checks import check
from tools import book
from tools.book import build_book, executed_study

needs_book = pytest.mark.skipif(
    find_spec("jupyter_book") is None, reason="not installed: jupyter-book (make book)"
)


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """runs/study/tiny with notebook 00, executed at smoke.

    The folder has a name that pages must not show.
    """
    runs = tmp_path_factory.mktemp("secret-place") / "runs"
    given = {"profile": "smoke", "runs_dir": str(runs)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KDNB_LIVE", "0")
        run = run_notebook(notebooks()[0], given, runs, [])
    folder = runs / "study" / "tiny"
    folder.mkdir(parents=True)
    copy = nbformat.read(run.path(notebooks()[0].name), as_version=4)
    shown = check(
        1, expected=1, exercise="00.1"
    )._repr_mimebundle_()  # as the exercises of other notebooks show it
    output = nbformat.v4.new_output("execute_result", shown, execution_count=99)
    [cell for cell in copy.cells if cell.cell_type == "code"][-1].outputs.append(output)
    nbformat.write(copy, folder / notebooks()[0].name)
    return folder


@pytest.fixture(scope="module")
def site(executed):
    return build_book(executed, executed.parents[1] / "book").parent


PAGES = (
    "README",
    "notebooks/00_start_here",
    "docs/book/status",
    "docs/book/stepper",
    "docs/book/generated/kdnb.core.runs",
    "docs/teach/ethics",
)


@needs_book
@pytest.mark.slow
def test_every_text_and_module_has_a_page(site):
    root = Path(__file__).parents[2]
    sources = [
        *root.glob("docs/*.md"),
        *root.glob("docs/teach/*.md"),
        root / "CONTRIBUTING.md",
        root / "CHANGELOG.md",
    ]
    assert all((site / path.relative_to(root).with_suffix(".html")).is_file() for path in sources)
    assert "Can a small network" in (site / "notebooks/00_start_here.html").read_text()
    index = (site / "searchindex.js").read_text()
    assert "00_start_here" in index and "leak_meter" in index


def test_the_stepper_is_a_page_of_its_own(tmp_path, monkeypatch):
    from kdnb.training.students import FiveConv

    class Small:
        """What the page asks of a study, without training."""

        def __init__(self, settings):
            assert settings.profile == "smoke" and settings.seed == 3
            self.explained = np.arange(6)
            self.student_model = FiveConv(2, 0.25)
            self.teacher_model = FiveConv(2, 0.5)
            table = pd.DataFrame({"image_id": [f"case {i}" for i in range(6)]})
            self.image_set = SimpleNamespace(classes=("a", "b"), table=table)

        def images(self, rows):
            return torch.randn(len(rows), 3, 32, 32)

        def pixels(self, rows):
            return np.zeros((len(rows), 32, 32, 3), np.uint8)

        def targets(self, rows):
            return torch.zeros(len(rows), dtype=torch.int64)

        def masks(self, rows):
            return None

    monkeypatch.setattr("kdnb.study.study.Study", Small)
    copy = tmp_path / "04_feature_maps.ipynb"
    page = tmp_path / "stepper.html"
    assert not book.stepper_page(copy, page) and not page.exists()
    given = {"profile": "smoke", "seed": 3, "explained_images": 6}
    copy.write_text(json.dumps({"metadata": {"papermill": {"parameters": given}}}))
    assert book.stepper_page(copy, page)
    text = page.read_text()
    assert 'id="kdnb-stepper"' in text and "case 3" in text and "case 4" not in text


@needs_book
@pytest.mark.slow
def test_nothing_comes_from_the_network(site):
    """No script, style, font, picture or frame has an address; links of readers may."""
    loaded = re.compile(
        r"<(?:script|link|img|iframe|source|video)\b[^>]*?(?:src|href)=[\"'](?:https?:)?//[^\"']*"
    )
    for page in site.rglob("*.html"):
        text = page.read_text()
        assert not loaded.findall(text), page
        assert not any(word in text for word in ("unpkg.com", "cdn.", "tex-mml-chtml")), page
    for style in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import )[\"']?(?:https?:)?//", style.read_text()), style


@needs_book
@pytest.mark.slow
def test_no_page_names_a_folder_of_this_machine(site, executed):
    for page in site.rglob("*.html"):
        text = page.read_text()
        assert (
            str(executed.parents[1]) not in text and str(Path(__file__).parents[2]) not in text
        ), page


def test_a_page_names_the_archive_and_not_where_it_lies(tmp_path):
    archive = "/home/somebody/sets/brain.zip"
    cell = nbformat.v4.new_code_cell(f"data = {archive!r}")
    notebook = nbformat.v4.new_notebook(cells=[cell])
    notebook.metadata["papermill"] = {"parameters": {"data": archive}}
    page = book._page(notebook, tmp_path / "runs" / "study" / "one")
    assert "somebody" not in page and "data = 'brain.zip'" in page


@needs_book
@pytest.mark.slow
def test_status_tells_times_versions_and_whether_the_code_is_the_same(site):
    import torch

    page = (site / "docs/book/status.html").read_text()
    cells = [re.sub("<[^>]*>", "", cell) for cell in re.findall(r"<td.*?</td>", page, re.DOTALL)]
    assert cells[0] == "00_start_here"
    assert int(cells[2]) > 0
    assert cells[3] == "smoke"
    assert cells[5] == "yes"
    assert cells[cells.index("torch") + 1] == torch.__version__.partition("+")[0]


@needs_book
@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.usefixtures("site")
class TestInChromium:
    pytestmark = NEEDS_BROWSER

    def test_axe_finds_nothing_serious_and_the_console_is_silent(self, site, chromium, scheme):
        context = chromium.new_context(color_scheme=scheme, offline=True, reduced_motion="reduce")
        for name in PAGES:
            page, errors = context.new_page(), []
            page.on(
                "console",
                lambda m, errors=errors: errors.append(m.text) if m.type == "error" else None,
            )
            page.on("pageerror", lambda e, errors=errors: errors.append(str(e)))
            page.goto(f"file://{site}/{name}.html")
            page.wait_for_timeout(300)  # the theme fades in its colours
            assert page.evaluate("document.documentElement.dataset.theme") == scheme
            assert not errors, name
            # errors from here on are of axe: it asks for style sheets, which file:// denies
            accessible(page, "html")
            levels = page.evaluate(
                "[...document.querySelectorAll('article :is(h1, h2, h3)')].map(h => +h.tagName[1])"
            )
            assert levels[0] == 1 and levels.count(1) == 1
            page.close()

    def test_search_and_first_page_by_keyboard(self, site, chromium, scheme):
        page = chromium.new_context(color_scheme=scheme, offline=True).new_page()
        page.goto(f"file://{site}/index.html")
        page.wait_for_url("**/README.html")
        page.keyboard.press("Tab")
        assert "skip" in page.evaluate("document.activeElement.textContent").casefold()
        page.keyboard.press("Control+k")
        page.keyboard.type("leak meter")
        page.keyboard.press("Enter")
        page.wait_for_selector("#search-results li a")
        assert page.locator("#search-results li a").count() >= 2


@needs_book
@pytest.mark.slow
def test_a_broken_page_is_an_error_and_the_old_book_stays(site, executed, monkeypatch):
    real = book._collect

    def one_page(source, executed):
        real(source, executed)
        shutil.rmtree(source / "notebooks")
        (source / "docs/book/_toc.yml").write_text("format: jb-book\nroot: README\n")
        for page in [*source.rglob("*.md"), *source.rglob("*.rst")]:
            page.unlink()
        (source / "README.md").write_text("# Title\n\n[nowhere](no-such-page.md)\n")

    monkeypatch.setattr(book, "_collect", one_page)
    before = (site / "README.html").read_text()
    with pytest.raises(UserError, match="the book has faults.*no-such-page"):
        build_book(executed, site)
    assert (site / "README.html").read_text() == before


@needs_book
def test_a_folder_that_is_no_book_is_not_replaced(tmp_path):
    (tmp_path / "mine.txt").write_text("dear")
    with pytest.raises(UserError, match="no book"):
        build_book(tmp_path, tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "dear"


def test_without_jupyter_book(monkeypatch, tmp_path):
    monkeypatch.setattr(book, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[book\]'"):
        build_book(tmp_path, tmp_path / "book")


def test_the_study_runs_only_where_copies_are_not_finished(monkeypatch, tmp_path):
    settings, asked = Settings.checked({"profile": "smoke", "runs_dir": str(tmp_path)}), []
    monkeypatch.setenv("KDNB_STUDY", "x")

    def run(settings, explicit):
        asked.append(explicit)
        return tmp_path / "study/x/report.html", None

    monkeypatch.setattr("kdnb.study.whole_study.run_notebooks", run)
    folder = tmp_path / "study/x"
    assert executed_study(settings) == folder and asked == [{}]
    folder.mkdir(parents=True, exist_ok=True)
    write_study(folder, end_time=None)
    assert executed_study(settings) == folder and len(asked) == 2
    write_study(folder)
    assert executed_study(settings) == folder and len(asked) == 2


def test_a_folder_without_executed_notebooks_is_one_line_and_code_2(tmp_path):
    command = [sys.executable, "-m", "tools.book", "--executed", str(tmp_path)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "holds no executed notebook" in done.stderr


def test_the_api_page_lists_every_module():
    root = Path(__file__).parents[2]
    listed = set(
        re.findall(r"^   (kdnb[.\w]+)$", (root / "docs/book/api.rst").read_text(), re.MULTILINE)
    )
    here = {
        p.stem
        for p in (root / "kdnb").iterdir()
        if p.suffix == ".py" or (p / "__init__.py").exists()
    }
    assert {name.split(".")[1] for name in listed} == here - {"__init__"}
