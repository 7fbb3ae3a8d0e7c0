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


def test_a_bar_in_a_notebook_goes_when_the_work_is_done(monkeypatch):
    """It is no widget, which would show an error in the saved notebook."""
    shown = []

    class Handle:
        def update(self, data, raw):
            shown.append(data["text/html"])

    def display(data, raw, display_id):
        shown.append(data["text/html"])
        return Handle()

    monkeypatch.setattr(progress, "display", display)
    monkeypatch.setattr(progress, "is_live", lambda: True)
    list(progress.track(range(3), "too quick"))
    assert shown == []
    monkeypatch.setattr(progress, "MOVES", 0)
    for step in progress.track(range(9), "a < b"):
        if step == 2:
            break
    first, second, last = shown
    assert first.startswith('<label>a &lt; b <progress max="9" value="1">') and "2 of 9" in second
    assert last == "", "also where a loop ends early"


def test_short_work_is_silent(capsys):
    list(progress.track(range(3), "grading"))
    assert capsys.readouterr().out == ""


def test_only_lines_of_long_work_reach_the_terminal(capsys):
    stream = ProgressStream()
    for text in ("  accuracy  0.9\nnote: x\n  · epo", "ch 1/2\n", "  · epoch 2/2\n   a table\n"):
        stream.write(text)
    assert capsys.readouterr().out == "  · epoch 1/2\n  · epoch 2/2\n"
