"""Layouts: an image's class and published part, read from its folders alone (01_data)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from kdnb.core.errors import UserError
from kdnb.core.runs import digest

__all__ = [
    "Entry",
    "PART_NAMES",
    "class_folders",
    "entries_digest",
    "is_junk",
    "key",
    "masks_beside",
    "patient_in_two_folds",
]

IMAGE_ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
MASK_ENDING = "_mask.png"  # of the file beside an image that marks what defines the class
JUNK = ("__macosx", "thumbs.db", "desktop.ini")
PART_NAMES = {  # a folder's name, as `key` gives it, → the part of the split that it holds
    "training": "train",
    "testing": "test",
    "valid": "val",
    "validation": "val",
    "train": "train",
    "val": "val",
    "test": "test",
}


class Entry(NamedTuple):
    """One image of a source; "" where the source does not tell."""

    image_id: str  #: unique in the source
    path: str  #: where the source finds it
    label: str  #: the class
    published_split: str = ""  #: "train", "val" or "test"
    patient: str = ""  #: whose image it is
    family: str = ""  #: images that are copies of each other share it
    source: str = ""  #: which collection of the data set it comes from
    copy_of: str = ""  #: image_id of its original
    fold: str = ""  #: the publisher's fold that its patient is in
    mask: str = ""  #: where the source finds its mask


def entries_digest(entries: Sequence[Entry]) -> str:
    """Digest of entries; fields that only some sets have count where they are filled."""
    optional = len(Entry._fields) - len(("fold", "mask"))
    told = [entry if entry.fold or entry.mask else entry[:optional] for entry in entries]
    return digest(told)


def patient_in_two_folds(entries: Sequence[Entry]) -> tuple[str, str, str] | None:
    """A patient whose images are in two folds, and these folds; None where there is none.

    >>> images = [Entry("a", "a", "cat", patient="p", fold=fold) for fold in "12"]
    >>> patient_in_two_folds(images), patient_in_two_folds(images[:1])
    (('p', '1', '2'), None)
    """
    fold_of: dict[str, str] = {}
    for entry in entries:
        if entry.patient and entry.fold:
            first = fold_of.setdefault(entry.patient, entry.fold)
            if first != entry.fold:
                return entry.patient, first, entry.fold
    return None


@cache
def key(name: str) -> str:
    """A name without case, spaces and punctuation.

    >>> key("No_Tumor 2")
    'notumor2'
    """
    return re.sub(r"[\W_]+", "", _clean(name).casefold())


def is_junk(name: str) -> bool:
    """Whether a path is what an operating system or a notebook server left behind.

    >>> is_junk("set/.ipynb_checkpoints/a.jpg"), is_junk("__MACOSX/a.jpg"), is_junk("./set/a b.JPG")
    (True, True, False)
    """
    return any(step.startswith(".") or step.casefold() in JUNK for step in _steps(name))


def class_folders(names: Sequence[str], origin: str, known: Mapping[str, Any]) -> list[Entry]:
    """The images among `names` with their class and published part.

    Args:
        names: Paths with "/" between their steps; the name of a folder ends with "/".
        origin: Where they are, for messages.
        known: An entry of the registry, or empty for any folder of class folders.

    Raises:
        UserError: no images, a class folder that is missing or empty, an image in no class folder.
    """
    masks, alone = masks_beside(names)
    no_images = {*masks.values(), *alone}
    names = [name for name in names if not is_junk(name) and name not in no_images]
    images = [name for name in names if name.casefold().endswith(IMAGE_ENDINGS)]
    if not images:
        accepted = ", ".join(IMAGE_ENDINGS)
        raise UserError(f"no images in '{origin}': accepted are {accepted} in class folders")
    entries = _registered(images, origin, known) if known else _unregistered(names, images, origin)
    different = {entry.image_id for entry in entries}
    if len(different) < len(entries):  # the same tree lies there twice
        entries = [entry._replace(image_id=_clean(entry.path)) for entry in entries]
    return sorted(entry._replace(mask=masks.get(entry.path, "")) for entry in entries)


def masks_beside(names: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Masks ``<name>_mask.png`` beside images ``<name>.<ending>``.

    Returns:
        Image → its mask, and the masks that have no image beside them.

    >>> masks_beside(["a/1.jpg", "a/1_mask.png", "a/2_mask.png", "a/3.png"])
    ({'a/1.jpg': 'a/1_mask.png'}, ['a/2_mask.png'])
    """
    images = [name for name in names if not is_junk(name)]
    images = [name for name in images if name.casefold().endswith(IMAGE_ENDINGS)]
    mask_of = {}  # an image's path without its ending → its mask
    for name in images:
        if name.casefold().endswith(MASK_ENDING):
            mask_of[name[: -len(MASK_ENDING)]] = name
    masks = set(mask_of.values())
    found = {}
    for name in images:
        mask = mask_of.get(name.rpartition(".")[0])
        if mask is not None and name not in masks:
            found[name] = mask
    alone = masks - set(found.values())
    return found, sorted(alone)


