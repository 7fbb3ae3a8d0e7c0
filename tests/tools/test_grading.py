"""Grades of submissions that are fine, half done, broken, renamed or tampered with."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from kdnb.core.errors import UserError
from kdnb.core.notebook_files import load_json, notebooks, source_of
from kdnb.course.checks import Outcome
from tools.course import build
from tools.exercises import exercises
from tools.grading import COLUMNS, TOTALS_COLUMNS, grade, main, totals

pytest.importorskip("nbgrader", reason="not installed: nbgrader (make course)")
ROOT = Path(__file__).parents[2]
EVERY = {f"e{number}": "passed" for number in range(4)}


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    out = tmp_path_factory.mktemp("given")
    build(notebooks(), out)
    return load_json(out / "student" / "01_data.ipynb")


def solved(given, **states):
    """A submission: states such as ``passed`` for ``e1``, ``e2``, ``e3``.

    The others were never run.
    """
    notebook = copy.deepcopy(given)
    for name, (answer, check) in exercises(notebook).items():
        if state := states.get(f"e{name.partition('.')[2]}"):
            outcome = Outcome(name, state, {"passed": "Right."}.get(state, "Not yet: too large."))
            data = outcome._repr_mimebundle_()
            check["outputs"] = [
                {
                    "data": data,
                    "execution_count": 7,
                    "metadata": {},
                    "output_type": "execute_result",
                }
            ]
            check["execution_count"] = 7
            if state != "not tried":
                answer["source"] = [source_of(answer).replace("None  # your turn", "3")]
    return notebook


def check_cell(notebook, name="01.1"):
    return exercises(notebook)[name][1]


def submit(folder, **notebooks_by_name):
    for name, notebook in notebooks_by_name.items():
        (folder / name).mkdir()
        text = notebook if isinstance(notebook, str) else json.dumps(notebook)
        (folder / name / "my answers (final).ipynb").write_text(text)
    return grade(folder, notebooks())


def only(rows, learner, exercise="01.1"):
    (row,) = rows[rows["file"].str.startswith(learner) & (rows["exercise"] == exercise)].to_dict(
        "records"
    )
    return row["outcome"], row["note"]


def test_a_renamed_half_executed_submission_is_graded_as_far_as_it_goes(given, tmp_path):
    rows = submit(tmp_path, ann=solved(given, e1="passed", e2="not passed"))
    assert list(rows.columns) == list(COLUMNS) and list(rows["notebook"]) == ["01_data"] * 4
    assert list(rows["outcome"]) == ["not tried", "passed", "not passed", "not tried"]
    assert list(rows["note"]) == ["the check was not run", "", "", "the check was not run"]
    assert rows["said"][2] == "Not yet: too large."


def test_broken_files_are_named_and_leave_the_others_alone(given, tmp_path):
    whole = json.dumps(solved(given, e1="passed"))
    odd = solved(given, e1="passed")
    check_cell(odd)["outputs"] = [None, {"data": {}}, {"output_type": "stream"}]
    rows = submit(
        tmp_path,
        cut=whole[: len(whole) // 2],
        empty="",
        listed="[1]",
        other='{"cells": [], "metadata": {}}',
        odd=odd,
        deep="[" * 100_000,
        nothing='{"cells": [null, {"cell_type": "code"}], "metadata": null}',
        fine=solved(given, **EVERY),
    )
    notes = (
        rows[rows["outcome"] == "not graded"]
        .set_index("file")["note"]
        .rename(lambda f: f.partition("/")[0])
    )
    assert set(notes.index) == {"cut", "empty", "listed", "other", "deep", "nothing"}
    assert "broken JSON" in notes["cut"]
    assert "broken JSON" in notes["empty"]
    assert "no list of cells" in notes["listed"]
    assert "no exercise of this study" in notes["other"]
    assert "no notebook as Jupyter writes it" in notes["nothing"]
    assert only(rows, "odd") == ("not tried", "the check was not run")
    assert (rows[rows["file"].str.startswith("fine")]["outcome"] == "passed").all()


def test_tampering_is_told(given, tmp_path):
    every = EVERY
    changed, gone, stub, copied, unrun, invented = (solved(given, **every) for _ in range(6))
    check_cell(changed)["source"] = [
        'from kdnb.course.checks import check\ncheck(1, expected=1, exercise="01.1")'
    ]
    gone["cells"] = [c for c in gone["cells"] if c["id"] != check_cell(gone)["id"]]
    exercises(stub)["01.1"][0]["source"] = exercises(given)["01.1"][0]["source"]
    check_cell(copied)["outputs"] = check_cell(copied, "01.2")["outputs"]
    check_cell(unrun)["execution_count"] = None
    record = check_cell(invented)["outputs"][0]["data"]
    record[next(k for k in record if "kdnb" in k)]["state"] = "brilliant"
    rows = submit(
        tmp_path,
        changed=changed,
        gone=gone,
        stub=stub,
        copied=copied,
        unrun=unrun,
        invented=invented,
    )
    assert only(rows, "changed") == ("doubtful", "the check cell was changed")
    assert only(rows, "gone") == ("not tried", "the check cell is missing")
    assert only(rows, "stub") == ("doubtful", "passed, but the answer cell is untouched")
    assert only(rows, "copied") == ("doubtful", "the outcome belongs to another exercise")
    assert only(rows, "unrun") == ("doubtful", "it has an outcome, but was not run")
    assert only(rows, "invented") == ("doubtful", "the outcome is none that a check gives")
    assert (rows[rows["exercise"] != "01.1"]["outcome"] == "passed").all()


def test_an_answer_that_is_not_the_one_that_was_checked_is_doubtful(given, tmp_path):
    removed, again, broken, commented, pasted = (solved(given, **EVERY) for _ in range(5))
    answer_id = exercises(given)["01.1"][0]["id"]
    removed["cells"] = [c for c in removed["cells"] if c["id"] != answer_id]
    check_cell(again)["execution_count"] = 5
    exercises(again)["01.1"][0].update(source="patients = 3", execution_count=9)
    exercises(broken)["01.1"][0]["source"] = "patients = (3"
    given_out = exercises(given)["01.1"][0]["source"]
    text = given_out if isinstance(given_out, str) else "".join(given_out)
    exercises(commented)["01.1"][0]["source"] = f"{text}\n# done"
    copy_of_check = copy.deepcopy(check_cell(pasted)) | {"outputs": [], "id": "pasted"}
    pasted["cells"].append(copy_of_check)
    rows = submit(
        tmp_path, removed=removed, again=again, broken=broken, commented=commented, pasted=pasted
    )
    assert only(rows, "removed") == ("doubtful", "passed, but the answer cell is missing")
    assert only(rows, "again") == ("doubtful", "the answer was run again after its check")
    assert "passed, but the answer has a syntax error" in only(rows, "broken")[1]
    assert only(rows, "commented") == ("doubtful", "passed, but the answer cell is untouched")
    assert only(rows, "pasted") == ("passed", ""), "a copy that was not run takes nothing away"


def test_copies_of_a_notebook_count_once(given, tmp_path):
    (tmp_path / "ann").mkdir()
    for name, notebook in (("a", solved(given, **EVERY)), ("b", solved(given, e1="not passed"))):
        (tmp_path / "ann" / f"{name}.ipynb").write_text(json.dumps(notebook))
    (total,) = totals(grade(tmp_path, notebooks())).to_dict("records")
    assert total["total"] == "4 of 4" and total["repeated"] == 4 and total["not passed"] == 0


def test_an_untouched_copy_hides_no_doubtful_one(given, tmp_path):
    (tmp_path / "ann").mkdir()
    run_again = solved(given, **EVERY)
    for answer, check in exercises(run_again).values():
        answer["execution_count"] = check["execution_count"] + 1
    for name, notebook in (("a", given), ("b", run_again)):
        (tmp_path / "ann" / f"{name}.ipynb").write_text(json.dumps(notebook))
    (total,) = totals(grade(tmp_path, notebooks())).to_dict("records")
    assert (total["doubtful"], total["not tried"], total["repeated"]) == (4, 0, 4)


def test_what_other_editors_do_to_a_file_does_no_harm(given, tmp_path):
    """What submissions look like.

    New cell ids, text in one string, a missing stamp, a check that stopped, a formula where text
    belongs.
    """
    moved, stopped, formula = (solved(given, **EVERY) for _ in range(3))
    for number, cell in enumerate(moved["cells"]):
        cell |= {"id": f"x{number}", "source": source_of(cell) + " \n"}
    moved["metadata"] = {}
    check_cell(stopped)["outputs"] = [
        {"output_type": "error", "ename": "NameError", "evalue": "name 'x'"}
    ]
    record = check_cell(formula)["outputs"][0]["data"]
    record[next(k for k in record if "kdnb" in k)]["said"] = "=HYPERLINK(1)"
    rows = submit(tmp_path, moved=moved, stopped=stopped, formula=formula)
    assert (rows[rows["file"].str.startswith("moved")]["outcome"] == "passed").all()
    assert only(rows, "stopped") == ("not passed", "the check stopped with NameError: name 'x'")
    assert "'=HYPERLINK(1)" in set(rows["said"])


@pytest.mark.slow
def test_the_command_writes_a_csv(given, tmp_path):
    (tmp_path / "ann.ipynb").write_text(json.dumps(solved(given, e1="passed", e2="not passed")))
    command = [sys.executable, "-m", "tools.grading", tmp_path, "--out", tmp_path / "g.csv"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "can be edited" in done.stdout, done.stderr
    table = pd.read_csv(tmp_path / "g.csv", dtype=str)
    assert list(table["outcome"]) == ["not tried", "passed", "not passed", "not tried"]
    assert set(table["exercise"]) >= {"01.1"} and "no exam" in done.stdout
    (total,) = pd.read_csv(tmp_path / "g_totals.csv", dtype=str).to_dict("records")
    assert total["learner"] == "ann" and total["passed"] == "1"
    assert total["total"] == f"1 of {len(table)}"


def test_the_real_cause_of_a_failure_is_named(given, tmp_path):
    wrong, broken, magic = (solved(given, e1="passed") for _ in range(3))
    error = {
        "output_type": "error",
        "ename": "NameError",
        "evalue": "name 'patients' is not defined",
    }
    for notebook in (wrong, broken):
        check_cell(notebook)["outputs"] = [error]
    exercises(broken)["01.1"][0]["source"] = "patients = (3\n"
    answer = exercises(wrong)["01.1"][0]
    answer["source"] = "patients = 1 / 0"
    answer["outputs"] = [error | {"ename": "ZeroDivisionError", "evalue": "division by zero"}]
    exercises(magic)["01.1"][0]["source"] = "%time\npatients = 3"
    rows = submit(tmp_path, wrong=wrong, broken=broken, magic=magic)
    outcome, note = only(rows, "broken")
    assert outcome == "not passed" and note.startswith("the answer has a syntax error in line 1")
    said = "the answer stopped with ZeroDivisionError: division by zero"
    assert only(rows, "wrong") == ("not passed", said)
    assert only(rows, "magic") == ("passed", "")
    by_learner = totals(rows).set_index("learner")
    assert by_learner.loc["magic", "passed"] == 1 and by_learner.loc["broken", "not passed"] == 1


@pytest.mark.parametrize("out", ["", ".", "grades.txt", "grades", "others.csv", "mine.csv"])
def test_where_no_grades_can_go_nothing_is_graded_and_nothing_replaced(out, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("others.csv").write_text("name,mark\nann,1\n")
    Path("mine_totals.csv").write_bytes(b"\xff\xfe")
    monkeypatch.setattr("tools.grading.grade", None)
    with pytest.raises(UserError, match=f"'{out}'|'mine_totals.csv' holds something else"):
        main(str(tmp_path), out)
    assert Path("others.csv").read_text() == "name,mark\nann,1\n"
    assert Path("mine_totals.csv").read_bytes() == b"\xff\xfe"


def test_older_grades_are_kept_and_that_is_said(tmp_path, monkeypatch, capsys):
    rows = [pd.DataFrame([("ann.ipynb", "01_data", "01.1", "passed", "", "")], columns=COLUMNS)]
    rows.append(rows[0].replace({"passed": "not passed"}))
    monkeypatch.setattr("tools.grading.grade", lambda folder, committed: rows.pop(0))
    out = tmp_path / "g.csv"
    main(str(tmp_path), str(out))
    assert "is kept" not in capsys.readouterr().out and not list(tmp_path.glob("*.bak"))
    main(str(tmp_path), str(out))
    told = capsys.readouterr().out
    for path in (out, tmp_path / "g_totals.csv"):
        assert f"the older {path} is kept as {path}.bak" in told
    assert list(pd.read_csv(f"{out}.bak")["outcome"]) == ["passed"]
    assert list(pd.read_csv(out)["outcome"]) == ["not passed"]
    assert tuple(pd.read_csv(tmp_path / "g_totals.csv")) == TOTALS_COLUMNS


def test_git_ignores_grades():
    for name in ("grades.csv", "grades_totals.csv", "grades.csv.bak"):
        assert subprocess.run(["git", "check-ignore", "-q", name], cwd=ROOT).returncode == 0, name


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["", "no-such-folder"])
def test_a_folder_that_is_not_there_is_one_line_and_code_2(folder):
    command = [sys.executable, "-m", "tools.grading", folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "folder" in done.stderr


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.mkdir()])
def test_a_folder_without_submissions_is_one_clear_line(make, tmp_path):
    make(tmp_path / "work")
    with pytest.raises(UserError, match="work'"):
        grade(tmp_path / "work", notebooks())


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with a name")
def test_odd_files_are_named_and_the_others_are_graded_all_the_same(given, tmp_path):
    every = EVERY
    folder = tmp_path / "work"
    folder.mkdir()
    whole = json.dumps(solved(given, **every))
    (folder / "honest.ipynb").write_text(whole)
    (folder / "marked.ipynb").write_text("\ufeff" + whole, "utf-8")
    (folder / os.fsdecode(b"odd\xff.ipynb")).write_text(whole)
    (folder / "latin.ipynb").write_bytes(whole.replace("Right.", "\xe9").encode("latin-1"))
    os.mkfifo(folder / "pipe.ipynb")
    (folder / "folder.ipynb").mkdir()
    (folder / "link.ipynb").symlink_to("honest.ipynb")
    (folder / "others").symlink_to("/")
    (folder / "twin.ipynb").hardlink_to(folder / "honest.ipynb")
    with (folder / "large.ipynb").open("wb") as file:
        file.truncate(300 * 2**20)
    for name, said in {"cut": "\ud800", "tab": "\t=1+1", "lines": " \n=1+1;=2\t=3\x00"}.items():
        notebook = solved(given, **every)
        record = check_cell(notebook)["outputs"][0]["data"]
        record[next(k for k in record if "kdnb" in k)]["said"] = said
        (folder / f"{name}.ipynb").write_text(json.dumps(notebook))
    command = [sys.executable, "-m", "tools.grading", folder, "--out", tmp_path / "g.csv"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and not done.stderr, done.stderr
    table = pd.read_csv(tmp_path / "g.csv", dtype=str, keep_default_na=False)
    first = table[table["exercise"].isin(["", "01.1"])].set_index("file")
    refused = first[first["outcome"] == "not graded"]["note"]
    assert refused["pipe.ipynb"] == refused["folder.ipynb"] == "is no plain file"
    assert refused["link.ipynb"] == "is a link to 'honest.ipynb', which is not followed"
    assert "is a link to '/'" in refused["others"]
    assert "has 300 MB, accepted are 32" in refused["large.ipynb"]
    assert "broken JSON" in refused["latin.ipynb"]
    graded = first[first["outcome"] == "passed"]
    assert set(graded.index) == {
        *("honest.ipynb", "marked.ipynb", r"odd\udcff.ipynb", "twin.ipynb"),
        *("cut.ipynb", "tab.ipynb", "lines.ipynb"),
    }
    assert graded["note"]["twin.ipynb"] == "is the same file as 'honest.ipynb'"
    assert graded["said"]["tab.ipynb"] == "'=1+1" and graded["said"]["cut.ipynb"] == r"\ud800"
    assert graded["said"]["lines.ipynb"] == "'=1+1;=2 =3 "
    assert '"\'=1+1;=2 =3 "' in (tmp_path / "g.csv").read_text("utf-8"), "quoted"
