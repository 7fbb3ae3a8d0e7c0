"""Tables: read again as they were saved; shown short, and folded where long (all notebooks)."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Iterable, Mapping
from functools import partial
from numbers import Real
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import HTML

from kdnb.core.errors import UserError
from kdnb.core.number_text import short
from kdnb.core.run_files import damaged

__all__ = [
    "OPEN_ROWS",
    "csv_text",
    "folded",
    "harmless",
    "paragraphs",
    "read_table",
    "read_text",
    "shown",
    "with_intervals",
    "write_text_table",
]

OPEN_ROWS = 12  # of a table that is not folded away

# what a spreadsheet may take for a formula; a number, or one with its interval, is none
FORMULA = re.compile(r"[=@\t\r]|[+-](?!(\d+\.?\d*(e[+-]?\d+)?|inf|nan)($| [\[(]))")

# columns that hold names of classes or images: text, also where all are named "1" or "True"
NAMES = (
    "class",
    "label",
    "true",
    "predicted",
    "answer",
    "images of",
    "absent",
    "test_label",
    "train_label",
    "original_label",
    "image_id",
    "test_id",
    "train_id",
)
NUMBER = r"-?(0|[1-9]\d*)(\.(0|\d*[1-9]))?(e[+-]\d+)?|-?inf"  # as pandas writes it

pd.set_option("display.html.use_mathjax", False)  # a class may be named "$a$"


def folded(table: pd.DataFrame, title: str) -> HTML:
    """A table behind a line that opens it, for the end of a notebook cell.

    >>> folded(pd.DataFrame({"a": [1]}), "one < two").data.startswith("<details><summary>one &lt; ")
    True
    """
    return HTML(f"<details><summary>{html.escape(title)}</summary>{table.to_html()}</details>")


def shown(table: pd.DataFrame, title: str = "", nothing: str = "Nothing is known here.") -> HTML:
    """A table for the end of a notebook cell: three significant digits, and no column of nothing.

    Rows and columns in which nothing is known are left out, and named below the table. A table of
    more than `OPEN_ROWS` rows is folded away behind its title.

    Args:
        table: Any.
        title: Of what it shows; obligatory where it may be long.
        nothing: Said in place of a table without any content.

    >>> shown(pd.DataFrame({"a": [float("nan")]}), nothing="No pairs.").data
    '<p>No pairs.</p>'
    """
    known = table.notna() & (table.astype(object) != "")
    rows = known.any(axis=1)
    columns = known.any(axis=0)
    if not rows.any():
        return HTML(f"<p>{html.escape(nothing)}</p>")
    text = table.loc[rows, columns].apply(_as_text)
    with pd.option_context("display.max_colwidth", None):
        body = f'<div style="overflow-x:auto">{text.to_html()}</div>'
    left_out = [_said(name) for name in [*table.index[~rows], *table.columns[~columns]]]
    if left_out:
        body += f"<p>Not known here: {html.escape('; '.join(dict.fromkeys(left_out)))}.</p>"
    if len(text) <= OPEN_ROWS:
        return HTML(body)
    summary = html.escape(title or f"a table of {len(text)} rows")
    return HTML(f"<details><summary>{summary}</summary>{body}</details>")


def _as_text(column: pd.Series) -> pd.Series:
    """A column as text; numbers that are all whole are written so."""
    known = column.dropna()
    if not all(isinstance(value, Real) and not isinstance(value, bool) for value in known):
        return column.astype(object).where(column.notna(), "–")
    known = known.astype(float)
    whole = np.isfinite(known).all() and (known == known.round()).all()
    texts = [short(int(value) if whole else float(value)) for value in known]
    return pd.Series(texts, index=known.index, dtype=object).reindex(column.index, fill_value="–")


def _said(name: object) -> str:
    return ", ".join(map(str, name)) if isinstance(name, tuple) else str(name)


def with_intervals(
    table: pd.DataFrame,
    value: str = "value",
    low: str = "low",
    high: str = "high",
    number: str = "z.2f",
) -> pd.Series:
    """Values with 95 % intervals as text; the value alone where none is known.

    Args:
        table: Has the three columns.
        value: Its column of values.
        low: That of the lower ends.
        high: That of the upper ends.
        number: Format of each number, such as "+z.3f" for differences.

    >>> with_intervals(pd.DataFrame({"value": [0.5], "low": [0.4], "high": [0.62]})).tolist()
    ['0.50 [0.40, 0.62]']
    """
    texts = []
    for middle, start, end in table[[value, low, high]].to_numpy(float):
        if pd.isna(middle):
            texts.append("")
        elif pd.isna(start):
            texts.append(format(middle, number))
        else:
            texts.append(f"{middle:{number}} [{start:{number}}, {end:{number}}]")
    return pd.Series(texts, index=table.index, name=value)


def paragraphs(texts: Iterable[str]) -> HTML:
    """Sentences as they are read in a book: one paragraph each, broken between words.

    >>> paragraphs(["a < b"]).data
    '<p class="tex2jax_ignore mathjax_ignore" style="max-width:45em">a &lt; b</p>'
    """
    start = '<p class="tex2jax_ignore mathjax_ignore" style="max-width:45em">'
    return HTML("".join(f"{start}{html.escape(text)}</p>" for text in texts))


def csv_text(table: pd.DataFrame, *, index: bool, float_format: str | None = "%.6g") -> str:
    """A table as CSV that a person may open in a spreadsheet: no name in it is run as a formula.

    Args:
        table: Any.
        index: Whether its index is written, too.
        float_format: Of floats; None: every digit.
    """
    write = partial(table.to_csv, index=index, float_format=float_format, lineterminator="\n")
    rows = list(csv.reader(io.StringIO(write(quoting=csv.QUOTE_ALL), newline="")))
    mended = [[harmless(field) for field in row] for row in rows]
    if mended == rows:
        return write()
    written = io.StringIO(newline="")
    csv.writer(written, lineterminator="\n").writerows(mended)
    return written.getvalue()


def harmless(text: str) -> str:
    """Text that a spreadsheet does not take for a formula, nor for two rows at a carriage return.

    >>> harmless("=1+1"), harmless("-2+3|x"), harmless("-0.2 [-0.3, -0.1]"), harmless("Right.")
    ("'=1+1", "'-2+3|x", '-0.2 [-0.3, -0.1]', 'Right.')
    """
    in_one_line = text.replace("\r", " ")
    return f"'{in_one_line}" if FORMULA.match(text.lstrip("'")) else in_one_line


def _as_it_was(text: object) -> object:
    """What `harmless` was given, but for carriage returns."""
    if isinstance(text, str) and text.startswith("'") and FORMULA.match(text.lstrip("'")):
        return text[1:]
    return text


def read_table(path: Path, types: Mapping[str, type] | type | None = None) -> pd.DataFrame:
    """A table from its CSV; only an empty field is missing, since a class may be named "None".

    Columns of names, such as "class", are text whatever they hold. Another column of numbers is
    text where one of them is not written as a program writes numbers: a name may be "001" or "1e5".

    Args:
        path: Of the CSV.
        types: Of more columns that are not to be guessed, or of all.

    Raises:
        UserError: It is no table; a spreadsheet may have written it anew.
    """
    given: dict[str, type] = dict.fromkeys(NAMES, str)
    if isinstance(types, Mapping):
        given |= types
    guessed = types is None or isinstance(types, Mapping)
    try:
        table = pd.read_csv(
            path, dtype=given if guessed else types, keep_default_na=False, na_values=[""]
        )
    except ValueError as error:  # of pandas' parser
        raise UserError(
            f"'{path}' is no table as it was written ({error}): "
            "make it again, by the notebook or command that writes it"
        ) from None
    texts = table.select_dtypes(["object", "string"]).columns
    table[texts] = table[texts].map(_as_it_was)
    table = table.rename(columns=_as_it_was)
    numbers = [name for name in table.select_dtypes("number") if name not in given]
    if not numbers:
        return table
    written = pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""])
    written.columns = table.columns
    for name in numbers:
        if not written[name].dropna().str.fullmatch(NUMBER).all():
            table[name] = written[name]
    return table


def read_text(path: Path) -> pd.DataFrame:
    """A table of a run, in which all is text and an empty field is "".

    Raises:
        DamagedRun: It is no table. That is only found of a run without hashes.
    """
    try:
        return pd.read_csv(
            path, dtype=str, keep_default_na=False, encoding_errors="surrogateescape"
        )
    except ValueError:  # of pandas' parser
        raise damaged(path.parent, f"{path.name} is no table") from None


def write_text_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as `read_text` reads it; names of files that are no UTF-8 keep their bytes."""
    rules = {"index": False, "lineterminator": "\n", "errors": "surrogateescape"}
    if table.select_dtypes(["object", "string"]).map(lambda text: "\r" in text).any(axis=None):
        rules["quoting"] = csv.QUOTE_ALL  # macOS names files "Icon\r"; a bare one ends a line
    table.to_csv(path, **rules)
