"""nbgrader itself on our course directory: releases notebook 01, grades two submissions."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kdnb.core.notebook_files import code_cells, load_json, notebooks, source_of, tags_of
from tools.course import build
from tools.exercises import exercises

pytest.importorskip("nbgrader", reason="not installed: nbgrader (make course)")
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
STEM = "01_data"
SMALL = {"profile": "smoke", "patients": 24, "slices": 2}


def nbgrader(folder, *arguments):
    """Call it as a teacher does, in the course's folder."""
    command = [sys.executable, "-m", "nbgrader", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course directory with notebook 01 released, and the committed notebook."""
    folder = tmp_path_factory.mktemp("course")
    committed = [path for path in notebooks() if path.stem == STEM]
    build(committed, folder)
    nbgrader(folder / "nbgrader", "generate_assignment", STEM)
    return folder, load_json(committed[0])


def test_what_nbgrader_releases_is_the_student_copy(course):
    folder, _ = course
    released = load_json(folder / "nbgrader" / "release" / STEM / f"{STEM}.ipynb")
    given = load_json(folder / "student" / f"{STEM}.ipynb")
    for cell in released["cells"]:
        for added in ("checksum", "cell_type"):
            cell["metadata"].get("nbgrader", {}).pop(added, None)
    assert released["cells"] == given["cells"]
    assert "None  # your turn" in json.dumps(released) and "SOLUTION" not in json.dumps(released)


def submission(released, runs, answers, checks):
    """The released notebook with small images, and with these sources of answers and checks."""
    notebook = copy.deepcopy(released)
    parameters = next(cell for cell in code_cells(notebook) if "parameters" in tags_of(cell))
    changed = [f"{name} = {value!r}\n" for name, value in {**SMALL, "runs_dir": runs}.items()]
    parameters["source"] = source_of(parameters) + "\n" + "".join(changed)
    for number, (answer, check) in exercises(notebook).items():
        answer["source"] = answers.get(number, source_of(answer))
        check["source"] = checks.get(number, source_of(check))
    return notebook


@pytest.fixture(scope="module")
def scores(course, tmp_path_factory):
    """Student → exercise → points, as nbgrader's gradebook has them after autograding."""
    from nbgrader.api import Gradebook

    folder, committed = course
    place = folder / "nbgrader"
    released = load_json(place / "release" / STEM / f"{STEM}.ipynb")
    right = {number: source_of(answer) for number, (answer, _) in exercises(committed).items()}
    wrong = {
        "01.1": source_of(exercises(released)["01.1"][0]).replace("None", "12345"),
        "01.2": right["01.2"],
        "01.3": "memory_score = 12345",
    }
    easy = {"01.3": "from kdnb.course.checks import check\ncheck(1, expected=1, exercise='01.3')"}
    handed_in = {"ann": (right, {}), "bob": (wrong, easy)}  # bob has not tried 01.0
    runs = str(tmp_path_factory.mktemp("runs"))
    for student, (answers, checks) in handed_in.items():
        target = place / "submitted" / student / STEM
        target.mkdir(parents=True)
        notebook = submission(released, runs, answers, checks)
        (target / f"{STEM}.ipynb").write_text(json.dumps(notebook), "utf-8")
    nbgrader(place, "autograde", STEM)
    found = {}
    with Gradebook(f"sqlite:///{place}/gradebook.db") as gradebook:
        for student in handed_in:
            graded = gradebook.find_submission_notebook(STEM, STEM, student)
            found[student] = {grade.cell.name: grade.score for grade in graded.grades}
            assert {grade.max_score for grade in graded.grades} == {1.0}
    return found


def points(zero, one, two, three):
    return {"check-01-0": zero, "check-01-1": one, "check-01-2": two, "check-01-3": three}


def test_a_right_answer_has_full_points(scores):
    assert scores["ann"] == points(1, 1, 1, 1)


def test_a_stub_and_a_wrong_answer_have_none_even_under_a_changed_check_and_stop_no_other(scores):
    assert scores["bob"] == points(0, 0, 1, 0)
