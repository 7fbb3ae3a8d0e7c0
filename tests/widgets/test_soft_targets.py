"""The soft-target explorer without a browser: answers, pushes, words, traits, the static twin."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from kdnb.core.errors import UserError
from kdnb.core.statistics import softmax
from kdnb.distillation.losses import LOSSES
from kdnb.widgets.soft_targets import (
    Answers,
    SoftTargetExplorer,
    SoftTargetState,
    soft_target_panel,
    static_soft_targets,
)

RNG = np.random.default_rng(0)
ANSWERS = Answers(
    3 * RNG.normal(size=(5, 4)),
    RNG.normal(size=(5, 4)),
    (0, 1, 2, 3, 0),
    tuple("vwxyz"),
    tuple("abcd"),
)
TWO = Answers(RNG.normal(size=(2, 2)), RNG.normal(size=(2, 2)), (0, 1), tuple("yz"), tuple("ab"))


@pytest.mark.parametrize("temperature", [1.0, 4.0, 30.0])
@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
def test_pushes_of_the_plain_loss_equal_the_closed_form(alpha, temperature):
    for image in range(5):
        panel = soft_target_panel(ANSWERS, SoftTargetState(image, alpha, temperature))
        teacher, student = (z[image : image + 1] for z in (ANSWERS.teacher, ANSWERS.student))
        hard = alpha * (np.eye(4)[ANSWERS.targets[image]] - softmax(student)[0])
        soft = (
            (1 - alpha)
            * temperature
            * (softmax(teacher, temperature) - softmax(student, temperature))[0]
        )
        np.testing.assert_allclose(panel.hard, hard, atol=1e-12)
        np.testing.assert_allclose(panel.soft, soft, atol=1e-9)
        np.testing.assert_allclose(panel.teacher, softmax(teacher, temperature)[0])
        np.testing.assert_allclose(panel.sure, softmax(teacher)[0])


@pytest.mark.parametrize("loss", LOSSES)
def test_only_the_loss_as_coded_is_dead(loss):
    panel = soft_target_panel(ANSWERS, SoftTargetState(loss=loss))
    assert (
        (panel.soft == 0).all()
        == (loss == "as_coded")
        == panel.sentence.endswith("this loss is dead")
    )
    assert f"loss {loss}, alpha 0.70, T 10" in panel.sentence


def test_labels_alone_are_not_called_dead():
    assert not soft_target_panel(ANSWERS, SoftTargetState(alpha=1.0)).sentence.endswith("dead")


@pytest.mark.parametrize("loss", ["kd", "as_coded"])
def test_one_class_leaves_nothing_to_learn_whatever_the_loss(loss):
    one = Answers(np.array([[2.0]]), np.array([[-1.0]]), (0,), ("x",), ("a",))
    panel = soft_target_panel(one, SoftTargetState(loss=loss))
    assert (panel.hard == 0).all() and (panel.soft == 0).all()
    said = "the labels push with 0, the teacher with 0: with one class there is nothing to learn"
    assert panel.sentence.endswith(said)


def test_a_loss_is_not_called_dead_where_teacher_and_student_agree():
    flat = np.zeros((1, 4))
    agreeing = Answers(flat, flat, (0,), ("x",), tuple("abcd"))
    panel = soft_target_panel(agreeing, SoftTargetState())
    assert (panel.soft == 0).all() and panel.sentence.endswith("the teacher with 0")


def test_the_widget_computes_each_step_and_checks_it():
    widget = SoftTargetExplorer(ANSWERS)
    for change in ({"temperature": 2.0}, {"alpha": 0.1}, {"image": 3}, {"loss": "standardised"}):
        for name, value in change.items():
            setattr(widget, name, value)
        expected = soft_target_panel(ANSWERS, widget.state)
        assert widget.panel["sentence"] == expected.sentence
        assert widget.panel["soft"] == expected.soft.tolist()
    state = widget.state
    for name, value, message in [
        ("alpha", 1.4, "alpha must lie between 0 and 1, got 1.4"),
        ("image", 9, "image must lie between 0 and 4"),
        ("temperature", 0.0, "temperature must lie between 1 and 50"),
        ("loss", "x", "loss must be one of kd"),
    ]:
        with pytest.raises(UserError, match=message):
            setattr(widget, name, value)
        with pytest.raises(UserError, match=message):
            widget.set_state({name: value})
        assert widget.panel["sentence"] == expected.sentence and widget.state == state


def test_the_widget_offers_and_takes_the_losses_for_its_classes():
    widget = SoftTargetExplorer(TWO)
    assert "dkd" not in widget.spec["losses"]
    assert "dkd" in SoftTargetExplorer(ANSWERS).spec["losses"]
    with pytest.raises(UserError, match="loss must be one of kd, as_coded, got 'dkd'"):
        widget.loss = "dkd"
    assert widget.loss == "kd"


@pytest.mark.parametrize("name", ["teacher", "student"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_refused(name, value):
    logits = getattr(ANSWERS, name).copy()
    logits[1, 2] = value
    with pytest.raises(UserError, match=f"the {name}'s logits are not finite .*: check its w"):
        replace(ANSWERS, **{name: logits})


def test_static_twin_shows_the_same_numbers():
    picture = static_soft_targets(ANSWERS, SoftTargetState(image=2), temperatures=(1.0, 4.0))
    for axes, temperature in zip(picture.figure.axes[:2], (1.0, 4.0), strict=True):
        panel = soft_target_panel(ANSWERS, SoftTargetState(image=2, temperature=temperature))
        heights = [bar.get_height() for bar in axes.patches]
        np.testing.assert_allclose(heights, [*panel.teacher, *panel.student])
        assert panel.sentence in picture.alt
    assert not picture.pixels
    plt.close(picture.figure)
