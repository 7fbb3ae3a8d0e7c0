"""Sources of images: zip archive, folder, phantoms; checked before images are read (01_data)."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from kdnb.core.errors import UserError, in_one_line
from kdnb.core.runs import digest
from kdnb.data import phantoms
from kdnb.data.class_folders import Entry, class_folders, entries_digest
from kdnb.data.file_kinds import HEAD, Listing, is_junk, is_other_archive, steps_of
from kdnb.data.part_folders import in_words

__all__ = [
    "Source",
    "check_count",
    "digest_of_stats",
    "file_hash",
    "files_in",
    "folder_source",
    "list_folder",
    "open_zip",
    "phantom_source",
    "read_file",
    "special_kind",
    "zip_source",
]

MAX_ENTRIES = 200_000
MAX_IMAGE_BYTES = 64 * 2**20  # one image, uncompressed
# bytes per byte of archive: photographs hardly shrink, a bomb grows a thousandfold
MAX_GROWTH = 100
LONGEST = 200  # characters of a reason: some repeat bytes of the archive by thousands
TAIL = 22 + 2**16  # bytes in which the end of an archive's list of files lies
MANY = 2**16 - 1  # files: an archive of so many, or more, says their number elsewhere
UTF8 = 0x800  # flag of a member of a zip archive: its name is in UTF-8
SPECIAL = {  # kinds of files that are never read: some of them never end
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}


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
    listing = Listing(
        names=[name for name in names if not is_junk(name)],
        read=read,
        hidden=tuple(name for name in names if is_junk(name) and not name.endswith("/")),
    )
    entries, notes = class_folders(listing, path.name, known)
    notes += _guessed_names(path, [entry.path for entry in entries])
    return Source(
        name=path.name,
        identity=file_hash(path) + entries_digest(entries),  # the registry has a say in the entries
        entries=entries,
        read=read,
        read_mask=read,
        notes=notes,
    )


def open_zip(path: Path) -> tuple[list[str], Callable[..., bytes]]:
    """Names in a zip archive that is safe to use, and how to read one, or its first bytes.

    Raises:
        UserError: no zip archive, a member that is not a plain file inside it, or a zip bomb.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        with path.open("rb") as file:
            start = file.read(HEAD)
        if is_other_archive(path.name, start):
            raise UserError(
                f"'{path}' is an archive of another kind than zip: "
                "unpack it and name the folder, or pack it as zip"
            ) from None
        raise UserError(
            f"'{path}' is not a zip archive, or was cut short ({error}): get the file again"
        ) from None
    check_count(len(archive.infolist()), path)
    _check_complete(archive, path)
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

    def read(name: str, count: int = -1) -> bytes:
        _check_size(members[name].file_size)  # zipfile never unpacks more than this declared size
        try:
            with archive.open(members[name]) as member:
                return member.read(count)
        except Exception as error:  # zlib, CRC and codec errors share no base class
            why = str(error) or type(error).__name__
            raise ValueError(f"cannot be unpacked ({why[:LONGEST]})") from None

    return list(members), read


def folder_source(path: Path, known: Mapping[str, Any]) -> Source:
    """Class folders on disk; links are passed over. Identity: paths, sizes, modification times."""
    listing = list_folder(path)
    entries, notes = class_folders(listing, str(path), known)
    return Source(
        name=str(path),
        identity=digest_of_stats(path, listing.names) + entries_digest(entries),
        entries=entries,
        read=listing.read,
        read_mask=listing.read,
        notes=notes,
    )


def files_in(path: Path) -> list[str]:
    """Paths below a folder, sorted, without links and junk; a folder's path ends with "/"."""
    return list_folder(path).names


def list_folder(path: Path) -> Listing:
    """What lies below a folder, sorted.

    Raises:
        UserError: Too many files, or one that is a device, a pipe or a socket.
        OSError: A folder cannot be read.
    """
    names: list[str] = []
    links: list[str] = []
    hidden: list[str] = []
    for parent, folders, files in os.walk(path, onerror=_raise):
        for child in folders + files:
            place = Path(parent, child)
            name = place.relative_to(path).as_posix()
            kind = stat.S_IFMT(place.lstat().st_mode)
            ending = "/" if place.is_dir() else ""
            if is_junk(name):
                hidden += [] if ending else [name]
            elif kind == stat.S_IFLNK:
                links.append(name + ending)
            elif kind in SPECIAL:
                raise UserError(
                    f"'{name}' in '{path}' is {SPECIAL[kind]}: accepted are files, remove it"
                )
            else:
                names.append(name + ending)
        check_count(len(names), path)
    return Listing(
        names=sorted(names),
        read=partial(read_file, path),
        links=tuple(sorted(links)),
        hidden=tuple(sorted(hidden)),
    )


