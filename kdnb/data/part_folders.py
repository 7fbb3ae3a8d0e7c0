"""Folders of parts, such as train and test, and wrappers around them, known by name (01_data)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from kdnb.core.errors import UserError
from kdnb.data.names import class_key, key

__all__ = [
    "CSV_HELP",
    "Folder",
    "Root",
    "folder_at",
    "in_no_class_folder",
    "in_words",
    "part_of",
    "part_roots",
    "sure_part",
]

PARTS = {  # a folder's name, as `key` gives it, → the part of the split that it holds
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "val",
    "valid": "val",
    "validation": "val",
}
WITHIN_NAME = re.compile(  # training_set, seg_train, test images, dev; as `key` gives them
    r"(?:seg|data|dataset|images?|imgs?)?"
    r"(train|training|test|testing|val|valid|validation|dev)"
    r"(?:set|data|dataset|images?|imgs?)?"
)
CSV_HELP = "or name the class of each image in a CSV of path,label"


class Root(NamedTuple):
    """A folder whose subfolders are classes, or lead to them."""

    part: str  #: "train", "val" or "test"; "" without parts
    steps: tuple[str, ...]  #: the folders down to it, itself included
    start: int  #: how many of them are no part of an image's id
    parts_below: bool = False  #: whether the folders below the classes are the parts


@dataclass
class Folder:
    """A folder: how many images lie in it, and its subfolders that hold some."""

    images: int = 0
    inside: dict[str, Folder] = field(default_factory=dict)

    @property
    def deep(self) -> bool:
        """Whether all of its images lie in subfolders."""
        return self.images == 0

    def below(self) -> Iterable[tuple[str, Folder]]:
        """All folders below this one, with their names."""
        for name, folder in self.inside.items():
            yield name, folder
            yield from folder.below()


def sure_part(name: str) -> str:
    """The part that a folder with this name holds, also where it stands alone; "" for another name.

    >>> sure_part("Training"), sure_part("seg_train")
    ('train', '')
    """
    return PARTS.get(key(name), "")


def part_of(name: str) -> str:
    """The part that a folder with this name holds where it stands beside others; "" for none.

    >>> [part_of(name) for name in ("TRAIN", "seg_train", "test set", "dev", "stress test")]
    ['train', 'train', 'test', 'val', '']
    """
    found = WITHIN_NAME.fullmatch(key(name))
    if found is None:
        return ""
    return PARTS.get(found[1], "val")  # dev


def part_roots(top: Folder, origin: str) -> tuple[list[Root], list[str]]:
    """The folder of each part in which its class folders lie, or the one around all; and notes.

    Raises:
        UserError: It is not clear which folders are the parts, or there are two trees of classes.
    """
    roots, notes = _roots(top, origin)
    _check_one_root_per_part(roots, origin)
    roots = _within_wrappers(top, roots)
    for root in roots:
        _check_no_second_tree(folder_at(top, root.steps), root, origin)
    return roots, notes


def folder_at(top: Folder, steps: Iterable[str]) -> Folder:
    """The folder at the end of a path."""
    for step in steps:
        top = top.inside[step]
    return top


def in_no_class_folder(steps: Sequence[str], origin: str) -> UserError:
    """The refusal of an image above the level of the classes."""
    return UserError(
        f"'{'/'.join(steps)}' in '{origin}' lies in no class folder: accepted are class folders, "
        "with or without train, val and test folders above them, or a CSV of path,label"
    )


def in_words(names: Iterable[str]) -> str:
    """Sorted names in quotation marks, the first five of them.

    >>> in_words("gfedcba")
    "'a', 'b', 'c', 'd', 'e' and 2 more"
    """
    different = sorted(set(names))
    some = ", ".join(f"'{name}'" for name in different[:5])
    more = len(different) - 5
    return f"{some} and {more:,} more" if more > 0 else some


def _roots(top: Folder, origin: str) -> tuple[list[Root], list[str]]:
    """The folders of the parts, or the one around all classes; and notes."""
    folder, steps = top, ()
    while _is_wrapper(folder) and not sure_part(next(iter(folder.inside))):
        [(name, folder)] = folder.inside.items()
        steps = (*steps, name)
    if folder.images:
        return [Root("", steps, len(steps))], []
    named = {name: part_of(name) for name in folder.inside if part_of(name)}
    others = sorted(set(folder.inside) - set(named))
    if not named:
        roots = _roots_below(folder, steps, origin)
        below, everywhere = _parts_below_classes(folder)
        if not below or roots[0].part:
            return roots, []
        told = f"the folders {in_words(below)} below the classes are"
        if not everywhere:
            return roots, [f"{told} not read as parts of a split: other classes have none"]
        return [root._replace(parts_below=True) for root in roots], [
            f"{told} taken as parts of a split"
        ]
    flat = [name for name in named if not folder.inside[name].deep]
    if not others:
        if len(flat) < len(named) or len(named) == 1:
            return _part_roots(folder, steps), []
        raise UserError(
            f"{in_words(named)} in '{origin}' are parts of a split, and hold images without class "
            f"folders: sort these into one folder for each class, {CSV_HELP}"
        )
    doubled = [name for name in others if _holds_parts(folder.inside[name])]
    if doubled:
        raise _two_trees(doubled, named, steps, origin)
    if len(set(named.values())) == 1 and len(flat) == len(named):
        return [Root("", steps, len(steps))], [f"the folder {in_words(named)} is taken as a class"]
    raise UserError(
        f"{in_words(others)} in '{origin}' lies beside {in_words(named)} and is none of train, val "
        f"and test: move it away or sort its images into these, {CSV_HELP}"
    )


def _is_wrapper(folder: Folder) -> bool:
    """Whether all images of a folder lie in subfolders of its only subfolder."""
    if not folder.deep or len(folder.inside) != 1:
        return False
    [inside] = folder.inside.values()
    return inside.deep


def _part_roots(folder: Folder, steps: tuple[str, ...], start: int | None = None) -> list[Root]:
    """A root for each subfolder; one that holds nothing but parts again gives theirs."""
    roots = []
    for name, inside in folder.inside.items():
        here = (*steps, name)
        first = len(steps) if start is None else start
        again = inside.deep and all(part_of(one) for one in inside.inside)
        if again and all(one.deep for one in inside.inside.values()):
            roots += _part_roots(inside, here, first)
        else:
            roots.append(Root(part_of(name), here, first))
    return roots


def _roots_below(folder: Folder, steps: tuple[str, ...], origin: str) -> list[Root]:
    """The root of subfolders that are no parts: each may still be a wrapper around one part."""
    roots = []
    for name, inside in folder.inside.items():
        here = (*steps, name)
        while _is_wrapper(inside) and not part_of(next(iter(inside.inside))):
            [(name, inside)] = inside.inside.items()
            here = (*here, name)
        if _is_wrapper(inside):
            roots += _part_roots(inside, here)
        elif any(part_of(one) and sub.deep for one, sub in inside.inside.items()):
            raise _two_trees(folder.inside, (), steps, origin)
    if len(roots) == len(folder.inside):
        return roots
    return [Root("", steps, len(steps))]


def _holds_parts(folder: Folder) -> bool:
    return any(part_of(name) and inside.deep for name, inside in folder.below())


def _parts_below_classes(folder: Folder) -> tuple[list[str], bool]:
    """The names of parts below classes, and whether each class has these and nothing else."""
    named: list[str] = []
    everywhere = True
    for inside in folder.inside.values():
        parts = [name for name in inside.inside if part_of(name)]
        named += parts
        everywhere &= inside.deep and len(parts) == len(inside.inside)
    return named, everywhere


def _two_trees(
    trees: Iterable[str], others: Iterable[str], steps: tuple[str, ...], origin: str
) -> UserError:
    """The refusal of folders that hold a tree of classes each, beside others that are one."""
    told = in_words("/".join((*steps, name)) for name in trees)
    beside = in_words("/".join((*steps, name)) for name in others)
    told = f"{told} beside {beside}" if beside else told
    return UserError(
        f"'{origin}' holds more than one tree of classes, {told}: move one away, or name the "
        f"folder of one with data (unpack an archive first), {CSV_HELP}"
    )


def _check_one_root_per_part(roots: Sequence[Root], origin: str) -> None:
    first: dict[str, Root] = {}
    for root in roots:
        other = first.setdefault(root.part, root)
        if other is not root:
            paths = ["/".join(one.steps) for one in (other, root)]
            raise UserError(
                f"{in_words(paths)} in '{origin}' are both named as the {root.part} part: "
                f"merge or rename them, {CSV_HELP}"
            )


def _within_wrappers(top: Folder, roots: Sequence[Root]) -> list[Root]:
    """Roots below the single folders inside a part, unless such a folder is a class elsewhere."""
    classes = set()
    for root in roots:
        inside = folder_at(top, root.steps).inside
        if len(inside) > 1:
            classes |= {class_key(name) for name in inside}
    found = []
    for root in roots:
        folder = folder_at(top, root.steps)
        while (
            root.part
            and _is_wrapper(folder)
            and class_key(next(iter(folder.inside))) not in classes
        ):
            [(name, folder)] = folder.inside.items()
            root = root._replace(steps=(*root.steps, name))
        found.append(root)
    return found


def _check_no_second_tree(folder: Folder, root: Root, origin: str) -> None:
    """Refuse a folder beside the classes that holds the same classes again."""
    classes = {class_key(name) for name in folder.inside}
    for name, inside in folder.inside.items():
        others = classes - {class_key(name)}
        while _is_wrapper(inside):
            [inside] = inside.inside.values()
        if others & {class_key(one) for one in inside.inside}:
            raise _two_trees(
                [name], [one for one in folder.inside if one != name], root.steps, origin
            )
