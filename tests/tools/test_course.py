"""Student, instructor and nbgrader copies, and the run times in them."""

import ast
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from executed import finished, write_study

from kdnb.core.errors import UserError
from kdnb.core.notebook_files import code_cells, load_json, notebooks, source_of, tags_of
from tools.course import build, build_slides, main, newest_study
from tools.exercises import exercises, fold, is_folded, solution_of
from tools.times import write_times

pytest.importorskip("nbgrader", reason="not installed: nbgrader (make course)")
from tools.copies import student_copy

ROOT = Path(__file__).parents[2]
TAUGHT = notebooks()[1:7]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    out = tmp_path_factory.mktemp("built")
    build(notebooks(), out)
    return out


def digests(folder):
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in folder.rglob("*.ipynb")
    }


@pytest.mark.slow
def test_two_builds_are_byte_equal(built, tmp_path):
    command = [sys.executable, "-m", "tools.course", "--executed", "none", "--out", str(tmp_path)]
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert again.returncode == 0 and "22 notebooks" in again.stdout, again.stderr
    assert digests(tmp_path) == digests(built) and len(digests(built)) == 8 + 8 + 6


@pytest.mark.parametrize("kind", ["student", "instructor"])
def test_copies_are_valid_notebooks_with_the_parameters_cell(built, kind):
    for path in (built / kind).glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        assert sum("parameters" in c.metadata.get("tags", []) for c in notebook.cells) == 1
        assert notebook.metadata.kdnb == {"copy": kind, "notebook": path.stem}


def test_copies_name_pages_of_the_project_and_do_not_link_to_them(built):
    pages = [path.read_text() for path in built.rglob("*.ipynb")]
    assert not any("](../" in page for page in pages)
    assert any("`docs/own_network.md` of the project" in page for page in pages)


def test_student_copies_hold_stubs_and_folded_checks_and_no_notes(built):
    for path in TAUGHT:
        text = (built / "student" / path.name).read_text("utf-8")
        assert "SOLUTION" not in text and "For the instructor" not in text
        committed, given = load_json(path), load_json(built / "student" / path.name)
        for name, (answer, check) in exercises(given).items():
            solution = source_of(exercises(committed)[name][0])
            assert "# BEGIN SOLUTION\n" in solution and "None  # your turn" in source_of(answer)
            hidden = solution.partition("# BEGIN SOLUTION\n")[2].partition("# END")[0]
            assert not [line for line in hidden.splitlines() if len(line) > 12 and line in text]
            assert check["metadata"]["jupyter"]["source_hidden"]
            assert not check["metadata"]["editable"]
            ast.parse(source_of(answer))


@pytest.mark.parametrize("path", notebooks(), ids=lambda p: p.stem)
def test_up_to_its_first_exercise_a_student_copy_runs_the_very_code_of_the_study(built, path):
    """Which the run of the whole study proves; the stubs are run in test_exercises."""
    own = {a["id"] for a, _ in exercises(load_json(path)).values()}
    committed, given = (
        [
            source_of(c)
            for c in load_json(p)["cells"]
            if c["cell_type"] == "code" and c["id"] not in own
        ]
        for p in (path, built / "student" / path.name)
    )
    assert given == committed


@pytest.fixture
def executed_source():
    """Notebook 01 as somebody commits it who forgot to clear it: every code cell has outputs."""
    notebook = load_json(TAUGHT[0])
    for number, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "code":
            cell["execution_count"] = number
            data = {"text/plain": ["Right.", "SECRET"]}
            result = {"output_type": "execute_result", "data": data, "metadata": {}}
            printed = {"output_type": "stream", "name": "stdout", "text": ["SECRET"]}
            cell["outputs"] = [result | {"execution_count": number}, printed]
            cell["metadata"]["papermill"] = {"duration": 1, "exception": "SECRET"}
    notebook["metadata"]["papermill"] = {"output_path": "/home/SECRET/01_data.ipynb"}
    notebook["metadata"]["widgets"] = {"state": {"view": "SECRET"}}
    injected = {"cell_type": "code", "source": "# Parameters\ndata = '/home/SECRET'\n"}
    injected |= {"metadata": {"tags": ["injected-parameters"]}, "outputs": [], "id": "injected"}
    notebook["cells"].insert(2, injected | {"execution_count": 1})
    return notebook


