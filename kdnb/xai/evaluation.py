"""Every explanation and every baseline of every model, graded once in a run of its own (notebook 05)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import nn

from kdnb.core.errors import UserError
from kdnb.core.progress import say
from kdnb.core.protocols import ImagesOfStudy, TrainedStudy
from kdnb.core.runs import Run, atomic_path, get_or_make
from kdnb.distillation.train_student import find_student, train_student
from kdnb.training.train_teacher import load_teacher
from kdnb.training.trained_students import load_student
from kdnb.xai.attribution import Context
from kdnb.xai.baselines import BASELINES
from kdnb.xai.methods import explain
from kdnb.xai.metrics import METRICS, explanation_metrics
from kdnb.xai.sanity_checks import Explainer

__all__ = [
    "EXPLANATIONS",
    "STUDENTS",
    "TEACHER",
    "explainer",
    "explanations",
    "evaluated",
    "evaluated_rows",
    "model_of",
    "train_students",
    "trained_runs",
]

EXPLANATIONS: dict[str, tuple[str, int]] = {  # name -> method, number of the tap
    "average map, first layer": ("average map", 0),
    "average map, middle": ("average map", 2),
    "average map, last": ("average map", -1),
    "Grad-CAM": ("gradcam", -1),
    "HiResCAM, middle": ("hirescam", 2),
    "LayerCAM, middle": ("layercam", 2),
    "Eigen-CAM, middle": ("eigencam", 2),
    "class evidence, middle": ("evidence", 2),
    "integrated gradients": ("integrated gradients", -1),
    "SHAP deep": ("SHAP deep", -1),
    "SHAP gradient": ("SHAP gradient", -1),
    "SHAP partition": ("SHAP partition", -1),
    "occlusion": ("occlusion", -1),
}
TEACHER = "teacher"
STUDENTS = ("KD student", "label-only student")
ALPHAS = {"KD student": None, "label-only student": 1.0}  # None is the alpha of the settings
STEPS = 8  # of deletion and insertion
CHECKED = 24  # images at most for the tests that need new explanations: the class switch, random weights, noise


def train_students(study: TrainedStudy) -> dict[str, list[Run]]:
    """Train the students of every seed, and their teacher before them, or find them trained.

    Returns:
        "teacher", "KD student" and "label-only student" → the one run of the teacher, and as many
        runs of each student as the settings have ``student_seeds``.
    """
    [teacher] = study.train(TEACHER)
    runs = {TEACHER: [teacher]}
    for kind, alpha in ALPHAS.items():
        runs[kind] = [
            train_student(of_seed, study.image_set, teacher, study.device, alpha=alpha)
            for of_seed in study.settings.of_seeds
        ]
    return runs


def trained_runs(study: TrainedStudy) -> dict[str, list[Run]]:
    """What `train_students` returned, read from what is there; nothing is trained.

    Raises:
        UserError: If a model is not trained yet.
    """
    runs = {TEACHER: [study.teacher]}
    for kind, alpha in ALPHAS.items():
        runs[kind] = []
        for of_seed in study.settings.of_seeds:
            run = find_student(of_seed, study.image_set, study.teacher, study.device, alpha=alpha)
            if run is None:
                raise UserError(
                    f"the {kind} of seed {of_seed.student_seed} is not trained yet: "
                    "kdnb.xai.evaluation.train_students(study) does that"
                )
            runs[kind].append(run)
    return runs


def explanations(kind: str) -> list[str]:
    """Names of all explanations and baselines of a kind of model; Deep SHAP is exact on students only."""
    return [name for name in EXPLANATIONS if (kind, name) != (TEACHER, "SHAP deep")] + list(
        BASELINES
    )


def explainer(study: ImagesOfStudy, name: str) -> Explainer:
    """The explanation or baseline of that name, with the study's background, samples and seed."""
    if name in BASELINES:
        return BASELINES[name]
    method, tap = EXPLANATIONS[name]
    context = Context(study.background, study.settings.shap_samples, study.settings.seed, tap)
    return lambda model, images, targets: explain(
        method, model, images, targets, context
    ).maps.astype(np.float32)


def evaluated_rows(study: TrainedStudy) -> np.ndarray:
    """Rows of the test images that are graded on."""
    return study.sample(study.settings.graded_images)


def evaluated(study: TrainedStudy, kind: str, run: Run, name: str) -> Mapping[str, np.ndarray]:
    """Maps and all metrics of one explanation of one model, computed now or found, see `kdnb.xai.metrics.explanation_metrics`.

    All NaN where the explanation is refused, because it breaks its own axiom.

    Args:
        study: Images and settings.
        kind: "teacher", "KD student" or "label-only student".
        run: The model's run.
        name: One of ``EXPLANATIONS`` or ``BASELINES``.
    """
    rows, s = evaluated_rows(study), study.settings
    checked = min(max(1, len(rows) // 4), CHECKED)

    def make(made: Run) -> None:
        given = (
            explainer(study, name),
            model_of(study, kind, run),
            study.images(rows),
            study.targets(rows),
            study.masks(rows),
        )
        try:
            found = explanation_metrics(*given, steps=STEPS, checked=checked)
        except UserError as refusal:
            say(f"  {refusal}")
            found = {"maps": np.full((len(rows), *given[2].shape[2:]), np.nan)}
            found |= {metric: np.full(len(rows), np.nan) for metric in METRICS}
        with atomic_path(made.path("grades.npz")) as path, path.open("wb") as file:
            np.savez(file, **found)

    parameters = {
        "explanation": name,
        "how": EXPLANATIONS.get(name),
        "rows": rows.tolist(),
        "steps": STEPS,
        "checked": checked,
        "samples": s.shap_samples,
        "seed": s.seed,
    }
    done = get_or_make(
        "grades", parameters, make, root=s.runs, upstream=[study.image_set.hash, run.id]
    )
    return np.load(done.path("grades.npz"))


def model_of(study: TrainedStudy, kind: str, run: Run) -> nn.Module:
    """The trained network of a run, in eval mode."""
    return (load_teacher if kind == TEACHER else load_student)(
        run, len(study.image_set.classes), study.device
    )
