"""Layouts: an image's class and published part, read from its folders alone (01_data)."""

import re
import unicodedata
from collections import namedtuple
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from kdnb.errors import UserError

__all__ = ["PARTS", "Entry", "class_folders", "is_junk", "key"]

IMAGE_ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
JUNK = ("__macosx", "thumbs.db", "desktop.ini")
PARTS = {"training": "train", "testing": "test", "valid": "val", "validation": "val"}
PARTS |= {part: part for part in ("train", "val", "test")}
# one image of a source; "" where the source does not tell
Entry = namedtuple("Entry", "image_id path label published_split patient family source copy_of", defaults=[""] * 5)


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
    """The images among `names` with their class and published part; the name of a folder ends with "/".

    `origin` is for messages; `known` is an entry of the registry, or empty for any folder of class folders.
    """
    names = [name for name in names if not is_junk(name)]
    images = [name for name in names if name.casefold().endswith(IMAGE_ENDINGS)]
    if not images:
        raise UserError(f"no images in '{origin}': accepted are {', '.join(IMAGE_ENDINGS)} in class folders")
    entries = _registered(images, origin, known) if known else _any(names, images, origin)
    if len({entry.image_id for entry in entries}) < len(entries):  # the same tree lies there twice
        entries = [entry._replace(image_id=_clean(entry.path)) for entry in entries]
    return sorted(entries)


def _registered(images: Sequence[str], origin: str, known: Mapping[str, Any]) -> list[Entry]:
    classes = {key(name): name for name in known["classes"]}
    entries = []
    for path in images:
        *folders, name = _steps(path)
        depth = next((i for i in reversed(range(len(folders))) if key(folders[i]) in classes), None)
        if depth is None or (known["root"] and known["root"] not in folders):
            continue
        part = known["published"].get(folders[depth - 1], "") if depth else ""
        image_id = "/".join([*folders[depth - bool(part) :], name])
        entries.append(Entry(_clean(image_id), path, classes[key(folders[depth])], part))
    found = {entry.label for entry in entries}
    if lacking := [name for name in known["classes"] if name not in found]:
        seen = sorted(found) or sorted({"/".join(_steps(path)[-2:-1]) for path in images})[:20]
        raise UserError(f"'{origin}' lacks the class folder {', '.join(lacking)}: found {', '.join(seen)}; "
                        "get the archive again, or use dataset 'custom' for another layout")  # fmt: skip
    return entries


def _any(names: Sequence[str], images: Sequence[str], origin: str) -> list[Entry]:
    split = [_steps(path) for path in images]
    top = 0
    while all(len(p) > top + 2 and p[top] == split[0][top] and key(p[top]) not in PARTS for p in split):
        top += 1  # a single folder around everything is not a class
    parted = all(len(p) > top + 2 and key(p[top]) in PARTS for p in split)
    level = top + parted  # the class folders' place in a path
    if stray := ["/".join(p) for p in split if len(p) < level + 2]:
        raise UserError(f"'{stray[0]}' in '{origin}' lies in no class folder: accepted are class folders, with or "
                        "without train, val and test folders above them, or a CSV of path,label")  # fmt: skip
    folders = {tuple(_steps(name)) for name in names if name.endswith("/")}
    filled = {tuple(_steps(name)[: level + 1]) for name in names if not name.endswith("/")}
    if empty := sorted(p for p in folders - filled if len(p) == level + 1 and list(p[:top]) == split[0][:top]):
        raise UserError(f"class folder '{'/'.join(empty[0])}' in '{origin}' is empty: fill it or remove it")
    return [Entry(_clean("/".join(p[top:])), path, _clean(p[level]), PARTS[key(p[top])] if parted else "")
            for path, p in zip(images, split, strict=True)]  # fmt: skip


def _steps(path: str) -> list[str]:
    return [step for step in path.split("/") if step not in ("", ".")]


def _clean(name: str) -> str:  # one spelling for accents, and no byte that UTF-8 cannot write
    return unicodedata.normalize("NFC", name).encode("utf-8", "backslashreplace").decode()
