"""What a study of all notebooks says in the terminal, with notebooks that run in no time."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from kdnb.batch.papermill_runs import _spec
from kdnb.core.notebook_files import notebooks
from kdnb.core.runs import Run, get_or_make, write_json
from kdnb.study import steps, whole_study
from kdnb.study.closing import closing_lines
from kdnb.study.steps import study_waves


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
    monkeypatch.setattr(whole_study, "_has_room_for_two", lambda device: False)
    return study.settings


def test_a_study_says_which_step_how_long_and_what_is_next(quick, capsys):
    report, summary = whole_study.run_notebooks(quick, {}, "first")
    assert report.parent.name.endswith("-first") and len(summary) == 1
    first, certain, *lines = capsys.readouterr().out.splitlines()
    assert "images at 32 px" in first and "an accuracy is known to about ± " in certain
    count = len(notebooks())
    assert lines[0] == (
        f"1 of {count}  02_teacher: no past run on this machine to estimate from; "
        "next 03_distillation"
    )
    assert re.fullmatch(rf"1 of {count}  02_teacher: \d+ s", lines[1])
    assert lines[-2].endswith("; the last one") and len(lines) == 2 * count
    of_maps = next(line for line in lines if "  04_feature_maps: " in line)
    assert of_maps.endswith("; next 06_efficiency"), "what runs beside it is not next"

    whole_study.run_notebooks(quick, {}, "first")
    told = capsys.readouterr().out
    assert told.count(": reused") == count and "next" not in told

    whole_study.run_notebooks(quick, {}, "second")
    told = capsys.readouterr().out
    assert f"1 of {count}  02_teacher: about " in told and "(median of past runs here)" in told


def test_notebooks_run_again_where_one_of_their_files_is_gone(tmp_path, capsys):
    """The token is among what their runs are built on."""
    folder = tmp_path / "study"
    token = whole_study._token(folder)
    (folder / "01_data.csv").touch()
    write_json(folder / "manifest.json", {"01_data.csv": {}})
    assert whole_study._token(folder) == token
    (folder / "01_data.csv").unlink()
    renewed = whole_study._token(folder)
    assert renewed != token
    assert whole_study._token(folder) == renewed, "once is enough, also if nobody makes it again"
    assert "'01_data.csv' is gone from" in capsys.readouterr().out


def test_a_study_ends_with_what_to_do_with_its_student(study):
    lines = closing_lines(study.settings)
    where = f"--run {study.student.id} --runs-dir '{study.settings.runs}'"
    assert f"  kdnb explain IMAGE {where}" in lines
    assert f"  kdnb export student.onnx {where}" in lines
    assert "an accuracy is known to about ± " in lines[0]


def test_a_notebook_waits_for_what_it_builds_on_and_for_nothing_else(tmp_path):
    waves = study_waves({"seed": 0}, tmp_path, ["data"], "study")
    found = {step.notebook.name[:2]: step for wave in waves for lane in wave for step in lane}
    assert sorted(found) == [notebook.name[:2] for notebook in notebooks()]
    ids = {number: step.run.id for number, step in found.items()}
    assert found["02"].upstream == ["data"], "02 waits for no other notebook"
    assert ids["04"] not in found["05"].upstream, "05 runs beside 03 and 04"
    assert set(found["06"].upstream) == {"data", *(ids[f"0{number}"] for number in range(6))}
    alone = [len(lane) for wave in waves if len(wave) == 1 for lane in wave]
    assert alone == [1, 1, 1], "02, 06 and 07 have the machine for themselves"


def test_a_notebook_of_another_number_comes_last(tmp_path, monkeypatch):
    own = Path("08_mine.ipynb")
    monkeypatch.setattr(steps, "notebooks", lambda: [*notebooks(), own])
    monkeypatch.setattr(steps, "parameters_of", lambda notebook: {})
    monkeypatch.setattr(steps, "planned_notebook", lambda *_: Run("notebook", "0", tmp_path))
    *_, last = study_waves({}, tmp_path, [], "study")
    assert [step.notebook for lane in last for step in lane] == [own]


def test_a_notebook_that_was_taken_away_is_not_waited_for(tmp_path, monkeypatch):
    left = [notebook for notebook in notebooks() if notebook.name[:2] not in ("01", "06")]
    monkeypatch.setattr(steps, "notebooks", lambda: left)
    waves = study_waves({}, tmp_path, [], "study")
    found = {step.notebook.name[:2]: step for wave in waves for lane in wave for step in lane}
    assert steps.estimate(found["05"], waves, True).endswith("; next 07_results")
