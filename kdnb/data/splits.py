"""Splits: five ways to part a manifest into train, val and test, and nested subsets (01-07)."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import pandas as pd

from kdnb.core.errors import NoSuchSplit, UserError
from kdnb.core.settings import SPLITS
from kdnb.data.duplicates import components
from kdnb.data.leakage import groups
from kdnb.data.patient_split import TEST_FOLD, decide, parts_of_folds

__all__ = [
    "SIZED",
    "TEST_SHARE",
    "Parted",
    "image_keys",
    "make_split",
    "sizes_of",
    "subset",
    "uses_folds",
]

SIZED = ("random", "grouped")  # splits that may take the sizes of another one's parts
PARTS = ("train", "test", "val")  # in the order in which a rare class is dealt
TEST_SHARE = 0.2
VAL_SHARE = 0.1
VAL_OF_TRAIN = np.array([7 / 8, 0, 1 / 8])  # of PARTS, where a published split has no val


class Parted(NamedTuple):
    """A split: the part of every image, and what there is to say about it."""

    part: pd.Series  #: of str, on the manifest's index
    notes: list[str]


def image_keys(ids: Iterable[str], *salts: int) -> np.ndarray:
    """One uint64 per id, from id and salts only: the same in any order, batch and process.

    >>> bool((image_keys(["a", "b"], 7)[::-1] == image_keys(["b", "a"], 7)).all())
    True
    """
    salt = ",".join(str(int(number)) for number in salts).encode()
    digests = [blake2b(str(name).encode(), digest_size=8, key=salt).digest() for name in ids]
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def make_split(
    manifest: pd.DataFrame,
    mode: str,
    *,
    seed: int,
    fold: int = TEST_FOLD,
    sizes: pd.DataFrame | None = None,
    test_share: float = TEST_SHARE,
) -> Parted:
    """The part of every row: "train" (70 %), "val" (10 %), "test" (20 %), "unused".

    It is the same for any order of the rows.

    - ``random``: image by image, stratified by class; leaks whatever the set leaks.
    - ``deduplicated``: one image per family, an original before its copies, parted like ``random``;
      the rest is unused.
    - ``published``: the set's own folders; where they have no validation part, 1/8 of train
      (stratified, known patients whole) becomes it. A set without train and test folders may have
      a publisher's folds (`uses_folds`): one is test, the one before it val, the others train,
      whatever the seed.
    - ``grouped``: no group (`kdnb.data.leakage.groups`) crosses. Groups are dealt from the largest
      down, each to the part that is furthest behind its share of the group's classes. A class with
      fewer groups than 1 / (smallest share) first gives one group to train, one to test, one to
      val, in this order, as far as its groups reach.
    - ``patients``: no publisher's fold and no known patient crosses
      (`kdnb.data.patient_split.decide`). Where folds are known, one is test, the one before it
      val. What no fold decides is dealt like ``grouped``, in the shares that the folds have.

    Args:
        manifest: With image_id, label, patient, family, sha256, published_split, and maybe fold.
        mode: One of these.
        seed: Another seed, another order of images, and of groups of one size: where patients have
            different numbers of images, ``grouped`` hardly moves with it. It never moves a fold.
        fold: The test fold of ``patients``, and of ``published`` where it uses folds.
        sizes: From `sizes_of`: how many images of each class a part of ``random`` or ``grouped``
            shall have; the rest is unused. Whole groups may leave a part short: a note tells.
        test_share: Another share for the test part, at the cost of train; published parts and
            folds stay as they are.

    Returns:
        The parts, on the manifest's index, and notes: each class that a part lacks, and the folds.

    Raises:
        UserError: unknown mode, sizes for another mode, ``published`` on a set without train and
            test folders and folds, a fold that the set does not have, or ``patients`` on a set of
            which no patient is known.
    """
    if sizes is not None:
        return _of_sizes(manifest, mode, sizes, seed)
    notes = []
    shares = np.array([1 - VAL_SHARE - test_share, test_share, VAL_SHARE])  # of PARTS
    part = pd.Series("unused", index=manifest.index, dtype=object, name="part")
    if mode == "grouped":
        part.update(_deal(manifest, groups(manifest), shares, seed))
    elif mode == "random":
        part.update(_deal(manifest, manifest["image_id"], shares, seed))
    elif mode == "deduplicated":
        kept = _one_per_family(manifest)
        part.update(_deal(kept, kept["image_id"], shares, seed))
    elif uses_folds(manifest, mode):
        part.update(_folds(manifest["fold"], fold))
    elif mode == "published":
        part.update(_published(manifest, seed))
        outside = (part == "unused").sum()
        if outside:
            notes = [f"{outside:,} of {len(part):,} images have no published part, and are unused"]
    elif mode == "patients":
        decided = decide(manifest, fold)
        notes = decided.notes
        part.update(decided.part[decided.part != ""])
        rest = manifest[decided.part == ""]
        if decided.folds:
            shares = np.array([decided.folds - 2, 1, 1]) / decided.folds  # of PARTS
        if len(rest):
            part.update(_deal(rest, decided.group[rest.index], shares, seed))
    else:
        raise UserError(f"split must be one of {', '.join(SPLITS)}, got {mode!r}")
    notes = notes + _patients_seen(manifest["patient"], part) + _notes(manifest["label"], part)
    if uses_folds(manifest, mode):
        notes = notes + _notes_on_folds(manifest["fold"], part)
    return Parted(part.astype("str"), notes)


def sizes_of(manifest: pd.DataFrame, part: pd.Series) -> pd.DataFrame:
    """How many images each class has in train, test and val: index classes, columns parts."""
    return pd.crosstab(manifest["label"], part).reindex(columns=PARTS, fill_value=0)


def _of_sizes(manifest: pd.DataFrame, mode: str, sizes: pd.DataFrame, seed: int) -> Parted:
    """A ``random`` or ``grouped`` split whose parts have as many images per class as another's."""
    if mode not in SIZED:
        raise UserError(
            f"the sizes of another split are for splits random and grouped, got {mode!r}: "
            "set sizes_of to ''"
        )
    together = manifest["image_id"] if mode == "random" else groups(manifest)
    part = _deal_to_sizes(manifest, together, sizes, seed)
    notes = []
    for label, short in (sizes - sizes_of(manifest, part)).iterrows():
        for name in short[short > 0].index:
            notes.append(f"class {label}: {name} lacks {short[name]} images of the size asked for")
    return Parted(part.astype("str"), notes + _notes(manifest["label"], part))


