"""Masks that images take from their originals, turned as the images are (notebooks 01, 04, 05)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from kdnb.core.errors import UserError
from kdnb.core.runs import Run, digest, get_or_make, write_json
from kdnb.data.masks import Masks, kept_masks, pack, write_masks
from kdnb.data.origins import ORIENTATIONS, OriginTable, turned
from kdnb.data.sources import Source

__all__ = ["keep_origin_masks"]

CHUNK = 256  # masks turned together


def keep_origin_masks(
    manifest: pd.DataFrame,
    origins: OriginTable,
    source: Source,
    read: Run,
    pixels: Run,
    *,
    size: int,
    root: Path,
) -> Run | None:
    """Masks taken from the originals, made once and kept as `kdnb.data.masks.kept_masks` reads.

    A mask of the image's own stays.

    Args:
        manifest: Of the images, with their own masks where they have any.
        origins: What the images were made from.
        source: Of the originals.
        read: The manifest run of the originals.
        pixels: The pixels run of the images, with their own masks where they have any.
        size: Side of a mask, px.
        root: The folder of all runs.

    Returns:
        The run, or None where no original has a mask.
    """
    facts = read.json("summary.json")
    if "masks" not in facts or source.read_mask is None:
        return None
    parameters = {
        "origins": origins.id,
        "matches": digest(origins.table[["origin", "orientation"]].to_numpy().tolist()),
        "originals": facts["hash"],
        "masks": facts["masks"],
        "size": size,
    }
    make = partial(_make, manifest, origins, source, facts["masks"], pixels, size)
    return get_or_make("origin_masks", parameters, make, root=root, upstream=[pixels.id])


def _make(
    manifest: pd.DataFrame,
    origins: OriginTable,
    source: Source,
    known: str,
    pixels: Run,
    size: int,
    run: Run,
) -> None:
    """Write the masks as bits, in the order of the manifest, and what a reader should know."""
    path = run.path("originals.npy")
    lost = f"the masks of '{source.name}' have changed while they were read: run again"
    try:
        found, notes = write_masks(path, source.read_mask, origins.originals["mask"], size)
    except (ValueError, OSError):
        raise UserError(lost) from None
    if found != known:
        raise UserError(lost)
    own, own_notes = kept_masks(pixels, size)
    bits = _turned_bits(manifest, origins, Masks(np.load(path), size), own)
    path.unlink()
    np.save(run.path("masks.npy"), bits)
    count = int(Masks(bits, size).inside().sum())
    note = (
        f"{count:,} of {len(manifest):,} images have a mask, that of their original in "
        f"'{origins.source}', turned as the image is"
    )
    write_json(run.path("mask_notes.json"), [*own_notes, note, *notes])


def _turned_bits(
    manifest: pd.DataFrame, origins: OriginTable, originals: Masks, own: Masks | np.ndarray | None
) -> np.ndarray:
    """(N, B) uint8 as `kdnb.data.masks.pack` gives: every image's own mask, else its original's."""
    has_own = (manifest.get("mask", pd.Series("", manifest.index)) != "").to_numpy()
    table = origins.table.set_index("image_id").loc[manifest["image_id"]]
    row_of = pd.Series(np.arange(len(originals)), index=origins.originals["origin"])
    original = table["origin"].map(row_of).fillna(-1).to_numpy(np.int64)
    orientation = table["orientation"].to_numpy()
    _, side, _ = originals.shape
    bits = np.zeros((len(manifest), -(-(side**2) // 8)), np.uint8)
    for name in ORIENTATIONS:
        rows = np.flatnonzero((orientation == name) & (original >= 0) & ~has_own)
        for start in range(0, len(rows), CHUNK):
            some = rows[start : start + CHUNK]
            bits[some] = pack(turned(originals[original[some]], name))
    if own is not None:
        for row in np.flatnonzero(has_own):
            bits[row] = pack(own[row][None])[0]
    return bits
