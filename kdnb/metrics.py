"""Scores with intervals, paired differences, calibration, and how alike teacher and student answer (notebooks 02-07).

Intervals resample *groups* (patients or families), since images of one patient are not independent.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from scipy import stats
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score
from torchmetrics.functional.classification import multiclass_calibration_error

__all__ = ["FEW", "Interval", "confusion", "divergence", "ece", "fidelity", "fidelity_by", "group_bootstrap",
           "paired_difference", "paired_test", "scores", "seed_interval", "softmax"]  # fmt: skip

FEW = 5  # groups that an interval over groups needs at least
Statistic = Callable[[np.ndarray], float]  # from row numbers (R,) to a number


class Interval(tuple):
    """A value with its 95 % interval: ``(value, low, high)``.

    >>> print(Interval((0.9, 0.85, 0.94)))
    0.900 [0.850, 0.940]
    """

    __slots__ = ()

    def __str__(self) -> str:
        value, low, high = self
        return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Probabilities (N, K) of logits (N, K) at a temperature.

    >>> softmax(np.array([[0.0, 0.0]])).tolist()
    [[0.5, 0.5]]
    """
    return torch.softmax(torch.as_tensor(logits, dtype=torch.float64) / temperature, dim=1).numpy()


def group_bootstrap(
    statistic: Statistic, groups: np.ndarray, *, repeats: int = 1000, seed: int = 0, level: float = 0.95
) -> Interval:
    """A statistic with its percentile bootstrap interval over groups.

    Args:
        statistic: Computes the number from an int array of row numbers (repeats allowed).
        groups: (N,) group of each row; whole groups are drawn with replacement.
        repeats: Bootstrap draws.
        seed: Seeds the draws.
        level: Coverage.
    """
    _, codes = np.unique(groups, return_inverse=True)
    members = [np.flatnonzero(codes == g) for g in range(codes.max() + 1)]
    rng = np.random.default_rng(seed)
    draws = [
        statistic(np.concatenate([members[g] for g in rng.integers(len(members), size=len(members))]))
        for _ in range(repeats)
    ]
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval((float(statistic(np.arange(len(codes)))), float(low), float(high)))


def scores(logits: np.ndarray, targets: np.ndarray, groups: np.ndarray | None = None, *, seed: int = 0) -> pd.DataFrame:
    """Accuracy, balanced accuracy, macro-F1, ECE and Brier score with 95 % group-bootstrap intervals.

    Where every answer is right a bootstrap has no width; accuracy's lower bound then is Clopper-Pearson's for as many
    trials as there are groups (at least 95 % coverage if a group fails as a whole).

    Args:
        logits: (N, K) logits.
        targets: (N,) class indices.
        groups: (N,) patient or family of each row; each row its own group if omitted.
        seed: Seeds the bootstrap.

    Returns:
        One row per score (index ``score``) with columns ``value, low, high, images, groups``; all in [0, 1], the Brier
        score in [0, 2].
    """
    logits, targets = np.asarray(logits, dtype=np.float64), np.asarray(targets)
    groups = np.arange(len(targets)) if groups is None else np.asarray(groups)
    predictions, probabilities = logits.argmax(1), softmax(logits)
    labels = np.arange(logits.shape[1])
    squared = ((probabilities - np.eye(len(labels))[targets]) ** 2).sum(1)
    statistics: dict[str, Statistic] = {
        "accuracy": lambda r: accuracy_score(targets[r], predictions[r]),
        "balanced_accuracy": lambda r: _recall_mean(targets[r], predictions[r]),
        "macro_f1": lambda r: f1_score(targets[r], predictions[r], labels=labels, average="macro", zero_division=0.0),
        "ece": lambda r: ece(probabilities[r], targets[r]),
        "brier": lambda r: squared[r].mean(),
    }
    rows = {name: group_bootstrap(s, groups, seed=seed, repeats=400) for name, s in statistics.items()}
    count = len(np.unique(groups))
    if rows["accuracy"][0] == 1.0:
        rows["accuracy"] = Interval((1.0, stats.beta.ppf(0.025, count, 1), 1.0))
    table = pd.DataFrame(rows, index=["value", "low", "high"]).T.rename_axis("score")
    return table.assign(images=len(targets), groups=count)


def _recall_mean(targets: np.ndarray, predictions: np.ndarray) -> float:
    return float(np.mean([(predictions[targets == k] == k).mean() for k in np.unique(targets)]))


