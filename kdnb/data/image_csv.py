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
from kdnb.data.names import UNKNOWN_WORDS, join_spellings, key
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

NEEDED = ("path", "label")
OPTIONAL = ("patient", "split", "fold", "mask")  # columns beside them
# what programs write into an empty cell; no class
NO_LABEL = {"nan", "null", "<na>", "n/a", "#n/a"}
DOUBTFUL_LABELS = {"na", "none"}  # these may be classes; R writes NA into an empty cell
# other names of the column patient, as `key` gives them
PATIENT_COLUMNS = ("patient", "patientid", "subject", "subjectid", "case", "caseid")
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
    table, renamed = _whole_numbers(table, "label")
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
    if joined or renamed:
        identity += digest(table["label"].tolist())
    notes += [*renamed, *joined, *_doubtful_labels(table["label"])]
    notes += [*doubtful_patients(table), *_outside(table["path"], path)]
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
        lines = _check_fields(path)
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
    table, notes = _named_columns(table, path)
    table = table.map(str.strip)
    for column in ("path", "mask"):
        table[column], turned = _with_slashes(table[column], path.parent)
        notes += turned
    for column in ("mask", "split"):
        table, words = _known(table, column)
        notes += words
    _check_rows(table, path, lines)
    table, words = _known(table, "patient")
    notes += words
    table, renamed = _whole_numbers(table, "patient")
    notes += renamed
    table, words = _known(table, "fold")
    return table.assign(fold=table["fold"].map(_whole)), notes + words


def _named_columns(table: pd.DataFrame, path: Path) -> tuple[pd.DataFrame, list[str]]:
    """The columns path, label and `OPTIONAL`, "" where there is none; notes on all others.

    Raises:
        UserError: A needed column is missing, or two may be the same one.
    """
    notes = []
    chosen = _patient_column(table.columns, path)
    if chosen:
        table = table.rename(columns={chosen: "patient"})
        notes.append(f"the column '{chosen}' is taken as patient")
    for name in (*NEEDED, *OPTIONAL):
        spelt = [column for column in table.columns if key(column) == name]
        if name in spelt or not spelt:
            continue
        if len(spelt) > 1:
            raise UserError(
                f"'{path}' names the column {name} more than once ({', '.join(spelt)}): rename all "
                "but one"
            )
        table = table.rename(columns={spelt[0]: name})
        notes.append(f"the column '{spelt[0]}' is taken as {name}")
    lacking = [name for name in NEEDED if name not in table]
    if lacking:
        _check_separator(table.columns, path)
        raise UserError(
            f"'{path}' lacks the column {', '.join(lacking)}: found {', '.join(table.columns)}; "
            f"needed are path and label, accepted too {', '.join(OPTIONAL)}: rename the columns"
        )
    columns = [*NEEDED, *OPTIONAL]
    unused = [f"'{name}'" for name in table.columns if name not in columns and name.strip()]
    if unused:
        notes.append(
            f"columns that are not used: {', '.join(unused)}; accepted are {', '.join(columns)}"
        )
    return table.reindex(columns=columns, fill_value=""), notes


def _check_rows(table: pd.DataFrame, path: Path, lines: Sequence[int]) -> None:
    """Refuse a row without path or label, with an image that was named, or with another split.

    Args:
        table: The rows.
        path: Of their CSV, for messages.
        lines: Line of the file that each row ends in.
    """
    places = table["path"].map(lambda name: os.path.abspath(path.parent / name))
    no_part = table["split"].map(part_of) == ""
    no_label = table["label"].str.casefold().isin({"", *NO_LABEL})
    problems = {
        "lacks a path or a label": (table["path"] == "") | no_label,
        "names an image for the second time": places.duplicated(),
        "has a split other than train, val, test": no_part & (table["split"].map(key) != ""),
    }
    for problem, rows in problems.items():
        if not rows.any():
            continue
        place = int(np.flatnonzero(rows)[0])
        first = table.iloc[place]
        more = f"; {rows.sum():,} rows do" if rows.sum() > 1 else ""
        raise UserError(
            f"line {lines[place]} of '{path}' {problem} (path '{first['path']}', label "
            f"'{first['label']}', split '{first['split']}'){more}: mend or remove it"
        )


def _whole_numbers(table: pd.DataFrame, column: str) -> tuple[pd.DataFrame, list[str]]:
    """Labels or patients that are all whole numbers, without a point: 1.0 is 1, 01 stays.

    Programs write 1.0 where a column of numbers has empty cells. A note tells if any was so.
    """
    values = table[column]
    whole = values.str.replace(r"\.0+$", "", regex=True)
    changed = whole != values
    if not changed.any() or not whole[whole != ""].str.fullmatch(r"\d+").all():
        return table, []
    written = ", ".join(f"'{value}'" for value in sorted(set(values[changed]))[:3])
    note = (
        f"{changed.sum():,} of {len(table):,} {column}s are whole numbers with a point: {written}, "
        f"taken as '{whole[changed].iloc[0]}' and so on"
    )
    return table.assign(**{column: whole}), [note]


def _doubtful_labels(labels: pd.Series) -> list[str]:
    """Notes on labels that may stand for an empty cell."""
    doubtful = labels[labels.str.casefold().isin(DOUBTFUL_LABELS)]
    notes = []
    for label, count in doubtful.value_counts().sort_index().items():
        notes.append(
            f"{count:,} of {len(labels):,} images are of a class '{label}': "
            "if it stands for an empty cell, remove these rows"
        )
    return notes


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


def _check_fields(path: Path) -> list[int]:
    """The lines in which the rows end, if none has more fields than the header names.

    Pandas would drop these fields. Nor does it tell that a column is named twice.
    """
    lines = []
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file)
        header = next(rows, [])
        twice = [name for name in (*NEEDED, *OPTIONAL) if header.count(name) > 1]
        if twice:
            raise UserError(
                f"'{path}' names the column {', '.join(twice)} more than once: rename all but one"
            )
        for number, row in enumerate(rows, start=2):
            if len(row) > 1 or any(map(str.strip, row)):  # pandas leaves out blank lines, too
                lines.append(rows.line_num)
            if len(header) > 1 and any(field.strip() for field in row[len(header) :]):
                raise UserError(
                    f"row {number} of '{path}' has {len(row)} fields, the header names "
                    f"{len(header)}: name every column, or put a name with a comma into quotes"
                )
    return lines


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
