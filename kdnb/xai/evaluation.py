"""Every explanation and baseline of every model, graded once in a run of its own (notebook 05)."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from kdnb.core.errors import UserError
from kdnb.core.model_names import KD_STUDENT, LABEL_ONLY, TEACHER
from kdnb.core.profiles import PROFILES
from kdnb.core.progress import tell
from kdnb.core.protocols import ImagesOfStudy, TrainedStudy
from kdnb.core.runs import Run, atomic_path, get_or_make
from kdnb.core.settings import Settings
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
    "STUDENT_KINDS",
    "grade_explanation",
    "evaluated_rows",
    "explainer",
    "explanations",
    "explanations_to_grade",
    "is_quick_look",
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
STUDENT_KINDS = (KD_STUDENT, LABEL_ONLY)
ALPHAS = {KD_STUDENT: None, LABEL_ONLY: 1.0}  # None is the alpha of the settings
STEPS = 8  # of deletion and insertion
CHECKED = 24  # images at most for the class switch, random weights and noise, which explain anew
QUICK_LOOK = ("smoke", "quick")  # profiles whose own number of graded images is for a quick look
# many passes for each image
COSTLY = ("integrated gradients", "SHAP gradient", "SHAP deep", "SHAP partition", "occlusion")


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
            for of_seed in study.settings.per_student_seed
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
        for of_seed in study.settings.per_student_seed:
            run = find_student(of_seed, study.image_set, study.teacher, study.device, alpha=alpha)
            if run is None:
                raise UserError(
                    f"the {kind} of seed {of_seed.student_seed} is not trained yet: "
                    "kdnb.xai.evaluation.train_students(study) does that"
                )
            runs[kind].append(run)
    return runs


def explanations(kind: str) -> list[str]:
    """Names of all explanations and baselines of a kind of model.

    Deep SHAP is exact on students only.
    """
    names = list(EXPLANATIONS)
    if kind == TEACHER:
        names.remove("SHAP deep")
    return [*names, *BASELINES]


def is_quick_look(settings: Settings) -> bool:
    """Whether ``graded_images`` is that of a quick profile: then costly explanations get fewer."""
    own = PROFILES[settings.profile]["graded_images"]
    return settings.profile in QUICK_LOOK and settings.graded_images == own


def explanations_to_grade(study: TrainedStudy, kind: str) -> list[str]:
    """Those of `explanations` that a kind of model is graded by.

    In a quick look (see `is_quick_look`) others than the KD student go without the costly ones.
    """
    names = explanations(kind)
    if kind == KD_STUDENT or not is_quick_look(study.settings):
        return names
    return [name for name in names if name not in COSTLY]


def explainer(study: ImagesOfStudy, name: str) -> Explainer:
    """The explanation or baseline of that name, with the study's background, samples and seed."""
    if name in BASELINES:
        return BASELINES[name]
    method, tap = EXPLANATIONS[name]
    context = Context(
        background=study.background,
        samples=study.settings.shap_samples,
        seed=study.settings.seed,
        tap=tap,
    )

    def maps(model: nn.Module, images: Tensor, targets: Tensor) -> np.ndarray:
        return explain(method, model, images, targets, context).maps.astype(np.float32)

    return maps


def model_of(study: TrainedStudy, kind: str, run: Run) -> nn.Module:
    """The trained network of a run, in eval mode."""
    classes = len(study.image_set.classes)
    if kind == TEACHER:
        return load_teacher(run, classes, study.device)
    return load_student(run, classes, study.device)


def evaluated_rows(
    study: TrainedStudy, kind: str = KD_STUDENT, explanation: str = ""
) -> np.ndarray:
    """Rows of the test images that an explanation of a kind of model is graded on.

    In a quick look these are a quarter of all, the first of them, for costly explanations and for
    models other than the KD student, which are there to be compared with it.
    """
    count = study.settings.graded_images
    compared = kind != KD_STUDENT
    if is_quick_look(study.settings) and (compared or explanation in COSTLY):
        count = max(2, count // 4)
    return study.sample(count)


def grade_explanation(study: TrainedStudy, kind: str, run: Run, name: str) -> dict[str, np.ndarray]:
    """Maps and all metrics of one explanation of one model: made now, or found.

    See `kdnb.xai.metrics.explanation_metrics`. All are NaN where the explanation is refused,
    because it breaks its own axiom.

    Args:
        study: Images and settings.
        kind: "teacher", "KD student" or "label-only student".
        run: The model's run.
        name: One of ``EXPLANATIONS`` or ``BASELINES``.
    """
    rows = evaluated_rows(study, kind, name)
    checked = min(max(1, len(rows) // 4), CHECKED)
    parameters = {
        "explanation": name,
        "how": EXPLANATIONS.get(name),
        "rows": rows.tolist(),
        "steps": STEPS,
        "checked": checked,
        "samples": study.settings.shap_samples,
        "seed": study.settings.seed,
        "ties": "shared",  # in the scores by a mask; earlier grades are not taken for these
    }

    def make(made: Run) -> None:
        model = model_of(study, kind, run)
        found = _evaluate(study, explainer(study, name), model, rows, checked)
        with atomic_path(made.path("grades.npz")) as path, path.open("wb") as file:
            np.savez(file, **found)

    done = get_or_make(
        "grades",
        parameters,
        make,
        root=study.settings.runs,
        upstream=[study.image_set.hash, run.id],
    )
    with np.load(done.path("grades.npz")) as file:
        return dict(file)


def _evaluate(
    study: TrainedStudy, explain_with: Explainer, model: nn.Module, rows: np.ndarray, checked: int
) -> dict[str, np.ndarray]:
    """The metrics of an explanation on the images in rows (N,); NaN where it is refused."""
    images = study.images(rows)
    targets = study.targets(rows)
    masks = study.masks(rows)
    try:
        return explanation_metrics(
            explain_with, model, images, targets, masks, steps=STEPS, checked=checked
        )
    except UserError as refusal:
        tell(str(refusal))
    height, width = images.shape[2:]
    unknown = {"maps": np.full((len(rows), height, width), np.nan)}
    for metric in METRICS:
        unknown[metric] = np.full(len(rows), np.nan)
    return unknown
