"""Scores of a model with intervals, calibration, confusion (notebooks 02-07)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import confusion_matrix
from torchmetrics.functional.classification import multiclass_calibration_error

from kdnb.core.differences import paired_gain
from kdnb.core.errors import UserError
from kdnb.core.intervals import Difference, Interval
from kdnb.core.statistics import (
    Groups,
    Statistic,
    group_bootstrap,
    groups_of_rarest,
    interval_table,
    seed_interval,
    share_interval,
    softmax,
    trials,
    with_unseen,
)

__all__ = [
    "absent_classes",
    "balanced_accuracy",
    "confusion",
    "ece",
    "kept_epoch",
    "macro_f1",
    "paired_difference",
    "scores",
]

OVER_CLASSES = ("balanced_accuracy", "macro_f1")  # scores that are means over classes
REPEATS = 400  # bootstrap draws of what is no mean over images
BOUNDS = {"brier": (0.0, 2.0)}  # of scores that do not lie in [0, 1]


def scores(
    logits: np.ndarray,
    targets: np.ndarray,
    groups: Groups | np.ndarray,
    classes: Sequence[str] = (),
) -> pd.DataFrame:
    """Accuracy, balanced accuracy, macro-F1, ECE and Brier score with 95 % intervals.

    The intervals are bootstraps over groups. Where every answer is right, or every one wrong, these
    have no width, and they are one-sided (`kdnb.core.statistics.with_unseen`). Those of means over
    classes are as wide as the groups of the rarest class demand, and missing where these are few.

    Means over classes are over those with a true image, see `balanced_accuracy` and `macro_f1`. A
    bootstrap draw that lacks one of them leaves it out.

    Args:
        logits: (N, K).
        targets: (N,) class indices.
        groups: (N,) the patient or family of each row.
        classes: K names, for the column ``absent``; empty: the numbers stand for them.

    Returns:
        One row per score (index ``score``) with columns ``value, low, high, images, groups``; all
        in [0, 1], the Brier score in [0, 2]. Only where a class has no image there is one more
        column, ``absent``: beside the means over classes, the classes that they leave out.

    Raises:
        UserError: A logit is NaN or infinite: the largest of such an answer would be its class.
    """
    broken = ~np.isfinite(logits).all(axis=1)
    if broken.any():
        raise UserError(
            f"{broken.sum():,} of {len(logits):,} answers have logits that are no numbers: "
            "train again with a lower learning_rate, or with precision float32"
        )
    predictions = logits.argmax(1)
    probabilities = softmax(logits)
    correct = predictions == targets
    one_hot = np.eye(logits.shape[1])[targets]
    squared_errors = ((probabilities - one_hot) ** 2).sum(1)
    statistics: dict[str, Statistic] = {
        "balanced_accuracy": lambda rows: balanced_accuracy(targets[rows], predictions[rows]),
        "macro_f1": lambda rows: macro_f1(targets[rows], predictions[rows]),
        "ece": lambda rows: ece(probabilities[rows], targets[rows]),
    }
    intervals = {"accuracy": share_interval(correct[None].astype(float), groups)}
    for name, statistic in statistics.items():
        counting = groups_of_rarest(targets, groups) if name in OVER_CLASSES else None
        intervals[name] = group_bootstrap(
            statistic, groups, bounds=(0, 1), repeats=REPEATS, counting=counting
        )
    intervals["ece"] = _reflected(intervals["ece"])
    intervals["brier"] = seed_interval(squared_errors[None], groups, bounds=BOUNDS["brier"])
    if intervals["accuracy"].value in (0.0, 1.0):
        intervals = _one_sided(intervals, targets, groups)
    count = len(np.unique(Groups.of(groups).names))
    table = interval_table(intervals).assign(images=len(targets), groups=count)
    absent = absent_classes(targets, classes or range(logits.shape[1]))
    if absent:
        table["absent"] = [absent if name in OVER_CLASSES else "" for name in table.index]
    return table


def _reflected(interval: Interval) -> Interval:
    """An interval turned round its value, within [0, 1]: the basic bootstrap.

    The calibration error of few answers comes out too high, and that of a resample higher still.
    Turned round, the interval takes off what resampling has put on.

    >>> print(_reflected(Interval((0.06, 0.055, 0.1))), _reflected(Interval((0.8, 0.4, 0.9))))
    0.060 [0.020, 0.065] 0.800 [0.700, 1.000]
    """
    value, low, high = interval
    return Interval((value, max(2 * value - high, 0.0), min(max(2 * value - low, value), 1.0)))


def _one_sided(
    intervals: Mapping[str, Interval], targets: np.ndarray, groups: Groups | np.ndarray
) -> dict[str, Interval]:
    """The intervals of scores whose answers are all right, or all wrong.

    Patients unlike all that were seen have an accuracy of 1 minus theirs. The errors of calibration
    and of Brier then are the largest that there are, or none; of few patients nothing is known of
    their other end.
    """
    unlike = 1 - intervals["accuracy"].value
    found = {}
    for name, interval in intervals.items():
        if name == "accuracy":
            found[name] = interval  # it is one-sided by itself
        elif name in OVER_CLASSES:
            found[name] = with_unseen(interval, trials(groups, targets), unlike)
        elif not interval.is_known:
            found[name] = interval
        else:
            largest = BOUNDS.get(name, (0.0, 1.0))[1]
            found[name] = with_unseen(interval, trials(groups), largest * (1 - unlike))
    return found


def balanced_accuracy(targets: np.ndarray, predictions: np.ndarray) -> float:
    """Mean recall over the classes among the targets; both are (N,) class indices.

    >>> balanced_accuracy(np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1]))
    0.75
    """
    images, _, hits = _counts(targets, predictions)
    present = images > 0
    return float(np.mean(hits[present] / images[present]))


def macro_f1(targets: np.ndarray, predictions: np.ndarray) -> float:
    """Mean F1 score over the classes among the targets; both are (N,) class indices.

    A class without a true image has no recall, so it has no F1 score either. An answer that names
    such a class still lowers the recall of the true one.

    >>> round(macro_f1(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 2])), 3)
    0.833
    """
    images, answers, hits = _counts(targets, predictions)
    present = images > 0
    f1 = 2 * hits[present] / (images[present] + answers[present])
    return float(np.mean(f1))


def _counts(
    targets: np.ndarray, predictions: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each class (K,): its true images, the answers that name it, and those that are right.

    A bootstrap asks hundreds of times, so this is not scikit-learn's, which takes milliseconds.
    """
    classes = 1 + max(targets.max(), predictions.max())
    images = np.bincount(targets, minlength=classes)
    answers = np.bincount(predictions, minlength=classes)
    hits = np.bincount(targets[targets == predictions], minlength=classes)
    return images, answers, hits