def ece(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Expected calibration error of probabilities (N, K) in 15 bins: how far confidence is from accuracy, in [0, 1]."""
    tensors = torch.as_tensor(probabilities), torch.as_tensor(targets)
    return float(multiclass_calibration_error(*tensors, num_classes=probabilities.shape[1], n_bins=15))


def paired_difference(
    logits_a: np.ndarray, logits_b: np.ndarray, targets: np.ndarray, groups: np.ndarray, *, seed: int = 0
) -> Interval:
    """Accuracy of A minus accuracy of B on the same images, with its 95 % group-bootstrap interval."""
    right = [np.asarray(x).argmax(1) == np.asarray(targets) for x in (logits_a, logits_b)]
    gain = right[0].astype(float) - right[1]
    return group_bootstrap(lambda r: gain[r].mean(), np.asarray(groups), seed=seed)


def divergence(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """KL(p ‖ q) of probabilities (N, K), in nats: (N,)."""
    p, q = (np.clip(x, 1e-12, None) for x in (p, q))
    return (p * np.log(p / q)).sum(1)


def seed_interval(values: np.ndarray, groups: np.ndarray, *, repeats: int = 2000, seed: int = 0) -> Interval:
    """Mean over seeds and images with its 95 % interval: what new seeds and new groups of images would move.

    The groups' part is their bootstrap, the seeds' part Student's t on the means of the seeds (3 seeds: t = 4.3); the
    two half-widths are added as squares. With one seed the seeds' part is unknown and left out. Where all values are 1
    the lower bound is Clopper-Pearson's for as many trials as there are groups.

    Args:
        values: (S, N), such as whether the model of a seed is right on an image.
        groups: (N,) patient or family of each image.
        repeats: Bootstrap draws.
        seed: Seeds the draws.
    """
    sums, sizes = _group_sums(values, groups)
    rng = np.random.default_rng(seed)
    if (np.asarray(values) == 1).all():
        return Interval((1.0, float(stats.beta.ppf(0.025, len(sizes), 1)), 1.0))
    count, value = len(values), float(np.mean(values))
    weights = rng.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), size=repeats)  # (R, G) times drawn
    draws = weights @ sums.mean(0) / (weights @ sizes)
    apart = stats.t.ppf(0.975, count - 1) * np.std(np.mean(values, 1), ddof=1) / count**0.5 if count > 1 else 0.0
    low, high = (np.hypot(value - end, apart) for end in np.quantile(draws, [0.025, 0.975]))
    return Interval((value, value - float(low), value + float(high)))


def paired_test(differences: np.ndarray, groups: np.ndarray, *, repeats: int = 10_000, seed: int = 0) -> float:
    """Two-sided p of "no difference" between these very models: sign-flip permutation test over groups.

    It speaks of other patients, not of other seeds; the mean over the given seeds is tested.

    Args:
        differences: (S, N), score of A minus score of B per seed and image.
        groups: (N,) patient or family of each image; a group flips its sign as a whole.
        repeats: Random flips.
        seed: Seeds the flips.
    """
    sums = _group_sums(differences, groups)[0].sum(0)  # (G,)
    rng, as_large = np.random.default_rng(seed), 0
    for start in range(0, repeats, 500):  # in blocks: the signs of all repeats may not fit into memory
        signs = 2.0 * rng.integers(0, 2, size=(min(500, repeats - start), len(sums)), dtype=np.int8) - 1
        as_large += int((np.abs(signs @ sums) >= abs(sums.sum()) - 1e-9).sum())
    return (1 + as_large) / (1 + repeats)


def _group_sums(values: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums (S, G) of values (S, N) per group, and the sizes (G,) of the groups."""
    names, codes = np.unique(groups, return_inverse=True)
    sums = np.stack([np.bincount(codes, weights=row, minlength=len(names)) for row in values])
    return sums, np.bincount(codes)


def fidelity(
    student: np.ndarray, teacher: np.ndarray, groups: np.ndarray | None = None, *, seed: int = 0
) -> pd.DataFrame:
    """How alike student and teacher answer: top-1 agreement and KL(teacher ‖ student) in nats, with 95 % intervals.

    Args:
        student: (N, K) logits.
        teacher: (N, K) logits.
        groups: (N,) patient or family of each row.
        seed: Seeds the bootstrap.
    """
    groups = np.arange(len(student)) if groups is None else np.asarray(groups)
    same = np.asarray(student).argmax(1) == np.asarray(teacher).argmax(1)
    apart = divergence(softmax(teacher), softmax(student))
    rows = {
        "agreement": group_bootstrap(lambda r: same[r].mean(), groups, seed=seed),
        "kl": group_bootstrap(lambda r: apart[r].mean(), groups, seed=seed),
    }
    return pd.DataFrame(rows, index=["value", "low", "high"]).T.rename_axis("score")


def fidelity_by(
    student: np.ndarray, teacher: np.ndarray, targets: np.ndarray, classes: tuple[str, ...]
) -> pd.DataFrame:
    """Agreement with the teacher and accuracy of both, per class and on the images where the teacher is wrong.

    Args:
        student: (N, K) logits.
        teacher: (N, K) logits.
        targets: (N,) class indices.
        classes: K names.

    Returns:
        Index ``images of``; columns images, agreement, student (accuracy), teacher (accuracy); nan where there is none.
    """
    ours, theirs = np.asarray(student).argmax(1), np.asarray(teacher).argmax(1)
    parts = {name: targets == k for k, name in enumerate(classes)} | {"teacher wrong": theirs != targets}
    rows = {
        name: {"images": part.sum(), "agreement": _mean(ours[part] == theirs[part]),
               "student": _mean(ours[part] == targets[part]), "teacher": _mean(theirs[part] == targets[part])}
        for name, part in parts.items()
    }  # fmt: skip
    return pd.DataFrame(rows).T.astype({"images": int}).rename_axis("images of")


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def confusion(logits: np.ndarray, targets: np.ndarray, classes: tuple[str, ...]) -> pd.DataFrame:
    """Counts of true class (rows) by predicted class (columns)."""
    matrix = confusion_matrix(targets, np.asarray(logits).argmax(1), labels=range(len(classes)))
    return pd.DataFrame(matrix, index=pd.Index(classes, name="true"), columns=pd.Index(classes, name="predicted"))
