"""Splits: four ways to part a manifest into train, val and test, and nested training subsets; used by notebooks 01 to 05."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b

import numpy as np
import pandas as pd

from kdnb.errors import UserError
from kdnb.leakage import components, groups

__all__ = ["MODES", "image_keys", "make_split", "subset"]

MODES = ("grouped", "random", "published", "deduplicated")
PARTS = ("train", "val", "test")
FIRST = (0, 2, 1)  # the order in which a rare class is dealt: train, test, val


def image_keys(ids: Iterable[str], *salts: int) -> np.ndarray:
    """One uint64 per id that depends on the id and the salts only: the same in any order, batch and process.

    >>> bool((image_keys(["a", "b"], 7)[::-1] == image_keys(["b", "a"], 7)).all())
    True
    """
    salt = repr(tuple(int(s) for s in salts)).encode()
    digests = b"".join(blake2b(str(i).encode(), digest_size=8, key=salt[:64]).digest() for i in ids)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def make_split(
    manifest: pd.DataFrame, mode: str, *, seed: int, fractions: Sequence[float] = (0.7, 0.1, 0.2)
) -> pd.Series:
    """The part of every row: "train", "val", "test" or "unused"; the same for any order of the rows.

    - ``random``: image by image, stratified by class; leaks whatever the set leaks.
    - ``deduplicated``: one image per family (an original before its copies) is split like ``random``, the rest is "unused".
    - ``published``: the set's own folders; where they hold no validation part, 1/8 of train (stratified) becomes it.
    - ``grouped``: no group (`kdnb.leakage.groups`) crosses. Groups are dealt from the largest down, each to the part
      that is furthest behind its share of the group's classes. A class with fewer groups than 1 / (smallest
      fraction) first gives one group to train, one to test, one to val, in this order, as far as its groups reach.

    Returns:
        Series of str, index and order of the manifest; ``attrs["notes"]`` names each class that a part lacks.

    Raises:
        UserError: unknown mode, unusable fractions, or ``published`` on a set without train and test folders.
    """
    share = np.asarray(fractions, dtype=float)
    if share.shape != (3,) or share.min() < 0 or share[0] == 0 or abs(share.sum() - 1) > 1e-6:
        raise UserError(f"fractions must be three numbers (train > 0, val, test) that add up to 1, got {fractions}")
    if mode == "published":
        part = _published(manifest, seed)
    elif mode == "deduplicated":
        part = _deduplicated(manifest, share, seed)
    elif mode == "random":
        part = _deal(manifest, manifest["image_id"], share, seed)
    elif mode == "grouped":
        part = _deal(manifest, groups(manifest), share, seed)
    else:
        raise UserError(f"split must be one of {', '.join(MODES)}, got {mode!r}")
    part = part.astype("str").rename("part")
    counts = pd.crosstab(manifest["label"], part).reindex(columns=PARTS, fill_value=0)
    lacking = counts.index[(counts == 0).any(axis=1)]
    part.attrs["notes"] = [
        f"class {label}: " + ", ".join(f"{p} {n}" for p, n in counts.loc[label].items()) for label in lacking
    ]
    return part


def subset(rows: np.ndarray, table: pd.DataFrame, fraction: float, seed: int) -> np.ndarray:
    """About `fraction` of each class in whole groups, at least one group of each; smaller fractions lie in larger ones.

    Args:
        rows: (N,) int64 positions in `table`, usually the training rows.
        table: manifest with ``image_id``, ``label`` and the columns that `kdnb.leakage.groups` reads.
        fraction: share to keep, in (0, 1].
        seed: another seed, another order of the groups.

    Returns:
        (M,) int64, the kept positions in the order of `rows`.
    """
    if not 0 < fraction <= 1:
        raise UserError(f"fraction must lie in (0, 1], got {fraction}")
    part = table.iloc[rows]
    group = groups(part)
    cells = pd.DataFrame({"group": group, "label": part["label"]}).value_counts().rename("size").reset_index()
    cells = cells.iloc[np.lexsort((cells["label"], image_keys(cells["group"], seed)))]
    size, by_label = cells["size"], cells.groupby("label")["size"]
    middle = by_label.cumsum() - size / 2  # grows along the order, so that what is kept is a prefix
    keep = (middle <= fraction * by_label.transform("sum")) | (by_label.cumsum() == size)
    return np.asarray(rows)[group.isin(cells.loc[keep, "group"]).to_numpy()]


def _published(manifest: pd.DataFrame, seed: int) -> pd.Series:
    part = manifest["published_split"].where(manifest["published_split"].isin(PARTS), "unused").astype(object)
    if not {"train", "test"} <= set(part):
        raise UserError("this data set has no published train and test folders: choose split grouped, random or deduplicated")
    if "val" not in set(part):
        train = manifest[part == "train"]
        part.update(_deal(train, train["image_id"], np.array([7 / 8, 1 / 8, 0]), seed))
    return part


def _deduplicated(manifest: pd.DataFrame, share: np.ndarray, seed: int) -> pd.Series:
    copy = manifest["copy_of"] != "" if "copy_of" in manifest else np.zeros(len(manifest), bool)
    family = components(manifest, ["family", "sha256"])
    first = manifest.iloc[np.lexsort((manifest["image_id"], copy))].index
    kept = manifest.loc[family.loc[first].drop_duplicates().index]
    part = pd.Series("unused", index=manifest.index, dtype=object)
    part.update(_deal(kept, kept["image_id"], share, seed))
    return part


def _deal(manifest: pd.DataFrame, group: pd.Series, share: np.ndarray, seed: int) -> pd.Series:
    """Whole groups to parts: Webster's rule of apportionment, summed over the classes of a group."""
    counts = pd.crosstab(group, manifest["label"])
    size, total = counts.to_numpy(), counts.to_numpy().sum(axis=0)
    order = np.lexsort((image_keys(counts.index, seed), -size.sum(axis=1)))
    open_parts = [p for p in FIRST if share[p] > 0]
    dealt = np.full(len(size), -1)
    filled = np.zeros((3, len(total)))

    def give(g: int, p: int) -> None:
        dealt[g] = p
        filled[p] += size[g]

    for c in np.argsort((size > 0).sum(axis=0), kind="stable"):
        members = [g for g in order if size[g, c]]
        if len(members) < 1 / share[open_parts].min() - 1e-9:
            for p in open_parts:
                free = [g for g in members if dealt[g] < 0]
                if free and not filled[p, c]:
                    give(free[0], p)
    for g in order[dealt[order] < 0]:
        behind = ((filled[open_parts] + size[g] / 2) / total) @ size[g] / share[open_parts]
        give(g, open_parts[int(behind.argmin())])
    return pd.Series(np.array(PARTS, dtype=object)[dealt[counts.index.get_indexer(group)]], index=manifest.index)
