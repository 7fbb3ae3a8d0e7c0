"""Layouts: an image's class and published part, read from its folders alone (01_data)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from kdnb.core.errors import UserError, in_one_line
from kdnb.core.runs import digest
from kdnb.data.class_level import find_layout
from kdnb.data.file_kinds import (
    IMAGE_ENDINGS,
    Listing,
    Sorted,
    counted,
    is_document,
    notes_on,
    sort_files,
    steps_of,
)
from kdnb.data.mask_files import masks_beside, notes_on_masks, other_masks
from kdnb.data.names import class_key, clean, join_spellings, key
from kdnb.data.part_folders import Root, in_no_class_folder, in_words, part_of, sure_part

__all__ = [
    "Entry",
    "class_folders",
    "entries_digest",
    "patient_in_two_folds",
]

ClassFolder = Callable[[Sequence[str]], str]  # folders → the class folder among them; "" for none


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


def class_folders(
    listing: Listing, origin: str, known: Mapping[str, Any]
) -> tuple[list[Entry], tuple[str, ...]]:
    """The images of a listing with their class and published part; notes on all that is left out.

    Args:
        listing: What lies there.
        origin: Where it is, for messages.
        known: An entry of the registry, or empty for any folder of class folders.

    Raises:
        UserError: no images, a class folder that is missing, empty or without a readable image, an
            image in no class folder, or doubt about which folders are the classes.
    """
    found = sort_files(listing)
    masks, alone = masks_beside(found.images)
    others = other_masks(found.images, masks)
    no_images = {*masks.values(), *alone, *others}
    images = [name for name in found.images if name not in no_images]
    if not images:
        raise _no_images(found, origin)
    if known:
        entries, notes, class_folder = _registered(images, origin, known)
    else:
        entries, notes, class_folder = _unregistered(images, origin)
        _check_empty(listing, no_images, class_folder, origin)
    filled = {class_folder(steps_of(name)[:-1]) for name in images}
    _check_lost(listing, found, class_folder, filled, origin)
    entries = [entry._replace(mask=masks.get(entry.path, "")) for entry in _unique_ids(entries)]
    notes = [*notes_on_masks(alone, others), *notes, *notes_on(listing, found)]
    return sorted(entries), tuple(in_one_line(note) for note in notes)


def _no_images(found: Sorted, origin: str) -> UserError:
    accepted = ", ".join(IMAGE_ENDINGS)
    there = f"; found {counted(found.others, found.dicom)}" if found.others else ""
    return UserError(f"no images in '{origin}': accepted are {accepted} in class folders{there}")


def _registered(
    images: Sequence[str], origin: str, known: Mapping[str, Any]
) -> tuple[list[Entry], list[str], ClassFolder]:
    """The images below the class folders that the registry names; images elsewhere are left out."""
    classes = {key(name): name for name in known["classes"]}

    def depth_of(folders: Sequence[str]) -> int:
        """Which of the folders is the class folder; -1 for none."""
        if known["root"] and known["root"] not in folders:
            return -1
        depths = [depth for depth, folder in enumerate(folders) if key(folder) in classes]
        return depths[-1] if depths else -1

    def class_folder(folders: Sequence[str]) -> str:
        return "/".join(folders[: depth_of(folders) + 1])

    inside = []
    left_out = Counter()
    for path in images:
        *folders, name = steps_of(path)
        depth = depth_of(folders)
        if depth < 0:
            left_out["/".join(folders)] += 1
        else:
            above = folders[depth - 1] if depth else ""
            inside.append((path, folders, name, depth, above))
    part_in = _parts_above({above for *_, above in inside})
    entries = []
    homes = defaultdict(set)  # of a class in a part: its folders
    for path, folders, name, depth, above in inside:
        label = classes[key(folders[depth])]
        part = part_in[above]
        homes[part, label].add(class_folder(folders))
        part = part if part in known["published"].values() else ""
        entry = Entry(
            image_id=clean("/".join([*folders[depth - 1 if part else depth :], name])),
            path=path,
            label=label,
            published_split=part,
        )
        entries.append(entry)
    _check_all_there(entries, images, known, origin)
    _check_one_home(homes, origin)
    notes = _notes_on_others(left_out, len(images), {part for part, _ in homes}, known)
    return entries, notes, class_folder


def _check_all_there(
    entries: Sequence[Entry], images: Sequence[str], known: Mapping[str, Any], origin: str
) -> None:
    """Whether every class of the registry has an image."""
    found = {entry.label for entry in entries}
    lacking = [name for name in known["classes"] if name not in found]
    if lacking:
        seen = sorted({"/".join(steps_of(path)[-2:-1]) for path in images})
        more = f" and {len(seen) - 20:,} more" if len(seen) > 20 else ""
        raise UserError(
            f"'{origin}' lacks the class folder {', '.join(lacking)}: found {', '.join(seen[:20])}"
            f"{more}; get the archive again, or use dataset 'custom' for another layout"
        )


def _notes_on_others(
    left_out: Counter[str], count: int, parts: set[str], known: Mapping[str, Any]
) -> list[str]:
    """What of `count` images lies in no class folder, and parts that the publisher has not."""
    notes = []
    if left_out:
        told = [f"'{folder}' ({images:,})" for folder, images in sorted(left_out.items())]
        more = f" and {len(told) - 5:,} more folders" if len(told) > 5 else ""
        notes.append(
            f"{left_out.total():,} of {count:,} images lie in no class folder of this set, and are "
            f"left out: {', '.join(told[:5])}{more}"
        )
    unknown = parts - {*known["published"].values(), ""}
    if unknown:
        notes.append(f"the set has no published part {in_words(unknown)}: its images have none")
    return notes


def _parts_above(names: Iterable[str]) -> dict[str, str]:
    """The part of each folder name that stands above class folders; "" for none.

    A name such as ``test_data`` is a part only beside another part.
    """
    parts = {name: part_of(name) for name in names}
    if len(set(parts.values()) - {""}) > 1:
        return parts
    return {name: sure_part(name) for name in parts}


def _check_one_home(homes: Mapping[tuple[str, str], set[str]], origin: str) -> None:
    """Refuse a class that lies in two places of a part: the set is there twice, or spelt twice."""
    for (part, label), folders in sorted(homes.items()):
        places = sorted(folders)
        apart = [place for place in places[1:] if not place.startswith(f"{places[0]}/")]
        if apart:
            of_part = f" of the part {part}" if part else ""
            raise UserError(
                f"'{origin}' holds the class '{label}'{of_part} more than once "
                f"({in_words([places[0], *apart])}): leave one, and name its folder with data"
            )


def _unregistered(images: Sequence[str], origin: str) -> tuple[list[Entry], list[str], ClassFolder]:
    """The images of any folder of class folders, with or without published parts above them."""
    paths = [steps_of(image) for image in images]
    layout = find_layout(paths, origin)

    def place(folders: Sequence[str]) -> tuple[Root, str] | None:
        """The root and the class folder's name; None for folders that lead to no class."""
        for root in layout.roots:
            at = len(root.steps)
            if tuple(folders[:at]) == root.steps and len(folders) > at + layout.level:
                return root, folders[at + layout.level]
        return None

    def class_folder(folders: Sequence[str]) -> str:
        found = place(folders) or _place_in_part_without_images(folders, layout.roots)
        return "" if found is None else "/".join((*found[0].steps, found[1]))

    entries = []
    spelt = defaultdict(set)
    for image, path in zip(images, paths, strict=True):
        found = place(path[:-1])
        if found is None:
            raise in_no_class_folder(path, origin)
        root, label = found
        part = root.part
        if root.parts_below:
            part = part_of(path[len(root.steps) + layout.level + 1])
        spelt[root.part, class_key(label)].add(label)
        entry = Entry(
            image_id=clean("/".join(path[root.start :])),
            path=image,
            label=clean(label),
            published_split=part,
        )
        entries.append(entry)
    for same in spelt.values():
        if len(same) > 1:
            raise UserError(
                f"the class folders {in_words(same)} in '{origin}' differ in spelling alone: "
                "merge or rename them"
            )
    spelling, joined = join_spellings(entry.label for entry in entries)
    entries = [entry._replace(label=spelling[entry.label]) for entry in entries]
    return entries, [*layout.notes, *joined, *_only_in_test(entries)], class_folder


