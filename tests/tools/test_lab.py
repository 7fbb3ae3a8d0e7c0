"""Working copies: made once, never overwritten once edited, and out of git's sight."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from kdnb.core.notebook_files import notebooks
from tools.lab import FOLDER, make_copies

ROOT = Path(__file__).parents[2]


def test_an_edited_copy_is_kept_and_an_untouched_one_follows_its_notebook(tmp_path):
    source = tmp_path / "notebooks"
    source.mkdir()
    first, second = source / "01_data.ipynb", source / "02_teacher.ipynb"
    for path in (first, second):
        path.write_text("given")
    mine = tmp_path / FOLDER
    assert make_copies([first, second], mine) == []
    assert (mine / first.name).read_text() == "given"
    (mine / first.name).write_text("edited")
    assert make_copies([first, second], mine) == []
    for path in (first, second):
        path.write_text("newer")
    [line] = make_copies([first, second], mine)
    assert line.startswith("01_data.ipynb is newer") and "kept" in line
    assert (mine / first.name).read_text() == "edited"
    assert (mine / second.name).read_text() == "newer"


def test_a_copy_without_a_record_is_taken_for_edited(tmp_path):
    path = tmp_path / "01_data.ipynb"
    path.write_text("given")
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / path.name).write_text("mine")
    make_copies([path], tmp_path / FOLDER)
    assert (tmp_path / FOLDER / path.name).read_text() == "mine"


@pytest.mark.parametrize("record", [b"", b'{"01_data.ipynb": "4', b"[]", b"\xff"])
def test_a_record_that_cannot_be_read_loses_no_copy_and_is_said_once(record, tmp_path):
    path = tmp_path / "01_data.ipynb"
    path.write_text("given")
    mine = tmp_path / FOLDER
    make_copies([path], mine)
    (mine / path.name).write_text("mine")
    (mine / ".given.json").write_bytes(record)
    [line] = make_copies([path], mine)
    assert line.startswith(".given.json cannot be read") and "rename" in line
    assert make_copies([path], mine) == []
    assert (mine / path.name).read_text() == "mine"


def test_git_ignores_the_copies_and_make_lab_opens_them_at_the_first():
    done = subprocess.run(["git", "check-ignore", f"{FOLDER}/00_start_here.ipynb"], cwd=ROOT)
    assert done.returncode == 0
    lines = subprocess.run(["make", "-n", "lab"], cwd=ROOT, capture_output=True, text=True).stdout
    assert f"default_url=/lab/tree/{FOLDER}/{notebooks()[0].name}" in lines
