"""What probes, CKA, ledgers and ablation say of a study's networks, measured once and kept as a run (notebook 04)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from sklearn.pipeline import Pipeline
from torch import Tensor, nn

from kdnb.core.errors import UserError
from kdnb.core.progress import say
from kdnb.core.protocols import TrainedStudy
from kdnb.core.runs import Run, atomic_path, finished_runs, write_json
from kdnb.core.settings import Settings
from kdnb.core.statistics import seed_interval, softmax
from kdnb.core.tables import read_table
from kdnb.feature_maps.ablation import channel_means, top_k_curve
from kdnb.feature_maps.cka import gram_cka, grams
from kdnb.feature_maps.decision_ledger import decision_ledger
from kdnb.feature_maps.probes import (
    Examples,
    early_decisions,
    fit_probes,
    probe_predictions,
    probe_table,
)
from kdnb.training.students import make_student
from kdnb.training.taps import features, gradients_at_taps
from kdnb.training.train_teacher import load_teacher
from kdnb.training.trained_students import load_student

__all__ = ["COMPARED", "KS", "LayerAnalysis", "find_layer_analysis", "analyse_layers"]

FITTED, SCORED, COMPARED, CUT = (
    600,
    400,
    200,
    24,
)  # images: of a probe's fit, of its score, of CKA, of ablation
NAMES = {"class": str, "predicted": str}  # of classes, which may look like numbers
KS = (1, 2, 4, 8, 16)  # how many channels are ablated together


@dataclass(frozen=True)
class LayerAnalysis:
    """A run of kind "reading": tables, and the probes and channel means that reports of single images need."""

    run: Run

    def table(self, name: str) -> pd.DataFrame:
        """A table by name.

        probes: model, tap, accuracy with interval, control, selectivity, untrained. cka: student's tap by the taps of
        the teacher, the label-only student and an untrained one. ledger: model, tap and mean shares over test images.
        ablation: tap, k and the drop of the class's probability. channels: the ten strongest of each class and tap.
        """
        return read_table(self.run.path(f"{name}.csv"), types=NAMES)

    @cached_property
    def facts(self) -> dict:
        """Class names, image size, ids of student and teacher, settings."""
        return self.run.json("facts.json")

    @cached_property
    def early(self) -> pd.DataFrame:
        """image_id, class, predicted, layer: the first layer from which on all probes agree with the student."""
        return read_table(self.run.path("early.csv"), types=NAMES)

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """Per tap ``weight|tap`` (K, C) and ``offset|tap`` (K,) of the probes, ``mean|tap`` (C,) of the channels."""
        with np.load(self.run.path("arrays.npz")) as file:
            return dict(file)

    def means(self) -> dict[str, Tensor]:
        """Tap → (C,) mean activation over training images, what stands for an ablated channel."""
        return {
            name.split("|")[1]: torch.from_numpy(v)
            for name, v in self.arrays.items()
            if name.startswith("mean|")
        }

    def decoded(self, student: nn.Module, images: Tensor) -> np.ndarray:
        """(L, N, K) probabilities that the probes read from each tap."""
        found, known = features(student, images), self.arrays
        return np.stack(
            [
                softmax(x @ known[f"weight|{tap}"].T + known[f"offset|{tap}"])
                for tap, x in found.items()
            ]
        )

    def networks(self, device: torch.device) -> tuple[nn.Module, nn.Module]:
        """Student and teacher, in eval mode.

        Raises:
            UserError: If their runs are gone.
        """
        root, classes = self.run.folder.parents[1], len(self.facts["classes"])
        runs = [
            Run(kind, self.facts[kind], root / kind / self.facts[kind])
            for kind in ("student", "teacher")
        ]
        for run in runs:
            if not run.finished:
                raise UserError(
                    f"the {run.kind}'s run {run.id} is gone from '{root}': run notebook 04 again"
                )
        return load_student(runs[0], classes, device), load_teacher(runs[1], classes, device)


def analyse_layers(study: TrainedStudy) -> LayerAnalysis:
    """The reading of a study's trained models, measured now or found.

    Raises:
        UserError: If teacher, KD student or label-only student are not trained yet.
    """
    parameters = {
        "fitted": FITTED,
        "scored": SCORED,
        "compared": COMPARED,
        "cut": CUT,
        "ks": KS,
        "seed": study.settings.seed,
    }

    def make(run: Run) -> None:
        _measure(study, run)

    return LayerAnalysis(study.downstream("reading", parameters, make, also=[study.label_only.id]))


def find_layer_analysis(settings: Settings, student: str) -> LayerAnalysis:
    """The reading of a student's run, by the run's id or its beginning.

    Raises:
        UserError: If there is none, or more than one.
    """
    known = {
        read.facts["student"]: read
        for read in map(LayerAnalysis, finished_runs(settings.runs, "reading"))
    }
    student = student.removeprefix("student/")
    chosen = [name for name in known if name.startswith(student)]
    if len(chosen) != 1 or not student:
        there = ", ".join(known) or "none: run notebook 04 first"
        raise UserError(
            f"run must be the id of a student read in notebook 04, or its beginning, got '{student}'; "
            f"there {'is' if len(known) < 2 else 'are'} {there}"
        )
    return known[chosen[0]]


def _measure(study: TrainedStudy, run: Run) -> None:
    classes, device = len(study.image_set.classes), study.device
    train, test = study.sample(FITTED, "train"), study.sample(SCORED)
    untrained = make_student(
        classes,
        name=study.settings.student,
        seed=study.settings.seed + 1,
        width=study.settings.width,
        image_size=study.settings.image_size,
    ).to(device)
    models = {
        "KD student": study.student_model,
        "label-only student": study.label_only_model,
        "teacher": study.teacher_model,
        "untrained student": untrained,
    }
    known = [
        (study.images(rows), study.targets(rows).numpy(), study.groups(rows))
        for rows in (train, test)
    ]
    seen = {
        name: [Examples(features(model, images), *of) for images, *of in known]
        for name, model in models.items()
    }
    probes = fit_probes(seen["KD student"][0].features, seen["KD student"][0].targets)
    tables = {
        "probes": _probes(seen, study.settings.seed),
        "cka": _cka(models, study.images(test[:COMPARED])),
        "ledger": _ledgers(study, models, test),
        "ablation": _ablation(study, test[: min(CUT, len(test) // 4)], train),
        "channels": _channels(study, test),
    }
    for name, table in tables.items():
        say(f"  reading: {name}")
        table.to_csv(run.path(f"{name}.csv"), index=False, float_format="%.6g")
    _early(study, probes, seen["KD student"][1], test).to_csv(run.path("early.csv"), index=False)
    means = channel_means(study.student_model, study.images(train))
    arrays = _folded(probes, classes) | {
        f"mean|{tap}": mean.cpu().numpy() for tap, mean in means.items()
    }
    with atomic_path(run.path("arrays.npz")) as path, path.open("wb") as file:
        np.savez(file, **arrays)
    write_json(
        run.path("facts.json"),
        {
            "classes": study.image_set.classes,
            "image_size": study.settings.image_size,
            "student": study.student.id,
            "teacher": study.teacher.id,
            "settings": {k: v for k, v in study.settings if k not in ("runs_dir", "threads")},
        },
    )


@torch.no_grad()
def _answers(model: nn.Module, images: Tensor) -> Tensor:
    """Predicted classes (N,)."""
    return torch.cat([model(part).argmax(1) for part in images.split(64)]).cpu()


def _probes(seen: dict[str, list[Examples]], seed: int) -> pd.DataFrame:
    bare, tables = seen["untrained student"], {}
    for name in ("KD student", "label-only student", "teacher"):
        same = tuple(bare[0].features) == tuple(seen[name][0].features)
        tables[name] = probe_table(
            *seen[name], untrained=bare if same else (), seed=seed, repeats=1
        )
    return pd.concat(tables, names=["model"]).reset_index()


def _cka(models: dict[str, nn.Module], images: Tensor) -> pd.DataFrame:
    found, tables = {name: grams(model, images) for name, model in models.items()}, []
    for name in ("label-only student", "teacher", "untrained student"):
        table = gram_cka(found["KD student"], found[name]).rename_axis("tap").reset_index()
        tables.append(table.melt("tap", var_name="other_tap", value_name="cka").assign(model=name))
    return pd.concat(tables, ignore_index=True)[["tap", "model", "other_tap", "cka"]]


def _ledgers(study: TrainedStudy, models: dict[str, nn.Module], rows: np.ndarray) -> pd.DataFrame:
    """Mean shares of the predicted class's logit; networks for which the ledger is not exact are left out."""
    found, images, groups = {}, study.images(rows), study.groups(rows)
    for name in ("KD student", "label-only student", "teacher"):
        try:
            table = decision_ledger(models[name], images, _answers(models[name], images)).table()
        except UserError as error:
            say(f"  no ledger of the {name}: {error}")
            continue
        taps = table.groupby("tap", sort=False)
        shares = {
            tap: seed_interval(x.to_numpy()[None], groups, bounds=(0, 1))
            for tap, x in taps["bias_share"]
        }
        means = taps[["logit", "supporting", "opposing", "bias"]].mean()
        table = means.join(pd.DataFrame(shares, index=["bias_share", "low", "high"]).T).assign(
            images=len(rows)
        )
        found[name] = table.assign(
            largest_residual=taps["residual"].agg(lambda residual: residual.abs().max())
        )
    return (
        pd.concat(found, names=["model"]).reset_index()
        if found
        else pd.DataFrame(columns=["model", "tap"])
    )


