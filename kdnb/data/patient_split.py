"""The split by patient: what a publisher's folds and known patients decide (01-07)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from kdnb.core.errors import UserError
from kdnb.data.duplicates import components

__all__ = ["FOLDS", "TEST_FOLD", "Decided", "decide", "part_of_fold"]

FOLDS = 5
TEST_FOLD = 5


class Decided(NamedTuple):
    """What is known of every row before the rest is dealt.

    Attributes:
        part: "train", "val", "test" or "unused" where a fold or a contradiction decides, else "".
        group: What may not be torn apart where ``part`` is "".
        by_fold: Whether any fold is known.
        notes: What is known of how many images, and what was only counted.
    """

    part: pd.Series
    group: pd.Series
    by_fold: bool
    notes: list[str]


def part_of_fold(fold: str, test_fold: int = TEST_FOLD) -> str:
    """Test is one fold, validation the fold before it (before 1 comes 5), training the rest.

    >>> [part_of_fold(fold, 1) for fold in "12345"]
    ['test', 'train', 'train', 'train', 'val']
    """
    val_fold = (test_fold - 2) % FOLDS + 1
    return {str(test_fold): "test", str(val_fold): "val"}.get(fold, "train")


def decide(manifest: pd.DataFrame, test_fold: int = TEST_FOLD) -> Decided:
    """Parts and groups such that no publisher's fold and no known patient crosses.

    A known fold or patient decides alone, whatever an image looks like. An image of neither goes
    by its family: if relatives of one fold or patient are in it, with them; of two, it is unused.

    Args:
        manifest: With image_id, patient, family and sha256, and maybe fold; "" is unknown.
        test_fold: The fold that is the test part.

    Raises:
        UserError: No fold and no patient is known.
    """
    fold = manifest.get("fold", pd.Series("", index=manifest.index))
    patient = manifest["patient"]
    named = (fold == "") & (patient != "")
    if not (fold != "").any() and not named.any():
        raise UserError(
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
    part[of_fold] = told.map(lambda one: part_of_fold(one, test_fold))
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
    return Decided(part, group, bool((fold != "").any()), notes)


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
