"""The images of one setting, samples of them, and what memory alone reaches (all notebooks)."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor

from kdnb.core.settings import Settings
from kdnb.core.statistics import Groups, trials
from kdnb.data import duplicates, leakage
from kdnb.data.dataset import BASE, ImageSet, load
from kdnb.data.default_split import resolve_split
from kdnb.data.transforms import to_tensor

__all__ = ["StudyImages", "accuracy_margin"]

FEW_MARGIN = 0.1  # half an interval of an accuracy; wider is said before training
BACKGROUND = 16  # training images that stand for "absent" in SHAP


class StudyImages:
    """The images of one setting; each attribute is computed once and kept."""

    def __init__(self, settings: Settings) -> None:
        """``settings`` decide everything; where they name no split, the data set does.

        It also sets torch's threads and the seeds of all random numbers, by these settings.
        """
        self.settings = resolve_split(settings)
        self.device = settings.activate()

    @cached_property
    def image_set(self) -> ImageSet:
        """The images, their classes and parts."""
        return load(self.settings)

    @cached_property
    def thumbs(self) -> np.ndarray:
        """(N, 4096) normalised grey thumbnails: what duplicates and the leak meter compare.

        They are of the images at 64 px, whatever ``image_size`` is.
        """
        small = self.settings.model_copy(update={"image_size": BASE})
        return duplicates.thumbnails(load(small).pixels)

    @cached_property
    def leak_meter(self) -> dict:
        """Score of the most alike image of train and val on raw pixels.

        How much of this split memory can answer.
        """
        return leakage.leak_meter(self.image_set.table, self.thumbs)

    @cached_property
    def memory(self) -> dict[str, dict]:
        """`leak_meter` of the training images alone, plain and with mirrored images.

        A model has seen no others.
        """
        meters = {}
        for name, flip in leakage.MEMORY.items():
            meters[name] = leakage.leak_meter(
                self.image_set.table, self.thumbs, flip, seen=("train",)
            )
        return meters

    @property
    def strongest_memory(self) -> dict:
        """The stronger of both: what a model must beat."""
        return max(self.memory.values(), key=lambda meter: meter["accuracy"])

    @property
    def memory_alone(self) -> float:
        """Accuracy of the stronger of both."""
        return self.strongest_memory["accuracy"]

    @cached_property
    def test_targets(self) -> np.ndarray:
        """(N,) class index of every test image."""
        return self.image_set.table["target"].to_numpy(np.int64)[self.image_set.rows("test")]

    @cached_property
    def test_groups(self) -> Groups:
        """Patient or family of every test image (N,): what intervals resample."""
        return self.groups(self.image_set.rows("test"))

    @property
    def certainty(self) -> str:
        """How well an accuracy on these test images can be known at all, in words."""
        groups = self.test_groups
        count = len(np.unique(groups.names))
        images = f"{len(groups)} test images"
        if count < len(groups):
            images += f" of {self.counted_groups(self.image_set.rows('test'))}"
        return f"{images}: an accuracy is known to about ± {accuracy_margin(groups):.2f}"

    @property
    def has_too_few(self) -> bool:
        """Whether accuracies cannot be told apart unless they differ by more than 0.1."""
        return accuracy_margin(self.test_groups) > FEW_MARGIN

    @cached_property
    def explained(self) -> np.ndarray:
        """Rows of the test images that are explained, see :meth:`sample`."""
        return self.sample(self.settings.explained_images)

    def sample(self, count: int, part: str = "test") -> np.ndarray:
        """Up to ``count`` rows of a part's images: the classes in turn, drawn by the seed."""
        rng = np.random.default_rng(self.settings.seed)
        rows = rng.permutation(self.image_set.rows(part))
        targets = self.image_set.table["target"].to_numpy()[rows]
        turn = pd.Series(targets).groupby(targets).cumcount()  # how many of its class came before
        return rows[np.lexsort((targets, turn))][:count]

    def groups(self, rows: np.ndarray) -> Groups:
        """Patient or family of some rows (M,), and how far such groups widen an interval."""
        names = leakage.interval_groups(self.image_set.table).to_numpy()
        return Groups(names=names[rows], widening=self.image_set.group_widening)

    def counted_groups(self, rows: np.ndarray) -> str:
        """How many patients or families are behind some rows (M,), in words."""
        groups = len(np.unique(self.groups(rows).names))
        if self.known_patients(rows).any():
            return f"{groups} patients or families"
        if groups < len(rows):
            return f"{groups} families of copies, no patient being known"
        return f"{groups} single images, no patient being known"

    def known_patients(self, rows: np.ndarray) -> np.ndarray:
        """(M,) bool: whether the patient of each row, or a publisher's fold of him, is known."""
        table = self.image_set.table.iloc[rows]
        known = table["patient"] != ""
        if "fold" in table:
            known |= table["fold"] != ""
        return known.to_numpy()

    def are_unseen(self, rows: np.ndarray) -> bool:
        """Whether all rows of the test part are of known patients of whom no image was learned.

        Under the split by patient those count as known whose publisher's fold is known.
        """
        if self.settings.split == "patients":
            return bool(self.known_patients(rows).all())
        patients = self.image_set.table["patient"]
        learned = patients.iloc[self.image_set.rows("train", "val")]
        tested = patients.iloc[rows]
        return bool((tested != "").all() and not tested.isin(learned).any())

    def pixels(self, rows: np.ndarray) -> np.ndarray:
        """(M, S, S, 3) uint8 of some rows: the images as people see them."""
        return self.image_set.pixels[rows]

    def labels(self, rows: np.ndarray) -> list[str]:
        """M names of the classes of some rows."""
        return self.image_set.table["label"].iloc[rows].tolist()

    def images(self, rows: np.ndarray) -> Tensor:
        """(M, 3, S, S) normalised tensors of some rows."""
        return to_tensor(self.image_set.pixels[rows]).to(self.device)

    def masks(self, rows: np.ndarray) -> np.ndarray | None:
        """(M, S, S) bool of some rows, all False for an image without; None where none has one."""
        if self.image_set.masks is None:
            return None
        found = self.image_set.masks[rows]
        return found if found.any() else None

    def targets(self, rows: np.ndarray) -> Tensor:
        """(M,) true class index of some rows."""
        return torch.as_tensor(self.image_set.table["target"].to_numpy(np.int64)[rows])

    @cached_property
    def background(self) -> Tensor:
        """(16, 3, S, S): the training images that SHAP compares with."""
        rows = self.image_set.rows("train")
        rng = np.random.default_rng(self.settings.seed)
        return self.images(rng.choice(rows, min(BACKGROUND, len(rows)), replace=False))


def accuracy_margin(groups: Groups | np.ndarray) -> float:
    """How far off a measured accuracy may be: half the widest 95 % interval, before any result.

    That of Student's t at an accuracy of one half, for as many trials as there are groups, divided
    by the square of their widening; of groups of one size, whose images are all alike. It is 1
    where there is one group.

    >>> round(accuracy_margin(np.arange(12)), 2), round(accuracy_margin(np.arange(400)), 2)
    (0.33, 0.05)
    """
    count = trials(groups)
    if count <= 1:
        return 1.0
    spread = 0.5 / np.sqrt(count - 1)
    return float(min(stats.t.ppf(0.975, count - 1) * spread, 1))
