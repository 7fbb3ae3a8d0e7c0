"""Progress of long work in a log, and what of it a batch run passes on."""

from __future__ import annotations

from kdnb.batch.papermill_runs import ProgressStream
from kdnb.core import progress


def test_long_work_counts_where_nobody_sees_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(progress, "EVERY", 0)
    assert list(progress.track(["a", "b"], "grading")) == ["a", "b"]
    assert capsys.readouterr().out == "  · grading: 1 of 2\n  · grading: 2 of 2\n"
    list(progress.track((letter for letter in "ab"), "reading"))
    assert capsys.readouterr().out.splitlines()[-1] == "  · reading: 2"


def test_short_work_is_silent(capsys):
    list(progress.track(range(3), "grading"))
    assert capsys.readouterr().out == ""


def test_only_lines_of_long_work_reach_the_terminal(capsys):
    stream = ProgressStream()
    for text in ("  accuracy  0.9\nnote: x\n  · epo", "ch 1/2\n", "  · epoch 2/2\n   a table\n"):
        stream.write(text)
    assert capsys.readouterr().out == "  · epoch 1/2\n  · epoch 2/2\n"
