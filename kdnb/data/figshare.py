"""The figshare brain tumours, with folds and masks, from an archive or MATLAB files (01_data).

Jun Cheng, brain tumor dataset, figshare 2017, doi:10.6084/m9.figshare.1512427.v5. An archive has
``images.csv`` (number, path, label, fold, mask); the publisher's own download is MATLAB v7.3 files
``<number>.mat`` with ``cjdata``, and ``cvind.mat`` with the fold of each number.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.io import loadmat

from kdnb.core.errors import UserError
from kdnb.data.class_folders import Entry, entries_digest, patient_in_two_folds
from kdnb.data.file_kinds import IMAGE_ENDINGS, is_junk
from kdnb.data.sources import Source, digest_of_stats, file_hash, files_in, open_zip, read_file

__all__ = ["figshare_source"]

LIST = "images.csv"
COLUMNS = ("number", "path", "label", "fold", "mask")  # of images.csv; more are passed over
FOLDS = ("1", "2", "3", "4", "5")
FOLDS_FILE = "cvind.mat"
LABELS = {1: "meningioma", 2: "glioma", 3: "pituitary"}  # of cjdata.label


class Files(NamedTuple):
    """Files in a folder or in its zip archives, read in place."""

    place: str  #: where they are, for messages
    identity: str  #: changes when one of them changes
    read: Mapping[str, Callable[[], bytes]]  #: by name


def figshare_source(path: Path, known: Mapping[str, Any]) -> Source:
    """The set from an archive, that archive unpacked, or the publisher's MATLAB files.

    Args:
        path: A zip archive with ``images.csv``; or a folder with ``images.csv``, with ``.mat``
            files, or with zip archives of ``.mat`` files.
        known: The set's entry in the registry.

    Raises:
        UserError: no such archive or folder, or files that contradict its list.
    """
    files = _files(path)
    lists = [name for name in files.read if PurePosixPath(name).name == LIST]
    if lists:
        return _listed(files, min(lists, key=len), known)
    if _images(files):
        return _matlab(path, files, known)
    raise UserError(
        f"'{files.place}' lacks {LIST}: accepted are an archive with {LIST}, and a folder of the "
        "publisher's .mat files, or of zips of them"
    )


def _files(path: Path) -> Files:
    if not path.is_dir():
        return _archive(path)
    files = _folder(path)
    return files if LIST in files.read else _with_zips(path, files)


def _images(files: Files) -> list[str]:
    """Names of the ``.mat`` files of images."""
    names = [name for name in files.read if name.endswith(".mat")]
    return [name for name in names if PurePosixPath(name).name != FOLDS_FILE]


def _archive(path: Path) -> Files:
    names, read = open_zip(path)
    reading = {name: partial(read, name) for name in names if not is_junk(name)}
    return Files(place=path.name, identity=file_hash(path), read=reading)


def _folder(path: Path) -> Files:
    names = files_in(path)
    reading = {name: partial(read_file, path, name) for name in names if not name.endswith("/")}
    return Files(place=str(path), identity=digest_of_stats(path, names), read=reading)


def _with_zips(path: Path, files: Files) -> Files:
    """The files of a folder, and those in the zip archives below it."""
    reading = dict(files.read)
    for name in files.read:
        if name.casefold().endswith(".zip"):
            members, read = open_zip(path / name)
            for member in members:
                if not is_junk(member):
                    reading[f"{name}/{member}"] = partial(read, member)
    return files._replace(read=reading)


def _reader(reading: Mapping[str, Callable[[], bytes]]) -> Callable[[str], bytes]:
    """From a name to its bytes; ValueError for a name that is not there."""

    def read(name: str) -> bytes:
        if name not in reading:
            raise ValueError("is not there")
        return reading[name]()

    return read


def _listed(files: Files, list_name: str, known: Mapping[str, Any]) -> Source:
    """The images that ``images.csv`` lists; its paths start at its folder."""
    table = _read_list(files, list_name, known["classes"])
    folder = list_name.removesuffix(LIST)
    listed = set(folder + table["path"])
    masks = set(folder + table["mask"])
    tops = tuple({folder + path.partition("/")[0] for path in table["path"]})  # not that of masks
    there = {name for name in files.read if name.startswith(tops) and _is_image(name)} - masks
    if there != listed:
        example = sorted(there ^ listed)[0]
        raise UserError(
            f"'{files.place}' holds {len(there):,} images, and {LIST} lists {len(listed):,} "
            f"('{example}' is in one of both): get the archive again"
        )
    entries = []
    for row in table.itertuples(index=False):
        entry = Entry(
            image_id=f"{int(row.number):04}",
            path=folder + row.path,
            label=row.label,
            fold=row.fold,
            mask=folder + row.mask if row.mask else "",
        )
        entries.append(entry)
    read = _reader(files.read)
    return Source(
        name=files.place,
        identity=files.identity + entries_digest(entries),
        entries=sorted(entries),
        read=read,
        read_mask=read,
        notes=_lacking(len(entries), known),
    )


def _is_image(name: str) -> bool:
    return name.casefold().endswith(IMAGE_ENDINGS)


def _read_list(files: Files, list_name: str, classes: Sequence[str]) -> pd.DataFrame:
    """The table of ``images.csv``, str, with ``COLUMNS``; every row is checked."""
    try:
        data = io.BytesIO(files.read[list_name]())
        table = pd.read_csv(data, dtype=str, keep_default_na=False, index_col=False)
    except (ValueError, OSError) as error:  # pandas' parser and decoding errors are ValueErrors
        raise UserError(
            f"{LIST} of '{files.place}' cannot be read ({error}): get the archive again"
        ) from None
    lacking = [name for name in COLUMNS if name not in table]
    if lacking:
        raise UserError(
            f"{LIST} of '{files.place}' lacks the column {', '.join(lacking)}: "
            f"accepted are {', '.join(COLUMNS)}"
        )
    table = table[list(COLUMNS)].map(str.strip)
    allowed = {"label": sorted(classes), "fold": FOLDS}
    for column, accepted in allowed.items():
        wrong = ~table[column].isin(accepted)
        if wrong.any():
            row = wrong.idxmax()
            raise UserError(
                f"line {row + 2} of {LIST} in '{files.place}' has {column} "
                f"'{table[column][row]}': accepted are {', '.join(accepted)}"
            )
    problems = {
        "has a number that is none": ~table["number"].str.fullmatch("[0-9]{1,9}"),
        "has a number for the second time": table["number"].duplicated(),
        "names an image for the second time": table["path"].duplicated(),
    }
    for problem, rows in problems.items():
        if rows.any():
            line = rows.idxmax() + 2  # lines count from 1, and the first is the header
            raise UserError(
                f"line {line} of {LIST} in '{files.place}' {problem}: get the archive again"
            )
    return table


def _lacking(count: int, known: Mapping[str, Any]) -> tuple[str, ...]:
    """A note on how many of the published images are there, where some are not."""
    if count >= known["images"]:
        return ()
    return (f"{count:,} of the {known['images']:,} published images are there",)


def _matlab(path: Path, files: Files, known: Mapping[str, Any]) -> Source:
    """The publisher's own files; pixels are scaled to 8 bits by the brightest of each image."""
    folds, notes = _folds(files)
    entries = []
    for name, about in _told(path, files.identity).items():
        if len(folds) and about.number > len(folds):
            raise UserError(
                f"{FOLDS_FILE} of '{files.place}' tells {len(folds):,} folds, and there is an "
                f"image '{name}': get the files again"
            )
        entry = Entry(
            image_id=f"{about.number:04}",
            path=name,
            label=about.label,
            patient=about.patient,
            fold=str(folds[about.number - 1]) if len(folds) else "",
            mask=name if about.has_mask else "",
        )
        entries.append(entry)
    crossing = patient_in_two_folds(entries)
    if crossing is not None:
        patient, first, second = crossing
        notes.append(f"patient {patient} is in fold {first} and in fold {second}")
    notes.append("16-bit images are scaled to 8 bits by the brightest pixel of each")
    read = _reader(files.read)
    return Source(
        name=files.place,
        identity=files.identity + entries_digest(entries),
        entries=sorted(entries),
        read=lambda name: _image(read(name)),
        read_mask=lambda name: _mask(read(name)),
        notes=(*_lacking(len(entries), known), *notes),
    )


