"""Splits: four ways to part a manifest into train, val and test, and nested training subsets (every notebook)."""

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
import pandas as pd

from kdnb.errors import UserError
from kdnb.leakage import components, groups
from kdnb.settings import SPLITS

__all__ = ["image_keys", "make_split", "subset"]

PARTS = ("train", "test", "val")  # in the order in which a rare class is dealt
SHARES = np.array([0.7, 0.2, 0.1])  # of PARTS


def image_keys(ids: Iterable[str], *salts: int) -> np.ndarray:
    """One uint64 per id that depends on the id and the salts only: the same in any order, batch and process.

    >>> bool((image_keys(["a", "b"], 7)[::-1] == image_keys(["b", "a"], 7)).all())
    True
    """
    salt = ",".join(str(int(s)) for s in salts).encode()
    digests = b"".join(blake2b(str(i).encode(), digest_size=8, key=salt).digest() for i in ids)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def make_split(manifest: pd.DataFrame, mode: str, *, seed: int) -> pd.Series:
    """The part of every row: "train" (70 %), "val" (10 %), "test" (20 %), "unused"; the same for any order of the rows.

    - ``random``: image by image, stratified by class; leaks whatever the set leaks.
    - ``deduplicated``: one image per family, an original before its copies, parted like ``random``; the rest is unused.
    - ``published``: the set's own folders; where they have no validation part, 1/8 of train (stratified) becomes it.
    - ``grouped``: no group (`kdnb.leakage.groups`) crosses. Groups are dealt from the largest down, each to the part
      that is furthest behind its share of the group's classes. A class with fewer groups than 1 / (smallest
      share) first gives one group to train, one to test, one to val, in this order, as far as its groups reach.

    Returns:
        Series of str on the manifest's index; ``attrs["notes"]`` names each class that a part lacks.

    Raises:
        UserError: unknown mode, or ``published`` on a set without train and test folders.
    """
    part = pd.Series("unused", index=manifest.index, dtype=object, name="part")
    if mode == "grouped":
        part.update(_deal(manifest, groups(manifest), SHARES, seed))
    elif mode in ("random", "deduplicated"):
        kept = manifest if mode == "random" else _one_per_family(manifest)
        part.update(_deal(kept, kept["image_id"], SHARES, seed))
    elif mode == "published":
        part.update(manifest["published_split"].where(manifest["published_split"].isin(PARTS)))
        if not {"train", "test"} <= set(part):
            raise UserError("this data set has no published train and test folders: set split to grouped or random")
        if "val" not in set(part):
            kept = manifest[part == "train"]
            part.update(_deal(kept, kept["image_id"], np.array([7 / 8, 0, 1 / 8]), seed))
    else:
        raise UserError(f"split must be one of {', '.join(SPLITS)}, got {mode!r}")
    counts = pd.crosstab(manifest["label"], part).reindex(columns=["train", "val", "test"], fill_value=0)
    lacking = counts[(counts == 0).any(axis=1)].to_dict("index").items()
    part.attrs["notes"] = [f"class {label}: " + ", ".join(f"{p} {n}" for p, n in row.items()) for label, row in lacking]
    return part.astype("str")


def subset(rows: np.ndarray, table: pd.DataFrame, fraction: float, seed: int) -> np.ndarray:
    """About `fraction` of each class in whole groups, at least one group of each; smaller fractions lie in larger ones.

    Of `rows` (N,), int64 positions in the manifest `table`, those kept (M,) come back in their order. `fraction` lies
    in (0, 1], else a UserError; another `seed`, another order of the groups.
    """
    if not 0 < fraction <= 1:
        raise UserError(f"fraction must lie in (0, 1], got {fraction}")
    part = table.iloc[rows]
    group = groups(part)
    cells = pd.DataFrame({"group": group, "label": part["label"]}).value_counts().rename("size").reset_index()
    cells = cells.iloc[np.lexsort((cells["label"], image_keys(cells["group"], seed)))]
    size, by_label = cells["size"], cells.groupby("label")["size"]
    middle = by_label.cumsum() - size / 2  # grows along the order: what is kept is a prefix of each class
    keep = (middle <= fraction * by_label.transform("sum")) | (by_label.cumsum() == size)
    return np.asarray(rows)[group.isin(cells.loc[keep, "group"]).to_numpy()]


def _one_per_family(manifest: pd.DataFrame) -> pd.DataFrame:
    copied = manifest["copy_of"] != "" if "copy_of" in manifest else np.zeros(len(manifest), bool)
    # originals first
    family = components(manifest, ["family", "sha256"]).iloc[np.lexsort((manifest["image_id"], copied))]
    return manifest.loc[family.drop_duplicates().index]


def _deal(manifest: pd.DataFrame, group: pd.Series, share: np.ndarray, seed: int) -> pd.Series:
    """Whole groups to PARTS by Webster's rule of apportionment, summed over the classes of a group."""
    counts = pd.crosstab(group, manifest["label"])
    size, parts = counts.to_numpy(), np.flatnonzero(share)
    order = np.lexsort((image_keys(counts.index, seed), -size.sum(axis=1)))
    dealt, filled = np.full(len(size), -1), np.zeros((len(PARTS), size.shape[1]))

    def give(g: int, p: int) -> None:
        dealt[g] = p
        filled[p] += size[g]

    for c in np.argsort((size > 0).sum(axis=0), kind="stable"):
        members = order[size[order, c] > 0]
        rare = len(members) < 1 / share[parts].min() - 1e-9
        for p in parts:
            free = members[dealt[members] < 0]
            if rare and len(free) and not filled[p, c]:
                give(free[0], p)
    for g in order[dealt[order] < 0]:
        behind = ((filled[parts] + size[g] / 2) / size.sum(axis=0)) @ size[g] / share[parts]
        give(g, parts[behind.argmin()])
    return pd.Series(np.array(PARTS, dtype=object)[dealt[counts.index.get_indexer(group)]], index=manifest.index)
