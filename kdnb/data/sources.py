"""Sources of images: zip archive, folder, phantoms; checked before images are read (01_data)."""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from kdnb.core.errors import UserError
from kdnb.core.runs import digest
from kdnb.data import phantoms
from kdnb.data.class_folders import (
    Entry,
    class_folders,
    entries_digest,
    is_junk,
    masks_beside,
)

__all__ = [
    "Source",
    "digest_of_stats",
    "file_hash",
    "files_in",
    "folder_source",
    "open_zip",
    "phantom_source",
    "read_file",
    "zip_source",
]

MAX_ENTRIES = 200_000
MAX_IMAGE_BYTES = 64 * 2**20  # one image, uncompressed
# bytes per byte of archive: photographs hardly shrink, a bomb grows a thousandfold
MAX_GROWTH = 100
OTHER_ARCHIVES = (".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".rar", ".7z")


@dataclass(frozen=True)
class Source:
    """Where images come from.

    Attributes:
        name: For messages.
        identity: Changes when the content changes; cheap to compute.
        entries: All images.
        read: Path → bytes of the file; ValueError or OSError where that fails.
        draw: Of phantoms only: size, px → pixels and masks of all images.
        read_mask: Like ``read``, for the masks of the entries; None where there are none.
        notes: What a reader of any score should know.
    """

    name: str
    identity: str
    entries: list[Entry]
    read: Callable[[str], bytes]
    draw: Callable[[int], tuple[np.ndarray, np.ndarray]] | None = None
    read_mask: Callable[[str], bytes] | None = None
    notes: tuple[str, ...] = ()


def zip_source(path: Path, known: Mapping[str, Any]) -> Source:
    """Class folders in a zip archive that is safe to use; images are read in place."""
    names, read = open_zip(path)
    entries = class_folders(names, path.name, known)
    return Source(
        name=path.name,
        identity=file_hash(path) + entries_digest(entries),  # the registry has a say in the entries
        entries=entries,
        read=read,
        read_mask=read,
        notes=_lone_masks(names),
    )


def open_zip(path: Path) -> tuple[list[str], Callable[[str], bytes]]:
    """Names in a zip archive that is safe to use, and how to read one.

    Raises:
        UserError: no zip archive, a member that is not a plain file inside it, or a zip bomb.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        if path.name.casefold().endswith(OTHER_ARCHIVES):
            raise UserError(
                f"'{path}' is an archive of another kind than zip: "
                "unpack it and name the folder, or pack it as zip"
            ) from None
        raise UserError(
            f"'{path}' is not a zip archive, or was cut short ({error}): get the file again"
        ) from None
    _check_count(len(archive.infolist()), path)
    _check_names(archive, path)
    members = {info.filename.replace("\\", "/"): info for info in archive.infolist()}
    for name, info in members.items():
        _check_member(name, info, path)
    size = sum(info.file_size for info in members.values())
    packed = path.stat().st_size
    if size > max(MAX_GROWTH * packed, MAX_IMAGE_BYTES):
        raise UserError(
            f"'{path}' would grow from {packed:,} to {size:,} bytes: "
            "a zip bomb? Do not use this file"
        )

    def read(name: str) -> bytes:
        _check_size(members[name].file_size)  # zipfile never unpacks more than this declared size
        try:
            return archive.read(members[name])
        except Exception as error:  # zlib, CRC and codec errors share no base class
            raise ValueError(f"cannot be unpacked ({error})") from None

    return list(members), read


def folder_source(path: Path, known: Mapping[str, Any]) -> Source:
    """Class folders on disk; links are passed over. Identity: paths, sizes, modification times."""
    names = files_in(path)
    entries = class_folders(names, str(path), known)
    read = partial(read_file, path)
    return Source(
        name=str(path),
        identity=digest_of_stats(path, names) + entries_digest(entries),
        entries=entries,
        read=read,
        read_mask=read,
        notes=_lone_masks(names),
    )


def files_in(path: Path) -> list[str]:
    """Paths below a folder, sorted, without links and junk; a folder's path ends with "/"."""
    names: list[str] = []
    for parent, folders, files in os.walk(path):
        for child in folders + files:
            place = Path(parent, child)
            if not place.is_symlink():
                name = place.relative_to(path).as_posix()
                names.append(f"{name}/" if place.is_dir() else name)
        _check_count(len(names), path)
    return sorted(name for name in names if not is_junk(name))


def phantom_source(plan: phantoms.PhantomPlan) -> Source:
    """The phantoms of a plan; patients, families and copies are the plan's own truth."""
    table = phantoms.table(plan)
    table = table.assign(path=table["image_id"])
    row_of = {image_id: row for row, image_id in enumerate(table["image_id"])}
    draw = cache(lambda size: phantoms.render_all(plan, size))
    fields = table.reindex(columns=Entry._fields, fill_value="")  # masks are drawn with the images
    entries = [Entry._make(values) for values in fields.itertuples(index=False)]

    def read(name: str) -> bytes:
        """As a PPM file: equal pixels are equal bytes."""
        pixels, _ = draw(64)
        return b"P6 64 64 255\n" + pixels[row_of[name]].tobytes()

    name = f"phantom_{plan.family}"
    return Source(name=name, identity=repr(plan), entries=entries, read=read, draw=draw)


def file_hash(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_names(archive: zipfile.ZipFile, path: Path) -> None:
    """No two members have one name: nobody could say which of them is meant."""
    counts = Counter(info.filename.replace("\\", "/") for info in archive.infolist())
    twice = [
        name
        for name, count in counts.items()
        if count > 1 and not (is_junk(name) or name.endswith("/"))
    ]
    if twice:
        some = ", ".join(f"'{name}'" for name in twice[:3])
        raise UserError(f"'{path}' holds {len(twice)} names more than once ({some}): pack it again")


def _check_member(name: str, info: zipfile.ZipInfo, archive: Path) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where no Unix system wrote the archive
    problems = {
        "is a link or a special file": kind not in (0, stat.S_IFREG, stat.S_IFDIR),
        "is an absolute path": name.startswith("/") or name[1:2] == ":",
        "leads out of the archive": ".." in name.split("/"),
        "is locked with a password": info.flag_bits & 1,
    }
    for problem, found in problems.items():
        if found:
            raise UserError(
                f"'{name}' in '{archive}' {problem}: accepted are plain files inside the archive"
            )


def _check_count(count: int, path: Path) -> None:
    if count > MAX_ENTRIES:
        raise UserError(
            f"'{path}' holds over {MAX_ENTRIES:,} files, {count:,} or more: name a smaller set"
        )


def _check_size(size: int) -> None:
    if size > MAX_IMAGE_BYTES:
        raise ValueError(f"larger than {MAX_IMAGE_BYTES // 2**20} MB")


def _lone_masks(names: Sequence[str]) -> tuple[str, ...]:
    """One note that names masks without an image beside them, or none."""
    _, alone = masks_beside(names)
    if not alone:
        return ()
    some = ", ".join(alone[:3])
    return (f"masks without an image beside them, which are left out: {len(alone)} ({some})",)


def read_file(folder: Path, name: str) -> bytes:
    """The bytes of a file below a folder; ValueError where it is too large, or OSError."""
    path = folder / name
    _check_size(path.stat().st_size)
    return path.read_bytes()


def digest_of_stats(folder: Path, names: Sequence[str]) -> str:
    """Hash over name, size and modification time of the files among `names`."""
    found = []
    for name in names:
        path = folder / name
        if path.is_file():
            stats = path.stat()
            found.append((name, stats.st_size, stats.st_mtime_ns))
    return digest(found)
