"""What a notebook's run depends on, and what its kernel said last."""

from __future__ import annotations

import nbformat

from kdnb.batch import papermill_runs


def test_a_copy_that_an_editor_keeps_is_no_source(tmp_path, monkeypatch):
    package = tmp_path / "kdnb"
    (package / "core" / ".ipynb_checkpoints").mkdir(parents=True)
    (package / "core" / "runs.py").write_text("x = 1")
    notebook = tmp_path / "a.ipynb"
    nbformat.write(nbformat.v4.new_notebook(), notebook)
    monkeypatch.setattr(papermill_runs, "__file__", str(package / "batch" / "papermill_runs.py"))
    before = papermill_runs.code_digest(notebook)
    (package / "core" / ".ipynb_checkpoints" / "runs-checkpoint.py").write_text("x = 0")
    assert papermill_runs.code_digest(notebook) == before
    (package / "core" / "runs.py").write_text("x = 2")
    assert papermill_runs.code_digest(notebook) != before


def test_the_last_words_of_a_kernel_are_found(tmp_path):
    log = tmp_path / "kernel.log"
    log.write_text("starts\nkilled: no memory\n\n")
    assert papermill_runs._last_line(log) == "killed: no memory"
    log.write_text("")
    assert papermill_runs._last_line(log) == ""
