"""What crosses a split: groups, the ledger of leaks, and the leak meter (notebooks 01-03, 07)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from kdnb.data.duplicates import (
    closest,
    components,
    correlations,
    is_crowded,
    near_duplicates,
    pair_correlation,
)

__all__ = ["MEMORY", "groups", "interval_groups", "leak_ledger", "leak_meter", "skill"]

# memory alone: name -> whether mirrored images match, too
MEMORY = {"1-NN": False, "1-NN mirrored": True}
ALWAYS_LISTED = ("same origin", "patient")  # kinds of a crossing beside its kind of copy
CROSSINGS = (("train", "test"), ("val", "test"), ("train", "val"))
BLOCK = 2048  # test images compared with the others at a time: bounds the memory


def groups(manifest: pd.DataFrame) -> pd.Series:
    """Group id per row, what may not cross a split: same patient, same family or same bytes."""
    return components(manifest, ["patient", "family", "sha256"])


def interval_groups(table: pd.DataFrame) -> pd.Series:
    """Group id per row, what intervals resample: `groups`, joined by runs of numbers.

    Where folds are known but no patients, the run of the publisher's numbers stands for the patient
    (`kdnb.data.origins.approximate_groups`). No split goes by these groups.
    """
    return components(table, ["patient", "family", "sha256", "number_run"])


def leak_ledger(table: pd.DataFrame, thumbs: np.ndarray) -> pd.DataFrame:
    """Every crossing of a split: an image b whose twin or patient is in an earlier part, too.

    One row per kind, image b and earlier part (train and val to test, train to val). A copy is
    listed under the first kind that holds: exact (same bytes), near (`near_duplicates`), mirrored
    copy (of the same original, in another orientation), family; same origin and patient always.
    `table` is a manifest with ``part``, and with origin and orientation where they are known;
    `thumbs` (N, D) come from `thumbnails`.

    Returns:
        Columns kind, part_a, part_b, id_a, id_b, label_a, label_b, similarity (correlation, 1 for
        exact) and count: how many images of part a leak to b in this way. Of these, a is the most
        similar (near) or the first.
    """
    if is_crowded(thumbs):
        near = partial(closest, thumbs)
    else:
        pairs = near_duplicates(thumbs)
        pairs = np.concatenate([pairs, pairs[:, ::-1]])
        order = np.argsort(-pair_correlation(thumbs, thumbs, pairs), kind="stable")
        near = partial(_first_of, pairs[order])
    part = table["part"].to_numpy()
    found = []
    for part_a, part_b in CROSSINGS:
        in_a = part == part_a
        in_b = part == part_b
        rows = _crossing(table, near(in_a, in_b), in_a, in_b)
        found.append(rows.assign(part_a=part_a, part_b=part_b))
    ledger = pd.concat(found, ignore_index=True)
    ends = ledger[["a", "b"]].to_numpy(np.int64)
    ledger["similarity"] = pair_correlation(thumbs, thumbs, ends)
    ledger.loc[ledger["kind"] == "exact", "similarity"] = 1.0
    ledger[["id_a", "id_b"]] = table["image_id"].to_numpy(object)[ends]
    ledger[["label_a", "label_b"]] = table["label"].to_numpy(object)[ends]
    columns = ["kind", "part_a", "part_b", "id_a", "id_b", "label_a", "label_b"]
    return ledger[[*columns, "similarity", "count"]]


def _first_of(pairs: np.ndarray, in_a: np.ndarray, in_b: np.ndarray) -> pd.DataFrame:
    """Columns b, a, count: for each row b of the second part the first pair (a, b), and how many.

    ``pairs`` (M, 2) are in their order, the parts are given as (N,) bool.
    """
    across = pairs[in_a[pairs[:, 0]] & in_b[pairs[:, 1]]]
    near = pd.DataFrame(across, columns=["a", "b"])
    return near.groupby("b")["a"].agg(a="first", count="size").reset_index()


def _crossing(
    table: pd.DataFrame, near: pd.DataFrame, in_a: np.ndarray, in_b: np.ndarray
) -> pd.DataFrame:
    """Columns kind, a, b, count: rows b of one part that leak from rows a of another, by kind."""
    kinds = {
        "exact": _sharing(table["sha256"], in_a, in_b),
        "near": near,
    }
    if "origin" in table:
        kinds["mirrored copy"] = _mirrored(table, in_a, in_b)
    kinds["family"] = _sharing(table["family"], in_a, in_b)
    if "origin" in table:
        kinds["same origin"] = _sharing(table["origin"], in_a, in_b)
    kinds["patient"] = _sharing(table["patient"], in_a, in_b)
    rows = pd.concat(kinds, names=["kind"]).reset_index("kind")
    return rows[~rows["b"].duplicated() | rows["kind"].isin(ALWAYS_LISTED)]


def _sharing(values: pd.Series, in_a: np.ndarray, in_b: np.ndarray) -> pd.DataFrame:
    """Columns a, b, count: rows b whose known value rows a share, the first of these, how many."""
    rows = pd.DataFrame({"value": values.to_numpy(object), "row": np.arange(len(values))})
    known = rows[in_a & (rows["value"] != "")]
    first = known.groupby("value")["row"].agg(a="first", count="size")
    shared = rows[in_b].join(first, on="value", how="inner").rename(columns={"row": "b"})
    return shared[["a", "b", "count"]]


def leak_meter(
    table: pd.DataFrame,
    thumbs: np.ndarray,
    flip_invariant: bool = False,
    seen: Sequence[str] = ("train", "val"),
) -> dict:
    """What raw pixels alone achieve: each test image takes the class of the most alike one seen.

    Args:
        table: manifest with ``part`` and ``target``.
        thumbs: (N, side * side) from `thumbnails`.
        flip_invariant: whether the test image mirrored left-right, up-down or both may match as
            well.
        seen: the parts that may be remembered.

    Returns:
        accuracy, balanced_accuracy, recall (dict by class index, classes of the test part), and per
        test image in the order of the table predictions, neighbours (rows of the table) and
        similarity (correlation).
    """
    targets = table["target"].to_numpy()
    rows = np.flatnonzero(table["part"].isin(seen))
    test = np.flatnonzero(table["part"] == "test")
    known = thumbs[rows]
    similarity = []
    nearest = []
    for start in range(0, len(test), BLOCK):
        scores = correlations(thumbs[test[start : start + BLOCK]], known, flip_invariant)
        nearest.append(scores.argmax(axis=1))
        similarity.append(scores.max(axis=1))
    neighbours = rows[np.concatenate(nearest)]
    predictions = targets[neighbours]
    truth = targets[test]
    hit = predictions == truth
    recall = {int(k): float(hit[truth == k].mean()) for k in np.unique(truth)}
    return {
        "accuracy": float(hit.mean()),
        "balanced_accuracy": float(np.mean(list(recall.values()))),
        "recall": recall,
        "predictions": predictions,
        "neighbours": neighbours,
        "similarity": np.concatenate(similarity),
    }


def skill(accuracy: float, one_nn: float) -> float:
    """Share of the way from the leak meter to perfection; nan where 1NN is 1.

    (accuracy - 1NN) / (1 - 1NN).

    >>> round(skill(0.96, 0.92), 6)
    0.5
    """
    if one_nn >= 1:
        return float("nan")
    return (accuracy - one_nn) / (1 - one_nn)


def _mirrored(table: pd.DataFrame, in_a: np.ndarray, in_b: np.ndarray) -> pd.DataFrame:
    """Columns a, b, count: rows b whose original rows a show in another orientation."""
    rows = table[["origin", "orientation"]].reset_index(drop=True)
    rows["row"] = np.arange(len(rows))
    known = rows[in_a & (rows["origin"] != "")]
    pairs = rows[in_b].merge(known, on="origin", suffixes=("_b", "_a"))
    pairs = pairs[pairs["orientation_a"] != pairs["orientation_b"]]
    first = pairs.groupby("row_b")["row_a"].agg(a="min", count="size")
    return first.rename_axis("b").reset_index()[["a", "b", "count"]]
