"""All notebooks in order through ``kdnb study`` at profile ``smoke``: what they leave behind."""

from __future__ import annotations

import json
import subprocess
import sys

import nbformat
import pytest

from kdnb.core.notebook_files import notebooks
from tools.grading import grade

pytestmark = pytest.mark.slow

NOTEBOOKS = notebooks()
# fewer than the profile's: what is looked at here has the same parts
FEWER = ("patients=32", "teacher_epochs=2", "shap_samples=10")


def run_study(folder):
    """``kdnb study`` at profile ``smoke``, its runs below ``folder``; returns what it printed."""
    command = [sys.executable, "-m", "kdnb.cli", "study", "--profile", "smoke"]
    command += ["--runs-dir", str(folder / "runs")]
    for pair in FEWER:
        command += ["--set", pair]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def sequence(tmp_path_factory):
    """All notebooks in order through the command line, into one runs folder."""
    folder = tmp_path_factory.mktemp("study")
    return folder, run_study(folder)


def test_whole_study_leaves_a_report_that_opens_by_itself(sequence):
    folder, printed = sequence
    report = next((folder / "runs" / "study").glob("*/report.html"))
    page = report.read_text()
    assert f"report: {report}" in printed
    assert page.count("<img alt=") >= 10
    assert page.count("data:image/png;base64,") == page.count("<img")
    assert 'src="http' not in page and "<script" not in page
    assert all(section in page for section in ("What came out", "Distillation", "What it costs"))


def test_executed_notebooks_are_small_and_hold_no_widgets(sequence):
    folder, _ = sequence
    executed = sorted((folder / "runs" / "study").glob("*/*.ipynb"))
    assert len(executed) == len(NOTEBOOKS)
    for path in executed:
        assert path.stat().st_size <= 1_000_000, path
        text = path.read_text()
        assert "widget-view" not in text and '"output_type": "error"' not in text


def test_every_output_picture_has_alt_text(sequence):
    folder, _ = sequence
    for path in (folder / "runs" / "study").glob("*/*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            for output in cell.get("outputs", []):
                data = output.get("data", {})
                assert "image/png" not in data, (path.name, cell.source)
                shown = data.get("text/html", "")
                assert shown.count("<img") == shown.count("<img alt=")


def test_solutions_of_all_exercises_pass_in_the_whole_study(sequence):
    pytest.importorskip("nbgrader", reason="not installed: nbgrader (make course)")
    folder, _ = sequence
    rows = grade(next((folder / "runs" / "study").iterdir()), NOTEBOOKS)
    rows = rows[rows["exercise"] != ""]
    assert len(rows) >= 18 and (rows["outcome"] == "passed").all(), rows.to_string()


def test_manifest_tells_what_made_each_file(sequence):
    folder, _ = sequence
    results = next((folder / "runs" / "study").iterdir())
    manifest = json.loads((results / "manifest.json").read_text())
    files = {p.name for p in results.iterdir() if p.suffix in (".csv", ".png")}
    assert files == set(manifest)
    for name, entry in manifest.items():
        assert entry["data"] and entry["parameters"]["profile"] == "smoke"
        assert bool(entry["alt"]) == name.endswith(".png")


def test_second_study_reuses_everything(sequence):
    folder, _ = sequence
    assert run_study(folder).count(": reused") == len(NOTEBOOKS)