def uses_folds(manifest: pd.DataFrame, mode: str) -> bool:
    """Whether a split goes by the publisher's folds: ``published``, of a set without folders."""
    if mode != "published" or "fold" not in manifest or (manifest["fold"] == "").all():
        return False
    return not {"train", "test"} <= set(manifest["published_split"])


def subset(rows: np.ndarray, table: pd.DataFrame, fraction: float, seed: int) -> np.ndarray:
    """About `fraction` of each class in whole groups, at least one group of each.

    Smaller fractions lie in larger ones.

    Args:
        rows: (N,) int64 positions in the manifest.
        table: The manifest.
        fraction: In (0, 1], else a UserError.
        seed: Another seed, another order of the groups.

    Returns:
        (M,) those of `rows` that are kept, in their order.
    """
    if not 0 < fraction <= 1:
        raise UserError(f"fraction must lie in (0, 1], got {fraction}")
    part = table.iloc[rows]
    group = groups(part)
    cells = pd.DataFrame({"group": group, "label": part["label"]})
    cells = cells.value_counts().rename("size").reset_index()
    cells = cells.iloc[np.lexsort((cells["label"], image_keys(cells["group"], seed)))]
    of_label = cells.groupby("label")["size"]
    end = of_label.cumsum()  # images of the class up to and with this group
    # it grows along the order: what is kept is a prefix of each class
    middle = end - cells["size"] / 2
    first = end == cells["size"]
    keep = (middle <= fraction * of_label.transform("sum")) | first
    return np.asarray(rows)[group.isin(cells.loc[keep, "group"]).to_numpy()]


def _published(manifest: pd.DataFrame, seed: int) -> pd.Series:
    """The set's own parts, missing where it gives none; with a validation part in any case."""
    published = manifest["published_split"]
    part = published.where(published.isin(PARTS))
    if not {"train", "test"} <= set(part):
        raise NoSuchSplit(
            "this data set has no published train and test folders: set split to grouped or random"
        )
    if "val" not in set(part):
        train = manifest[part == "train"]
        patient_or_image = train["patient"].where(train["patient"] != "", train["image_id"])
        part.update(_deal(train, patient_or_image, VAL_OF_TRAIN, seed))
    return part


def _patients_seen(patient: pd.Series, part: pd.Series) -> list[str]:
    """A note on test images whose patient is also in another part that is learned from."""
    seen = set(patient[part.isin(["train", "val"])]) - {""}
    is_test = part == "test"
    crossing = (is_test & patient.isin(seen)).sum()
    if not crossing:
        return []
    return [
        f"the patients of {crossing:,} of {is_test.sum():,} test images also have images in train "
        "or val"
    ]


def _folds(folds: pd.Series, test: int) -> pd.Series:
    """The part of every image by its fold, see `parts_of_folds`; "unused" without one."""
    parts = parts_of_folds(sorted(set(folds) - {""}), test)
    return folds.map(parts).fillna("unused")


