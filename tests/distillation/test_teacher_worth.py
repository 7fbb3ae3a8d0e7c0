from __future__ import annotations

import numpy as np
import pytest

from kdnb.distillation.teacher_worth import error_transfer, teacher_worth, worth_sentence

RNG = np.random.default_rng(0)
TARGETS = np.repeat([0, 1, 2], 200)
GROUPS = np.arange(600) // 4


def wrong_on(share, seed):
    """Answers that are right but for a share of images, on which another class is named."""
    rng = np.random.default_rng(seed)
    answers = TARGETS.copy()
    chosen = rng.random(600) < share
    answers[chosen] = (answers[chosen] + rng.integers(1, 3, chosen.sum())) % 3
    return answers


def test_a_better_teacher_is_told_from_an_equal_and_a_worse_one():
    rivals = {"memory": wrong_on(0.4, 1), "the other": wrong_on(0.1, 2)}
    worth = teacher_worth(wrong_on(0.1, 0), rivals, TARGETS, GROUPS)
    assert worth.at["memory", "difference_low"] > 0.2
    told = worth_sentence(worth)
    assert told.startswith("The teacher is better than memory by 0.3")
    assert "not shown to be better than the other" in told
    assert told.endswith("So do not expect much from distillation here.")
    worse = teacher_worth(wrong_on(0.4, 1), {"a student": wrong_on(0.1, 2)}, TARGETS, GROUPS)
    assert "worse than a student by 0.3" in worth_sentence(worse)


def test_a_teacher_without_an_error_cannot_be_told_from_a_student_without_one():
    worth = teacher_worth(TARGETS, {"a student": TARGETS}, TARGETS, GROUPS)
    told = worth_sentence(worth)
    assert "the two cannot be told apart on 150 patients or families" in told
    assert "0.000" not in told


def test_copied_errors_stand_above_chance_and_own_errors_do_not():
    teacher = wrong_on(0.2, 0)
    copied = np.where(RNG.random(600) < 0.7, teacher, TARGETS)
    table = error_transfer({"copies": copied, "alone": wrong_on(0.2, 5)}, teacher, TARGETS, GROUPS)
    errors = (teacher != TARGETS).sum()
    assert (table["images"] == errors).all()
    same = (copied == teacher) & (teacher != TARGETS)
    assert table.at["copies", "same"] == pytest.approx(same.sum() / errors)
    assert table.at["copies", "above_chance_low"] > 0.4
    assert table.at["alone", "above_chance_low"] < 0 < table.at["alone", "above_chance_high"]
    assert table.at["alone", "chance"] == pytest.approx(0.1, abs=0.03)


def test_a_teacher_without_an_error_passes_none_on():
    table = error_transfer({"student": wrong_on(0.1, 1)}, TARGETS, TARGETS, GROUPS)
    assert table.at["student", "images"] == 0
    assert np.isnan(table.at["student", "same"])