def _place_in_part_without_images(
    folders: Sequence[str], roots: Sequence[Root]
) -> tuple[Root, str] | None:
    """The same for a folder of a part in which there is no image at all."""
    first = roots[0]
    if not first.part or tuple(folders[: first.start]) != first.steps[: first.start]:
        return None
    steps = tuple(folders[: first.start + 1])
    known = {root.steps[: root.start + 1] for root in roots}
    if len(folders) < len(steps) + 1 or steps in known or not part_of(steps[-1]):
        return None
    return Root(part_of(steps[-1]), steps, first.start), folders[len(steps)]


def _only_in_test(entries: Sequence[Entry]) -> list[str]:
    """A note on classes that the training part lacks."""
    labels = defaultdict(set)
    for entry in entries:
        labels[entry.published_split].add(entry.label)
    if "train" not in labels:
        return []
    lacking = set().union(*labels.values()) - labels["train"]
    return [f"the class {in_words(lacking)} is not in the training part"] if lacking else []


def _check_empty(listing: Listing, masks: set[str], class_folder: ClassFolder, origin: str) -> None:
    """Refuse a folder at the level of the classes that holds no file but masks."""
    folders = []
    filled = set()
    for name in listing.names:
        steps = steps_of(name)
        if not name.endswith("/"):
            if name not in masks:
                filled.add(class_folder(steps[:-1]))
        elif not class_folder(steps[:-1]):
            folders.append(class_folder(steps))
    filled |= {class_folder(_folders_of(link)) for link in listing.links}
    empty = sorted(set(folders) - filled - {""})
    if empty:
        raise UserError(f"class folder '{empty[0]}' in '{origin}' is empty: fill it or remove it")