def _ablation(study: TrainedStudy, rows: np.ndarray, reference: np.ndarray) -> pd.DataFrame:
    model, images = study.student_model, study.images(rows)
    answers = _answers(model, images)
    _, pairs = gradients_at_taps(model, images.clone().requires_grad_(), answers)
    means, tables = channel_means(model, study.images(reference)), {}
    groups = study.groups(rows)
    for tap, (a, g) in pairs.items():
        ks = [k for k in KS if k <= a.shape[1]]
        tables[tap] = top_k_curve(
            model,
            images,
            answers,
            tap,
            (g * a).sum(dim=(2, 3)),
            ks,
            mean=means[tap],
            groups=groups,
            seed=study.settings.seed,
        )
    return pd.concat(tables, names=["tap"]).reset_index(level=0)


def _channels(study: TrainedStudy, rows: np.ndarray) -> pd.DataFrame:
    """The ten channels that contribute most to a class's logit, on average over the test images of that class."""
    targets, found = study.targets(rows), []
    for k, name in enumerate(study.image_set.classes):
        own = rows[(targets == k).numpy()]
        if len(own) == 0:
            continue
        target = torch.full((len(own),), k)
        pairs = [
            gradients_at_taps(study.student_model, part.requires_grad_(), target[: len(part)])[1]
            for part in study.images(own).split(32)
        ]
        for tap in pairs[0]:
            mean = (
                torch.cat([(p[tap][0] * p[tap][1]).sum(dim=(2, 3)) for p in pairs])
                .mean(0)
                .cpu()
                .numpy()
            )
            order = np.argsort(-mean, kind="stable")[:10]
            found.append(
                pd.DataFrame(
                    {
                        "class": name,
                        "tap": tap,
                        "rank": range(1, len(order) + 1),
                        "channel": order,
                        "contribution": mean[order],
                        "images": len(own),
                    }
                )
            )
    return pd.concat(found, ignore_index=True)


