"""Every image of a data set read, with one range for pixels of more than 8 bits (01_data)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from kdnb.core.errors import UserError
from kdnb.core.progress import track
from kdnb.data.decode import COLOUR, FLOAT, FULL, SIGNED, WIDE, Sample, decode, describe

__all__ = ["Ranges", "Reading", "check_broken", "decide_ranges", "read_images"]

Ranges = dict[str, tuple[float, float]]  # kind of pixels → the values that are black and white
BITS = (8, 10, 12, 14, 16)  # that devices give, of the 16 in a file
MAX_BROKEN = 0.01  # of the images, unless the parameter max_broken says more
FACTS = ["reason", "width", "height", "sha256"]
NEARLY_BLACK = 13  # of 255: images whose brightest pixel is below show next to nothing


class Reading(NamedTuple):
    """What is known of the images after they were read."""

    facts: pd.DataFrame  #: reason ("" if read), width, height and SHA-256 of each
    ranges: Ranges  #: of pixels with more than 8 bits
    notes: list[str]  #: what a reader of any score should know


def read_images(
    read_file: Callable[[str], bytes],
    name: str,
    paths: pd.Series,
    arrays: Sequence[np.ndarray],
    window: Sequence[float] = (),
    ranges: Mapping[str, Sequence[float]] | None = None,
) -> Reading:
    """Fill arrays (N, S, S, 3) uint8, each of its own size S, from one decoding of each image.

    Images of more than 8 bits are decoded twice: what they hold together decides their range.

    Args:
        read_file: Path → bytes of the file; ValueError or OSError where that fails.
        name: Of the source, for the progress.
        paths: (N,).
        arrays: To be filled.
        window: The values that become black and white; () where the images decide.
        ranges: What was decided before; None where it is to be decided.

    Raises:
        UserError: If pixels need a window, or none of them takes the one that is given.
    """
    sizes = [pixels.shape[1] for pixels in arrays]

    def read(row: int, known: Mapping[str, Sequence[float]] | None) -> tuple[Any, ...]:
        """The ``FACTS`` of an image and its sample; without ranges, 8 bits alone are decoded."""
        sample = Sample()
        try:
            data = read_file(paths[row])
            if known is None:
                sample = describe(data)
            if sample.kind:
                return "", 0, 0, "", sample
            squares, width, height = decode(data, sizes, FULL if known is None else known)
        except (ValueError, OSError) as error:
            return str(error) or type(error).__name__, 0, 0, "", Sample()
        for pixels, square in zip(arrays, squares, strict=True):
            pixels[row] = square
        return "", width, height, hashlib.sha256(data).hexdigest(), sample

    def read_all(rows: Iterable[int], known: Any, title: str) -> list[tuple[Any, ...]]:
        rows = list(rows)
        with ThreadPoolExecutor(2) as pool:  # Pillow and zlib work outside the interpreter's lock
            found = pool.map(read, rows, [known] * len(rows))
            return list(track(found, title, len(rows)))

    found = read_all(range(len(paths)), ranges, f"reading {name}")
    facts = pd.DataFrame([row[:-1] for row in found], columns=FACTS)
    if ranges is not None:
        return Reading(facts=facts, ranges=dict(ranges), notes=[])
    samples = pd.DataFrame([row[-1] for row in found], columns=Sample._fields)
    samples = samples.assign(path=list(paths))[facts["reason"] == ""]
    decided, notes = decide_ranges(samples, name, window)
    deep = samples.index[samples["kind"] != ""]
    if len(deep):
        again = read_all(deep, decided, f"reading {name} in its range")
        facts.loc[deep, FACTS] = [row[:-1] for row in again]
    fine = np.flatnonzero(facts["reason"] == "")
    notes += _notes_on_dark(arrays[0], np.intersect1d(deep, fine))
    notes += _notes_on_blank(arrays[0], fine, paths, name)
    return Reading(facts=facts, ranges=decided, notes=notes)


def _notes_on_dark(pixels: np.ndarray, deep: np.ndarray) -> list[str]:
    """A note where most images of more than 8 bits are nearly black in the range they are given.

    Args:
        pixels: (N, S, S, 3) uint8, as they will be used.
        deep: Rows of the images of more than 8 bits.
    """
    if not len(deep):
        return []
    brightest = pixels[deep].max(axis=(1, 2, 3))
    middle = int(np.median(brightest))
    if middle >= NEARLY_BLACK:
        return []
    return [
        f"half of the {len(deep):,} images with more than 8 bits come out nearly black: their "
        f"brightest pixel is {middle} of 255 at most; set window to what is black and white in them"
    ]


def _notes_on_blank(
    pixels: np.ndarray, rows: np.ndarray, paths: Sequence[str], name: str
) -> list[str]:
    """A note on images that are one colour from edge to edge, as they will be used.

    Raises:
        UserError: If all of them are, and all in the same colour.
    """
    blank = [row for row in rows if (pixels[row] == pixels[row, 0, 0]).all()]
    if not blank:
        return []
    some = ", ".join(paths[row] for row in blank[:3])
    colours = np.unique(pixels[blank, 0, 0], axis=0)
    if 1 < len(blank) == len(rows) and len(colours) == 1:
        raise UserError(
            f"all {len(rows):,} images in '{name}' are the same one colour once they are read "
            f"({some}): check what they show, and the parameter window"
        )
    return [
        f"{len(blank):,} of {len(rows):,} images are one colour from edge to edge, and show "
        f"nothing: {some}"
    ]


def check_broken(
    broken: pd.DataFrame, labels: pd.Series, origin: str, share: float = 0.0
) -> list[str]:
    """A note on the images that cannot be read, or none.

    Args:
        broken: Path and reason of each, on rows of ``labels``.
        labels: The class of every image.
        origin: The name of the source.
        share: How many of all images may be broken, 0 for ``MAX_BROKEN``; one may in any case.

    Raises:
        UserError: If they are too many, or a class is left without an image.
    """
    gone = sorted(set(labels) - set(labels.drop(broken.index)))
    share = share or MAX_BROKEN
    limit = f"accepted are {100 * share:.3g}%, and one in any case"
    advice = "mend or remove them, or set max_broken to a larger share"
    if gone:
        limit = f"no image of class {', '.join(gone)} is left"
        advice = "mend or remove them"
    some = "; ".join(f"{path}: {reason}" for path, reason in broken.head(3).itertuples(index=False))
    note = f"{len(broken)} of {len(labels)} images in '{origin}' cannot be read"
    if gone or len(broken) > max(1, int(share * len(labels))):
        raise UserError(f"{note}, {limit}: {some}; {advice}")
    return [f"{note} and are skipped: {some}"] if len(broken) else []


def decide_ranges(
    samples: pd.DataFrame, name: str, window: Sequence[float] = ()
) -> tuple[Ranges, list[str]]:
    """One range for each kind of pixels with more than 8 bits, and what to note of it.

    A window decides. Without one, 16-bit integers have the fewest bits of ``BITS`` that hold the
    largest value, or the largest that a file says it may hold; floating-point numbers reach from 0
    (or their smallest) to 1 (or their largest).

    Args:
        samples: Of the images that can be read: the fields of `kdnb.data.decode.Sample`, and path.
        name: Of the source.
        window: Black and white, or ().

    Raises:
        UserError: If a kind needs a window, 16-bit colours hold fewer bits, or no image takes the
            window.
    """
    ranges: Ranges = {}
    notes = []
    for kind, rows in samples[samples["kind"] != ""].groupby("kind"):
        ranges[kind], how = _range_of(kind, rows, len(samples), name, window)
        low, high = ranges[kind]
        turned = ""
        if rows["inverted"].any() and kind != COLOUR:
            turned = f"; {rows['inverted'].sum():,} of them store white as 0, and are turned"
        notes.append(
            f"{len(rows):,} of {len(samples):,} images have pixels of {kind}: "
            f"{low:,.6g} is black and {high:,.6g} is white ({how}){turned}"
        )
    if window and not set(ranges) - {COLOUR}:
        raise UserError(
            f"window is {list(window)}, but '{name}' has no image of 16 or 32 bits of grey: "
            "leave window at []"
        )
    paged = samples["pages"] > 1
    if paged.any():
        some = ", ".join(samples["path"][paged].head(3))
        notes.append(
            f"{paged.sum():,} of {len(samples):,} files hold several pages, of which only the "
            f"first is read: {some}"
        )
    return ranges, notes


def _range_of(
    kind: str, rows: pd.DataFrame, count: int, name: str, window: Sequence[float]
) -> tuple[tuple[float, float], str]:
    """The range of one kind of pixels, and why it is that; `count` is of all images."""
    low = float(rows["low"].min())
    high = float(rows["high"].max())
    some = rows["path"].iloc[0]
    told = f"{len(rows):,} of {count:,} images in '{name}' have pixels of {kind} ('{some}')"
    if kind == COLOUR:
        if _bits(high) < 16:
            raise UserError(
                f"{told}, of which {_bits(high)} bits are used: they would be almost black, "
                "so save them with 8 bits a colour"
            )
        return (0.0, 65535.0), "as the files say"
    if window:
        low, high = window
        return (float(low), float(high)), "as the parameter window says; the rest is clipped"
    if kind in (SIGNED, WIDE):
        raise UserError(
            f"{told}, from {low:,.6g} to {high:,.6g}: nobody but you can say what is black and "
            "white in them, so set window to two numbers, such as window=[-160, 240] for soft "
            "tissue in CT"
        )
    if kind == FLOAT:
        return (min(0.0, low), 1.0 if high <= 1 else high), f"values from {low:,.6g} to {high:,.6g}"
    bits = _bits(max(high, float(rows["declared"].max())))
    return (0.0, float(2**bits - 1)), f"{bits} bits; the largest value is {high:,.6g}"


def _bits(largest: float) -> int:
    """How many of the 16 bits are used."""
    return next(bits for bits in BITS if largest <= 2**bits - 1)
