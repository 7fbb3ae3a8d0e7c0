"""Tables that were saved as CSV, read again as they were written (all notebooks)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

__all__ = ["read_table"]


def read_table(path: Path, types: Mapping[str, type] | None = None) -> pd.DataFrame:
    """A table from its CSV; only an empty field is missing, since a class may be named "None".

    ``types`` are those of columns that pandas must not guess.
    """
    return pd.read_csv(path, dtype=types, keep_default_na=False, na_values=[""])
