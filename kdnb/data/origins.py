"""Origins: which image of another set an image was made from, turned or mirrored (01_data)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from kdnb.core.errors import UserError

__all__ = [
    "ORIENTATIONS",
    "Matches",
    "OriginTable",
    "add_origins",
    "approximate_groups",
    "group_widening",
    "number_runs",
    "match_origins",
    "origin_table",
    "original_names",
    "read_threshold",
    "turned",
    "turned_back",
]

ORIENTATIONS = {  # name → (quarter turns to the left, whether then mirrored left-right)
    "as drawn": (0, False),
    "turned left": (1, False),
    "turned round": (2, False),
    "turned right": (3, False),
    "mirrored left-right": (0, True),
    "mirrored on the rising diagonal": (1, True),
    "mirrored up-down": (2, True),
    "mirrored on the falling diagonal": (3, True),
}
BLOCK = 2048  # rows of either side of a matrix product: bounds the memory
LOWEST = 0.90  # correlation; what is below is no copy
MIN_GAP = 0.02  # between the two humps of similarities, and twice the next gap
TOLD = ("fold", "mask", "patient")  # what an original's manifest may tell of its copies
COLUMNS = ("image_id", "origin", "orientation", "similarity", *TOLD)


class Matches(NamedTuple):
    """The best original of every image.

    Attributes:
        rows: (N,) int64 row of the original.
        orientations: (N,) int64 place in `ORIENTATIONS`: how the original became the image.
        similarity: (N,) float32 correlation of the two.
    """

    rows: np.ndarray
    orientations: np.ndarray
    similarity: np.ndarray


@dataclass(frozen=True)
class OriginTable:
    """What the images of a set were made from.

    Attributes:
        table: One row per image, with image_id, origin (the original's name), orientation (of
            `ORIENTATIONS`), similarity, fold, mask and patient of the original; "" where no
            original was found, except for the similarity.
        originals: One row per image of the other set, with origin, label, fold, mask and patient.
        threshold: The similarity from which two images are one, the middle of the widest gap.
        gap: The similarities at both ends of this gap.
        source: Name of the data set of the originals.
        id: The run that holds it, "" for one that was not kept.
    """

    table: pd.DataFrame
    originals: pd.DataFrame
    threshold: float
    gap: tuple[float, float]
    source: str = ""
    id: str = ""

    @property
    def known(self) -> np.ndarray:
        """(N,) bool: whether the origin of an image was found."""
        return (self.table["origin"] != "").to_numpy()


def turned(images: np.ndarray, orientation: str) -> np.ndarray:
    """Originals (N, S, S, …) as images of an orientation show them.

    >>> turned(np.array([[[1, 2], [3, 4]]]), "mirrored on the falling diagonal").tolist()
    [[[1, 3], [2, 4]]]
    """
    turns, mirrored = ORIENTATIONS[orientation]
    images = np.rot90(images, turns, axes=(1, 2))
    return images[:, :, ::-1] if mirrored else images


def turned_back(images: np.ndarray, orientation: str) -> np.ndarray:
    """Images (N, S, S, …) of an orientation as their originals show them: undoes `turned`."""
    turns, mirrored = ORIENTATIONS[orientation]
    if mirrored:
        images = images[:, :, ::-1]
    return np.rot90(images, -turns, axes=(1, 2))


def match_origins(thumbs: np.ndarray, others: np.ndarray) -> Matches:
    """The most alike original of every image over all eight turns and mirrors; an exact search.

    Args:
        thumbs: (N, D * D) from `kdnb.data.duplicates.thumbnails`.
        others: (M, D * D) of the originals.
    """
    count, size = thumbs.shape
    side = round(size**0.5)
    rows = np.zeros(count, np.int64)
    orientations = np.zeros(count, np.int64)
    similarity = np.full(count, -np.inf, np.float32)
    for start in range(0, count, BLOCK):
        block = slice(start, start + BLOCK)
        images = thumbs[block].reshape(-1, side, side)
        for number, name in enumerate(ORIENTATIONS):
            views = np.ascontiguousarray(turned_back(images, name)).reshape(len(images), size)
            for first in range(0, len(others), BLOCK):
                alike = views @ others[first : first + BLOCK].T
                best = alike.argmax(axis=1)
                value = alike[np.arange(len(alike)), best]
                better = value > similarity[block]
                rows[block][better] = first + best[better]
                orientations[block][better] = number
                similarity[block][better] = value[better]
    return Matches(rows, orientations, similarity)


def read_threshold(similarity: np.ndarray) -> tuple[float, tuple[float, float]]:
    """The similarity from which two images are one, read from the two humps of all similarities.

    It is the middle of the widest gap between `LOWEST` and the highest similarity.

    Returns:
        The threshold, and the similarities at both ends of the gap.

    Raises:
        UserError: Nothing is above `LOWEST`, or the widest gap is below `MIN_GAP` or below twice
            the next: there are no two humps.

    >>> read_threshold(np.array([0.2, 0.91, 0.9991, 0.9993, 0.9999]))
    (0.95455, (0.91, 0.9991))
    """
    ends = np.concatenate([[LOWEST], np.sort(similarity[similarity > LOWEST])])
    if len(ends) == 1:
        raise UserError(
            f"no image is like an original (the most alike: {similarity.max():.3f}, accepted is "
            f"above {LOWEST}): name the set that the images come from"
        )
    gaps = np.diff(ends.astype(np.float64))
    place = int(gaps.argmax())
    low = round(float(ends[place]), 6)
    high = round(float(ends[place + 1]), 6)
    next_gap = np.delete(gaps, place).max(initial=0)
    if gaps[place] < max(MIN_GAP, 2 * next_gap):
        raise UserError(
            f"the similarities have no two humps (widest gap {low:.3f} to {high:.3f}): copies "
            "cannot be told from look-alikes; name the set that the images come from"
        )
    return (low + high) / 2, (low, high)


def original_names(table: pd.DataFrame) -> pd.Series:
    """Names of originals: their files' names without ending and leading zeros ("0042.jpg": 42)."""
    names = table["image_id"].str.rsplit("/", n=1).str[-1].str.rsplit(".", n=1).str[0]
    return names.str.lstrip("0").rename("origin")


