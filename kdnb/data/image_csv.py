"""A CSV of images: its columns, and what it says of patients, taken with care (01_data)."""

from __future__ import annotations

import csv
import os
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from kdnb.core.errors import UserError, in_one_line
from kdnb.core.runs import digest
from kdnb.data.class_folders import Entry, patient_in_two_folds
from kdnb.data.names import join_spellings, key
from kdnb.data.part_folders import part_of
from kdnb.data.sources import (
    Source,
    check_count,
    digest_of_stats,
    file_hash,
    read_file,
    special_kind,
)

__all__ = ["csv_source", "doubtful_patients"]

OPTIONAL = ("patient", "split", "fold", "mask")  # columns beside path and label
# other names of the column patient, as `key` gives them
PATIENT_COLUMNS = ("patient", "patientid", "subject", "subjectid", "case", "caseid")
UNKNOWN_WORDS = {  # of a patient or fold, in small letters
    "not known",
    "not available",
    "unknown",
    "unk",
    "missing",
    "unbekannt",
    "inconnu",
    "anonymous",
    "anonymised",
    "anonymized",
    "n/a",
    "#n/a",
    "n.a.",
    "na",
    "nan",
    "none",
    "null",
    "nil",
    "k.a.",
    "-",
    "--",
    "?",
    "??",
}
FEW_IMAGES = 10  # of a set in which any share of a patient is plausible
LARGE_SHARE = 0.2  # of the images that a patient may hold without a note
LARGE_TIMES = 5  # and how many times as many as the median of the others


def csv_source(path: Path) -> Source:
    """Images in a CSV with the columns path and label; paths start at its folder.

    It may also tell patient, split, fold (a publisher's, that keeps patients apart) and mask (the
    path of an image's mask). What is guessed of patients, and what is doubtful, is in the notes.

    Raises:
        UserError: no such CSV, or a row that says what it should not.
    """
    table, notes = _read_csv(path)
    check_count(len(table), path)
    spelling, joined = join_spellings(table["label"])
    table = table.assign(label=table["label"].map(spelling))
    entries = [
        Entry(
            image_id=row.path,
            path=row.path,
            label=row.label,
            published_split=part_of(row.split),
            patient=row.patient,
            fold=row.fold,
            mask=row.mask,
        )
        for row in table.itertuples(index=False)
    ]
    crossing = patient_in_two_folds(entries)
    if crossing is not None:
        patient, first, second = crossing
        raise UserError(
            f"'{path}' has patient '{patient}' in fold '{first}' and in fold '{second}': "
            "a fold keeps patients apart, so mend the column patient or fold"
        )
    masks = table["mask"][table["mask"] != ""]
    _check_special([*table["path"], *masks], path)
    read = partial(read_file, path.parent)
    identity = file_hash(path) + digest_of_stats(path.parent, [*table["path"], *masks])
    if notes:  # the patients are not what stands in a column of that name
        identity += digest(table["patient"].tolist())
    if joined:
        identity += digest(table["label"].tolist())
    notes += [*joined, *doubtful_patients(table), *_outside(table["path"], path)]
    return Source(
        name=path.name,
        identity=identity,
        entries=sorted(entries),
        read=read,
        read_mask=read,
        notes=tuple(map(in_one_line, notes)),
    )


