"""Rules per data set: which images show the same person, and which are copies of which (01_data)."""

import numpy as np
import pandas as pd

from kdnb.leakage import components, likeness

__all__ = ["link_copies", "name_patients"]

SLICES = 32  # consecutive slices of each person in the Alzheimer set


def name_patients(name: str, table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Fill patient, family, source and copy_of as far as a set's file names tell; a note says what stays unknown ("").

    The table holds all images of a source, broken ones included: ranks count them.
    """
    rules = {"eye_disease": _eyes, "alzheimer": _people}
    if name in rules:
        table = rules[name](table.copy(), table["path"].str.rsplit("/", n=1).str[-1])
    unknown = (table["patient"] == "").sum()
    note = f"{unknown:,} of {len(table):,} images are of unknown patients: a person may cross the split"
    return table, [note] if unknown else []


def link_copies(table: pd.DataFrame, thumbs: np.ndarray) -> pd.DataFrame:
    """Join copies and originals into families; a copy of unknown origin goes to the original most like it.

    Where names tell the origin (glaucoma), that is the right one for 97 % of the copies. `table` comes from
    `name_patients`, `thumbs` (N, D * D) from `kdnb.leakage.thumbnails`.
    """
    table, ids = table.copy(), table["image_id"].to_numpy()
    lost, named = table["source"] == "copies", table["copy_of"] != ""
    for label in table["label"][lost].unique():
        same = table["label"] == label
        copies, originals = np.flatnonzero(same & lost), np.flatnonzero(same & ~lost & ~named)
        if len(originals):
            nearest = likeness(thumbs[copies], thumbs[originals], flip_invariant=True).argmax(axis=1)
            table.loc[copies, "copy_of"] = ids[originals[nearest]]
    original = pd.Index(ids).get_indexer(table["copy_of"])  # -1: none, or skipped as broken
    if len(copies := np.flatnonzero(original >= 0)):
        table["family"] = components(table, ["family"], np.column_stack([copies, original[copies]]))
    return table


def _eyes(table: pd.DataFrame, name: pd.Series) -> pd.DataFrame:
    """Fundus set: ``<n>_left`` and ``<n>_right`` are patient n; .jpeg and .jpg are two numberings.

    ``_<i>_<hash>.jpg`` is a copy. Where a class's copies name each of its originals (glaucoma), i is the rank of
    the original in sorted order; elsewhere (cataract) the same i is at least the same original.
    """
    eye = name.str.extract(r"^(\d+)_(?:left|right)\.(jpe?g)$").fillna("")
    number = name.str.extract(r"^_(\d+)_\d+\.")[0]
    table["patient"] = (eye[1] + " " + eye[0]).str.strip()
    table["source"] = np.select([eye[1] != "", number.notna()], [eye[1] + " eyes", "copies"], "named png")
    table["family"] = (table["label"] + " copy " + number).fillna("")
    for _, rows in table.groupby("label"):
        copies = rows.index[rows["source"] == "copies"]
        originals = name[rows.index.difference(copies)].sort_values().index
        rank = number[copies].astype(int)
        if len(copies) and set(rank) == set(range(len(originals))):
            found = originals[rank]
            table.loc[copies, "copy_of"] = table["image_id"][found].to_numpy()
            table.loc[copies, ["patient", "source"]] = table.loc[found, ["patient", "source"]].to_numpy()
    return table


def _people(table: pd.DataFrame, name: pd.Series) -> pd.DataFrame:
    """Alzheimer set: 32 slices of each person; a class where that does not come out stays unknown.

    Test file ``S (k).jpg`` is slice S of person k (``S.jpg``: k = 1). Train file ``<prefix><i>.jpg`` in a class
    of N people is slice 1 + i // N of entry i % N in the list of people sorted as the strings ``X (k).jpg``,
    without those who have that slice in test (some, at slice 26).
    """
    test = name.str.extract(r"^(\d+)(?: \((\d+)\))?\.\w+$").fillna({1: "1"})
    train = name.str.extract(r"^[A-Za-z]+(\d+)\.\w+$")[0]
    for label, rows in table.groupby("label").groups.items():
        found = {(int(k), int(piece)): row for row, piece, k in test.loc[rows].dropna().itertuples()}
        held, people = set(found), {k for k, _ in found}
        order = sorted(people, key=lambda k: f"X ({k}).jpg" if k > 1 else "X.jpg")
        for row, number in train[rows].dropna().items():
            piece, entry = divmod(int(number), len(people) or 1)
            there = [k for k in order if (k, piece + 1) not in held]
            if entry < len(there):  # a file that fits nowhere leaves the class unknown
                found[there[entry], piece + 1] = row
        whole = {(k, piece + 1) for k in people for piece in range(SLICES)}
        if found.keys() == whole and len(rows) == len(whole):
            table.loc[list(found.values()), "patient"] = [f"{label} {k}" for k, _ in found]
    return table