def _raise(error: OSError) -> None:
    raise error


def phantom_source(plan: phantoms.PhantomPlan) -> Source:
    """The phantoms of a plan; patients, families and copies are the plan's own truth."""
    table = phantoms.table(plan)
    table = table.assign(path=table["image_id"])
    row_of = {image_id: row for row, image_id in enumerate(table["image_id"])}
    drawn = cache(lambda size: phantoms.render_all(plan, size))
    drawing = threading.Lock()  # or every thread that reads would draw them all

    def draw(size: int) -> tuple[np.ndarray, np.ndarray]:
        with drawing:
            return drawn(size)

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


def _guessed_names(path: Path, names: Sequence[str]) -> tuple[str, ...]:
    """A note on names outside of ASCII whose encoding a zip archive does not tell, or none."""
    wanted = {name for name in names if not name.isascii()}
    if not wanted:
        return ()
    guessed = []
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            name = info.filename.replace("\\", "/")
            if name in wanted and not info.flag_bits & UTF8:
                guessed.append(name)
    if not guessed:
        return ()
    note = (
        f"{len(guessed):,} of {len(names):,} names in the archive do not tell their encoding, and "
        f"are read as cp437, such as '{guessed[0]}': if they look wrong, unpack it and name the "
        "folder"
    )
    return (in_one_line(note),)


def _check_complete(archive: zipfile.ZipFile, path: Path) -> None:
    """Whether as many files are found as the archive says: those of a damaged list would vanish."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL))
        tail = file.read()
    end = tail.rfind(b"PK\5\6")  # where zipfile, too, looks for the end of the list
    said = int.from_bytes(tail[end + 10 : end + 12], "little")
    found = len(archive.infolist())
    if said not in (MANY, found % (MANY + 1)):
        raise UserError(
            f"'{path}' says that it holds {said:,} files, and {found:,} are found: "
            "it is damaged, get the file again"
        )


def _check_names(archive: zipfile.ZipFile, path: Path) -> None:
    """No two members have one name: nobody could say which of them is meant."""
    counts = Counter(info.filename.replace("\\", "/") for info in archive.infolist())
    twice = [
        name
        for name, count in counts.items()
        if count > 1 and not (is_junk(name) or name.endswith("/"))
    ]
    if twice:
        raise UserError(f"'{path}' holds {in_words(twice)} more than once: pack it again")


def _check_member(name: str, info: zipfile.ZipInfo, archive: Path) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where no Unix system wrote the archive
    problems = {
        "has no name": not (steps_of(name) or name.endswith("/")),
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


def check_count(count: int, path: Path) -> None:
    """Refuse a source of more files than `MAX_ENTRIES`."""
    if count > MAX_ENTRIES:
        raise UserError(
            f"'{path}' holds over {MAX_ENTRIES:,} files, {count:,} or more: name a smaller set"
        )


def _check_size(size: int) -> None:
    if size > MAX_IMAGE_BYTES:
        raise ValueError(f"larger than {MAX_IMAGE_BYTES // 2**20} MB")


def special_kind(path: Path) -> str:
    """ "a device", "a pipe" or "a socket"; "" for all else, also for what is not there."""
    try:
        return SPECIAL.get(stat.S_IFMT(path.stat().st_mode), "")
    except (OSError, ValueError):  # a name with a zero byte
        return ""


def read_file(folder: Path, name: str, count: int = -1) -> bytes:
    """The bytes of a file below a folder, or its first ones.

    Raises:
        ValueError: It is no file, or too large.
        OSError: It cannot be read.
    """
    path = folder / name
    stats = path.stat()
    if not stat.S_ISREG(stats.st_mode):
        kind = SPECIAL.get(stat.S_IFMT(stats.st_mode), "a folder")
        raise ValueError(f"is {kind}, not a file")
    _check_size(stats.st_size)
    with path.open("rb") as file:  # some files of the system are longer than they say
        data = file.read(MAX_IMAGE_BYTES + 1 if count < 0 else count)
    _check_size(len(data))
    return data


def digest_of_stats(folder: Path, names: Sequence[str]) -> str:
    """Hash over name, size and modification time of the files among `names`."""
    found = []
    for name in names:
        path = folder / name
        if path.is_file():
            stats = path.stat()
            found.append((name, stats.st_size, stats.st_mtime_ns))
    return digest(found)