def _check_lost(
    listing: Listing, found: Sorted, class_folder: ClassFolder, filled: set[str], origin: str
) -> None:
    """Refuse a class folder that has files, or links, and no image: its class would vanish."""
    files = defaultdict(list)
    links = defaultdict(list)
    for name in found.others:
        files[class_folder(_folders_of(name))].append(name)
    for name in listing.links:
        links[class_folder(_folders_of(name))].append(name)
    for folder in sorted({*files, *links} - filled - {""}):
        told = []
        if not all(is_document(name) for name in files[folder]):
            told.append(counted(files[folder], found.dicom))
        if links[folder]:
            count = len(links[folder])
            told.append(f"links, which are not followed: {count:,}; put the files there themselves")
        if told:
            raise UserError(
                f"class folder '{folder}' in '{origin}' has no image that can be read: "
                f"{'; '.join(told)}; mend it, or take the folder away"
            )


def _folders_of(path: str) -> list[str]:
    """The folders of a file, or of a link to a folder with that link."""
    steps = steps_of(path)
    return steps if path.endswith("/") else steps[:-1]


def _unique_ids(entries: Sequence[Entry]) -> list[Entry]:
    """Entries with ids of their own: where two are equal, whole paths, then these as ASCII."""
    if len({entry.image_id for entry in entries}) < len(entries):
        entries = [entry._replace(image_id=clean(entry.path)) for entry in entries]
    counts = Counter(entry.image_id for entry in entries)
    found = []
    for entry in entries:
        if counts[entry.image_id] > 1:  # equal but for the way that accents are written
            ascii_path = entry.path.encode("ascii", "backslashreplace").decode()
            entry = entry._replace(image_id=ascii_path)
        found.append(entry)
    twice = [name for name, count in Counter(one.image_id for one in found).items() if count > 1]
    if twice:
        raise UserError(f"two images are named {in_words(twice)}: rename one of them")
    return found
