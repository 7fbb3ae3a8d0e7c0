"""What counts as a finished study: one answer for the course, the book and the run times."""

import copy
import json

import pytest
from executed import RECORD, finished, write_study

from kdnb.core.errors import UserError
from kdnb.core.notebook_files import code_cells, load_json, notebooks
from tools import book, course
from tools.studies import changed_cells, environment_of, finished_study, is_finished

NAMES = [path.name for path in notebooks()]
WITHOUT_RECORD = {"cells": [], "metadata": {}}

FAULTS = [
    ('{"cells": [', "is broken JSON"),
    ("[1]", "no list of cells"),
    (json.dumps(WITHOUT_RECORD), "was not executed by papermill"),
    (json.dumps({"cells": []}), "is no notebook as Jupyter writes it"),
    (json.dumps(finished(WITHOUT_RECORD | {"cells": [1]})), "is no notebook as Jupyter writes it"),
    (
        json.dumps(finished({"cells": [{"metadata": {}, "outputs": [1]}], "metadata": {}})),
        "is no notebook as Jupyter writes it",
    ),
    (json.dumps({"cells": [], "metadata": {"papermill": {}}}), "was not executed to its end"),
    (json.dumps(finished(WITHOUT_RECORD, end_time=None)), "was not executed to its end"),
    (json.dumps(finished(WITHOUT_RECORD, exception=True)), "was not executed to its end"),
    (json.dumps(finished(WITHOUT_RECORD, output_path=None)), "was not executed to its end"),
]


@pytest.fixture
def study(tmp_path):
    """A finished study of all notebooks, without the runs that made them."""
    folder = tmp_path / "runs" / "study" / "one"
    write_study(folder)
    return folder


def test_a_finished_study_is_read(study):
    copies = finished_study(study, NAMES)
    assert list(copies) == NAMES and copies[NAMES[1]]["metadata"]["papermill"] == RECORD
    assert is_finished(study, NAMES) and not is_finished(study, ["08_more.ipynb"])


@pytest.mark.parametrize(("text", "fault"), FAULTS)
def test_a_copy_that_is_not_finished_is_named_with_its_folder(study, text, fault):
    (study / NAMES[3]).write_text(text, "utf-8")
    with pytest.raises(UserError, match=f"one' holds no finished study.*03_.*{fault}.*make study"):
        finished_study(study, NAMES)
    assert not is_finished(study, NAMES)


def test_the_committed_notebooks_are_no_study():
    committed = str(notebooks()[0].parent)
    for call in (course.main, book.main):
        with pytest.raises(UserError, match="00_start_here.ipynb' was not executed by papermill"):
            call(executed=committed)


def test_a_copy_whose_run_is_gone_is_named(study):
    with pytest.raises(UserError, match="00_start_here.ipynb' without the run that made it"):
        book.main(executed=str(study))


def test_a_copy_whose_run_is_damaged_is_one_line(study):
    run = study.parents[1] / "notebook" / "0123456789abcdef"
    run.mkdir(parents=True)
    (run / "done.json").write_text("{}")
    (run / "env.json").write_text('{"commit": "abc"}')
    executed = finished_study(study, NAMES)[NAMES[0]]
    with pytest.raises(UserError, match="0123456789abcdef is damaged"):
        environment_of(study, NAMES[0], executed)


def test_cells_that_changed_since_are_found():
    notebook = load_json(notebooks()[1])
    executed = copy.deepcopy(notebook)
    executed["cells"].insert(1, {"cell_type": "code", "id": "injected", "source": "# Parameters"})
    assert changed_cells(notebook, executed) == []
    first, second = code_cells(notebook)[2:4]
    first["source"] = "1 + 1"
    second["id"] = "another"
    assert changed_cells(notebook, executed) == [first["id"], "another"]
