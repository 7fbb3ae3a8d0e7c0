"""Which answers are wrong, and the answer of notebook 02, in words made from numbers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from kdnb.core.intervals import Difference, Interval, points
from kdnb.core.number_text import percent, percent_range
from kdnb.core.statistics import softmax

__all__ = ["WrongAnswer", "confusion_sentence", "teacher_answer", "wrong_answers"]

APART = ("grouped", "patients")  # splits under which no known patient is on both sides


class WrongAnswer(NamedTuple):
    """An image of the test part that a model gets wrong."""

    place: int  #: in the test part
    truth: int  #: its class number
    answer: int  #: what the model says
    sure: float  #: the probability that it gives its answer


def wrong_answers(logits: np.ndarray, targets: np.ndarray, count: int = 6) -> list[WrongAnswer]:
    """The wrong answers of which a model is surest, the surest first.

    Args:
        logits: (N, K).
        targets: (N,) true class numbers.
        count: How many at most.

    >>> wrong_answers(np.array([[2.0, 0.0], [0.0, 3.0], [0.0, 1.0]]), np.array([0, 0, 0]))[0].place
    1
    """
    probabilities = softmax(logits)
    answers = probabilities.argmax(1)
    wrong = np.flatnonzero(answers != targets)
    surest = wrong[np.argsort(-probabilities[wrong].max(1), kind="stable")][:count]
    return [
        WrongAnswer(
            place=int(place),
            truth=int(targets[place]),
            answer=int(answers[place]),
            sure=float(probabilities[place].max()),
        )
        for place in surest
    ]


def confusion_sentence(matrix: pd.DataFrame) -> str:
    """How many answers are wrong, and which class is most often taken for which.

    Args:
        matrix: Of `kdnb.training.evaluation.confusion`: counts, rows are true classes.

    >>> names = ["glioma", "none"]
    >>> confusion_sentence(pd.DataFrame([[9, 1], [0, 5]], index=names, columns=names))
    '1 of 15 answers is wrong. Most often glioma is taken for none: in 1 of 10 images.'
    """
    counts = matrix.to_numpy().copy()
    whole = counts.sum()
    of_class = counts.sum(1)
    np.fill_diagonal(counts, 0)
    wrong = counts.sum()
    if not wrong:
        return f"None of the {whole} answers is wrong: no pair of classes is mixed up."
    truth, answer = np.unravel_index(counts.argmax(), counts.shape)
    return (
        f"{wrong} of {whole} answers {'is' if wrong == 1 else 'are'} wrong. Most often "
        f"{matrix.index[truth]} is taken for {matrix.columns[answer]}: in {counts[truth, answer]} "
        f"of {of_class[truth]} images."
    )


def teacher_answer(
    accuracy: Interval,
    memory: float,
    above_memory: Difference,
    above_student: Difference,
    split: str,
    *,
    unseen: bool,
) -> tuple[str, str]:
    """How good the large network is, and how sure that is.

    Args:
        accuracy: Of the teacher, with its 95 % interval.
        memory: What memory alone reaches.
        above_memory: The teacher's accuracy minus memory's, on the same images.
        above_student: The same minus that of the small student on labels alone.
        split: Of the images.
        unseen: Whether all test images are of known patients of whom no image was learned.
    """
    patients = "of patients that it has never seen" if unseen else "of the test part"
    text = f"The teacher is right on {percent(accuracy.value)} of the images {patients}; "
    text += f"memory alone on {percent(memory)}. "
    side = above_student.side()
    by = points(above_student)
    if side == "unknown":
        text += "Whether it beats a small student on labels alone, so few patients cannot tell."
    elif side == "tie":
        text += "No patient tells it from a small student on labels alone."
    elif side == "above":
        text += f"It beats a small student on labels alone, by {by}."
    elif side == "below":
        text += f"It is worse than a small student on labels alone, by {by}."
    else:
        text += f"It is not shown to be better than a small student on labels alone: {by}."
    if not accuracy.is_known:
        return text, "There are too few patients for an interval."
    sure = "95 % interval of the accuracy over patients or families: "
    sure += percent_range(accuracy.low, accuracy.high)
    if not unseen and split in APART:
        sure += "; patients whom nobody knows may be on both sides"
    elif not unseen:
        sure += f"; under the split {split} patients may be on both sides"
    return text, f"{sure}; {_beside_memory(above_memory)}."


def _beside_memory(above: Difference) -> str:
    """Whether a network is above memory, by their difference on the same images."""
    side = above.side()
    if side == "tie":
        return "no patient tells it from memory"
    if side == "above":
        return f"it is above memory, by {points(above)}"
    if side == "below":
        return f"it is below memory, by {points(above)}"
    return f"it is not shown to be above memory: {points(above)}"
