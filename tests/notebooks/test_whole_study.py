"""All notebooks in order through ``kdnb study`` at profile ``smoke``: what they leave behind."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import nbformat
import numpy as np
import pytest

from kdnb.core.notebook_files import load_json, notebooks, source_of
from kdnb.core.settings import Settings
from kdnb.core.tables import OPEN_ROWS
from kdnb.study.study import Study
from kdnb.xai.baselines import BASELINES
from kdnb.xai.evaluation import explanations_to_grade
from kdnb.xai.metrics import METRICS
from kdnb.xai.shortcuts import distractor_test, shortcut_test, train_cheating, train_lured
from kdnb.xai.teacher_agreement import agreement_table, agreement_with_teacher, kd_question
from kdnb.xai.verdicts import AGAINST, explanation_verdicts, grade_explanations, margins
from tools.course import build
from tools.exercises import exercises, solution_of
from tools.grading import grade

pytestmark = pytest.mark.slow

NOTEBOOKS = notebooks()
# fewer than the profile's: what is looked at here has the same parts
FEWER = {"patients": 32, "teacher_epochs": 2, "shap_samples": 10, "timing_seconds": 0.1}


FOLDED = re.compile(r"<details.*?</details>", re.DOTALL)
TABLE = re.compile(r"<tbody>.*?</tbody>", re.DOTALL)


def run_study(folder):
    """``kdnb study`` at profile ``smoke``, its runs below ``folder``; returns what it printed."""
    command = [sys.executable, "-m", "kdnb.cli", "study", "--profile", "smoke"]
    command += ["--runs-dir", str(folder / "runs")]
    for name, value in FEWER.items():
        command += ["--set", f"{name}={value}"]
    told = {"capture_output": True, "text": True, "cwd": folder, "timeout": 900}
    done = subprocess.run(command, **told)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def sequence(tmp_path_factory):
    """All notebooks in order through the command line, into one runs folder."""
    folder = tmp_path_factory.mktemp("study")
    return folder, run_study(folder)


def study_folder(folder):
    """Where the only study's results lie; its lock lies beside it."""
    [found] = [path for path in (folder / "runs" / "study").iterdir() if path.is_dir()]
    return found


def test_whole_study_leaves_a_report_that_opens_by_itself(sequence):
    folder, printed = sequence
    report = next((folder / "runs" / "study").glob("*/report.html"))
    page = report.read_text()
    assert f"report: {report}" in printed and "kdnb explain IMAGE --run " in printed
    lines = [line for line in printed.splitlines() if line.startswith("  · ")]
    assert any("grading the teacher, 3 of 1" in line for line in lines)
    assert page.count("<img alt=") >= 10
    assert page.count("data:image/png;base64,") == page.count("<img")
    assert 'src="http' not in page and "<script" not in page
    assert page.count("<section") == 8 and "Not done yet" not in page
    assert len(page) <= 3_000_000


def test_executed_notebooks_are_small_and_hold_no_widgets(sequence):
    folder, _ = sequence
    executed = sorted((folder / "runs" / "study").glob("*/*.ipynb"))
    assert len(executed) == len(NOTEBOOKS)
    for path in executed:
        assert path.stat().st_size <= 1_000_000, path
        text = path.read_text()
        assert "widget-view" not in text and '"output_type": "error"' not in text


