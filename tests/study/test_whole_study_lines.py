"""What a study of all notebooks says in the terminal, with notebooks that run in no time."""

from __future__ import annotations

import re
import shutil

import pytest

from kdnb.batch.papermill_runs import _spec
from kdnb.core.notebook_files import notebooks
from kdnb.core.runs import get_or_make
from kdnb.study import whole_study
from kdnb.study.closing import closing_lines


@pytest.fixture
def quick(study, monkeypatch):
    """Notebooks that leave a copy of themselves, and the last one its table."""

    def run_notebook(notebook, parameters, root, upstream, results_name):
        def make(run):
            shutil.copy(notebook, run.path(notebook.name))
            table = root / "study" / results_name / "07_summary.csv"
            table.write_text("model,accuracy\nteacher,0.5\n")

        return get_or_make(
            "notebook", _spec(notebook, parameters), make, root=root, upstream=upstream
        )

    monkeypatch.setattr(whole_study, "run_notebook", run_notebook)
    return study.settings


def test_a_study_says_which_step_how_long_and_what_is_next(quick, capsys):
    report, summary = whole_study.run_notebooks(quick, {}, "first")
    assert report.parent.name.endswith("-first") and len(summary) == 1
    first, certain, *lines = capsys.readouterr().out.splitlines()
    assert "images at 32 px" in first and "an accuracy is known to ± " in certain
    count = len(notebooks())
    assert lines[0] == (
        f"1 of {count}  00_start_here: no past run on this machine to estimate from; next 01_data"
    )
    assert re.fullmatch(rf"1 of {count}  00_start_here: \d+ s", lines[1])
    assert lines[-2].endswith("; the last one") and len(lines) == 2 * count

    whole_study.run_notebooks(quick, {}, "first")
    told = capsys.readouterr().out
    assert told.count(": reused") == count and "next" not in told

    whole_study.run_notebooks(quick, {}, "second")
    told = capsys.readouterr().out
    assert f"3 of {count}  02_teacher: about " in told and "(median of past runs here)" in told


def test_a_study_ends_with_what_to_do_with_its_student(study):
    lines = closing_lines(study.settings)
    where = f"--run {study.student.id} --runs-dir '{study.settings.runs}'"
    assert f"  kdnb explain IMAGE {where}" in lines
    assert f"  kdnb export student.onnx {where}" in lines
    assert "an accuracy is known to ± " in lines[0]
