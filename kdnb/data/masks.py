"""Masks of what defines the class: decoded, checked, and kept as bits (notebooks 01, 04, 05)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from kdnb.core.runs import Run, digest
from kdnb.data.decode import FORMATS, opened

__all__ = [
    "Masks",
    "check_masks",
    "decode_mask",
    "fits",
    "kept_masks",
    "open_masks",
    "pack",
    "write_masks",
]

LOSSLESS = tuple(name for name in FORMATS if name != "JPEG")  # JPEG leaves traces beside an edge
CHUNK = 256  # masks looked at together
NAMED = 3  # masks that a note names
NEARLY_ALL = 0.9  # share of an image; what marks more is told
ROUNDING = 1e-5  # of a covered share: half is half


class Masks:
    """Masks (N, S, S) bool that lie on the disk as bits and are unpacked as they are asked for.

    >>> masks = Masks(pack(np.eye(3, dtype=bool)[None]), 3)
    >>> masks.shape, masks[0].tolist()[2], masks.inside().tolist()
    ((1, 3, 3), [False, False, True], [True])
    """

    dtype = np.dtype(bool)

    def __init__(self, bits: np.ndarray, size: int) -> None:
        """From bits as `pack` makes them, and the side S of a mask in px."""
        self._bits = bits
        self._size = size

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, S, S)."""
        return len(self._bits), self._size, self._size

    def __len__(self) -> int:
        return len(self._bits)

    def __getitem__(self, rows: int | slice | np.ndarray | Sequence[int]) -> np.ndarray:
        """(M, S, S) bool of some rows, or (S, S) of one."""
        bits = np.asarray(self._bits[rows])
        flat = np.unpackbits(bits, axis=-1, count=self._size**2)
        return flat.view(bool).reshape(*bits.shape[:-1], self._size, self._size)

    def inside(self) -> np.ndarray:
        """(N,) bool, which masks mark anything."""
        chunks = range(0, len(self), CHUNK)
        found = [self._bits[start : start + CHUNK].any(axis=1) for start in chunks]
        return np.concatenate([np.zeros(0, bool), *found])


def pack(masks: np.ndarray) -> np.ndarray:
    """Masks (N, S, S) bool as bits (N, B) uint8, eight to a byte, the rest of the last byte 0."""
    return np.packbits(masks.reshape(len(masks), -1), axis=1)


def open_masks(path: Path, size: int) -> Masks | np.ndarray:
    """The masks (N, size, size) in a file of bits; a file of bool is what runs had before."""
    kept = np.load(path, mmap_mode="r")
    return kept if kept.dtype == bool else Masks(kept, size)


def kept_masks(run: Run, size: int) -> tuple[Masks | np.ndarray | None, list[str]]:
    """The masks (N, size, size) that a run keeps, None where it keeps none, and its notes."""
    path = run.path("masks.npy")
    notes = run.path("mask_notes.json")
    masks = open_masks(path, size) if path.is_file() else None
    return masks, run.json(notes.name) if notes.is_file() else []


def decode_mask(data: bytes, size: int) -> tuple[np.ndarray, int, int]:
    """A mask at another size: where at least half of a pixel's area is inside.

    What is not zero is inside, whether that is 1 or 255; of a palette, what is not black. The EXIF
    is not read: a mask lies on its image as the image is shown.

    Args:
        data: The bytes of a file with one channel, without loss.
        size: Side of the square that the mask is stretched to, px.

    Returns:
        Mask (size, size) bool; width and height in the file, px.

    Raises:
        ValueError: If the file cannot be read, or nothing in it is inside; it says why.
    """
    inside = _read(data)
    height, width = inside.shape
    covered = _shares(height, size) @ inside @ _shares(width, size).T
    return covered >= 0.5 - ROUNDING, width, height


def _read(data: bytes) -> np.ndarray:
    """What is inside, (H, W) bool, of a mask's file."""
    with opened(data) as image:
        if image.format not in LOSSLESS:
            raise ValueError("a JPEG changes what is inside: save masks as PNG")
        if image.mode == "P":
            inside = np.asarray(image.convert("RGB")).any(axis=2)
        elif len(image.getbands()) == 1 and image.mode != "F":
            inside = np.asarray(image) != 0
        else:
            raise ValueError(f"pixels are {image.mode}, accepted is one channel of integers")
    if not inside.any():
        raise ValueError("nothing is inside")
    return inside