class About(NamedTuple):
    """What a ``.mat`` file tells of its image."""

    number: int
    label: str
    patient: str
    has_mask: bool


@lru_cache(maxsize=2)  # thousands of files are opened for it
def _told(path: Path, identity: str) -> dict[str, About]:
    """What each ``.mat`` file below a path tells, by name; the identity is the files' own."""
    files = _files(path)
    told = {}
    name_of: dict[int, str] = {}
    for name in _images(files):
        stem = PurePosixPath(name).stem
        try:
            if not stem.isdecimal() or int(stem) == 0:
                raise ValueError("is not named by its number from 1")
            about = _about(int(stem), files.read[name]())
        except UserError:
            raise
        except (ValueError, OSError) as error:
            raise UserError(f"'{name}' in '{files.place}' {error}: get the file again") from None
        first = name_of.setdefault(about.number, name)
        if first != name:
            raise UserError(f"'{first}' and '{name}' have the same number: remove one of them")
        told[name] = about
    return told


def _about(number: int, data: bytes) -> About:
    with _cjdata(data) as group:
        label = _values(group, "label").ravel()
        if len(label) != 1 or label[0] not in LABELS:
            shown = ", ".join(f"{value:g}" for value in label[:3])
            raise ValueError(f"has the label {shown}, accepted are 1, 2 and 3")
        codes = _values(group, "PID").ravel()  # of characters, uint16
        return About(
            number=number,
            label=LABELS[int(label[0])],
            patient="".join(chr(int(code)) for code in codes).strip("\0 "),
            has_mask="tumorMask" in group,
        )


