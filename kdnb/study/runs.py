"""The chain of runs behind every notebook: data, teacher, students, explanations, costs, each made when asked for.

A notebook explains its own step with the functions of the package; what it needs from earlier steps it takes here.
"""

import os
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from kdnb import efficiency, leakage
from kdnb.data import BASE, ImageSet, load, to_tensor
from kdnb.distillation import cached_logits, distil, load_student, teacher_of
from kdnb.figures import Results
from kdnb.metrics import Interval, fidelity, paired_difference, scores, share_interval, softmax
from kdnb.models import count_parameters
from kdnb.runs import Run, digest, environment, get_or_make
from kdnb.settings import Settings
from kdnb.training import load_teacher, saved_logits

__all__ = ["Study"]

BACKGROUND = 16  # training images that stand for "absent" in SHAP
UNHURRIED = 10.0  # seconds per row of the cost tables from which the slow explanations are timed, too
MODELS = ("teacher", "KD student", "label-only student")


class Study:
    """All runs of one setting, lazily: ``study.student`` trains the teacher first if nothing is there yet.

    Every attribute is computed once and kept; runs are found again by their content (:mod:`kdnb.runs`).
    """

    def __init__(self, settings: Settings) -> None:
        """``settings`` decide everything."""
        self.settings = settings
        self.device = settings.activate()

    @cached_property
    def image_set(self) -> ImageSet:
        """The images, their classes and parts."""
        return load(self.settings)

    @cached_property
    def thumbs(self) -> np.ndarray:
        """(N, 4096) normalised grey thumbnails, from 64 px at any size: what duplicates and the leak meter compare."""
        return leakage.thumbnails(load(self.settings.model_copy(update={"image_size": BASE})).pixels)

    @cached_property
    def leak_meter(self) -> dict:
        """Score of the most alike image of train and val on raw pixels: how much of this split memory can answer."""
        return leakage.leak_meter(self.image_set.table, self.thumbs)

    @cached_property
    def memory(self) -> dict[str, dict]:
        """`leak_meter` of the training images alone, plain and with mirrored images: a model has seen no others."""
        table, thumbs = self.image_set.table, self.thumbs
        return {name: leakage.leak_meter(table, thumbs, flip, seen=("train",)) for name, flip in leakage.MEMORY.items()}

    @property
    def memory_alone(self) -> float:
        """Accuracy of the stronger of both: what a model must beat."""
        return max(meter["accuracy"] for meter in self.memory.values())

    @cached_property
    def teacher(self) -> Run:
        """The teacher's run."""
        return teacher_of(self.settings, self.image_set, self.device)

    @cached_property
    def teacher_logits(self) -> Run:
        """The teacher's cached logits of every training view."""
        return cached_logits(self.settings, self.image_set, self.teacher, self.device)

    @cached_property
    def student(self) -> Run:
        """The distilled student's run."""
        return distil(self.settings, self.image_set, self.teacher, self.device)

    @cached_property
    def label_only(self) -> Run:
        """The control's run: the same student on labels alone (alpha = 1)."""
        return distil(self.settings, self.image_set, self.teacher, self.device, alpha=1.0)

    @cached_property
    def teacher_model(self) -> nn.Module:
        """The trained teacher in eval mode."""
        return load_teacher(self.teacher, len(self.image_set.classes), self.device)

    @cached_property
    def student_model(self) -> nn.Module:
        """The distilled student in eval mode."""
        return load_student(self.student, len(self.image_set.classes), self.device)

    @cached_property
    def label_only_model(self) -> nn.Module:
        """The control in eval mode."""
        return load_student(self.label_only, len(self.image_set.classes), self.device)

    @property
    def run_ids(self) -> list[str]:
        """``kind/id`` of the three trainings, for provenance."""
        return [f"{run.kind}/{run.id}" for run in (self.teacher, self.student, self.label_only)]

    @cached_property
    def test_targets(self) -> np.ndarray:
        """(N,) class index of every test image."""
        return self.image_set.table["target"].to_numpy(np.int64)[self.image_set.rows("test")]

    @cached_property
    def test_groups(self) -> np.ndarray:
        """(N,) patient or family of every test image: what intervals resample."""
        return self.groups(self.image_set.rows("test"))

    def test_logits(self, model: str) -> np.ndarray:
        """(N, K) test logits of one of ``MODELS``."""
        return saved_logits(dict(zip(MODELS, (self.teacher, self.student, self.label_only), strict=True))[model])

    @cached_property
    def scores(self) -> pd.DataFrame:
        """Every score of every model with its interval: index (model, score)."""
        tables = {m: scores(self.test_logits(m), self.test_targets, self.test_groups) for m in MODELS}
        return pd.concat(tables, names=["model"])

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row per model: accuracy and macro-F1 with intervals, memory alone beside it, and the skill."""
        rows = {}
        for model in MODELS:
            part, memory = self.scores.loc[model], self.memory_alone
            row = {name: str(Interval(part.loc[name, ["value", "low", "high"]])) for name in ("accuracy", "macro_f1")}
            skill = leakage.skill(part.loc["accuracy", "value"], memory)
            rows[model] = row | {"memory": f"{memory:.3f}", "skill": f"{skill:.2f}"}
        return pd.DataFrame(rows).T.rename_axis("model")

    @cached_property
    def kd_gain(self) -> Interval:
        """Accuracy of the KD student minus the label-only student on the same test images."""
        logits = self.test_logits("KD student"), self.test_logits("label-only student")
        return paired_difference(*logits, self.test_targets, self.test_groups)

    @cached_property
    def fidelity(self) -> pd.DataFrame:
        """Agreement with the teacher and KL, for both students."""
        teacher = self.test_logits("teacher")
        tables = {m: fidelity(self.test_logits(m), teacher, self.test_groups) for m in MODELS[1:]}
        return pd.concat(tables, names=["model"])

    def unsure(self, count: int) -> np.ndarray:
        """Places in the test part, (M,) int64, of the images on which the teacher is least sure, in this order."""
        return np.argsort(softmax(self.test_logits("teacher")).max(1), kind="stable")[:count]

    def ladder(self, widths: Sequence[float]) -> pd.DataFrame:
        """Students of several widths, distilled and on labels alone.

        Returns:
            Columns training, width, parameters, macs, accuracy, low, high (95 % interval over groups), run.
        """
        rows = []
        for width in widths:
            settings = self.settings.model_copy(update={"width": width})
            for training, alpha in (("KD", None), ("labels alone", 1.0)):
                run = distil(settings, self.image_set, self.teacher, self.device, alpha=alpha)
                model = load_student(run, len(self.image_set.classes), self.device)
                right = saved_logits(run).argmax(1) == self.test_targets
                value, low, high = share_interval(right[None].astype(float), self.test_groups)
                size = {"parameters": count_parameters(model), "macs": efficiency.macs(model, self.settings.image_size)}
                rows.append({"training": training, "width": width, **size, "accuracy": value, "low": low, "high": high,
                             "run": f"student/{run.id}"})  # fmt: skip
        return pd.DataFrame(rows)

    @cached_property
    def explained(self) -> np.ndarray:
        """Rows of the test images that are explained, see :meth:`sample`."""
        return self.sample(self.settings.explained_images)

    def sample(self, count: int, part: str = "test") -> np.ndarray:
        """Up to ``count`` rows of a part's images: the classes in turn, drawn by the seed."""
        rows = np.random.default_rng(self.settings.seed).permutation(self.image_set.rows(part))
        targets = self.image_set.table["target"].to_numpy()[rows]
        return rows[np.lexsort((targets, pd.Series(targets).groupby(targets).cumcount()))][:count]

    def groups(self, rows: np.ndarray) -> np.ndarray:
        """(M,) patient or family of some rows."""
        return leakage.groups(self.image_set.table).to_numpy()[rows]

    def images(self, rows: np.ndarray) -> Tensor:
        """(M, 3, S, S) normalised tensors of some rows."""
        return to_tensor(self.image_set.pixels[rows]).to(self.device)

    def targets(self, rows: np.ndarray) -> Tensor:
        """(M,) true class index of some rows."""
        return torch.as_tensor(self.image_set.table["target"].to_numpy(np.int64)[rows])

    @cached_property
    def background(self) -> Tensor:
        """(16, 3, S, S): the training images that SHAP compares with."""
        rows, rng = self.image_set.rows("train"), np.random.default_rng(self.settings.seed)
        return self.images(rng.choice(rows, min(BACKGROUND, len(rows)), replace=False))

    @cached_property
    def costs(self) -> dict[str, pd.DataFrame]:
        """Tables measured on this machine, see `kdnb.efficiency`; ``onnx`` only where its packages are installed.

        ``models``, ``memory``, ``latency``, ``explanations``, ``end_to_end``, ``onnx``.
        """
        return {path.stem: pd.read_csv(path, index_col=0) for path in self.costs_run.folder.glob("*.csv")}

    @cached_property
    def costs_run(self) -> Run:
        """The run that measured `costs`."""

        def make(run: Run) -> None:
            for name, table in self._measure_costs(run.path("student.onnx")).items():
                table.to_csv(run.path(f"{name}.csv"))

        machine = {"processor": environment()["processor"], "threads": torch.get_num_threads(),
                   "device": str(self.device), "onnx": efficiency.onnx_available()}  # fmt: skip
        timed = {"protocol": vars(self.protocol), "samples": self.settings.timed_samples,
                 "slow": self.settings.timing_seconds >= UNHURRIED}  # fmt: skip
        return self.downstream("costs", timed | machine, make)

    @property
    def protocol(self) -> efficiency.Protocol:
        """How long every ratio of times is measured."""
        repeats = self.settings.timing_repeats
        return efficiency.Protocol(repeats, self.settings.timing_seconds, warm_up=min(repeats, efficiency.WARM_UP))

    def _measure_costs(self, onnx: Path) -> dict[str, pd.DataFrame]:
        models, size = {"teacher": self.teacher_model, "student": self.student_model}, self.settings.image_size
        rows, both = self.explained[:1], (self.teacher_model, self.student_model)
        image, against = self.images(rows), (self.background, self.settings.timed_samples)
        ready = efficiency.explanation_methods(image, self.targets(rows), *against)
        if self.settings.timing_seconds < UNHURRIED:
            ready = {name: method for name, method in ready.items() if name not in efficiency.SLOW}
        whole = efficiency.end_to_end(self.image_set.pixels[rows], *against)
        tables = {
            "models": efficiency.cost_table(models, size), "memory": efficiency.memory_table(models, image),
            "latency": efficiency.latency(*both, image, self.protocol),
            "explanations": efficiency.explanation_times(*both, ready, image, self.protocol).join(
                efficiency.explanation_work(*both, ready, image)
            ),
            "end_to_end": efficiency.explanation_times(*both, whole, image, self.protocol),
        }  # fmt: skip
        if efficiency.onnx_available():
            efficiency.export_onnx(self.student_model, onnx, size)
            tables["onnx"] = efficiency.onnx_latency(self.student_model, onnx, image, self.protocol)
        return tables

    def downstream(self, kind: str, parameters: dict, make: Callable[[Run], None], also: Sequence[str] = ()) -> Run:
        """A run that follows from the images, the teacher, the student and what ``also`` names, made now or found."""
        upstream = [self.image_set.hash, self.teacher.id, self.student.id, *also]
        return get_or_make(kind, parameters, make, root=self.settings.runs, upstream=upstream)

    @cached_property
    def results(self) -> Results:
        """The folder for tables and pictures, ``runs/study/<data set>-<profile>-seed<n>-<id>/``.

        ``KDNB_STUDY`` names another one, so that all notebooks of one batch run write into the same.
        """
        values = {k: v for k, v in self.settings if k not in ("runs_dir", "threads")}
        name = f"{self.settings.dataset}-{self.settings.profile}-seed{self.settings.seed}-{digest(values)[:6]}"
        name = os.environ.get("KDNB_STUDY") or name.replace(":", "-")
        return Results(self.settings.runs / "study" / name, values, self.image_set.hash)
