from __future__ import annotations

import matplotlib.pyplot as plt
import pytest

from kdnb.core.answers import QUESTIONS, Answer, answer_in
from kdnb.core.plots import Picture
from kdnb.core.results_folder import Results
from kdnb.core.runs import read_json


@pytest.fixture
def results(tmp_path):
    return Results(folder=tmp_path, parameters={"dataset": "x"}, data="abc")


def test_an_answer_is_kept_and_shown(results):
    results.picture("03_accuracy", Picture(plt.figure(), "dots"))
    shown = results.answer(
        "03",
        "The student gains 0.02 on <b>class $a$</b>.",
        sure="One seed.",
        figure="03_accuracy",
        runs=["student/1"],
    ).data
    assert "gains 0.02 on &lt;b&gt;class $a$&lt;/b&gt;" in shown and "One seed." in shown
    assert "mathjax_ignore" in shown, "a class may be named $a$"
    kept = answer_in(results.folder, "03")
    assert kept.question == QUESTIONS["03"] and kept.figure == "03_accuracy"
    assert read_json(results.folder / "manifest.json")["03_answer.json"]["runs"] == ["student/1"]
    assert answer_in(results.folder, "04") is None


def test_a_notebook_may_ask_in_its_own_words(results):
    results.answer("01", "Nothing leaks.", sure="All pairs compared.", question="What leaks?")
    assert answer_in(results.folder, "01") == Answer(
        question="What leaks?", text="Nothing leaks.", sure="All pairs compared."
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"notebook": "3"}, "notebook must be one of 01"),
        ({"text": " "}, "must hold words"),
        ({"sure": ""}, "must hold words"),
        ({"figure": "03_none"}, "saved before, got '03_none'"),
    ],
)
def test_half_an_answer_is_refused(results, given, said):
    values = {"notebook": "03", "text": "Yes.", "sure": "One seed.", **given}
    with pytest.raises(ValueError, match=said):
        results.answer(**values)
    assert not list(results.folder.iterdir()), "nothing half-written"