def _early(
    study: TrainedStudy, probes: dict[str, Pipeline], test: Examples, rows: np.ndarray
) -> pd.DataFrame:
    final = _answers(study.student_model, study.images(rows)).numpy()
    layer = early_decisions(probe_predictions(probes, test.features), final)
    names = np.array(study.image_set.classes)
    return pd.DataFrame(
        {
            "image_id": study.image_set.table["image_id"].to_numpy()[rows],
            "class": names[test.targets],
            "predicted": names[final],
            "layer": layer,
        }
    )


def _folded(probes: dict[str, Pipeline], classes: int) -> dict[str, np.ndarray]:
    """Probes as plain arrays, the standardisation folded in; a class that no training image has gets no chance."""
    arrays = {}
    for tap, probe in probes.items():
        scaler, regression = probe[0], probe[1]
        weight, offset = regression.coef_, regression.intercept_
        if len(weight) == 1:  # two classes: scikit-learn keeps one row
            weight, offset = np.vstack([0 * weight, weight]), np.append(0, offset)
        full, bias = np.zeros((classes, weight.shape[1])), np.full(classes, -1e9)
        full[regression.classes_] = weight / scaler.scale_
        bias[regression.classes_] = offset - (weight / scaler.scale_) @ scaler.mean_
        arrays |= {f"weight|{tap}": full, f"offset|{tap}": bias}
    return arrays
