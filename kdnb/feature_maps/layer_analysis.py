"""What probes, CKA, ledgers and ablation tell of networks, measured once (notebooks 04, 05)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from kdnb.core.errors import DamagedRun, UserError
from kdnb.core.model_names import KD_STUDENT, LABEL_ONLY
from kdnb.core.progress import say, tell
from kdnb.core.protocols import TrainedStudy
from kdnb.core.runs import Run, atomic_path, finished_runs, write_json
from kdnb.core.settings import Settings
from kdnb.core.statistics import softmax
from kdnb.core.tables import read_table
from kdnb.feature_maps.ablation import channel_means
from kdnb.feature_maps.layer_tables import (
    ablation_table,
    channel_table,
    cka_table,
    early_table,
    examples_of,
    folded_probes,
    ledger_table,
    probe_tables,
)
from kdnb.feature_maps.probes import fit_probes
from kdnb.training.students import make_student
from kdnb.training.taps import features
from kdnb.training.train_teacher import load_teacher
from kdnb.training.trained_students import load_student

__all__ = ["CKA_IMAGES", "KS", "LayerAnalysis", "analyse_layers", "find_layer_analysis"]

FITTED = 600  # training images that probes are fitted on
SCORED = 400  # test images that probes, ledger and channels are measured on
CKA_IMAGES = 200  # of these, the images that CKA compares networks on
CUT = 24  # of these, the images whose channels are ablated
QUICK = ("smoke", "quick")  # profiles that fit and score on half as many
CONTROL_TASKS = 5  # of which a probe's control is the mean
KS = (1, 2, 4, 8, 16)  # how many channels are ablated together
WHERE_MADE = ("runs_dir", "threads")  # settings that tell where a run was made, not what it is


@dataclass(frozen=True)
class LayerAnalysis:
    """A run of kind "reading".

    Its tables, and the probes and channel means that reports of single images need.
    """

    run: Run

    def table(self, name: str) -> pd.DataFrame:
        """A table by name.

        - probes: model, tap, accuracy with interval, control, selectivity, untrained;
        - cka: the student's tap by the taps of the teacher, the label-only student and an
          untrained one;
        - ledger: model, tap and mean shares over test images;
        - ablation: tap, k and the drop of the class's probability;
        - channels: the ten strongest of each class and tap.
        """
        return read_table(self.run.path(f"{name}.csv"))

    @cached_property
    def facts(self) -> dict:
        """Class names, image size, ids of student and teacher, settings, ranges of deep pixels."""
        return self.run.json("facts.json")

    @cached_property
    def early(self) -> pd.DataFrame:
        """Columns image_id, class, predicted, layer.

        That is the first layer from which on all probes agree with the student.
        """
        return read_table(self.run.path("early.csv"))

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """What is known of each tap, float64 but for the means.

        ``weight|tap`` (K, C) and ``offset|tap`` (K,) of the probes, ``mean|tap`` (C,) of the
        channels.
        """
        with np.load(self.run.path("arrays.npz")) as file:
            return dict(file)

    def means(self) -> dict[str, Tensor]:
        """Tap → (C,) mean activation over training images, what stands for an ablated channel."""
        found = {}
        for name, values in self.arrays.items():
            if name.startswith("mean|"):
                found[name.removeprefix("mean|")] = torch.from_numpy(values)
        return found

    def decoded(self, student: nn.Module, images: Tensor) -> np.ndarray:
        """(L, N, K) probabilities that the probes read from each tap."""
        probabilities = []
        for tap, x in features(student, images).items():
            weight = self.arrays[f"weight|{tap}"]
            offset = self.arrays[f"offset|{tap}"]
            probabilities.append(softmax(x @ weight.T + offset))
        return np.stack(probabilities)

    def networks(self, device: torch.device) -> tuple[nn.Module, nn.Module]:
        """Student and teacher, in eval mode.

        Raises:
            UserError: If their runs are gone or damaged.
        """
        student = self.trained("student")
        teacher = self.trained("teacher")
        classes = len(self.facts["classes"])
        return load_student(student, classes, device), load_teacher(teacher, classes, device)

    def trained(self, kind: str) -> Run:
        """The run of the "student" or of the "teacher", which lies beside this one.

        Raises:
            UserError: If it is gone.
        """
        root = self.run.folder.parents[1]
        name = self.facts[kind]
        run = Run(kind, name, root / kind / name)
        if not run.ended:
            raise UserError(f"the {kind}'s run {name} is gone from '{root}': run notebook 04 again")
        return run


def analyse_layers(study: TrainedStudy) -> LayerAnalysis:
    """The analysis of a study's trained models, measured now or found.

    Raises:
        UserError: If teacher, KD student or label-only student are not trained yet.
    """
    fitted, scored = _numbers_of_images(study.settings)
    parameters = {
        "fitted": fitted,
        "scored": scored,
        "compared": CKA_IMAGES,
        "cut": CUT,
        "ks": KS,
        "control_tasks": CONTROL_TASKS,
        "seed": study.settings.seed,
    }
    if study.test_groups.widening != 1:
        parameters["widening"] = study.test_groups.widening

    def make(run: Run) -> None:
        _measure(study, run)

    return LayerAnalysis(study.downstream("reading", parameters, make, also=[study.label_only.id]))


def find_layer_analysis(settings: Settings, student: str) -> LayerAnalysis:
    """The analysis of a student's run, by the run's id or its beginning.

    Raises:
        UserError: If there is none, or more than one.
    """
    known = {}
    for run in finished_runs(settings.runs, "reading"):
        analysis = LayerAnalysis(run)
        try:
            known[analysis.facts["student"]] = analysis
        except DamagedRun as error:
            say(str(error))
    student = student.removeprefix("student/")
    chosen = [name for name in known if name.startswith(student)]
    if len(chosen) != 1 or not student:
        there = ", ".join(known) or "none: run notebook 04 first"
        verb = "is" if len(known) < 2 else "are"
        raise UserError(
            "run must be the id of a student read in notebook 04, or its beginning, "
            f"got '{student}'; there {verb} {there}"
        )
    return known[chosen[0]]


def _measure(study: TrainedStudy, run: Run) -> None:
    """Write the tables, the probes and the facts of an analysis into its run's folder."""
    fitted, scored = _numbers_of_images(study.settings)
    train = study.sample(fitted, "train")
    test = study.sample(scored)
    models = _models(study)
    seen_train = examples_of(study, models, train)
    seen_test = examples_of(study, models, test)
    own_train = seen_train[KD_STUDENT]
    probes = fit_probes(own_train.features, own_train.targets)
    tables = {
        "probes": probe_tables(
            seen_train, seen_test, seed=study.settings.seed, repeats=CONTROL_TASKS
        ),
        "cka": cka_table(models, study.images(test[:CKA_IMAGES])),
        "ledger": ledger_table(study, models, test),
        "ablation": ablation_table(study, test[: min(CUT, len(test) // 4)], train, KS),
        "channels": channel_table(study, test),
    }
    for name, table in tables.items():
        tell(f"reading: {name}")
        table.to_csv(run.path(f"{name}.csv"), index=False, float_format="%.6g")
    early = early_table(study, probes, seen_test[KD_STUDENT], test)
    early.to_csv(run.path("early.csv"), index=False)
    arrays = folded_probes(probes, len(study.image_set.classes))
    for tap, mean in channel_means(study.student_model, study.images(train)).items():
        arrays[f"mean|{tap}"] = mean.cpu().numpy()
    with atomic_path(run.path("arrays.npz")) as path, path.open("wb") as file:
        np.savez(file, **arrays)
    facts = {
        "classes": study.image_set.classes,
        "image_size": study.settings.image_size,
        "student": study.student.id,
        "teacher": study.teacher.id,
        "settings": {name: value for name, value in study.settings if name not in WHERE_MADE},
    }
    if study.image_set.ranges:
        facts["ranges"] = study.image_set.ranges
    write_json(run.path("facts.json"), facts)


def _numbers_of_images(settings: Settings) -> tuple[int, int]:
    """On how many training images probes are fitted, and on how many test images scored."""
    if settings.profile in QUICK:
        return FITTED // 2, SCORED // 2
    return FITTED, SCORED


def _models(study: TrainedStudy) -> dict[str, nn.Module]:
    """The networks that are compared; the untrained one has weights of another seed."""
    settings = study.settings
    untrained = make_student(
        len(study.image_set.classes),
        name=settings.student,
        seed=2**31 + settings.seed,  # never the seed that the student started from
        width=settings.width,
        image_size=settings.image_size,
    )
    return {
        KD_STUDENT: study.student_model,
        LABEL_ONLY: study.label_only_model,
        "teacher": study.teacher_model,
        "untrained student": untrained.to(study.device),
    }