def origin_table(
    table: pd.DataFrame, thumbs: np.ndarray, others: pd.DataFrame, other_thumbs: np.ndarray
) -> OriginTable:
    """Match a set with the one that it may come from.

    Args:
        table: Manifest of the set.
        thumbs: (N, D * D) from `kdnb.data.duplicates.thumbnails`.
        others: Manifest of the originals; its fold, mask and patient are read where it has them.
        other_thumbs: (M, D * D) of the originals.

    Raises:
        UserError: Two originals of one name, or similarities without two humps.
    """
    originals = pd.DataFrame({"origin": original_names(others), "label": others["label"]})
    for name in TOLD:
        originals[name] = others.get(name, "")
    twice = originals["origin"][originals["origin"].duplicated()]
    if len(twice):
        raise UserError(
            f"{len(twice)} originals have the name of another, such as {twice.iloc[0]!r}: "
            "give each its own number"
        )
    found = match_origins(thumbs, other_thumbs)
    threshold, gap = read_threshold(found.similarity)
    known = found.similarity > threshold
    names = np.array(list(ORIENTATIONS), dtype=object)[found.orientations]
    rows = pd.DataFrame({"image_id": table["image_id"].to_numpy()})
    rows["origin"] = originals["origin"].to_numpy()[found.rows]
    rows["orientation"] = names
    rows["similarity"] = found.similarity.round(6)
    rows[list(TOLD)] = originals[list(TOLD)].to_numpy()[found.rows]
    unknown = ["origin", "orientation", *TOLD]
    rows.loc[~known, unknown] = ""
    return OriginTable(rows, originals.reset_index(drop=True), threshold, gap)


def add_origins(manifest: pd.DataFrame, origins: OriginTable) -> pd.DataFrame:
    """A manifest with origin, orientation, fold, mask, patient and number_run, "" where unknown.

    What the manifest itself tells of fold, mask and patient stays.
    """
    told = origins.table.set_index("image_id").loc[manifest["image_id"]].set_axis(manifest.index)
    table = manifest.assign(origin=told["origin"], orientation=told["orientation"])
    for name in TOLD:
        own = manifest.get(name, pd.Series("", index=manifest.index))
        table[name] = own.where(own != "", told[name])
    return table.assign(number_run=number_runs(manifest, origins))


def number_runs(manifest: pd.DataFrame, origins: OriginTable) -> pd.Series:
    """The `approximate_groups` of what each image was made from, for intervals only; "" if unknown.

    Args:
        manifest: With image_id, in any order.
        origins: Of the set of these images.
    """
    run_of = approximate_groups(origins.originals).set_axis(origins.originals["origin"])
    origin = origins.table.set_index("image_id")["origin"].loc[manifest["image_id"]]
    return origin.map(run_of).fillna("").set_axis(manifest.index)


def approximate_groups(originals: pd.DataFrame) -> pd.Series:
    """The run of consecutive numbers of one class and fold that each original is in.

    Slices of a patient mostly follow each other in the numbers. So a run stands for a patient in
    intervals where nobody tells the patient. It is an approximation: a patient may be in several
    runs, a run may hold several patients, and no split goes by runs.

    Args:
        originals: Columns origin (a number as text), label, fold and maybe patient.

    Returns:
        Names of the runs, by their first number; "" where the fold is unknown, the origin is no
        number, or the patient is known.

    >>> table = pd.DataFrame({"origin": ["1", "3", "2", "4"], "label": "a", "fold": list("1221")})
    >>> approximate_groups(table).tolist()
    ['run 1', 'run 2', 'run 2', 'run 4']
    """
    number = pd.to_numeric(originals["origin"], errors="coerce")
    patient = originals.get("patient", pd.Series("", index=originals.index))
    usable = number.notna() & (originals["fold"] != "") & (patient == "")
    names = pd.Series("", index=originals.index, dtype=object, name="number_run")
    ordered = originals[usable].assign(number=number[usable].astype(int)).sort_values("number")
    cell = ordered[["label", "fold"]]
    begins = (cell != cell.shift()).any(axis=1)
    first = ordered["number"].where(begins).ffill()
    names[ordered.index] = [f"run {value:.0f}" for value in first]
    return names


def group_widening(runs: int, patients: int) -> float:
    """Factor for half-widths of intervals over so many runs that stand for fewer patients, from 1.

    A half-width falls with the square root of the number of independent groups.

    >>> round(group_widening(495, 233), 3), group_widening(495, 0)
    (1.458, 1.0)
    """
    if not patients:
        return 1.0
    return max(1.0, (runs / patients) ** 0.5)
