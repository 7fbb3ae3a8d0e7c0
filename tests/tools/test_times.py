"""Run times of the notebooks: from a finished study alone, and in a file that can be read again."""

import tomllib

import pytest
from executed import write_study

from kdnb.core.errors import UserError
from kdnb.core.notebook_files import notebooks
from tools.times import write_times

MACHINE = "measured on,value\nprocessor,Abacus 1\ncores,2\nthreads,1\n"


@pytest.fixture
def study(tmp_path):
    """A finished study of all notebooks, with the table of its machine."""
    folder = tmp_path / "one"
    write_study(folder)
    (folder / "06_machine.csv").write_text(MACHINE, "utf-8")
    return folder


def test_run_times_of_a_stopped_study_are_refused(tmp_path):
    write_study(tmp_path, exception=True)
    with pytest.raises(UserError, match="holds no finished study"):
        write_times(tmp_path, notebooks())


@pytest.fixture
def project(tmp_path):
    """Notebooks beside which run times may be written."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    for path in notebooks():
        (folder / path.name).write_bytes(path.read_bytes())
    return sorted(folder.glob("*.ipynb"))


def test_the_committed_notebooks_are_no_study():
    with pytest.raises(UserError, match="00_start_here.ipynb' was not executed by papermill"):
        write_times(notebooks()[0].parent, notebooks())


def test_run_times_come_from_executed_copies(study, project):
    times = tomllib.loads(write_times(study, project).read_text("utf-8"))
    assert times["profile"] == "smoke" and times["seconds"] == {p.stem: 12.3 for p in project}


def test_run_times_are_written_whole_or_not_at_all(study, project, monkeypatch):
    before = write_times(study, project).read_text("utf-8")

    def stop(*paths):
        raise OSError("disk full")

    monkeypatch.setattr("kdnb.core.runs.os.replace", stop)
    with pytest.raises(OSError, match="disk full"):
        write_times(study, project)
    folder = project[0].parent
    assert (folder / "times.toml").read_text("utf-8") == before
    assert sorted(folder.glob("*.ipynb")) == project and not list(folder.glob(".*"))


def test_any_name_of_a_processor_can_be_read_again(study, project):
    rows = MACHINE.replace("Abacus 1", '"Abacus ""2"" \\ \u00b5"').replace("cores", "\ncores")
    (study / "06_machine.csv").write_text(rows, "utf-8")
    times = tomllib.loads(write_times(study, project).read_text("utf-8"))
    assert times["processor"] == 'Abacus "2" \\ \u00b5' and times["threads"] == 1


@pytest.mark.parametrize(
    "table", ["", "a,b\n", MACHINE.replace("threads,1", "threads,many"), "x,,\ny"]
)
def test_a_machine_that_is_not_told_is_one_clear_line(study, project, table):
    (study / "06_machine.csv").write_text(table, "utf-8")
    with pytest.raises(UserError, match="does not tell its machine in '06_machine.csv'"):
        write_times(study, project)
