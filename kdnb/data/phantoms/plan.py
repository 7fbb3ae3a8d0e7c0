"""Plan and table of a phantom set: patients, split, planted copies and leaks (notebook 01)."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
import pandas as pd

from kdnb.core.errors import UserError

__all__ = ["FAMILIES", "PhantomPlan", "check_number", "classes", "table"]

CLASSES = {
    "brain": ("glioma", "meningioma", "notumor", "pituitary"),
    "fundus": ("cataract", "diabetic_retinopathy", "glaucoma", "normal"),
    "dementia": ("MildDemented", "ModerateDemented", "NonDemented", "VeryMildDemented"),
}
FAMILIES = tuple(CLASSES)
COPY_KINDS = np.array(["exact", "jpeg", "flip", "rescale"])


def check_number(name: str, value: object, low: int, high: int, kind: type = Integral) -> None:
    """Raise UserError unless value is of the kind (Integral or Real) and in [low, high]."""
    is_number = isinstance(value, kind) and not isinstance(value, bool)
    if not is_number or not low <= value <= high:
        noun = "a whole number" if kind is Integral else "a number"
        raise UserError(
            f"phantom {name} must be {noun} from {low} to {high}, got {value!r}; change {name}"
        )


def classes(family: str) -> tuple[str, ...]:
    """Class names of a family, in the order of their class index."""
    if family not in FAMILIES:
        raise UserError(
            f"phantom family must be one of {', '.join(FAMILIES)}, got {family!r}; change family"
        )
    return CLASSES[family]


@dataclass(frozen=True)
class PhantomPlan:
    """What to draw; equal plans give equal bytes in any process. A field out of range: UserError.

    Attributes:
        family: One of ``FAMILIES``.
        patients: 8 to 9999, dealt evenly to the four classes.
        slices: Images per patient, 1 to 99.
        seed: Of every random draw.
        duplicates: Share of images with a planted copy; half of the copies change their part.
        patient_leaks: Share of patients with slices in both published parts.
        distractor: A bright blob in every image, whose place tells nothing about the class.
        shortcut: Probability that the corner mark's colour names the image's own class; 0 for no
            mark.
        difficulty: 0 to 1: how far what defines the class fades (smaller and fainter lesions,
            classes that look alike, bright spots that are no lesion, scanners that differ).
    """

    family: str = "brain"
    patients: int = 240
    slices: int = 6
    seed: int = 0
    duplicates: float = 0.0
    patient_leaks: float = 0.0
    distractor: bool = False
    shortcut: float = 0.0
    difficulty: float = 0.0

    def __post_init__(self) -> None:
        """Check every field."""
        classes(self.family)
        check_number("patients", self.patients, 8, 9999)
        check_number("slices", self.slices, 2 if self.patient_leaks else 1, 99)
        check_number("seed", self.seed, 0, 2**32 - 1)
        for name in ("duplicates", "patient_leaks", "shortcut", "difficulty"):
            check_number(name, getattr(self, name), 0, 1, Real)
        if not isinstance(self.distractor, bool):
            raise UserError(
                f"phantom distractor must be True or False, got {self.distractor!r}; choose one"
            )


def table(plan: PhantomPlan) -> pd.DataFrame:
    """One row per image with the truth of all that is planted; copies follow the originals.

    Columns: image_id, label, patient, family (image_id of the original), source, slice,
    published_split, mark (class that the corner mark names, "" without), copy_of and copy_kind (""
    for an original).
    """
    names = np.array(classes(plan.family))
    rng = np.random.default_rng([9, plan.seed])  # the order of its draws decides the table
    deal = rng.permutation(plan.patients)  # each class in turn
    leaked = rng.permutation(plan.patients) < round(plan.patient_leaks * plan.patients)
    patient, index = (axis.ravel() for axis in np.indices((plan.patients, plan.slices)))
    agrees = rng.random(len(index)) < plan.shortcut
    others = rng.integers(1, 4, len(index))

    target = deal[patient] % 4
    held_out = (deal // 4 % 5 == 0)[patient]  # the first of every five rounds
    late = index >= plan.slices - max(1, round(0.2 * plan.slices))
    is_test = np.where(leaked[patient], late, held_out)
    ids = [f"{plan.family}_p{p:04d}_s{i:02d}" for p, i in zip(patient, index, strict=True)]
    mark = names[np.where(agrees, target, (target + others) % 4)]
    rows = pd.DataFrame(
        {
            "image_id": ids,
            "label": names[target],
            "patient": [f"p{p:04d}" for p in patient],
            "family": ids,
            "source": f"phantom_{plan.family}",
            "slice": index,
            "published_split": np.where(is_test, "test", "train"),
            "mark": mark if plan.shortcut else "",
            "copy_of": "",
            "copy_kind": "",
        }
    )
    chosen = rng.permutation(len(rows))[: round(plan.duplicates * len(rows))]
    return pd.concat([rows, _copies(rows.iloc[chosen])], ignore_index=True)


def _copies(originals: pd.DataFrame) -> pd.DataFrame:
    """The planted copies of these rows: kinds take turns, every other round changes its part."""
    turn = np.arange(len(originals))
    kind = COPY_KINDS[turn % 4]
    crosses = turn // 4 % 2 == 0
    is_test = crosses ^ (originals["published_split"] == "test")
    return originals.assign(
        image_id=originals["image_id"] + "_" + kind,
        published_split=np.where(is_test, "test", "train"),
        copy_of=originals["image_id"],
        copy_kind=kind,
    )