@lru_cache(maxsize=8)
def _shares(count: int, size: int) -> np.ndarray:
    """(size, count) float32: how much of each of `size` new pixels each of `count` old ones covers.

    >>> _shares(4, 2).tolist()
    [[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]
    """
    new = np.linspace(0, count, size + 1)  # edges, in old pixels
    old = np.arange(count)
    start = np.maximum(new[:-1, None], old)
    end = np.minimum(new[1:, None], old + 1)
    return (np.clip(end - start, 0, None) * (size / count)).astype(np.float32)


def check_masks(
    read_mask: Callable[[str], bytes], table: pd.DataFrame
) -> tuple[pd.Series, str, list[str]]:
    """Read every mask of a manifest once.

    Args:
        read_mask: From a mask's path to its bytes.
        table: Columns mask ("" for none), width and height of the images.

    Returns:
        The column mask with "" where a mask cannot be used, a digest of the bytes of the others,
        and notes that count and name those that cannot be used, and those that look like none.
    """
    told = table.loc[table["mask"] != "", ["mask", "width", "height"]]

    def check(mask: str, width: int, height: int) -> _Checked:
        """What a mask's file is like."""
        try:
            data = read_mask(mask)
            marked = _read(data)
        except (ValueError, OSError) as error:
            return _Checked(reason=str(error) or type(error).__name__)
        if not fits(marked.shape, (height, width)):
            rows, columns = marked.shape
            return _Checked(reason=f"{columns} x {rows} px on an image of {width} x {height}")
        if marked.all():
            return _Checked(reason="the whole image is inside: the background must be 0")
        return _Checked(hashed=hashlib.sha256(data).hexdigest(), covers=float(marked.mean()))

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(check, told["mask"], told["width"], told["height"]))
    reasons = pd.Series([one.reason for one in found], index=told.index, dtype=object)
    wrong = reasons[reasons != ""]
    usable = table["mask"].mask(table.index.isin(wrong.index), "")
    named = [f"{told['mask'][row]}: {reason}" for row, reason in wrong.head(NAMED).items()]
    notes = []
    if named:
        notes = [
            f"{len(wrong)} of {len(told)} masks cannot be used, and their images stay without one: "
            + "; ".join(named)
        ]
    nearly_all = told["mask"][[one.covers > NEARLY_ALL for one in found]]
    if len(nearly_all):
        notes.append(
            f"{len(nearly_all)} of {len(told)} masks mark over {NEARLY_ALL:.0%} of their image, "
            f"since all but 0 is inside; are they masks? {', '.join(nearly_all.head(NAMED))}"
        )
    return usable, digest([one.hashed for one in found if one.hashed]), notes


class _Checked(NamedTuple):
    """What a mask's file is like."""

    reason: str = ""  #: why it cannot be used, "" where it can
    hashed: str = ""  #: SHA-256 of its bytes, where it can
    covers: float = 0.0  #: share of its pixels that is inside


def fits(mask: tuple[int, int], image: tuple[int, int]) -> bool:
    """Whether a mask's height and width are those of the image, scaled to whole pixels."""
    high, wide = mask
    height, width = image
    return abs(wide * height / width - high) <= 1 or abs(high * width / height - wide) <= 1


def write_masks(
    path: Path, read_mask: Callable[[str], bytes], masks: Iterable[str], size: int
) -> tuple[str, list[str]]:
    """Write the masks of a manifest as bits, one after the other; all False for those without one.

    Args:
        path: The file to write, for `open_masks`.
        read_mask: From a mask's path to its bytes.
        masks: The manifest's column mask, as `check_masks` leaves it.
        size: Side, px.

    Returns:
        The digest of `check_masks` for the bytes that were read, and a note that counts and names
        masks of which nothing is left at this size, or none.
    """
    paths = list(masks)
    shape = (len(paths), -(-(size**2) // 8))
    bits = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)

    def write(row: int) -> tuple[str, bool]:
        """Fill a row; the hash of the mask's bytes, and whether nothing of it is left."""
        data = read_mask(paths[row])
        mask, _, _ = decode_mask(data, size)
        bits[row] = pack(mask[None])[0]
        return hashlib.sha256(data).hexdigest(), not mask.any()

    rows = [row for row, name in enumerate(paths) if name]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(write, rows))
    gone = [paths[row] for row, (_, vanished) in zip(rows, found, strict=True) if vanished]
    notes = []
    if gone:
        notes = [
            f"{len(gone)} of {len(rows)} masks are too small to be seen at {size} px, and their "
            f"images stay without one: {', '.join(gone[:NAMED])}"
        ]
    return digest([hash_ for hash_, _ in found]), notes
