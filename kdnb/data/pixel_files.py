"""Pixels of a whole data set as one array file, made without all of it in memory (01_data)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from kdnb.core.run_files import damaged

__all__ = ["create_pixels", "keep_rows", "open_pixels"]

CHUNK = 256  # images copied at a time


def create_pixels(path: Path, count: int, size: int) -> np.ndarray:
    """A new array (count, size, size, 3) uint8 on the disk."""
    shape = (count, size, size, 3)
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)


def keep_rows(path: Path, rows: np.ndarray) -> None:
    """Leave only some rows of an array file (N, S, S, 3), a few at a time: it may exceed memory."""
    whole = np.load(path, mmap_mode="r")
    shorter = path.with_name("kept.npy")
    kept = create_pixels(shorter, len(rows), whole.shape[1])
    for start in range(0, len(rows), CHUNK):
        kept[start : start + CHUNK] = whole[rows[start : start + CHUNK]]
    os.replace(shorter, path)


def open_pixels(path: Path) -> np.ndarray:
    """The pixels (N, S, S, 3) uint8 of a run, memory-mapped.

    Raises:
        DamagedRun: It is no such array. Of a large one nobody has looked at more than its size.
    """
    try:
        pixels = np.load(path, mmap_mode="r")
    except (ValueError, OSError, EOFError):
        raise damaged(path.parent, f"{path.name} is no array") from None
    if pixels.dtype != np.uint8 or pixels.ndim != 4:
        raise damaged(path.parent, f"{path.name} holds no images")
    return pixels