@contextmanager
def _cjdata(data: bytes) -> Iterator[Any]:
    """The group ``cjdata`` of a MATLAB v7.3 file; ValueError where that is not to be had."""
    with _hdf5(data) as file:
        if "cjdata" not in file:
            raise ValueError(f"lacks cjdata: found {', '.join(file) or 'nothing'}")
        yield file["cjdata"]


@contextmanager
def _hdf5(data: bytes) -> Iterator[Any]:
    try:
        import h5py  # optional: only the publisher's own files need it
    except ImportError:
        raise UserError("MATLAB files need the package h5py: pip install h5py") from None
    try:
        file = h5py.File(io.BytesIO(data), "r")
    except OSError:
        raise ValueError("is no MATLAB v7.3 (HDF5) file") from None
    with file:
        yield file


def _values(group: Any, name: str) -> np.ndarray:
    """An array of an HDF5 group, as it is stored: MATLAB's transposed."""
    if name not in group:
        raise ValueError(f"lacks {name}: found {', '.join(group)}")
    try:
        return np.asarray(group[name])
    except (OSError, TypeError) as error:
        raise ValueError(f"has a damaged {name} ({error})") from None


def _image(data: bytes) -> bytes:
    """The image of a ``.mat`` file as an 8-bit PGM file, its brightest pixel 255."""
    with _cjdata(data) as group:
        image = _values(group, "image").T.astype(float)
    brightest = image.max(initial=0)
    if brightest > 0:
        image = image * (255 / brightest)
    return _pgm(np.rint(image.clip(0, 255)))


def _mask(data: bytes) -> bytes:
    """The mask of a ``.mat`` file as a PGM file of 0 and 255."""
    with _cjdata(data) as group:
        inside = _values(group, "tumorMask").T != 0
    return _pgm(inside * 255.0)


def _pgm(values: np.ndarray) -> bytes:
    """Values (H, W) in [0, 255] as a file: equal pixels are equal bytes."""
    if values.ndim != 2:
        raise ValueError(f"has {values.ndim} axes, accepted are 2")
    height, width = values.shape
    return b"P5 %d %d 255\n" % (width, height) + values.astype(np.uint8).tobytes()


def _folds(files: Files) -> tuple[list[int], list[str]]:
    """The fold of each number from 1 on, or a note that nobody told them."""
    names = [name for name in files.read if PurePosixPath(name).name == FOLDS_FILE]
    if not names:
        return [], [f"without {FOLDS_FILE}, the publisher's folds are unknown"]
    try:
        values = _fold_values(files.read[names[0]]())
    except UserError:
        raise
    except (ValueError, OSError) as error:
        raise UserError(f"'{names[0]}' in '{files.place}' {error}: get the file again") from None
    folds = [f"{value:g}" for value in values.ravel()]
    wrong = [fold for fold in folds if fold not in FOLDS]
    if wrong:
        raise UserError(
            f"'{names[0]}' in '{files.place}' has a fold {wrong[0]}: "
            f"accepted are {', '.join(FOLDS)}"
        )
    return [int(fold) for fold in folds], []


def _fold_values(data: bytes) -> np.ndarray:
    """``cvind``, from MATLAB v7.3 or an older version."""
    if data.startswith(b"MATLAB 5.0"):
        return np.asarray(loadmat(io.BytesIO(data))["cvind"])
    with _hdf5(data) as file:
        return _values(file, "cvind")
