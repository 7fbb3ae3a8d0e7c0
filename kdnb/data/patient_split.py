"""The split by patient: what a publisher's folds and known patients decide (01-07)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd

from kdnb.core.errors import NoSuchSplit, UserError
from kdnb.data.duplicates import components

__all__ = ["TEST_FOLD", "Decided", "decide", "parts_of_folds"]

TEST_FOLD = 5
FEWEST_FOLDS = 3  # one each for training, validation and test


class Decided(NamedTuple):
    """What is known of every row before the rest is dealt.

    Attributes:
        part: "train", "val", "test" or "unused" where a fold or a contradiction decides, else "".
        group: What may not be torn apart where ``part`` is "".
        folds: How many folds are known.
        notes: What is known of how many images, and what was only counted.
    """

    part: pd.Series
    group: pd.Series
    folds: int
    notes: list[str]


def parts_of_folds(folds: Iterable[str], test_fold: int = TEST_FOLD) -> dict[str, str]:
    """Every fold with its part: one is test, the one before it validation, the others training.

    Before the first one comes the last.

    >>> parts_of_folds("12345", 1)
    {'1': 'test', '2': 'train', '3': 'train', '4': 'train', '5': 'val'}

    Raises:
        UserError: If a fold is no number, there is no fold of this number, or fewer than three.
    """
    numbers = {fold: _number(fold) for fold in folds}  # "1" and "01" are one fold
    known = sorted(set(numbers.values()))
    found = ", ".join(f"{number:g}" for number in known)
    if test_fold not in known:
        raise UserError(
            f"fold must be one of those of this set, got {test_fold}, which has no image: "
            f"accepted are {found}"
        )
    if len(known) < FEWEST_FOLDS:
        raise NoSuchSplit(
            f"{FEWEST_FOLDS} folds are needed, for training, validation and test; this set has "
            f"{found}: set split to grouped"
        )
    part_of = dict.fromkeys(known, "train")
    part_of[known[known.index(test_fold) - 1]] = "val"
    part_of[test_fold] = "test"
    return {fold: part_of[number] for fold, number in numbers.items()}


def _number(fold: str) -> float:
    """The number of a fold; a UserError where it has none."""
    try:
        number = float(fold)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UserError(
            f"fold '{fold}' is not a number: mend the column fold, or set split to grouped"
        )
    return number


def decide(manifest: pd.DataFrame, test_fold: int = TEST_FOLD) -> Decided:
    """Parts and groups such that no publisher's fold and no known patient crosses.

    A known fold or patient decides alone, whatever an image looks like. An image of neither goes
    by its family: if relatives of one fold or patient are in it, with them; of two, it is unused.

    Args:
        manifest: With image_id, patient, family and sha256, and maybe fold; "" is unknown.
        test_fold: The fold that is the test part.

    Raises:
        UserError: No fold and no patient is known, or the folds cannot be used.
    """
    fold = manifest.get("fold", pd.Series("", index=manifest.index))
    patient = manifest["patient"]
    named = (fold == "") & (patient != "")
    folds = sorted(set(fold) - {""})
    if not folds and not named.any():
        raise NoSuchSplit(
            "split 'patients' needs known patients or folds, this data set has none: "
            "set split to grouped"
        )
    anchor = _anchors(fold, patient)
    family = components(manifest, ["family", "sha256"])
    touched = anchor[anchor != ""].groupby(family).agg(["first", "nunique"]).reindex(family)
    touched = touched.set_axis(manifest.index)
    loose = anchor == ""
    torn = loose & (touched["nunique"] > 1)
    group = anchor.mask(loose, touched["first"].fillna("family " + family))
    of_fold = group.str.startswith("fold ") & ~torn
    part = pd.Series("", index=manifest.index, dtype=object)
    told = group[of_fold].str.removeprefix("fold ")
    if folds:
        part[of_fold] = told.map(parts_of_folds(folds, test_fold))
    part[torn] = "unused"
    notes = [_known(len(fold), (fold != "").sum(), named.sum())]
    if torn.any():
        notes.append(f"{torn.sum()} images resemble images of two folds or patients: unused")
    alike = group[~torn].groupby(family[~torn]).nunique()
    if (alike > 1).any():
        notes.append(
            f"{(alike > 1).sum()} families of look-alikes hold several folds or patients: "
            "a known fold or patient decides alone"
        )
    return Decided(part, group, len(folds), notes)


def _known(count: int, by_fold: int, by_name: int) -> str:
    """What is known of the patients of so many images, in one line.

    >>> _known(7019, 4750, 0)
    '4,750 of 7,019 images stay with the fold of their patient; the patients of 2,269 are unknown: \
these are kept apart by family'
    >>> _known(20, 0, 20)
    '20 of 20 images stay with their patient'
    """
    known = [
        f"{found:,} of {count:,} images stay with {what}"
        for found, what in ((by_fold, "the fold of their patient"), (by_name, "their patient"))
        if found
    ]
    unknown = count - by_fold - by_name
    if unknown:
        known.append(f"the patients of {unknown:,} are unknown: these are kept apart by family")
    return "; ".join(known)


def _anchors(fold: pd.Series, patient: pd.Series) -> pd.Series:
    """The fold of every row, else that of its patient's other images, else its patient, else ""."""
    of_patient = fold[(fold != "") & (patient != "")].groupby(patient).first()
    by_patient = patient.map(of_patient).fillna("")
    fold = fold.where(fold != "", by_patient)
    chosen = np.select([fold != "", patient != ""], ["fold " + fold, "patient " + patient], "")
    return pd.Series(chosen, index=fold.index, dtype=object)
