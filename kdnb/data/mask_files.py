"""Which files of a folder are masks of the images beside them, by their names (01_data)."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence

__all__ = ["masks_beside", "notes_on_masks", "other_masks"]

MASK_ENDING = "_mask.png"  # of the file beside an image that marks what defines the class
# how other masks beside an image are named: second ones, or in another format
OTHER_MASK = re.compile(r"(.+)_(mask|seg|segmentation|gt|groundtruth)([_-]?\d+)?")
NAMED = 3  # files that a note names


def masks_beside(images: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Masks ``<name>_mask.png`` beside images ``<name>.<ending>``.

    Returns:
        Image → its mask, and the masks that have no image beside them.

    >>> masks_beside(["a/1.jpg", "a/1_mask.png", "a/2_mask.png", "a/3.png"])
    ({'a/1.jpg': 'a/1_mask.png'}, ['a/2_mask.png'])
    """
    mask_of = {}  # an image's path without its ending → its mask
    for name in images:
        if name.casefold().endswith(MASK_ENDING):
            mask_of[name[: -len(MASK_ENDING)]] = name
    masks = set(mask_of.values())
    found = {}
    for name in images:
        mask = mask_of.get(posixpath.splitext(name)[0])
        if mask is not None and name not in masks:
            found[name] = mask
    alone = masks - set(found.values())
    return found, sorted(alone)


def other_masks(images: Sequence[str], masks: Mapping[str, str]) -> list[str]:
    """Files named as masks of an image beside them that are none of `masks_beside`.

    >>> other_masks(["a/1.png", "a/1_mask.png", "a/1_mask_1.png"], {"a/1.png": "a/1_mask.png"})
    ['a/1_mask_1.png']
    """
    stems = {posixpath.splitext(name)[0] for name in images}
    found = []
    for name in set(images) - set(masks.values()):
        named = OTHER_MASK.fullmatch(posixpath.splitext(name)[0])
        if named is not None and named.group(1) in stems:
            found.append(name)
    return sorted(found)


def notes_on_masks(alone: Sequence[str], others: Sequence[str]) -> list[str]:
    """Notes that count and name the masks that are left out.

    Args:
        alone: Masks without an image beside them.
        others: Of `other_masks`.
    """
    notes = []
    if alone:
        some = ", ".join(alone[:NAMED])
        notes.append(
            f"masks without an image beside them, which are left out: {len(alone)} ({some})"
        )
    if others:
        some = ", ".join(others[:NAMED])
        notes.append(
            f"files named as masks of the image beside them, which are left out: {len(others)} "
            f"({some}); one mask to an image counts, <name>{MASK_ENDING}"
        )
    return notes