def test_every_output_picture_has_alt_text_and_no_long_table_stands_open(sequence):
    folder, _ = sequence
    for path in (folder / "runs" / "study").glob("*/*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            for output in cell.get("outputs", []):
                data = output.get("data", {})
                assert "image/png" not in data, (path.name, cell.source)
                shown = data.get("text/html", "")
                assert shown.count("<img") == shown.count("<img alt=")
                for table in TABLE.findall(FOLDED.sub("", shown)):
                    assert table.count("<tr") <= OPEN_ROWS, (path.name, cell.source)


def test_solutions_of_all_exercises_pass_in_the_whole_study(sequence):
    pytest.importorskip("nbgrader", reason="not installed: nbgrader (make course)")
    folder, _ = sequence
    rows = grade(study_folder(folder), NOTEBOOKS)
    rows = rows[rows["exercise"] != ""]
    assert len(rows) >= 24 and (rows["outcome"] == "passed").all(), rows.to_string()


def test_student_copies_of_executed_and_saved_notebooks_hold_no_output_and_no_answer(
    sequence, tmp_path
):
    pytest.importorskip("nbgrader", reason="not installed: nbgrader (make course)")
    folder, _ = sequence
    executed = sorted(study_folder(folder).glob("[0-9]*.ipynb"))
    build(executed, tmp_path)
    for path in executed:
        source, text = load_json(path), (tmp_path / "student" / path.name).read_text("utf-8")
        copy = load_json(tmp_path / "student" / path.name)
        assert any(cell.get("outputs") for cell in source["cells"]), "it ran"
        assert not [c for c in copy["cells"] if c.get("outputs") or c.get("execution_count")]
        assert str(folder) not in text and "SOLUTION" not in text
        assert not [part for part in (copy, *copy["cells"]) if "papermill" in part["metadata"]]
        for answer, _ in exercises(source).values():
            lines = solution_of(source_of(answer)).splitlines()
            assert not [line for line in lines if len(line) > 12 and json.dumps(line)[1:-1] in text]


def test_manifest_tells_what_made_each_file(sequence):
    folder, _ = sequence
    results = study_folder(folder)
    manifest = json.loads((results / "manifest.json").read_text())
    files = {p.name for p in results.iterdir() if p.suffix in (".csv", ".png")}
    files |= {p.name for p in results.glob("*_answer.json")}
    assert files == set(manifest)
    for name, entry in manifest.items():
        assert entry["data"] and entry["parameters"]["profile"] == "smoke"
        assert bool(entry["alt"]) == name.endswith(".png")


@pytest.fixture(scope="module")
def finished(sequence):
    """The study that the notebooks made, as another process finds it."""
    folder, _ = sequence
    return Study(Settings.checked({**FEWER, "profile": "smoke", "runs_dir": str(folder / "runs")}))


def test_every_explanation_of_every_model_is_graded_once(finished):
    made = sorted((finished.settings.runs / "grades").glob("*/done.json"))
    grades = grade_explanations(finished)
    assert sorted((finished.settings.runs / "grades").glob("*/done.json")) == made and made
    models = {"teacher": 8, "KD student": 13, "label-only student": 8}  # smoke: no costly ones
    expected = {(m, n) for m in models for n in explanations_to_grade(finished, m)}
    assert set(grades.index.droplevel("metric")) == expected
    for model, count in models.items():
        assert len(explanations_to_grade(finished, model)) == count + len(BASELINES)
    assert set(grades.index.unique("metric")) == set(METRICS)
    known = grades.dropna()
    assert (
        (known["low"] <= known["value"] + 1e-9) & (known["value"] <= known["high"] + 1e-9)
    ).all()
    blind = grades.loc[("KD student", "average map, middle", "class switch"), "value"]
    assert blind == pytest.approx(1), "no class occurs in the average map"
    alike = agreement_with_teacher(finished)
    assert agreement_table(finished, alike).shape == (2 * 8 * 3, 6)
    above = margins(finished)
    assert set(above.index) == {key for key in expected if key[1] not in BASELINES}
    assert set(above) == set(AGAINST)
    assert explanation_verdicts(grades, above).shape == (len(expected), 7)
    assert np.isfinite(kd_question(finished, alike).loc["accuracy", "difference"])


def test_explanations_reveal_the_cheat_and_a_class_blind_map_the_distractor(finished):
    accuracy, energy = shortcut_test(finished, train_cheating(finished))
    value = accuracy.xs("value", axis=1, level=1)
    assert (
        value.loc["cheating", "mark names the class"]
        > value.loc["cheating", "mark says nothing"] + 0.2
    )
    assert energy.loc["integrated gradients", "reveals"] == 1
    assert energy.loc[list(BASELINES), "reveals"].sum() == 0
    assert (energy.loc[list(BASELINES), "difference"] == 0).all()
    lured = distractor_test(finished, train_lured(finished))
    assert lured.loc["average map", "share"] > lured.loc["class evidence", "share"]


def test_second_study_reuses_everything(sequence):
    folder, _ = sequence
    assert run_study(folder).count(": reused") == len(NOTEBOOKS)
