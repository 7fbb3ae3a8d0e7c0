"""Faults of an exercise: one line that names notebook and exercise. How notebooks are folded."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kdnb.core.errors import UserError
from kdnb.core.notebook_files import load_json
from tools.exercises import exercises, is_folded, main, stub

ROOT = Path(__file__).parents[2]
CHECK = 'check(total, expected=1, exercise="01.1")'


def solved(solution):
    return f"# BEGIN SOLUTION\n{solution}\n# END SOLUTION"


def code(source, *tags):
    metadata = {"tags": list(tags)}
    cell = {"cell_type": "code", "metadata": metadata, "source": source, "outputs": []}
    return cell | {"id": "c", "execution_count": None}


def written(path, *cells):
    """A notebook file with these cells."""
    title = {"cell_type": "markdown", "id": "title", "metadata": {}, "source": "# Title"}
    notebook = {"cells": [title, *cells], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(notebook), "utf-8")
    return path


FAULTS = {
    "no number": ([code(solved("total = 1")), code("check(total, 1)", "check")], "must name its"),
    "no answer": ([code(CHECK, "check")], "exercise 01.1: no code cell"),
    "two checks": (
        [code(solved("total = 1")), code(CHECK, "check")] * 2,
        "exercise 01.1 has two checks",
    ),
    "no marks": ([code("total = 1"), code(CHECK, "check")], "exercise 01.1: .* must hold a sol"),
    "check, check": (
        [
            code(solved("total = 1")),
            code(CHECK, "check"),
            code(CHECK.replace("1.1", "1.2"), "check"),
        ],
        "exercise 01.2: .* must hold a solution",
    ),
    "empty": (
        [code("# BEGIN SOLUTION\n# END SOLUTION"), code(CHECK, "check")],
        "exercise 01.1: a solution must hold a statement",
    ),
    "a comment": (
        [code(solved("# total = 1")), code(CHECK, "check")],
        "exercise 01.1: a solution must hold a statement, got '# total = 1'",
    ),
    "syntax": (
        [code(solved("total = (1")), code(CHECK, "check")],
        "exercise 01.1: a solution must be Python, got an error in its line 1",
    ),
    "no name": (
        [code(solved("print(1)")), code(CHECK, "check")],
        "exercise 01.1: a solution must end in 'name = …'",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line_that_names_notebook_and_exercise(fault, tmp_path):
    pytest.importorskip("nbgrader", reason="not installed: nbgrader (make course)")
    from tools.course import build, build_slides

    cells, words = FAULTS[fault]
    path = written(tmp_path / "01_data.ipynb", *cells)
    for make in (build, build_slides):
        with pytest.raises(UserError, match=f"^01_data[:,] .*{words}"):
            make([path], tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.ipynb"))


@pytest.mark.parametrize(
    ("solution", "names"),
    [
        ("x, y = 1, 2", ["x", "y"]),
        ("[x, (y, *z)] = 1, (2, 3)", ["x", "y", "z"]),
        ("x = y = 1", ["x", "y"]),
    ],
)
def test_the_stub_of_several_names_runs(solution, names):
    given = {}
    exec(stub(solution), given)
    assert [given[name] for name in names] == [None] * len(names)


def test_one_exercise_has_one_answer_and_one_check():
    cells = [code(solved("total = 1")), code(CHECK, "check"), code("total")]
    assert exercises({"cells": cells}) == {"01.1": (cells[0], cells[1])}


def test_folding_writes_a_notebook_whole_or_not_at_all(tmp_path, monkeypatch, capsys):
    path = written(tmp_path / "01_data.ipynb", code(solved("total = 1")))
    before = path.read_bytes()
    (tmp_path / "same file").hardlink_to(path)
    monkeypatch.setattr("tools.exercises.notebooks", lambda: [path])
    main()
    assert is_folded(load_json(path)["cells"][1]) and "folded: 01" in capsys.readouterr().out
    assert (tmp_path / "same file").read_bytes() == before, "the old file was not written to"


def test_the_command_tells_a_broken_notebook_in_one_line(tmp_path):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "01_data.ipynb").write_text("{")
    command = [sys.executable, "-m", "tools.exercises"]
    environment = {**os.environ, "KDNB_ROOT": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "'01_data.ipynb' is broken JSON" in done.stderr
