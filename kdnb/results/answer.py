"""The answer of notebook 07, in words made from the numbers of one study."""

from __future__ import annotations

from collections.abc import Mapping

from kdnb.core.intervals import Difference, Interval, points
from kdnb.core.model_names import KD_STUDENT, TEACHER
from kdnb.core.number_text import percent, percent_range

__all__ = ["results_answer"]


def results_answer(
    accuracies: Mapping[str, Interval],
    memory: float,
    gain: Difference,
    share_of_flops: float,
) -> tuple[str, str]:
    """What came out of one study, and how sure that is.

    Args:
        accuracies: Of "teacher" and "KD student", in [0, 1].
        memory: Accuracy of the nearest training image.
        gain: Accuracy of the KD student minus that of the same student on labels alone.
        share_of_flops: The student's FLOPs over those of DenseNet121, the paper's teacher.

    >>> intervals = {"teacher": Interval((0.9, 0.8, 1)), "KD student": Interval((0.8, 0.7, 0.9))}
    >>> text, sure = results_answer(intervals, 0.5, Difference((0.02, 0.01, 0.03)), 0.34)
    >>> print(text)
    The student is right on 80% of the test images, the teacher on 90%, memory alone on 50%. \
Distillation helps here, by +2.0 [+1.0, +3.0] points. The student needs 34% of the \
FLOPs of the paper's teacher.
    """
    student = accuracies[KD_STUDENT]
    text = (
        f"The student is right on {percent(student.value)} of the test images, the teacher on "
        f"{percent(accuracies[TEACHER].value)}, memory alone on {percent(memory)}. "
        f"{_helps(gain)} The student needs {percent(share_of_flops)} of the FLOPs of the paper's "
        "teacher."
    )
    if not student.is_known:
        return text, "There are too few patients for an interval, and one seed is one draw."
    sure = (
        "95 % interval of the student's accuracy: "
        f"{percent_range(student.low, student.high)}. "
        "One seed is one draw: other seeds may differ by more."
    )
    return text, sure


def _helps(gain: Difference) -> str:
    """What a gain over labels alone says."""
    side = gain.side()
    if side == "tie":
        return f"With and without distillation the students {gain}."
    if side == "above":
        return f"Distillation helps here, by {points(gain)}."
    if side == "below":
        return f"Distillation harms here, by {points(gain)}."
    return f"Whether distillation helps, this study cannot tell: {points(gain)}."