def test_outputs_of_an_executed_source_never_reach_a_student(executed_source, tmp_path):
    source = tmp_path / TAUGHT[0].name
    source.write_text(json.dumps(executed_source))
    build([source], tmp_path / "out")
    words = [solution_of(source_of(answer)) for answer, _ in exercises(executed_source).values()]
    assert len(words) >= 3 and all(words)
    for place in ("student", "nbgrader/source/01_data"):
        copy = load_json(tmp_path / "out" / place / source.name)
        codes = [cell for cell in copy["cells"] if cell["cell_type"] == "code"]
        assert not [c for c in codes if c["outputs"] or c["execution_count"] is not None]
        assert "SECRET" not in json.dumps(copy)
    student = load_json(tmp_path / "out" / "student" / source.name)
    text = "\n".join(map(source_of, student["cells"]))
    for solution in words:
        assert not [line for line in solution.splitlines() if line in text]


def test_slides_open_without_a_network_and_hold_no_answers(executed_source, tmp_path):
    picture = '<img alt="a bar for each class" src="data:image/png;base64,AAAA">'
    shown = {"output_type": "display_data", "data": {"text/html": picture}, "metadata": {}}
    code = [c for c in executed_source["cells"] if c["cell_type"] == "code" and not tags_of(c)]
    code[1]["outputs"] = [shown]
    table = {**shown, "data": {"text/html": "<table><tr><td>who crosses</td></tr></table>"}}
    of_table = next(c for c in code if "crossings(leaks)" in source_of(c))
    of_table["outputs"] = [table]
    code[2]["outputs"] = [{**table, "data": {"text/html": "<table>not explained</table>"}}]
    formula = {"cell_type": "markdown", "id": "formula", "metadata": {}}
    words = "Loss: $\\alpha^2$, then $$\\frac{1}{T}$$; [own](../docs/own_network.md)"
    executed_source["cells"].append(formula | {"source": words})
    source = tmp_path / TAUGHT[0].name
    source.write_text(json.dumps(executed_source))
    [page] = build_slides([source], tmp_path / "out", {source.name: executed_source})
    text = page.read_text("utf-8")
    assert "../docs" not in text and "docs/own_network.md</code> of the project" in text
    assert text.count("<math") >= 2 and r"\alpha" not in text and r"\frac" not in text
    for link in re.findall(r'<(?:script|link)[^>]*(?:src|href)="([^"]+)"', text):
        assert (page.parent / link).is_file(), link
    css = "".join(file.read_text("utf-8") for file in (page.parent / "reveal").rglob("*.css"))
    assert "@import" not in css and "url(http" not in css
    assert text.count("<section") > 15 and "a bar for each class" in text
    assert "who crosses" in text and "not explained" not in text
    assert '<aside class="notes">' in text and "SOLUTION" not in text and "SECRET" not in text


def test_the_newest_finished_study_gives_the_output(tmp_path):
    assert newest_study(tmp_path) is None
    for number, name in enumerate(("old", "new", "half", "stopped")):
        folder = tmp_path / "study" / name
        write_study(folder, notebooks()[: 3 if name == "half" else None])
        if name == "stopped":
            stopped = finished(load_json(TAUGHT[3]), exception=True)
            (folder / TAUGHT[3].name).write_text(json.dumps(stopped))
        for path in folder.glob("*.ipynb"):
            os.utime(path, (number, number))
    assert newest_study(tmp_path).name == "new"


def test_every_section_of_a_copy_has_its_minutes(built):
    for path in TAUGHT:
        text = "\n".join(source_of(c) for c in load_json(built / "student" / path.name)["cells"])
        headings = re.findall(r"(?m)^## .*\n\n(.*)$", text)
        assert len(headings) == len(re.findall(r"(?m)^## ", text)) > 5
        assert all(re.fullmatch(r"\*About \d+ minutes?\.\*", line) for line in headings)


def test_nbgrader_finds_answers_and_checks_and_no_notes(built):
    from nbgrader.nbgraderformat import MetadataValidator

    folders = sorted((built / "nbgrader" / "source").iterdir())
    assert [folder.name for folder in folders] == [path.stem for path in TAUGHT]
    for folder in folders:
        path = folder / f"{folder.name}.ipynb"
        assert "For the instructor" not in path.read_text("utf-8")
        MetadataValidator().validate_nb(nbformat.read(path, as_version=4))
        for answer, check in exercises(load_json(path)).values():
            assert "# BEGIN SOLUTION" in source_of(answer)
            asked, graded = answer["metadata"]["nbgrader"], check["metadata"]["nbgrader"]
            assert asked["solution"] and not asked["grade"] and not asked["locked"]
            assert graded["grade"] and graded["locked"] and graded["points"] == 1


