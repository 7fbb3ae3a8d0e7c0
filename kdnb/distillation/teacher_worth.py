"""Is the teacher one? What it knows beyond its rivals, and whether its errors pass on (02, 03)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from kdnb.core.differences import paired_gain
from kdnb.core.intervals import Difference, Interval
from kdnb.core.statistics import Groups, seed_interval

__all__ = ["chance_of_same", "error_transfer", "teacher_worth", "worth_sentence"]


def teacher_worth(
    teacher: np.ndarray,
    rivals: Mapping[str, np.ndarray],
    targets: np.ndarray,
    groups: Groups | np.ndarray,
) -> pd.DataFrame:
    """The teacher's accuracy minus that of each rival, on the same test images.

    Args:
        teacher: (N,) the class numbers that it names.
        rivals: Name → (N,) the class numbers that the rival names.
        targets: (N,) true class numbers.
        groups: (N,) patient or family of each image.

    Returns:
        Index ``rival``; columns teacher and accuracy (of the rival) in [0, 1], and the difference
        with its 95 % interval over groups (difference_low, difference_high); how many groups.
    """
    count = len(np.unique(Groups.of(groups).names))
    right = (teacher == targets).astype(float)
    rows = {}
    for name, answers in rivals.items():
        rival_right = (answers == targets).astype(float)
        gain = right - rival_right
        rows[name] = {
            "teacher": right.mean(),
            "accuracy": rival_right.mean(),
            **paired_gain(gain, groups).named("difference"),
            "groups": count,
        }
    return pd.DataFrame(rows).T.astype({"groups": int}).rename_axis("rival")


def worth_sentence(worth: pd.DataFrame) -> str:
    """What `teacher_worth` says, in words: has a student something to learn from it?

    >>> numbers = {"difference": 0.04, "difference_low": 0.01, "difference_high": 0.07}
    >>> worth_sentence(pd.DataFrame({"memory": numbers}).T)
    'The teacher is better than memory by 0.040 [0.010, 0.070]. It has something to teach.'
    """
    parts = []
    better = True
    columns = ["difference", "difference_low", "difference_high"]
    for rival, row in worth.iterrows():
        interval = Difference(row[columns], groups=int(row.get("groups", 0)))
        side = interval.side()
        if side == "above":
            parts.append(f"better than {rival} by {interval}")
            continue
        better = False
        if side == "tie":
            parts.append(f"not shown to be better than {rival}: the two {interval}")
        elif side == "below":
            worse = Interval((-interval.value, -interval.high, -interval.low))
            parts.append(f"worse than {rival} by {worse}")
        else:
            parts.append(f"not shown to be better than {rival}: {interval:+z.3f}")
    told = f"The teacher is {' and '.join(parts)}."
    if better:
        return f"{told} It has something to teach."
    return f"{told} So do not expect much from distillation here."


def error_transfer(
    students: Mapping[str, np.ndarray],
    teacher: np.ndarray,
    targets: np.ndarray,
    groups: Groups | np.ndarray,
) -> pd.DataFrame:
    """Of the images that the teacher gets wrong: how often does a student err in the same way?

    "The same way" is the same wrong class. Chance is how often the student names that class for
    images of the same true class: students err alike also where nobody taught them, since some
    classes are hard to tell apart.

    Args:
        students: Name → (N,) the class numbers that the student names.
        teacher: (N,) those that the teacher names.
        targets: (N,) true class numbers.
        groups: (N,) patient or family of each image.

    Returns:
        Index ``student``; columns images (that the teacher gets wrong), wrong (share of them that
        the student gets wrong, too), same (share that it gets wrong in the same way), chance, and
        above_chance with its 95 % interval over groups. NaN where the teacher makes no error.
    """
    errors = np.flatnonzero(teacher != targets)
    rows = {}
    for name, answers in students.items():
        wrong = answers[errors] != targets[errors]
        same = answers[errors] == teacher[errors]
        chance = chance_of_same(answers, teacher, targets)[errors]
        above = same - chance
        difference = Interval((np.nan, np.nan, np.nan))
        if len(errors):
            difference = seed_interval(above[None], groups[errors], bounds=(-1, 1))
        rows[name] = {
            "images": len(errors),
            "wrong": wrong.mean() if len(errors) else np.nan,
            "same": same.mean() if len(errors) else np.nan,
            "chance": chance.mean() if len(errors) else np.nan,
            **difference.named("above_chance"),
        }
    return pd.DataFrame(rows).T.astype({"images": int}).rename_axis("student")


def chance_of_same(answers: np.ndarray, teacher: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(N,) how often ``answers`` name the teacher's class among images of the same true class.

    The image itself counts, too: what is above this chance is told a little too low.
    """
    shares = pd.crosstab(targets, answers, normalize="index")
    classes = range(max(targets.max(), answers.max(), teacher.max()) + 1)
    every_class = shares.reindex(index=classes, columns=classes, fill_value=0.0)
    return every_class.to_numpy()[targets, teacher]
