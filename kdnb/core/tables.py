"""Tables: read again as they were saved, and folded away where they are long (all notebooks)."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pandas as pd
from IPython.display import HTML

from kdnb.core.errors import UserError
from kdnb.core.run_files import damaged

__all__ = ["csv_text", "folded", "harmless", "read_table", "read_text"]

# what a spreadsheet may take for a formula; a number, or one with its interval, is none
FORMULA = re.compile(r"[=@\t\r]|[+-](?!(\d+\.?\d*(e[+-]?\d+)?|inf|nan)($| [\[(]))")

# columns that hold names of classes or images: text, also where all are named "1" or "True"
NAMES = (
    ("class", "label", "true", "predicted", "answer", "images of", "absent")
    + ("test_label", "train_label", "original_label")
    + ("image_id", "test_id", "train_id")
)
NUMBER = r"-?(0|[1-9]\d*)(\.(0|\d*[1-9]))?(e[+-]\d+)?|-?inf"  # as pandas writes it

pd.set_option("display.html.use_mathjax", False)  # a class may be named "$a$"


def folded(table: pd.DataFrame, title: str) -> HTML:
    """A table behind a line that opens it, for the end of a notebook cell.

    >>> folded(pd.DataFrame({"a": [1]}), "one < two").data.startswith("<details><summary>one &lt; ")
    True
    """
    return HTML(f"<details><summary>{html.escape(title)}</summary>{table.to_html()}</details>")


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
    """Text that a spreadsheet does not take for a formula, nor for two lines.

    >>> harmless("=1+1"), harmless("-2+3|x"), harmless("-0.2 [-0.3, -0.1]"), harmless("Right.")
    ("'=1+1", "'-2+3|x", '-0.2 [-0.3, -0.1]', 'Right.')
    """
    in_one_line = text.replace("\r", " ")
    return f"'{in_one_line}" if FORMULA.match(text) else in_one_line


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
    numbers = [name for name in table.select_dtypes("number") if name not in given]
    if not numbers:
        return table
    written = pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""])
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