def test_who_explores_is_not_shown_the_answers():
    """`python -m tools.exercises` folds what is not folded yet."""
    for path in notebooks():
        assert fold(load_json(path)) == 0, path.name
    cells = [{"source": "# BEGIN SOLUTION\nx = 1\n# END SOLUTION", "metadata": {}}]
    cells += [{"source": "x", "metadata": {}}]
    assert fold({"cells": cells}) == 1 and is_folded(cells[0]) and not is_folded(cells[1])


def test_copies_show_what_their_reader_works_with(built):
    for kind in ("student", "instructor"):
        for path in TAUGHT:
            for cell in load_json(built / kind / path.name)["cells"]:
                assert is_folded(cell) == ("check" in tags_of(cell))


def test_the_committed_notebooks_are_plain():
    assert not [path for path in notebooks() if '"nbgrader"' in path.read_text("utf-8")]


def test_instructor_copies_hold_solutions_notes_and_the_expected_output(built, tmp_path):
    output = {
        "data": {"text/plain": "Right."},
        "execution_count": 99,
        "metadata": {},
        "output_type": "execute_result",
    }
    copies = {}
    for path in notebooks():
        executed = copies[path.name] = load_json(path)
        for _, check in exercises(executed).values():
            check["outputs"] = [dict(output)]
        text = (built / "instructor" / path.name).read_text("utf-8")
        assert path not in TAUGHT or ("# BEGIN SOLUTION" in text and "For the instructor" in text)
    build(notebooks(), tmp_path / "out", copies)
    for path in TAUGHT:
        executed = load_json(path)
        copy = nbformat.read(tmp_path / "out" / "instructor" / path.name, as_version=4)
        nbformat.validate(copy)
        shown = [c for c in copy.cells if c.cell_type == "code" and c.outputs]
        assert len(shown) == len(exercises(executed)) and shown[0].outputs[0].execution_count == 1


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("# BEGIN SOLUTION\nx = 1", "without '# END SOLUTION'"),
        ("x = 1\n# END SOLUTION", "without '# END SOLUTION'"),
        ("# BEGIN SOLUTION\nprint(1)\n# END SOLUTION", "must end in 'name = …'"),
        (2 * "# BEGIN SOLUTION\nx = 1\n# END SOLUTION\n", "one solution, got 2"),
        (
            "# BEGIN SOLUTION\nx = 1\n# END SOLUTION",
            "01_data: Solution region detected in a non-sol",
        ),
    ],
)
def test_marks_that_do_not_fit_are_refused(source, word):
    cells = [{"cell_type": "code", "id": "a", "metadata": {}, "source": source}]
    with pytest.raises(UserError, match=word):
        student_copy({"cells": cells, "metadata": {}}, "01_data", {})


def test_run_times_reach_the_builds(tmp_path):
    write_study(tmp_path)
    (tmp_path / "06_machine.csv").write_text("measured on,value\nprocessor,Abacus 1\nthreads,1\n")
    project = tmp_path / "notebooks"
    project.mkdir()
    for path in notebooks():
        (project / path.name).write_bytes(path.read_bytes())
    committed = sorted(project.glob("*.ipynb"))
    write_times(tmp_path, committed)
    build(committed, tmp_path / "out")
    first = source_of(load_json(tmp_path / "out" / "student" / "04_feature_maps.ipynb")["cells"][0])
    assert "A run at profile smoke took 12 s on Abacus 1, threads: 1." in first
    assert "Exercises: about 37 minutes." in first and "Reading: about" in first


def test_the_command_says_whose_output_it_is_and_how_much_of_it_is_missing(tmp_path, capsys):
    study = tmp_path / "study"
    write_study(study)
    main(str(study), str(tmp_path / "out"))
    told = capsys.readouterr().out
    assert f"output and pictures are those of {study}" in told and "no output" not in told
    executed = load_json(study / TAUGHT[0].name)
    for cell in code_cells(executed)[-3:]:
        cell["source"] = "1 + 1"
    (study / TAUGHT[0].name).write_text(json.dumps(executed))
    main(str(study), str(tmp_path / "out"))
    assert "no output: 3 code cells, whose code has changed since" in capsys.readouterr().out
