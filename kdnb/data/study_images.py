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
    def memory_alone(self) -> float:
        """Accuracy of the stronger of both: what a model must beat."""
        return max(meter["accuracy"] for meter in self.memory.values())

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
            images += f" of {count} patients or families"
        return f"{images}: an accuracy is known to ± {accuracy_margin(groups):.2f} at worst"

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

    def known_patients(self, rows: np.ndarray) -> np.ndarray:
        """(M,) bool: whether the patient of each row, or a publisher's fold of him, is known."""
        table = self.image_set.table.iloc[rows]
        known = table["patient"] != ""
        if "fold" in table:
            known |= table["fold"] != ""
        return known.to_numpy()

    def are_unseen(self, rows: np.ndarray) -> bool:
        """Whether all rows of the test part are of known patients whom the split keeps apart.

        A split with copies apart keeps those with a name apart; that by patient also the folds.
        """
        if self.settings.split == "grouped":
            return bool((self.image_set.table["patient"].iloc[rows] != "").all())
        return self.settings.split == "patients" and bool(self.known_patients(rows).all())

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

    That of Wilson's score interval (1927) at an accuracy of one half, for as many trials as there
    are groups, divided by the square of their widening.

    >>> round(accuracy_margin(np.arange(12)), 2), round(accuracy_margin(np.arange(400)), 2)
    (0.25, 0.05)
    """
    z = stats.norm.ppf(0.975)
    return float(z / (2 * np.sqrt(trials(groups) + z**2)))
