"""What the rooms below the study are given: the images of a setting, and its trained runs (03-05).

`kdnb.data.study_images.StudyImages` and `kdnb.study.study.Study` satisfy these protocols.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from kdnb.core.runs import Run
from kdnb.core.settings import Settings
from kdnb.core.statistics import Groups

if TYPE_CHECKING:  # torch loads for seconds
    import torch
    from torch import Tensor, nn

__all__ = ["Images", "ImagesOfStudy", "TrainedStudy"]


class Images(Protocol):
    """A data set in its split and size, see `kdnb.data.dataset.ImageSet`."""

    classes: tuple[str, ...]
    table: pd.DataFrame
    pixels: np.ndarray
    masks: Any | None  # rows of it are (M, S, S) bool
    has_mask: np.ndarray
    size: int
    hash: str
    ranges: Mapping[str, Any]

    def rows(self, *parts: str) -> np.ndarray:
        """Rows of one or more parts."""


class ImagesOfStudy(Protocol):
    """The images of one setting, and samples of them."""

    settings: Settings
    device: torch.device
    image_set: Images
    memory: Mapping[str, Mapping[str, Any]]
    test_targets: np.ndarray
    test_groups: Groups
    background: Tensor

    def sample(self, count: int, part: str = "test") -> np.ndarray:
        """Rows of up to ``count`` images of a part, the classes in turn."""

    def images(self, rows: np.ndarray) -> Tensor:
        """Normalised tensors (M, 3, S, S) of rows (M,)."""

    def masks(self, rows: np.ndarray) -> np.ndarray | None:
        """Masks (M, S, S) bool of rows (M,), or None where none of them has one."""

    def targets(self, rows: np.ndarray) -> Tensor:
        """True class numbers (M,) of rows (M,)."""

    def groups(self, rows: np.ndarray) -> Groups:
        """Patient or family (M,) of rows (M,)."""

    def known_patients(self, rows: np.ndarray) -> np.ndarray:
        """Whether the patient of each of rows (M,), or a fold of him, is known: (M,) bool."""

    def are_unseen(self, rows: np.ndarray) -> bool:
        """Whether all rows (M,) are of known patients of whom no image was learned."""


class TrainedStudy(ImagesOfStudy, Protocol):
    """The images of one setting with its trained networks; names read, `train` works."""

    teacher: Run
    student: Run
    label_only: Run
    teacher_model: nn.Module
    student_model: nn.Module
    label_only_model: nn.Module

    def train(self, *models: str) -> list[Run]:
        """Train the named models, or find them trained."""

    def downstream(
        self, kind: str, parameters: dict, make: Callable[[Run], None], also: Sequence[str] = ()
    ) -> Run:
        """A run that follows from images, teacher and student, made now or found."""
