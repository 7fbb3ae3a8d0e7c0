from __future__ import annotations

import numpy as np
import pytest

from kdnb.core.errors import UserError
from kdnb.core.settings import Settings
from kdnb.distillation.grid import (
    compare_students,
    grid_table,
    train_controls,
    train_grid,
)
from kdnb.distillation.train_student import train_student
from kdnb.training.fit import saved_logits


@pytest.fixture(scope="module")
def made(study):
    change = {"alphas": [0.4], "temperatures": [1.0, 5.0], "student_seeds": 2, "student_epochs": 1}
    chosen = study.settings.model_copy(update=change)
    runs = train_grid(chosen, study.image_set, study.teacher, study.device)
    each = np.arange(len(study.test_targets))  # the study has too few patients for an interval
    return chosen, runs, grid_table(runs, study.teacher, study.image_set, each)


def test_every_cell_has_its_own_students(made):
    _, runs, table = made
    assert list(runs) == [(1.0, 1.0), (0.4, 1.0), (0.4, 5.0)]
    assert table["seeds"].tolist() == [
        2,
        2,
        2,
    ]
    ids = [run.id for of in runs.values() for run in of]
    assert len(set(ids)) == 6


def test_values_come_from_the_runs(study, made):
    _, runs, table = made
    for (cell, of), row in zip(runs.items(), table.itertuples(), strict=True):
        right = np.mean([saved_logits(run).argmax(1) == study.test_targets for run in of])
        labels = np.mean(
            [saved_logits(run).argmax(1) == study.test_targets for run in runs[1.0, 1.0]]
        )
        assert (row.alpha, row.temperature) == cell
        assert row.accuracy == pytest.approx(right) and row.gain == pytest.approx(right - labels)
        assert row.gain_low <= row.gain <= row.gain_high and 0 < row.p <= 1
    assert table.loc[0, ["gain", "gain_low", "gain_high"]].tolist() == [0, 0, 0]


def test_a_student_seed_changes_weights_and_order_but_not_the_teacher(study, made):
    chosen, runs, _ = made
    again = train_student(
        chosen.model_copy(update={"temperature": 5.0, "alpha": 0.4, "student_seed": 1}),
        study.image_set,
        study.teacher,
        study.device,
    )
    assert again.id == runs[0.4, 5.0][1].id
    upstream = {
        run.json("spec.json")["upstream"][1]
        for of in (runs[0.4, 1.0], runs[0.4, 5.0])
        for run in of
    }
    assert len(upstream) == 1


def test_alpha_one_leaves_labels_alone_and_attention_has_no_temperature(study):
    alone = study.settings.model_copy(update={"alpha": 1.0, "student_epochs": 1})
    assert list(train_grid(alone, study.image_set, study.teacher, study.device)) == [(1.0, 1.0)]
    with pytest.raises(UserError, match="'attention' has no temperature"):
        chosen = study.settings.model_copy(update={"loss": "attention", "temperatures": [1.0, 5.0]})
        train_grid(chosen, study.image_set, study.teacher, study.device)


@pytest.mark.slow
def test_controls_stand_beside_teacher_and_labels(study):
    change = {"controls": ["shuffled", "random"], "student_epochs": 1}
    runs = train_controls(study.settings.model_copy(update=change), study.image_set, study.device)
    table = compare_students(runs, study.teacher, study.image_set, study.test_groups)
    assert table.index.tolist() == ["labels alone", "teacher", "shuffled", "random"]
    assert table.loc["labels alone", "gain"] == 0
    assert len({run.id for of in runs.values() for run in of}) == 4
    random = runs["random"][0].json("spec.json")["upstream"][1]
    assert random != runs["teacher"][0].json("spec.json")["upstream"][1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alphas": [0.4, 1.0]}, "alphas must be a list of numbers in"),
        ({"alphas": 0.4}, "alphas must be a list of numbers in"),
        ({"temperatures": [0.0]}, "temperatures must be a list of numbers in"),
        ({"temperatures": [float("nan")]}, "temperatures must be a list of numbers in"),
        ({"student_seeds": 0}, "student_seeds must be a whole number in"),
        ({"controls": ["none"]}, "controls must be a list of shuffled, random"),
        ({"fraction": 0.0}, "fraction must be a number in"),
        ({"loss": "kdd"}, "loss must be one of kd, as_coded, dkd"),
        ({"control": "none"}, "control must be one of shuffled, random, smoothing, early, or ''"),
    ],
)
def test_bad_settings_are_one_clear_line(change, message):
    with pytest.raises(UserError, match=message):
        Settings.checked(change)
