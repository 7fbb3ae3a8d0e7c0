"""Scores of a model with intervals, calibration, confusion (notebooks 02-07)."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import confusion_matrix, f1_score
from torchmetrics.functional.classification import multiclass_calibration_error

from kdnb.core.statistics import (
    FEW,
    Groups,
    Interval,
    Statistic,
    certain_end,
    group_bootstrap,
    interval_table,
    softmax,
)

__all__ = ["confusion", "ece", "paired_difference", "scores"]


BOUNDS = {"brier": (0.0, 2.0)}  # of scores that do not lie in [0, 1]


def scores(logits: np.ndarray, targets: np.ndarray, groups: Groups | np.ndarray) -> pd.DataFrame:
    """Accuracy, balanced accuracy, macro-F1, ECE and Brier score with 95 % intervals.

    The intervals are group bootstraps. Where every answer is right a bootstrap has no width;
    accuracy's lower bound then is Clopper-Pearson's (`kdnb.core.statistics.certain_end`; at least
    95 % coverage if a group fails as a whole). Means over classes have none then.

    Args:
        logits: (N, K).
        targets: (N,) class indices.
        groups: (N,) the patient or family of each row.

    Returns:
        One row per score (index ``score``) with columns ``value, low, high, images, groups``; all
        in [0, 1], the Brier score in [0, 2].
    """
    predictions = logits.argmax(1)
    probabilities = softmax(logits)
    labels = np.arange(logits.shape[1])
    correct = predictions == targets
    one_hot = np.eye(len(labels))[targets]
    squared_errors = ((probabilities - one_hot) ** 2).sum(1)

    def balanced_accuracy(rows: np.ndarray) -> float:
        return pd.Series(correct[rows]).groupby(targets[rows]).mean().mean()

    def macro_f1(rows: np.ndarray) -> float:
        return f1_score(
            targets[rows], predictions[rows], labels=labels, average="macro", zero_division=0.0
        )

    statistics: dict[str, Statistic] = {
        "accuracy": lambda rows: correct[rows].mean(),
        "balanced_accuracy": balanced_accuracy,
        "macro_f1": macro_f1,
        "ece": lambda rows: ece(probabilities[rows], targets[rows]),
        "brier": lambda rows: squared_errors[rows].mean(),
    }
    intervals = {
        name: group_bootstrap(statistic, groups, bounds=BOUNDS.get(name, (0.0, 1.0)), repeats=400)
        for name, statistic in statistics.items()
    }
    count = len(np.unique(Groups.of(groups).names))
    if intervals["accuracy"][0] == 1.0 and count >= FEW:
        intervals["accuracy"] = Interval((1.0, certain_end(groups), 1.0))
        for name in ("balanced_accuracy", "macro_f1"):
            intervals[name] = Interval((1.0, np.nan, np.nan))
    return interval_table(intervals).assign(images=len(targets), groups=count)


def ece(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Expected calibration error in 15 bins: how far confidence is from accuracy, in [0, 1].

    ``probabilities`` are (N, K), ``targets`` (N,) class indices.
    """
    error = multiclass_calibration_error(
        torch.as_tensor(probabilities),
        torch.as_tensor(targets),
        num_classes=probabilities.shape[1],
        n_bins=15,
    )
    return float(error)


def paired_difference(
    a: np.ndarray, b: np.ndarray, targets: np.ndarray, groups: Groups | np.ndarray
) -> Interval:
    """Accuracy of logits A minus accuracy of logits B on the same images.

    With its 95 % group-bootstrap interval; ``a`` and ``b`` are (N, K), ``targets`` (N,) class
    indices, ``groups`` (N,) the patient or family of each row.
    """
    gain = (a.argmax(1) == targets).astype(float) - (b.argmax(1) == targets)
    return group_bootstrap(lambda rows: gain[rows].mean(), groups, bounds=(-1, 1))


def confusion(logits: np.ndarray, targets: np.ndarray, classes: tuple[str, ...]) -> pd.DataFrame:
    """Counts of true class (rows) by predicted class (columns)."""
    matrix = confusion_matrix(targets, logits.argmax(1), labels=range(len(classes)))
    return pd.DataFrame(
        matrix,
        index=pd.Index(classes, name="true"),
        columns=pd.Index(classes, name="predicted"),
    )