def _read_csv(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """The rows of a CSV of images, str: path, label and the columns of ``OPTIONAL``; and notes."""
    try:
        _check_fields(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pd.errors.ParserWarning)  # of empty fields at the end
            table = pd.read_csv(
                path, dtype=str, keep_default_na=False, encoding="utf-8-sig", index_col=False
            )
    except UserError:
        raise
    except (ValueError, csv.Error) as error:  # pandas' parser and decoding errors
        raise UserError(
            f"'{path}' is no readable CSV ({error}): accepted is UTF-8 with a header, "
            "in spreadsheets 'CSV UTF-8 (comma delimited)'"
        ) from None
    lacking = [name for name in ("path", "label") if name not in table]
    if lacking:
        _check_separator(table.columns, path)
        raise UserError(
            f"'{path}' lacks the column {', '.join(lacking)}: found {', '.join(table.columns)}; "
            f"needed are path and label, accepted too {', '.join(OPTIONAL)}: rename the columns"
        )
    notes = []
    chosen = _patient_column(table.columns, path)
    if chosen:
        table = table.rename(columns={chosen: "patient"})
        notes.append(f"the column '{chosen}' is taken as patient")
    columns = ["path", "label", *OPTIONAL]
    table = table.reindex(columns=columns, fill_value="").map(str.strip)
    for column in ("path", "mask"):
        table[column], turned = _with_slashes(table[column], path.parent)
        notes += turned
    no_part = table["split"].map(part_of) == ""
    problems = {
        "lacks a path or a label": (table["path"] == "") | (table["label"] == ""),
        "names an image for the second time": table["path"].map(os.path.normpath).duplicated(),
        "has a split other than train, val, test": no_part & (table["split"].map(key) != ""),
    }
    for problem, rows in problems.items():
        if rows.any():
            line = rows.idxmax() + 2  # lines count from 1, and the first is the header
            raise UserError(f"line {line} of '{path}' {problem}: mend or remove it")
    table, words = _known(table, "patient")
    notes += words
    table, words = _known(table, "fold")
    return table.assign(fold=table["fold"].map(_whole)), notes + words


def _with_slashes(names: pd.Series, home: Path) -> tuple[pd.Series, list[str]]:
    """Paths as Windows writes them with "/", unless something has the name as it is written."""
    written_so = names.str.contains("\\", regex=False)
    windows = written_so & ~names.map(lambda name: os.path.exists(home / name))
    if not windows.any():
        return names, []
    some = ", ".join(names[windows][:3])
    note = (
        f"{windows.sum():,} of {len(names):,} paths have backslashes, which are read as '/': {some}"
    )
    return names.mask(windows, names.str.replace("\\", "/", regex=False)), [note]


def _check_special(paths: Sequence[str], path: Path) -> None:
    """Refuse a device, a pipe or a socket before anything of it is read."""
    for name in paths:
        kind = special_kind(path.parent / name)
        if kind:
            raise UserError(
                f"'{path}' names '{name}', which is {kind}: accepted are files of images"
            )


def _outside(names: pd.Series, path: Path) -> list[str]:
    """A note on images that lie outside of the folder of their CSV: they are read all the same."""
    home = os.path.abspath(path.parent)
    places = names.map(lambda name: os.path.abspath(os.path.join(home, name)))
    out = names[~places.str.startswith(os.path.join(home, ""))]
    if out.empty:
        return []
    some = ", ".join(out[:3])
    return [
        f"{len(out):,} of {len(names):,} images lie outside of the CSV's folder, and are read from "
        f"there: {some}"
    ]


def _check_fields(path: Path) -> None:
    """Whether a row has more fields than the header names: pandas would drop them.

    Nor does it tell that a column is named twice.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file)
        header = next(rows, [])
        twice = [name for name in ("path", "label", *OPTIONAL) if header.count(name) > 1]
        if twice:
            raise UserError(
                f"'{path}' names the column {', '.join(twice)} more than once: rename all but one"
            )
        for number, row in enumerate(rows, start=2):
            if len(header) > 1 and any(field.strip() for field in row[len(header) :]):
                raise UserError(
                    f"row {number} of '{path}' has {len(row)} fields, the header names "
                    f"{len(header)}: name every column, or put a name with a comma into quotes"
                )


def _check_separator(columns: Sequence[str], path: Path) -> None:
    """A header in one piece has another separator than the comma, as Excel writes in some lands."""
    for separator, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if len(columns) == 1 and separator in columns[0]:
            raise UserError(
                f"'{path}' separates its columns by {name}: save it with commas, "
                "as 'CSV UTF-8 (comma delimited)'"
            )


def _patient_column(columns: Sequence[str], path: Path) -> str:
    """The column that tells the patient under another name; "" where one is named patient, or none.

    Raises:
        UserError: Two columns may tell it.
    """
    found = [name for name in columns if key(name) in PATIENT_COLUMNS]
    if "patient" in found or not found:
        return ""
    if len(found) > 1:
        raise UserError(
            f"'{path}' has the columns {', '.join(found)}, and each may tell the patient: "
            "rename the right one to patient"
        )
    return found[0]


def _known(table: pd.DataFrame, column: str) -> tuple[pd.DataFrame, list[str]]:
    """The table with "" where a word says that nobody knows a patient or fold; a note counts them.

    The words are those of `UNKNOWN_WORDS`, in any case, also in brackets or quotation marks.
    """
    word = table[column].str.strip("<>()[]{}'\" ").str.casefold()
    unknown = word.isin(UNKNOWN_WORDS)
    if not unknown.any():
        return table, []
    words = ", ".join(f"'{one}'" for one in sorted(set(table[column][unknown])))
    note = (
        f"{unknown.sum():,} of {len(table):,} images name {words} as their {column}, "
        "which is taken as unknown"
    )
    return table.assign(**{column: table[column].mask(unknown, "")}), [note]


def _whole(fold: str) -> str:
    """A whole number without a point, as pandas writes one where others are empty, or zeros.

    >>> [_whole(fold) for fold in ("2.0", "02", "0", "2.5", "b", "")]
    ['2', '2', '0', '2.5', 'b', '']
    """
    whole, _, rest = fold.partition(".")
    return str(int(whole)) if whole.isdecimal() and not rest.strip("0") else fold


def doubtful_patients(table: pd.DataFrame) -> list[str]:
    """Notes on patients that may be none, or one: a large share of a set, several classes, names.

    A share is large above 20 % of at least 10 images, if it is also five times the median of the
    other patients.

    Args:
        table: Columns patient ("" is unknown) and label.

    >>> rows = pd.DataFrame({"patient": ["x"] * 9 + ["p", "q", "r"], "label": "a"})
    >>> doubtful_patients(rows)
    ["patient 'x' holds 9 of 12 images: a patient that nobody knows is an empty cell"]
    """
    known = table[table["patient"] != ""]
    counts = known["patient"].value_counts()
    notes = []
    large = counts[counts > LARGE_SHARE * len(table)]
    for name, count in large.items():
        others = counts.drop(name)
        of_others = np.median(others) if len(others) else 0
        if len(table) >= FEW_IMAGES and count >= LARGE_TIMES * of_others:
            notes.append(
                f"patient '{name}' holds {count:,} of {len(table):,} images: "
                "a patient that nobody knows is an empty cell"
            )
    notes += _alike(counts.index)
    classes = known.groupby("patient")["label"].nunique()
    several = classes.index[classes > 1]
    if len(several):
        some = ", ".join(f"'{name}'" for name in several[:3])
        notes.append(
            f"{len(several):,} of {len(classes):,} patients are in several classes ({some}): "
            "the same name must mean the same person in each"
        )
    return notes


def _alike(names: pd.Index) -> list[str]:
    """A note on patients whose names differ in case alone, or as 1 and 1.0 do."""
    same = names.to_series().groupby(names.str.casefold().str.replace(r"\.0+$", "", regex=True))
    pairs = [" and ".join(f"'{name}'" for name in sorted(one)) for _, one in same if len(one) > 1]
    if not pairs:
        return []
    more = f" and {len(pairs) - 3:,} more" if len(pairs) > 3 else ""
    return [
        f"patients of nearly the same name: {', '.join(pairs[:3])}{more}; "
        "if they are one person, write one name"
    ]
