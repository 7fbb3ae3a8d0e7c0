"""What a linear probe decodes at each tap, with its controls; when images are decided (04)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from kdnb.core.differences import paired_gain
from kdnb.core.errors import UserError
from kdnb.core.intervals import Interval
from kdnb.core.statistics import Groups, share_interval

__all__ = [
    "Examples",
    "control_task",
    "early_decisions",
    "fit_probes",
    "probe_predictions",
    "probe_table",
]

Features = Mapping[str, np.ndarray]  # tap → (N, C)


class Examples(NamedTuple):
    """Images as the probes see them."""

    features: Features
    targets: np.ndarray  #: (N,) class numbers
    groups: Groups | np.ndarray  #: (N,) patient or family


def fit_probes(train: Features, targets: np.ndarray) -> dict[str, Pipeline]:
    """A linear probe per tap: logistic regression (L2, C = 1) on standardised features.

    The fit is deterministic.

    Raises:
        UserError: If there is not one target per image, only one class, or a feature that is not
            finite.
    """
    return {tap: _fit(x, targets, tap) for tap, x in train.items()}


def _fit(x: np.ndarray, targets: np.ndarray, tap: str) -> Pipeline:
    targets = np.asarray(targets)
    if len(x) != len(targets) or len(np.unique(targets)) < 2:
        raise UserError(
            "a probe needs one target per image and two classes, "
            f"got {len(x)} images at tap {tap!r}, "
            f"{len(targets)} targets, {len(np.unique(targets))} classes"
        )
    if not np.isfinite(x).all():
        raise UserError(
            f"the activations at tap {tap!r} are not finite: check the weights and the input range"
        )
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, tol=1e-3))
    return probe.fit(x.astype(np.float64), targets)


def probe_predictions(probes: Mapping[str, Pipeline], test: Features) -> np.ndarray:
    """Classes (L, N) that the probes of L taps read from N images."""
    return np.stack([probe.predict(test[tap].astype(np.float64)) for tap, probe in probes.items()])


def probe_table(
    train: Examples,
    test: Examples,
    *,
    untrained: Sequence[Examples] = (),
    seed: int = 0,
    repeats: int = 5,
) -> pd.DataFrame:
    """How well the class, and a control, can be decoded at each tap.

    The control task (Hewitt and Liang, arXiv 1909.03368) asks how much a probe can learn by heart:
    every patient or family gets a random class, see :func:`control_task`; the probe is fitted on
    part of each one's images and scored on the others. Selectivity is accuracy minus that control.

    Args:
        train: What the probes are fitted on.
        test: Other patients' images.
        untrained: Train and test seen by an untrained network with the same taps: what the
            architecture alone gives.
        seed: Seeds control tasks and bootstrap.
        repeats: Control tasks, averaged.

    Returns:
        Index ``tap``; columns ``accuracy, low, high`` (95 % group bootstrap of the test images),
        ``control`` and ``selectivity`` (nan where no group of ``train`` has two images),
        ``untrained, untrained_low, untrained_high`` (nan where not given), ``above_untrained`` with
        its ends (the difference on the same test images), and ``chance``, the accuracy of always
        naming the most frequent class of the test images.
    """
    rows = []
    for tap in train.features:
        right = _right(train, test, tap)
        accuracy, low, high = share_interval(right[None], test.groups, seed=seed)
        control = _control(train, tap, seed, repeats)
        bare = above = Interval((np.nan, np.nan, np.nan))
        if untrained:
            bare_right = _right(*untrained, tap)
            bare = share_interval(bare_right[None], test.groups, seed=seed)
            above = paired_gain(right - bare_right, test.groups)
        row = {
            "accuracy": accuracy,
            "low": low,
            "high": high,
            "control": control,
            "selectivity": accuracy - control,
            **bare.named("untrained"),
            **above.named("above_untrained"),
            "chance": np.bincount(test.targets).max() / len(test.targets),
        }
        rows.append(row)
    return pd.DataFrame(rows, index=pd.Index(train.features, name="tap"))


def _right(train: Examples, test: Examples, tap: str) -> np.ndarray:
    """(N,) 1 where a probe fitted on the training images reads a test image's class, else 0."""
    probe = _fit(train.features[tap], train.targets, tap)
    read = probe.predict(test.features[tap].astype(np.float64))
    return (read == test.targets).astype(float)


def control_task(
    targets: np.ndarray, groups: Groups | np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Labels without meaning: the groups' classes, handed out anew; and which images to score.

    Args:
        targets: (N,) class numbers; a group counts as its most frequent one.
        groups: (N,) patient or family.
        seed: Another seed, other labels.

    Returns:
        Labels (N,), and (N,) True for half of each group's images (rounded down), drawn at random.

    >>> labels, scored = control_task(np.array([0, 0, 1, 1, 2]), np.array(list("aabbc")), seed=1)
    >>> sorted({int(labels[0]), int(labels[2]), int(labels[4])})
    [0, 1, 2]
    >>> bool(labels[0] == labels[1]), int(scored.sum())
    (True, 2)
    """
    rng = np.random.default_rng(seed)
    _, codes = np.unique(Groups.of(groups).names, return_inverse=True)
    class_of_group = pd.Series(targets).groupby(codes).agg(lambda t: t.mode()[0]).to_numpy()
    shuffled = pd.Series(rng.permutation(len(codes)))
    place = shuffled.groupby(codes).rank().to_numpy()  # of each image in its group, from 1
    size = np.bincount(codes)[codes]  # of each image's group
    labels = rng.permutation(class_of_group)[codes]
    return labels, place <= size // 2


def _control(train: Examples, tap: str, seed: int, repeats: int) -> float:
    """Mean accuracy on the control task; nan where no group has two images."""
    x = train.features[tap].astype(np.float64)
    scores = []
    for repeat in range(repeats):
        labels, scored = control_task(train.targets, train.groups, seed + repeat)
        if not scored.any():
            return float("nan")
        probe = _fit(x[~scored], labels[~scored], tap)
        scores.append((probe.predict(x[scored]) == labels[scored]).mean())
    return float(np.mean(scores))


def early_decisions(decoded: np.ndarray, final: np.ndarray) -> np.ndarray:
    """The tap (N,) from which on every probe agrees with the model's ``final`` prediction (N,).

    It is 1 for the first tap of ``decoded`` (L, N), the probes' classes in order of depth; L + 1
    where the last probe itself disagrees.

    >>> early_decisions(np.array([[0, 1, 2], [1, 1, 0], [0, 1, 0]]), np.array([0, 1, 1])).tolist()
    [3, 1, 4]
    """
    if decoded.shape[1:] != final.shape:
        raise UserError(
            f"one final prediction per image is needed, got {final.shape} for {decoded.shape[1:]}"
        )
    agreeing = np.logical_and.accumulate((decoded == final)[::-1])  # from the last tap backwards
    return len(decoded) + 1 - agreeing.sum(axis=0)
