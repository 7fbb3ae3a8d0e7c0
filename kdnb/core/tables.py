"""Tables: read again as they were saved, and folded away where they are long (all notebooks)."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from IPython.display import HTML

__all__ = ["folded", "read_table"]


def folded(table: pd.DataFrame, title: str) -> HTML:
    """A table behind a line that opens it, for the end of a notebook cell.

    >>> folded(pd.DataFrame({"a": [1]}), "one < two").data.startswith("<details><summary>one &lt; ")
    True
    """
    return HTML(f"<details><summary>{html.escape(title)}</summary>{table.to_html()}</details>")


def read_table(path: Path, types: Mapping[str, type] | None = None) -> pd.DataFrame:
    """A table from its CSV; only an empty field is missing, since a class may be named "None".

    ``types`` are those of columns that pandas must not guess.
    """
    return pd.read_csv(path, dtype=types, keep_default_na=False, na_values=[""])
