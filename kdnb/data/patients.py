"""Rules per data set: which images show the same person, and which are copies (01_data)."""

from __future__ import annotations

from collections.abc import Hashable
from itertools import product

import numpy as np
import pandas as pd

from kdnb.data.duplicates import components, correlations

__all__ = ["UNKNOWN", "link_copies", "name_patients"]

SLICES = 32  # consecutive slices of each person in the Alzheimer set
UNKNOWN = "images are of unknown patients"  # in the note that counts them


def name_patients(name: str, table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Fill patient, family, source and copy_of as far as a set's file names tell.

    The table holds all images of a source, broken ones included: ranks count them. A note says how
    many images are of unknown patients ("").
    """
    rules = {"eye_disease": _fundus_patients, "alzheimer": _alzheimer_patients}
    if name in rules:
        file_names = table["path"].str.rsplit("/", n=1).str[-1]
        table = rules[name](table.copy(), file_names)
    unknown = (table["patient"] == "").sum()
    if not unknown:
        return table, []
    note = f"{unknown:,} of {len(table):,} {UNKNOWN}"
    if "fold" in table and (table["fold"] != "").all():
        return table, [f"{note}: a person may cross a split that does not keep to the folds"]
    return table, [f"{note}: a person may cross the split"]


def link_copies(table: pd.DataFrame, thumbs: np.ndarray) -> pd.DataFrame:
    """Join copies and originals into families; a copy of unknown origin joins the most like it.

    Where names tell the origin (glaucoma), the most like is the right one for 97 % of the copies.

    Args:
        table: From `name_patients`, broken images left out.
        thumbs: (N, D * D) from `kdnb.data.duplicates.thumbnails`.
    """
    table = table.copy()
    ids = table["image_id"].to_numpy()
    copied = table["source"] == "copies"
    named = table["copy_of"] != ""
    for label in table["label"][copied].unique():
        same = table["label"] == label
        copies = np.flatnonzero(same & copied)
        originals = np.flatnonzero(same & ~copied & ~named)
        if len(originals):
            like = correlations(thumbs[copies], thumbs[originals], flip_invariant=True)
            nearest = originals[like.argmax(axis=1)]
            table.loc[copies, "copy_of"] = ids[nearest]
    original = pd.Index(ids).get_indexer(table["copy_of"])  # -1: none, or skipped as broken
    copies = np.flatnonzero(original >= 0)
    if len(copies):
        pairs = np.column_stack([copies, original[copies]])
        table["family"] = components(table, ["family"], pairs)
    return table


def _fundus_patients(table: pd.DataFrame, name: pd.Series) -> pd.DataFrame:
    """Fundus set: ``<n>_left`` and ``<n>_right`` are patient n; .jpeg and .jpg are two numberings.

    ``_<i>_<hash>.jpg`` is a copy. Where a class's copies name each of its originals (glaucoma), i
    is the rank of the original in sorted order; elsewhere (cataract) the same i is at least the
    same original.
    """
    eye = name.str.extract(r"^(?P<person>\d+)_(?:left|right)\.(?P<ending>jpe?g)$").fillna("")
    ending = eye["ending"]
    copy_number = name.str.extract(r"^_(\d+)_\d+\.")[0]
    table["patient"] = (ending + " " + eye["person"]).str.strip()
    table["source"] = np.select(
        [ending != "", copy_number.notna()], [ending + " eyes", "copies"], "named png"
    )
    table["family"] = (table["label"] + " copy " + copy_number).fillna("")
    for _, rows in table.groupby("label"):
        copies = rows.index[rows["source"] == "copies"]
        originals = name[rows.index.difference(copies)].sort_values().index
        rank = copy_number[copies].astype(int)
        if len(copies) and set(rank) == set(range(len(originals))):
            found = originals[rank]
            shared = ["patient", "source"]
            table.loc[copies, "copy_of"] = table["image_id"][found].to_numpy()
            table.loc[copies, shared] = table.loc[found, shared].to_numpy()
    return table


def _alzheimer_patients(table: pd.DataFrame, name: pd.Series) -> pd.DataFrame:
    """Alzheimer set: 32 slices of each person; a class where that does not come out stays unknown.

    Test file ``S (k).jpg`` is slice S of person k (``S.jpg``: k = 1). Train file
    ``<prefix><i>.jpg`` in a class of N people is slice 1 + i // N of entry i % N in the list of
    people sorted as the strings ``X (k).jpg``, without those who have that slice in test (some, at
    slice 26).
    """
    test = name.str.extract(r"^(?P<slice>\d+)(?: \((?P<person>\d+)\))?\.\w+$")
    test = test.fillna({"person": "1"})
    train = name.str.extract(r"^[A-Za-z]+(\d+)\.\w+$")[0]
    for label, rows in table.groupby("label").groups.items():
        found = _alzheimer_slices(test.loc[rows].dropna(), train[rows].dropna())
        people = {person for person, _ in found}
        whole = set(product(people, range(1, SLICES + 1)))
        if found.keys() == whole and len(rows) == len(whole):
            patients = [f"{label} {person}" for person, _ in found]
            table.loc[list(found.values()), "patient"] = patients
    return table


def _alzheimer_slices(test: pd.DataFrame, train: pd.Series) -> dict[tuple[int, int], Hashable]:
    """(person, slice) → row of the table, for one class; the rule is that of `_alzheimer_patients`.

    Args:
        test: Columns slice and person, digits as str; indexed by the table's rows.
        train: The number in each train file's name, digits as str; indexed likewise.
    """
    found = {
        (int(person), int(number)): row
        for row, number, person in zip(test.index, test["slice"], test["person"], strict=True)
    }
    in_test = set(found)
    people = {person for person, _ in found}
    in_order = sorted(people, key=lambda person: f"X ({person}).jpg" if person > 1 else "X.jpg")
    for row, number in train.items():
        piece, entry = divmod(int(number), len(people) or 1)
        lacking = [person for person in in_order if (person, piece + 1) not in in_test]
        if entry < len(lacking):  # a file that fits nowhere leaves the class unknown
            found[lacking[entry], piece + 1] = row
    return found
