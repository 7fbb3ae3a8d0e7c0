"""The level of folders that are classes: it repeats in each part, and below patients (01_data)."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from kdnb.core.errors import UserError
from kdnb.data.names import class_key, key
from kdnb.data.part_folders import (
    CSV_HELP,
    Folder,
    Root,
    folder_at,
    in_no_class_folder,
    in_words,
    part_of,
    part_roots,
)

__all__ = ["Layout", "find_layout"]

MOST_CLASSES = 20
MOST_FOLDERS = 100  # one inside the other
# names of folders, as `key` gives them
IMAGE_FOLDERS = ("image", "images", "img", "imgs")
MASK_FOLDERS = (
    "mask",
    "masks",
    "segmentation",
    "segmentations",
    "gt",
    "groundtruth",
    "groundtruths",
    "label",
    "labels",
    "annotation",
    "annotations",
)
NEARLY_ALL = 0.9  # of the images lie deep enough for a level to be that of the classes


class Layout(NamedTuple):
    """Where the classes are: `level` folders below a root, such as those of patients."""

    roots: tuple[Root, ...]
    level: int
    notes: tuple[str, ...]


class Found(NamedTuple):
    """A folder of images, as it lies below its root."""

    root: Root
    folders: tuple[str, ...]
    images: int


def find_layout(images: Iterable[Sequence[str]], origin: str) -> Layout:
    """Which folders are parts and which are classes, by their names and how these repeat.

    Args:
        images: The steps of each image's path, its name last.
        origin: Where they are, for messages.

    Raises:
        UserError: Images lie in no class folder, or it is not clear which folders are the classes.
    """
    images = list(images)
    top = Folder()
    for *folders, _ in images:
        if len(folders) > MOST_FOLDERS:
            raise UserError(
                f"an image in '{origin}' lies {len(folders):,} folders deep, accepted are "
                f"{MOST_FOLDERS}: move the images up"
            )
        folder = top
        for step in folders:
            folder = folder.inside.setdefault(step, Folder())
        folder.images += 1
    _check_masks_apart(top, origin)
    roots, notes = part_roots(top, origin)
    ends = {root.steps for root in roots}
    stray = [path for path in images if tuple(path[:-1]) in ends]
    if stray:
        raise in_no_class_folder(stray[0], origin)
    level, more = _class_level(top, roots, origin)
    like_masks = _named_as_masks(_names(_folders_of_images(top, roots), level))
    return Layout(roots=tuple(roots), level=level, notes=(*notes, *more, *like_masks))


def _named_as_masks(classes: Iterable[str]) -> list[str]:
    """A note on classes that have the name of a folder of masks."""
    return [
        f"the class '{name}' has the name of a folder of masks: if it is one, move it away"
        for name in classes
        if key(name) in MASK_FOLDERS
    ]


def _check_masks_apart(folder: Folder, origin: str, path: str = "") -> None:
    """Refuse a folder of masks beside images or their folder: masks would be taken as images.

    They are not paired by their names: many are of an organ, and not of what defines the class.
    """
    has_images = folder.images or any(key(name) in IMAGE_FOLDERS for name in folder.inside)
    for name, inside in folder.inside.items():
        if has_images and key(name) in MASK_FOLDERS:
            raise UserError(
                f"the folder '{path}{name}' in '{origin}' looks like one of masks, which would be "
                "taken as images: move it away; a mask of what defines the class lies beside its "
                "image as <name>_mask.png, or stands in the column mask of a CSV"
            )
        _check_masks_apart(inside, origin, f"{path}{name}/")


def _class_level(top: Folder, roots: Sequence[Root], origin: str) -> tuple[int, list[str]]:
    """How many folders lie between the roots and the classes, and notes."""
    folders = _folders_of_images(top, roots)
    depth = max(len(found.folders) for found in folders)
    levels = range(1, depth)
    if len(roots) > 1:
        repeated = [level for level in range(depth) if _is_in_all_parts(folders, level)]
        if not repeated:
            raise _nothing_in_common(folders, origin)
        first = repeated[0]
        levels = [level for level in repeated if level > first]
    else:
        first = 0
    notes = [] if first == 0 else [_above(folders, first)]
    lower = [level for level in levels if _may_be_classes(folders, first, level)]
    if not lower:
        return first, notes
    upper_names = _names(folders, first)
    names = _names(folders, lower[0])
    if _numbered(upper_names) and len(upper_names) > MOST_CLASSES:
        return lower[0], [_above(folders, lower[0])]
    if _numbered(names) and not _numbered(upper_names) and len(upper_names) <= MOST_CLASSES:
        note = f"the folders {in_words(names)} repeat below the classes {in_words(upper_names)}"
        return first, [*notes, note]
    likely = upper_names if _numbered(names) and not _numbered(upper_names) else names
    raise UserError(
        f"'{origin}' has two levels of folders that may be the classes, {in_words(upper_names)} "
        f"and below them {in_words(names)}: {in_words(likely)} look like it; keep one of both "
        f"levels, {CSV_HELP}"
    )


def _folders_of_images(top: Folder, roots: Sequence[Root]) -> list[Found]:
    found = []

    def visit(root: Root, folders: tuple[str, ...], folder: Folder) -> None:
        if folder.images:
            found.append(Found(root, folders, folder.images))
        for name, inside in folder.inside.items():
            visit(root, (*folders, name), inside)

    for root in roots:
        visit(root, (), folder_at(top, root.steps))
    return found


def _names(folders: Iterable[Found], level: int) -> dict[str, str]:
    """Names of the folders at a level: one spelling → its key."""
    spelt = {}
    for found in folders:
        if len(found.folders) > level:
            spelt.setdefault(class_key(found.folders[level]), found.folders[level])
    return {name: same for same, name in spelt.items()}


def _keys_by_part(folders: Iterable[Found], level: int) -> Mapping[str, set[str]]:
    keys = defaultdict(set)
    for found in folders:
        if len(found.folders) > level:
            keys[found.root.part].add(class_key(found.folders[level]))
    return keys


def _is_in_all_parts(folders: Sequence[Found], level: int) -> bool:
    """Whether half of the names in each smaller part are also in the one with the most names."""
    keys = _keys_by_part(folders, level)
    if len(keys) < len({found.root.part for found in folders}):
        return False
    names, *smaller = sorted(keys.values(), key=len, reverse=True)
    return all(len(names & other) * 2 >= len(other) for other in smaller)


def _may_be_classes(folders: Sequence[Found], upper: int, level: int) -> bool:
    """Whether nearly all images lie this deep, in few folders whose names repeat below `upper`."""
    parents = defaultdict(set)
    images = Counter()
    for found in folders:
        deep = len(found.folders) > level
        images[deep] += found.images
        if deep:
            parents[class_key(found.folders[level])].add(class_key(found.folders[upper]))
    if images[True] < NEARLY_ALL * images.total() or not 2 <= len(parents) <= MOST_CLASSES:
        return False
    if all(part_of(name) for name in parents):
        return False
    repeated = [name for name, above in parents.items() if len(above) > 1]
    return len(repeated) * 2 >= len(parents)


def _numbered(names: Iterable[str]) -> bool:
    """Whether each of the names has a digit, as those of patients have."""
    return all(re.search(r"\d", name) for name in names)


def _above(folders: Sequence[Found], level: int) -> str:
    names = _names(folders, level - 1)
    return (
        f"{len(names):,} folders lie above the classes ({in_words(names)}): if each is a patient, "
        "name it in a CSV of path,label,patient"
    )


def _nothing_in_common(folders: Sequence[Found], origin: str) -> UserError:
    by_part: dict[str, set[str]] = defaultdict(set)
    for found in folders:
        by_part[found.root.part] |= set(found.folders[:1])
    told = "; ".join(f"{part} has {in_words(by_part[part])}" for part in sorted(by_part))
    return UserError(
        f"the parts of '{origin}' do not have the same class folders ({told}): rename them, "
        f"{CSV_HELP}"
    )
