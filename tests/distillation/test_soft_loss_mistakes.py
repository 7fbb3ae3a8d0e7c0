from __future__ import annotations

import pytest
import torch
from torch.nn.functional import kl_div, log_softmax

from kdnb.course import check
from kdnb.distillation import MEASURED, measure_soft_loss, soft_loss, soft_loss_mistakes


@pytest.fixture
def logits():
    draw = torch.Generator().manual_seed(0)
    return 3 * torch.randn(2, 32, 4, generator=draw)


def said_of(rule, logits):
    student, teacher = logits
    rules = soft_loss_mistakes(student.shape[1]).items()
    hints = [(measure_soft_loss(other, student, teacher), what) for what, other in rules]
    right = measure_soft_loss(soft_loss, student, teacher)
    return check(
        lambda given: measure_soft_loss(given, student, teacher),
        expected=right,
        given=[rule],
        hints=hints,
        parts=MEASURED,
    ).said


def test_every_mistake_is_named_as_what_it_is(logits):
    for what, rule in soft_loss_mistakes(4).items():
        assert said_of(rule, logits) == f"Not yet: {what}."


def test_the_loss_as_learners_write_it_is_right(logits):
    def by_hand(student, teacher, T):
        log_q = log_softmax(student / T, dim=1)
        return T**2 * kl_div(log_q, (teacher / T).softmax(1), reduction="batchmean")

    assert said_of(by_hand, logits) == "Right."


@pytest.mark.parametrize(
    "rule, said",
    [
        (lambda s, t, T: soft_loss(s, t, T).item(), "return a tensor with one number"),
        (lambda s, t, T: (s - t).square().sum(1), "return a tensor with one number"),
        (lambda s, t, T: None, "nothing is returned"),
        (lambda s, t, T: soft_loss(s, t, T) + 1, "the loss at T = 5: "),
    ],
)
def test_what_cannot_be_measured_or_is_unknown_is_said(logits, rule, said):
    assert said in said_of(rule, logits)
