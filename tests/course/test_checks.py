import ast
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import kdnb.course.checks
from kdnb.course.checks import MIME, Outcome, check, progress

RIGHT = np.array([[1.0, 2.0], [3.0, 4.0]])


@pytest.mark.parametrize(
    "answer",
    [
        3,
        3.0,
        np.float32(3),
        torch.tensor(3),
        torch.tensor([3.0], requires_grad=True),
        [3],
        lambda: 3,
    ],
)
def test_a_right_number_passes_in_any_dress(answer):
    outcome = check(answer, expected=3, exercise="01.1")
    assert outcome and outcome.state == "passed" and outcome.said == "Right."


@pytest.mark.parametrize(
    "answer", [RIGHT, RIGHT.tolist(), torch.tensor(RIGHT), pd.DataFrame(RIGHT)]
)
def test_a_right_array_passes_in_any_dress(answer):
    assert check(answer, expected=torch.tensor(RIGHT, dtype=torch.bfloat16))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "Not tried yet"),
        (lambda: None, "Not tried yet, or nothing is returned"),
        (lambda: 1 / 0, "your function raised ZeroDivisionError: division by zero"),
        (lambda x: x, "your function raised TypeError"),
        ("three", "a single number is needed, this is str"),
        ({3}, "a single number is needed, this is set"),
        ([1, 2], "a single number is needed, this one has shape (2,)"),
        (float("nan"), "nan is no number"),
        (3.1, "3.1 is too large"),
        (2, "2 is too small"),
        (6, "these are FLOPs"),
        (300, "this looks like per cent: give a share"),
        (301, "this looks like per cent: give a share"),
        (3.01, "nearly, within 1 % of the right value: do not round, or count again"),
        (-3, "the sign is turned round"),
    ],
)
def test_a_wrong_number_is_told_what_is_wrong(answer, said):
    outcome = check(answer, expected=3, hints={6: "these are FLOPs"})
    assert said in repr(outcome) and not outcome


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (1, "an array of shape (2, 2) is needed, this one has shape ()"),
        (RIGHT[:1], "an array of shape (2, 2) is needed, this one has shape (1, 2)"),
        (RIGHT.T, "rows and columns have changed places"),
        (RIGHT + [[0, 0], [0, 1]], "1 of 4 values are off; at [1, 1] 5 is too large"),
        ([[1], [2, 3]], "an array of shape (2, 2) is needed, this is list"),
    ],
)
def test_a_wrong_array_is_told_where(answer, said):
    hints = [(RIGHT.T, "rows and columns have changed places")]
    assert said in check(answer, expected=RIGHT, hints=hints).said


def test_a_method_that_was_not_called_and_text_are_no_numbers():
    recalls = np.array([1.0, 5.0])
    assert "call it" in check(recalls.mean, expected=3).said
    assert "a single number is needed, this is str" in check("3", expected=3).said


def test_nan_is_right_where_nan_is_expected():
    assert check(float("nan"), expected=float("nan"))


def test_outcome_is_shown_in_words_and_recorded():
    shown = check("<b>", expected=1, exercise="02.1")._repr_mimebundle_()
    assert shown[MIME] == {"exercise": "02.1", "state": "not passed", "said": shown["text/plain"]}
    assert "✗ Exercise 02.1</strong> Not yet" in shown["text/html"]
    assert 'role="status"' in shown["text/html"]
    assert "&lt;" in check(lambda: int("<"), 1)._repr_mimebundle_()["text/html"]


def test_where_nbgrader_runs_a_notebook_a_check_that_is_not_passed_raises(monkeypatch):
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    assert check(3, expected=3, exercise="01.1").said == "Right."
    with pytest.raises(AssertionError, match="Not yet: 4 is too large"):
        check(4, expected=3, exercise="01.1")
    with pytest.raises(AssertionError, match="Not tried yet"):
        check(None, expected=3, exercise="01.1")


def test_checking_needs_nothing_else_of_the_package():
    tree = ast.parse(Path(kdnb.course.checks.__file__).read_text("utf-8"))
    modules = [n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    modules += [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]
    assert "numpy" in modules
    assert not [name for name in modules if name.split(".")[0] in ("kdnb", "tools")]


def test_progress_takes_the_latest_outcome_of_each_exercise():
    tried = Outcome("01.1", "not passed", "Not yet: 3 is too large.")
    table = progress({9: Outcome("01.1", "passed", "Right."), 4: tried, 5: 42}, "01.1", "01.2")
    assert table["state"].to_dict() == {"01.1": "passed", "01.2": "not run"}


def test_what_a_list_of_a_function_holds_is_told_by_name():
    outcome = check([1.0, 3.0], expected=[1.0, 2.0], parts=("the loss", "its gradient"))
    assert outcome.said == "Not yet: its gradient: 3 is too large."


def test_a_typical_answer_without_a_number_is_known():
    outcome = check(np.nan, expected=2.0, hints=[(np.nan, "the logarithm of a negative number")])
    assert "the logarithm of a negative number" in outcome.said


def test_a_count_is_right_or_not():
    assert check(19, expected=19, tolerance=0)
    for answer in (19.0001, 18.9999):
        assert not check(answer, expected=19, tolerance=0)
