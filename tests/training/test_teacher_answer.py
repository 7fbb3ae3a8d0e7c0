"""Wrong answers, the step that trains, and the words of notebook 02 on made-up numbers."""

from __future__ import annotations

from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import cross_entropy

from kdnb.core.intervals import Difference, Interval
from kdnb.training.answer import confusion_sentence, teacher_answer, wrong_answers
from kdnb.training.fit import train_step
from kdnb.training.plots import confusion_heatmap, error_pairs, why_no_reliability
from kdnb.training.students import FiveConv

ACCURACY = Interval((0.9, 0.85, 0.94))
CLEARLY_ABOVE = Difference((0.3, 0.2, 0.4))


def test_the_surest_wrong_answer_comes_first():
    logits = np.array([[0.0, 1.0], [0.0, 5.0], [9.0, 0.0], [3.0, 0.0]])
    found = wrong_answers(logits, np.array([0, 0, 0, 1]))
    assert [one.place for one in found] == [1, 3, 0]
    assert (found[0].truth, found[0].answer) == (0, 1) and found[0].sure > 0.99
    assert len(wrong_answers(logits, np.array([0, 0, 0, 1]), count=2)) == 2


def test_the_pair_that_is_mixed_up_most_is_named_and_no_error_is_said():
    names = ["a", "b", "c"]
    matrix = pd.DataFrame([[5, 1, 4], [0, 9, 1], [0, 0, 7]], index=names, columns=names)
    assert confusion_sentence(matrix).endswith("a is taken for c: in 4 of 10 images.")
    right = pd.DataFrame(np.diag([3, 4, 5]), index=names, columns=names)
    assert confusion_sentence(right).startswith("None of the 12 answers is wrong")


@pytest.mark.parametrize(
    ("above", "said"),
    [
        (
            (0.05, 0.01, 0.09),
            "It beats a small student on labels alone, by +5.0 [+1.0, +9.0]",
        ),
        ((-0.05, -0.09, -0.01), "It is worse than a small student"),
        ((0.01, -0.03, 0.05), "It is not shown to be better"),
        ((0.01, np.nan, np.nan), "so few patients cannot tell"),
        ((0.0, 0.0, 0.0), "No patient tells it from a small student"),
    ],
)
def test_the_answer_says_what_the_interval_shows(above, said):
    text, sure = teacher_answer(
        ACCURACY, 0.6, CLEARLY_ABOVE, Difference(above), "grouped", unseen=True
    )
    assert said in text and "90%" in text and "nan" not in text + sure
    assert sure.endswith("it is above memory, by +30.0 [+20.0, +40.0] points.")


def test_a_split_by_image_is_not_said_to_be_of_unseen_patients():
    no_gain = Difference((0.0, -0.1, 0.1))
    text, sure = teacher_answer(ACCURACY, 0.9, no_gain, no_gain, "random", unseen=False)
    assert "never seen" not in text and "patients may be on both sides" in sure
    assert sure.endswith("it is not shown to be above memory: +0.0 [-10.0, +10.0] points.")
    text, sure = teacher_answer(ACCURACY, 0.9, no_gain, no_gain, "grouped", unseen=False)
    assert "never seen" not in text and "patients whom nobody knows may be on both sides" in sure


def test_own_parts_that_keep_patients_apart_are_not_doubted():
    tie = Difference((0.0, 0.0, 0.0))
    text, sure = teacher_answer(ACCURACY, 0.9, tie, tie, "published", unseen=True)
    assert "never seen" in text and "both sides" not in sure
    assert sure.endswith("no patient tells it from memory.")


def test_memory_is_compared_on_the_same_images():
    """Not by whether it lies outside the accuracy's interval."""
    below = Difference((-0.4, -0.7, -0.1))
    no_gain = Difference((0.0, -0.1, 0.1))
    wide = Interval((0.44, 0.11, 0.95))
    _, sure = teacher_answer(wide, 0.84, below, no_gain, "grouped", unseen=True)
    assert sure.endswith("it is below memory, by -40.0 [-70.0, -10.0] points.")


def test_one_step_is_forward_loss_backward_step():
    torch.manual_seed(0)
    model = FiveConv(3, 0.25).train()
    by_hand = FiveConv(3, 0.25).train()
    by_hand.load_state_dict(model.state_dict())
    images = torch.randn(4, 3, 32, 32)
    targets = torch.tensor([0, 1, 2, 0])
    optimiser = torch.optim.SGD(by_hand.parameters(), lr=0.1)
    loss = cross_entropy(by_hand(images), targets)
    loss.backward()
    optimiser.step()
    value, logits = train_step(
        model,
        torch.optim.SGD(model.parameters(), lr=0.1),
        images,
        partial(cross_entropy, target=targets),
    )
    assert value == loss.item() and not logits.requires_grad
    for own, other in zip(model.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(own, other)


def test_a_diagram_of_one_dot_is_a_sentence():
    sure = np.tile([0.97, 0.03], (5, 1))
    assert "of one confidence (a 0.97)" in why_no_reliability({"a": sure})
    assert not why_no_reliability({"a": sure, "b": np.array([[0.6, 0.4], [0.9, 0.1]])})


def test_pairs_say_both_titles():
    images = np.zeros((1, 8, 8, 3), np.uint8)
    picture = error_pairs(images, images, ["true: a\nsays b 0.99"], ["twin: b"])
    assert "true: a says b 0.99, nearest twin: b" in picture.alt and picture.pixels


def test_a_class_without_an_image_is_not_said_to_be_recognised_in_none():
    names = ["a", "b", "c"]
    matrix = pd.DataFrame([[3, 1, 0], [0, 0, 0], [0, 0, 2]], index=names, columns=names)
    picture = confusion_heatmap(matrix)
    assert picture.alt.endswith("recognised: a 75%; b no image; c 100%.")
    cells = picture.figure.axes[0].collections[0].get_array().reshape(3, 3)
    assert np.ma.getmaskarray(cells).tolist() == [[False] * 3, [True] * 3, [False] * 3]
    plt.close(picture.figure)