def absent_classes(targets: np.ndarray, classes: Sequence[object]) -> str:
    """The classes of which no target (N,) is, in one text; empty where each has one.

    >>> absent_classes(np.array([0, 2, 2]), ("glioma", "none", "pituitary", "meningioma"))
    'none, meningioma'
    """
    present = set(targets.tolist())
    return ", ".join(str(name) for number, name in enumerate(classes) if number not in present)


def ece(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Expected calibration error in 15 bins: how far confidence is from accuracy, in [0, 1].

    ``probabilities`` are (N, K), ``targets`` (N,) class indices.
    """
    # torchmetrics counts in float32, and there gives a confidence of exactly 1 a bin of its own
    below_one = np.nextafter(np.float32(1), np.float32(0))
    error = multiclass_calibration_error(
        torch.as_tensor(np.minimum(probabilities, below_one)),
        torch.as_tensor(targets),
        num_classes=probabilities.shape[1],
        n_bins=15,
    )
    return float(error)


def paired_difference(
    a: np.ndarray, b: np.ndarray, targets: np.ndarray, groups: Groups | np.ndarray
) -> Difference:
    """Accuracy of logits A minus accuracy of logits B on the same images.

    With its 95 % interval over groups, see `kdnb.core.differences.paired_gain`.

    Args:
        a: (N, K) logits.
        b: (N, K) logits.
        targets: (N,) class indices.
        groups: (N,) the patient or family of each row.
    """
    gain = (a.argmax(1) == targets).astype(float) - (b.argmax(1) == targets)
    return paired_gain(gain, groups)


def confusion(logits: np.ndarray, targets: np.ndarray, classes: tuple[str, ...]) -> pd.DataFrame:
    """Counts of true class (rows) by predicted class (columns)."""
    matrix = confusion_matrix(targets, logits.argmax(1), labels=range(len(classes)))
    return pd.DataFrame(
        matrix,
        index=pd.Index(classes, name="true"),
        columns=pd.Index(classes, name="predicted"),
    )


def kept_epoch(history: pd.DataFrame) -> pd.Series:
    """The row of a training's history whose network is kept, as `kdnb.training.fit.fit` does.

    It has the lowest finite validation loss, of equals the last. Columns: epoch, val_loss, others.

    >>> history = pd.DataFrame({"epoch": [0, 1, 2, 3], "val_loss": [0.9, 0.4, 0.4, np.inf]})
    >>> int(kept_epoch(history)["epoch"])
    2
    """
    finite = history[np.isfinite(history["val_loss"])].sort_values("epoch")
    return finite[finite["val_loss"] == finite["val_loss"].min()].iloc[-1]
