"""What a profile decides: smoke, quick, standard, paper (every notebook)."""

from __future__ import annotations

from typing import Any

__all__ = ["LITE0", "LITE0_NAMES", "PAPER_TEACHER", "PROFILES"]

# EfficientNet-Lite0. Its ImageNet weights are in a package: they need no network
LITE0 = "timm:tf_efficientnet_lite0"
LITE0_NAMES = (LITE0, f"{LITE0}.in1k")  # timm's name, and that with the tag of its weights
PAPER_TEACHER = "densenet121"

# what a parameter left at 0 or '' takes, by profile: smoke, quick, standard, paper
_DECIDED = {
    "image_size": (32, 64, 128, 224),  # px, side of the square the networks see
    "patients": (64, 1000, 480, 480),  # phantom patients
    "slices": (4, 4, 8, 8),  # phantom images per patient
    "test_share": (0.2, 0.26, 0.2, 0.2),  # of the phantom patients
    "teacher": (PAPER_TEACHER, LITE0, PAPER_TEACHER, PAPER_TEACHER),
    "teacher_epochs": (4, 5, 20, 100),
    "student_epochs": (4, 2, 40, 100),
    "batch_size": (16, 16, 32, 16),
    "learning_rate": (2e-3, 2e-3, 1e-3, 1e-4),  # peak of the schedule
    "views": (2, 2, 8, 20),  # different augmented views of each training image
    "explained_images": (2, 4, 8, 16),  # images that notebooks 04 and 05 show
    "graded_images": (2, 24, 200, 200),  # images on which notebook 05 grades every explanation
    "shap_samples": (40, 200, 400, 800),  # gradient samples per image in SHAP
    "timing_repeats": (5, 30, 50, 50),  # timed repeats per row of the cost tables, at least
    "timing_seconds": (0.3, 1.0, 60.0, 120.0),  # time limit of a row, s
    "weights": ("none", "none", "auto", "auto"),  # "auto": from ImageNet if they can be had
}


def _profile(place: int) -> dict[str, Any]:
    """What one profile decides: a column of the table."""
    return {name: values[place] for name, values in _DECIDED.items()}


PROFILES: dict[str, dict[str, Any]] = {
    "smoke": _profile(0),
    "quick": _profile(1),
    "standard": _profile(2),
    "paper": _profile(3),
}
