"""The tables of a layer analysis: probes, CKA, ledgers, ablation, channels (notebook 04)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from sklearn.pipeline import Pipeline
from torch import Tensor, nn

from kdnb.core.errors import UserError
from kdnb.core.model_names import KD_STUDENT, LABEL_ONLY, TEACHER
from kdnb.core.progress import tell
from kdnb.core.protocols import TrainedStudy
from kdnb.core.statistics import seed_interval
from kdnb.feature_maps.ablation import channel_means, top_k_curve
from kdnb.feature_maps.cka import gram_cka, grams
from kdnb.feature_maps.ledger import decision_ledger
from kdnb.feature_maps.probes import Examples, early_decisions, probe_predictions, probe_table
from kdnb.training.taps import features, gradients_at_taps

__all__ = [
    "ablation_table",
    "channel_table",
    "cka_table",
    "early_table",
    "examples_of",
    "folded_probes",
    "ledger_table",
    "probe_tables",
]

LISTED = 10  # channels of each class and tap
TRAINED = (KD_STUDENT, LABEL_ONLY, TEACHER)
COMPARED_WITH = (LABEL_ONLY, TEACHER, "untrained student")


def examples_of(
    study: TrainedStudy, models: Mapping[str, nn.Module], rows: np.ndarray
) -> dict[str, Examples]:
    """Name of a model → what its taps make of the images in rows (N,), with classes and groups."""
    images = study.images(rows)
    targets = study.targets(rows).numpy()
    groups = study.groups(rows)
    return {
        name: Examples(features=features(model, images), targets=targets, groups=groups)
        for name, model in models.items()
    }


def probe_tables(
    train: Mapping[str, Examples], test: Mapping[str, Examples], *, seed: int, repeats: int
) -> pd.DataFrame:
    """`probe_table` of every trained network, with columns model and tap.

    The untrained student is the control of the networks that have its taps.
    """
    bare_train = train["untrained student"]
    bare_test = test["untrained student"]
    tables = {}
    for name in TRAINED:
        has_its_taps = tuple(bare_train.features) == tuple(train[name].features)
        untrained = (bare_train, bare_test) if has_its_taps else ()
        tables[name] = probe_table(
            train[name], test[name], untrained=untrained, seed=seed, repeats=repeats
        )
    return pd.concat(tables, names=["model"]).reset_index()


def cka_table(models: Mapping[str, nn.Module], images: Tensor) -> pd.DataFrame:
    """CKA of every tap of the KD student with every tap of the other networks.

    Returns:
        Columns tap, model, other_tap, cka.
    """
    found = {name: grams(model, images) for name, model in models.items()}
    tables = []
    for name in COMPARED_WITH:
        table = gram_cka(found[KD_STUDENT], found[name]).rename_axis("tap").reset_index()
        pairs = table.melt("tap", var_name="other_tap", value_name="cka")
        tables.append(pairs.assign(model=name))
    return pd.concat(tables, ignore_index=True)[["tap", "model", "other_tap", "cka"]]


def ledger_table(
    study: TrainedStudy, models: Mapping[str, nn.Module], rows: np.ndarray
) -> pd.DataFrame:
    """Mean shares of the predicted class's logit, over the images in rows (N,).

    Networks for which the ledger is not exact are left out.

    Returns:
        Columns model, tap, logit, supporting, opposing, bias, bias_share with its 95 % interval
        (low, high), images, largest_residual; no rows where no network has a ledger.
    """
    images = study.images(rows)
    groups = study.groups(rows)
    found = []
    for name in TRAINED:
        model = models[name]
        try:
            table = decision_ledger(model, images, _predicted(model, images)).table()
        except UserError as error:
            tell(f"no ledger of the {name}: {error}")
            continue
        for tap, of_tap in table.groupby("tap", sort=False):
            shares = of_tap["bias_share"].to_numpy()[None]  # (1, N): one network
            share, low, high = seed_interval(shares, groups, bounds=(0, 1))
            row = {
                "model": name,
                "tap": tap,
                "logit": of_tap["logit"].mean(),
                "supporting": of_tap["supporting"].mean(),
                "opposing": of_tap["opposing"].mean(),
                "bias": of_tap["bias"].mean(),
                "bias_share": share,
                "low": low,
                "high": high,
                "images": len(rows),
                "largest_residual": of_tap["residual"].abs().max(),
            }
            found.append(row)
    return pd.DataFrame(found) if found else pd.DataFrame(columns=["model", "tap"])


def ablation_table(
    study: TrainedStudy, rows: np.ndarray, reference: np.ndarray, ks: Sequence[int]
) -> pd.DataFrame:
    """`top_k_curve` of the student's predicted class at every tap, with a column ``tap``.

    Channels become their mean over the images in ``reference``.
    """
    model = study.student_model
    images = study.images(rows)
    groups = study.groups(rows)
    predicted = _predicted(model, images)
    contributions = _contributions(model, images, predicted)
    means = channel_means(model, study.images(reference))
    tables = []
    for tap, of_tap in contributions.items():
        channels = of_tap.shape[1]
        curve = top_k_curve(
            model,
            images,
            predicted,
            tap,
            of_tap,
            [k for k in ks if k <= channels],
            mean=means[tap],
            groups=groups,
            seed=study.settings.seed,
        )
        curve.insert(0, "tap", tap)
        tables.append(curve)
    return pd.concat(tables, ignore_index=True)


def channel_table(study: TrainedStudy, rows: np.ndarray) -> pd.DataFrame:
    """The channels of the student that contribute most to a class's logit.

    On average over the images in rows (N,) that are of that class.

    Returns:
        Columns class, tap, rank, channel, contribution, images.
    """
    targets = study.targets(rows).numpy()
    found = []
    for target, name in enumerate(study.image_set.classes):
        own = rows[targets == target]
        if len(own) == 0:
            continue
        parts = defaultdict(list)
        for images in study.images(own).split(32):
            wanted = torch.full((len(images),), target)
            for tap, of_tap in _contributions(study.student_model, images, wanted).items():
                parts[tap].append(of_tap)
        for tap, contributions in parts.items():
            mean = torch.cat(contributions).mean(0).cpu().numpy()  # (C,)
            strongest = np.argsort(-mean, kind="stable")[:LISTED]
            columns = {
                "class": name,
                "tap": tap,
                "rank": range(1, len(strongest) + 1),
                "channel": strongest,
                "contribution": mean[strongest],
                "images": len(own),
            }
            found.append(pd.DataFrame(columns))
    return pd.concat(found, ignore_index=True)


def early_table(
    study: TrainedStudy, probes: Mapping[str, Pipeline], test: Examples, rows: np.ndarray
) -> pd.DataFrame:
    """From which layer on all probes say what the student says, image by image.

    Returns:
        Columns image_id, class, predicted, layer (from 1; one more than there are where the last
        probe disagrees).
    """
    predicted = _predicted(study.student_model, study.images(rows)).numpy()
    names = np.array(study.image_set.classes)
    columns = {
        "image_id": study.image_set.table["image_id"].to_numpy()[rows],
        "class": names[test.targets],
        "predicted": names[predicted],
        "layer": early_decisions(probe_predictions(probes, test.features), predicted),
    }
    return pd.DataFrame(columns)


def folded_probes(probes: Mapping[str, Pipeline], classes: int) -> dict[str, np.ndarray]:
    """Probes as plain arrays, the standardisation folded into weights and offsets.

    A class that no training image has gets no chance.

    Returns:
        ``weight|tap`` (K, C) and ``offset|tap`` (K,), float64, of every tap.
    """
    arrays = {}
    for tap, probe in probes.items():
        scaler = probe[0]
        regression = probe[1]
        weight = regression.coef_
        offset = regression.intercept_
        if len(weight) == 1:  # two classes: scikit-learn keeps the row of the second
            weight = np.vstack([0 * weight, weight])
            offset = np.append(0, offset)
        folded = np.zeros((classes, weight.shape[1]))
        folded[regression.classes_] = weight / scaler.scale_
        folded_offset = np.full(classes, -1e9)
        folded_offset[regression.classes_] = offset - (weight / scaler.scale_) @ scaler.mean_
        arrays[f"weight|{tap}"] = folded
        arrays[f"offset|{tap}"] = folded_offset
    return arrays


@torch.no_grad()
def _predicted(model: nn.Module, images: Tensor) -> Tensor:
    """Predicted classes (N,) int64, on the CPU."""
    return torch.cat([model(part).argmax(1) for part in images.split(64)]).cpu()


def _contributions(model: nn.Module, images: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Tap → (N, C): gradient × activation of each channel for the target's logit, cells summed."""
    _, pairs = gradients_at_taps(model, images, targets)
    return {tap: (gradients * a).sum(dim=(2, 3)) for tap, (a, gradients) in pairs.items()}
