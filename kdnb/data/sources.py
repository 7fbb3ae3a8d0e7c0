"""Sources of images: zip archive, folder, CSV, phantoms; checked before an image is read (01_data)."""

import hashlib
import os
import stat
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kdnb import phantoms
from kdnb.data.layout import PARTS, Entry, class_folders, is_junk, key
from kdnb.errors import UserError
from kdnb.runs import digest

__all__ = ["Source", "csv_source", "file_hash", "folder_source", "phantom_source", "zip_source"]

MAX_ENTRIES = 200_000
MAX_IMAGE_BYTES = 64 * 2**20  # one image, uncompressed
MAX_GROWTH = 100  # bytes per byte of archive; photographs hardly shrink, a bomb grows a thousandfold


@dataclass(frozen=True)
class Source:
    """Where images come from."""

    name: str  # for messages
    identity: str  # changes when the content changes; cheap to compute
    entries: list[Entry]
    read: Callable[[str], bytes]  # path to bytes; ValueError or OSError where that fails
    draw: Callable[[int], tuple[np.ndarray, np.ndarray]] | None = None  # phantoms: size to pixels, masks


def zip_source(path: Path, known: Mapping[str, Any]) -> Source:
    """Class folders in a zip archive that is safe to use; images are read in place, nothing is unpacked."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise UserError(f"'{path}' is not a zip archive, or was cut short ({error}): get the file again") from None
    _check_count(len(archive.infolist()), path)
    members = {info.filename.replace("\\", "/"): info for info in archive.infolist()}
    for name, info in members.items():
        _check_member(name, info, path)
    size, packed = sum(info.file_size for info in members.values()), path.stat().st_size
    if size > max(MAX_GROWTH * packed, MAX_IMAGE_BYTES):
        raise UserError(f"'{path}' would grow from {packed:,} to {size:,} bytes: a zip bomb? Do not use this file")

    def read(name: str) -> bytes:
        _check_size(members[name].file_size)  # zipfile never unpacks more than this declared size
        try:
            return archive.read(members[name])
        except Exception as error:  # zlib, CRC and codec errors share no base class
            raise ValueError(f"cannot be unpacked ({error})") from None

    entries = class_folders(list(members), path.name, known)  # the registry has a say in them
    return Source(path.name, file_hash(path) + digest(entries), entries, read)


def folder_source(path: Path, known: Mapping[str, Any]) -> Source:
    """Class folders on disk; links are passed over. Identity: paths, sizes and modification times."""
    names: list[str] = []
    for folder, below, files in os.walk(path):
        inside = [Path(folder, name) for name in below + files if not Path(folder, name).is_symlink()]
        names += [p.relative_to(path).as_posix() + "/" * p.is_dir() for p in inside]
        _check_count(len(names), path)
    names = sorted(name for name in names if not is_junk(name))
    entries = class_folders(names, str(path), known)
    return Source(str(path), _stats(path, names) + digest(entries), entries, partial(_read_file, path))


def csv_source(path: Path) -> Source:
    """Images in a CSV with columns path, label and maybe patient, split; paths start at its folder."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", index_col=False)
    except ValueError as error:  # pandas' parser and decoding errors
        raise UserError(f"'{path}' is no readable CSV ({error}): accepted is UTF-8 with a header") from None
    if lacking := [name for name in ("path", "label") if name not in table]:
        raise UserError(f"'{path}' lacks the column {', '.join(lacking)}: found {', '.join(table.columns)}; "
                        "accepted are path, label and optionally patient, split")  # fmt: skip
    table = table.reindex(columns=["path", "label", "patient", "split"], fill_value="").map(str.strip)
    for problem, rows in {
        "lacks a path or a label": (table["path"] == "") | (table["label"] == ""),
        "names an image for the second time": table["path"].duplicated(),
        "has a split other than train, val, test": ~table["split"].map(key).isin([*PARTS, ""]),
    }.items():
        if rows.any():
            raise UserError(f"line {rows.idxmax() + 2} of '{path}' {problem}: mend or remove it")
    entries = [Entry(image, image, label, PARTS.get(key(split), ""), patient)
               for image, label, patient, split in table.itertuples(index=False)]  # fmt: skip
    identity = file_hash(path) + _stats(path.parent, table["path"])
    return Source(path.name, identity, sorted(entries), partial(_read_file, path.parent))


def phantom_source(plan: phantoms.PhantomPlan) -> Source:
    """The phantoms of a plan; patients, families and copies are the plan's own truth."""
    table = phantoms.table(plan).assign(path=lambda t: t["image_id"])
    row = {image_id: number for number, image_id in enumerate(table["image_id"])}
    draw = cache(lambda size: phantoms.render_all(plan, size))
    entries = [Entry(*values) for values in table[list(Entry._fields)].itertuples(index=False)]

    def read(name: str) -> bytes:  # a PPM file: equal pixels are equal bytes
        return b"P6 64 64 255\n" + draw(64)[0][row[name]].tobytes()

    return Source(f"phantom_{plan.family}", repr(plan), entries, read, draw)


def file_hash(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_member(name: str, info: zipfile.ZipInfo, archive: Path) -> None:
    for problem, found in {
        "is a link or a special file": stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR),
        "is an absolute path": name.startswith("/") or name[1:2] == ":",
        "leads out of the archive": ".." in name.split("/"),
        "is locked with a password": info.flag_bits & 1,
    }.items():
        if found:
            raise UserError(f"'{name}' in '{archive}' {problem}: accepted are plain files inside the archive")


def _check_count(count: int, path: Path) -> None:
    if count > MAX_ENTRIES:
        raise UserError(f"'{path}' holds over {MAX_ENTRIES:,} files, {count:,} or more: name a smaller set")


def _check_size(size: int) -> None:
    if size > MAX_IMAGE_BYTES:
        raise ValueError(f"larger than {MAX_IMAGE_BYTES // 2**20} MB")


def _read_file(folder: Path, name: str) -> bytes:
    _check_size((folder / name).stat().st_size)
    return (folder / name).read_bytes()


def _stats(folder: Path, names: Sequence[str]) -> str:
    found = [(name, (folder / name).stat()) for name in names if (folder / name).is_file()]
    return digest([(name, stats.st_size, stats.st_mtime_ns) for name, stats in found])