def _notes_on_folds(folds: pd.Series, part: pd.Series) -> list[str]:
    """Which of the publisher's folds each part is, and how many images are in none."""
    told = []
    for name in ("train", "val", "test"):
        own = sorted(set(folds[part == name]), key=float)
        told.append(f"{name} {', '.join(own)}")
    notes = [f"the parts are the publisher's folds: {'; '.join(told)}"]
    unknown = (folds == "").sum()
    if unknown:
        notes.append(f"{unknown:,} of {len(folds):,} images are in no fold and unused")
    return notes


def _notes(label: pd.Series, part: pd.Series) -> list[str]:
    """One line for each class that a part lacks: how many of its images each part has."""
    counts = pd.crosstab(label, part).reindex(columns=["train", "val", "test"], fill_value=0)
    lacking = counts[(counts == 0).any(axis=1)]
    return [
        f"class {row.Index}: train {row.train}, val {row.val}, test {row.test}"
        for row in lacking.itertuples()
    ]


def _one_per_family(manifest: pd.DataFrame) -> pd.DataFrame:
    copy_of = manifest.get("copy_of", pd.Series("", index=manifest.index))
    originals_first = np.lexsort((manifest["image_id"], copy_of != ""))
    family = components(manifest, ["family", "sha256"])
    kept = family.iloc[originals_first].drop_duplicates()
    return manifest.loc[kept.index]


def _deal(manifest: pd.DataFrame, group: pd.Series, share: np.ndarray, seed: int) -> pd.Series:
    """Whole groups to PARTS by Webster's rule of apportionment, summed over a group's classes.

    Args:
        manifest: Its labels are the classes.
        group: The group of every row.
        share: (3,) shares of PARTS; a part with share 0 gets nothing.
        seed: The order of groups of one size.

    Returns:
        The part of every row.
    """
    counts = pd.crosstab(group, manifest["label"])
    size = counts.to_numpy()  # (groups, classes) images
    parts = np.flatnonzero(share)
    largest_first = np.lexsort((image_keys(counts.index, seed), -size.sum(axis=1)))
    part_of = np.full(len(size), -1)  # of each group, -1: not yet dealt
    filled = np.zeros((len(PARTS), size.shape[1]))

    def give(number: int, part: int) -> None:
        part_of[number] = part
        filled[part] += size[number]

    groups_of_class = (size > 0).sum(axis=0)
    for column in np.argsort(groups_of_class, kind="stable"):
        members = largest_first[size[largest_first, column] > 0]
        if len(members) >= 1 / share[parts].min() - 1e-9:
            continue  # not rare
        for part in parts:
            free = members[part_of[members] < 0]
            if len(free) and not filled[part, column]:
                give(free[0], part)
    for number in largest_first[part_of[largest_first] < 0]:
        half_in = (filled[parts] + size[number] / 2) / size.sum(axis=0)  # (parts, classes)
        behind = half_in @ size[number] / share[parts]
        give(number, parts[behind.argmin()])
    names = np.array(PARTS, dtype=object)[part_of]
    return pd.Series(names[counts.index.get_indexer(group)], index=manifest.index)


def _deal_to_sizes(
    manifest: pd.DataFrame, group: pd.Series, sizes: pd.DataFrame, seed: int
) -> pd.Series:
    """Whole groups, the largest first, to the part that lacks most; what is too much is unused.

    Args:
        manifest: Its labels are the classes.
        group: The group of every row.
        sizes: From `sizes_of`.
        seed: The order of groups of one size, and of the images that are too much.

    Returns:
        The part of every row.
    """
    counts = pd.crosstab(group, manifest["label"])
    size = counts.to_numpy()  # (groups, classes) images
    wanted = sizes.reindex(index=counts.columns, columns=PARTS, fill_value=0).T.to_numpy(float)
    lacking = wanted.copy()  # (parts, classes)
    part_of = np.full(len(size), len(PARTS))  # of each group; the last means unused
    for number in np.lexsort((image_keys(counts.index, seed), -size.sum(axis=1))):
        lack = lacking.clip(min=0) / wanted.clip(min=1) @ size[number]
        if lack.any():
            part_of[number] = lack.argmax()
            lacking[part_of[number]] -= size[number]
    names = np.array([*PARTS, "unused"], dtype=object)[part_of]
    part = pd.Series(names[counts.index.get_indexer(group)], index=manifest.index, name="part")
    order = part.index[np.argsort(image_keys(manifest["image_id"], seed), kind="stable")]
    cells = pd.DataFrame({"label": manifest["label"], "part": part}).loc[order]
    place = cells.groupby(["label", "part"]).cumcount()
    limit = sizes.stack().reindex(pd.MultiIndex.from_frame(cells), fill_value=0).to_numpy()
    part[place.index[place.to_numpy() >= limit]] = "unused"
    return part