def _registered(images: Sequence[str], origin: str, known: Mapping[str, Any]) -> list[Entry]:
    """The images below the class folders that the registry names; images elsewhere are left out."""
    classes = {key(name): name for name in known["classes"]}
    entries = []
    for path in images:
        *folders, name = _steps(path)
        depths = [depth for depth, folder in enumerate(folders) if key(folder) in classes]
        if not depths or (known["root"] and known["root"] not in folders):
            continue
        depth = depths[-1]
        part = known["published"].get(folders[depth - 1], "") if depth else ""
        first = depth - 1 if part else depth
        entry = Entry(
            image_id=_clean("/".join([*folders[first:], name])),
            path=path,
            label=classes[key(folders[depth])],
            published_split=part,
        )
        entries.append(entry)
    found = {entry.label for entry in entries}
    lacking = [name for name in known["classes"] if name not in found]
    if lacking:
        seen = sorted(found) or sorted({"/".join(_steps(path)[-2:-1]) for path in images})[:20]
        raise UserError(
            f"'{origin}' lacks the class folder {', '.join(lacking)}: found {', '.join(seen)}; "
            "get the archive again, or use dataset 'custom' for another layout"
        )
    return entries


def _unregistered(names: Sequence[str], images: Sequence[str], origin: str) -> list[Entry]:
    """The images of any folder of class folders, with or without published parts above them."""
    paths = [_steps(image) for image in images]
    top = _shared_folders(paths)
    parted = all(len(path) > top + 2 and key(path[top]) in PART_NAMES for path in paths)
    level = top + 1 if parted else top  # the class folders' place in a path
    stray = ["/".join(path) for path in paths if len(path) < level + 2]
    if stray:
        raise UserError(
            f"'{stray[0]}' in '{origin}' lies in no class folder: accepted are class folders, with "
            "or without train, val and test folders above them, or a CSV of path,label"
        )
    empty = _empty_class_folders(names, paths[0][:top], level)
    if empty:
        raise UserError(f"class folder '{empty[0]}' in '{origin}' is empty: fill it or remove it")
    entries = []
    for image, path in zip(images, paths, strict=True):
        entry = Entry(
            image_id=_clean("/".join(path[top:])),
            path=image,
            label=_clean(path[level]),
            published_split=PART_NAMES[key(path[top])] if parted else "",
        )
        entries.append(entry)
    return entries


def _shared_folders(paths: Sequence[list[str]]) -> int:
    """How many single folders lie around everything: they are neither a class nor a part."""
    top = 0
    while True:
        for path in paths:
            deep = len(path) > top + 2
            if not deep or path[top] != paths[0][top] or key(path[top]) in PART_NAMES:
                return top
        top += 1


def _empty_class_folders(names: Sequence[str], shared: list[str], level: int) -> list[str]:
    """Folders at the level of the classes, below the shared folders, that hold no file; sorted."""
    folders = set()
    filled = set()
    for name in names:
        steps = _steps(name)
        if not name.endswith("/"):
            filled.add(tuple(steps[: level + 1]))
        elif len(steps) == level + 1 and steps[: len(shared)] == shared:
            folders.add(tuple(steps))
    return ["/".join(steps) for steps in sorted(folders - filled)]


def _steps(path: str) -> list[str]:
    return [step for step in path.split("/") if step not in ("", ".")]


def _clean(name: str) -> str:
    """One spelling for accents, and no byte that UTF-8 cannot write."""
    return unicodedata.normalize("NFC", name).encode("utf-8", "backslashreplace").decode()
