"""The folder of a study's tables and pictures; a manifest says what made each (all notebooks)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock
from IPython.display import HTML

from kdnb.core.errors import UserError
from kdnb.core.plots import Picture, png_of, show
from kdnb.core.runs import atomic_path, environment, read_json, write_json
from kdnb.core.tables import csv_text, read_table

__all__ = ["Results"]


@dataclass(frozen=True)
class Results:
    """A folder of tables (CSV) and pictures (PNG); ``manifest.json`` tells what made each file."""

    folder: Path
    parameters: dict[str, Any]  #: the settings that made them
    data: str  #: hash of the image set

    def table(self, name: str, table: pd.DataFrame, runs: list[str] | None = None) -> Path:
        """Save a table as ``name.csv`` (floats with 6 significant digits, no formulae)."""
        text = csv_text(table, index=any(table.index.names))
        return self._save(f"{name}.csv", text.encode(), {"alt": "", "pixels": False}, runs)

    def picture(self, name: str, picture: Picture, runs: list[str] | None = None) -> HTML:
        """Save a picture as ``name.png`` and return it for display."""
        png = png_of(picture)
        self._save(f"{name}.png", png, {"alt": picture.alt, "pixels": picture.pixels}, runs)
        return show(picture, png)

    def _save(
        self, name: str, content: bytes, facts: dict[str, Any], runs: list[str] | None
    ) -> Path:
        """Write a file, and into the manifest what made it."""
        place = self.folder / name
        manifest = self.folder / "manifest.json"
        try:
            with atomic_path(place) as path:
                path.write_bytes(content)
        except OSError as error:
            raise UserError(
                f"'{place}' cannot be written ({error.strerror}): choose another runs_dir"
            ) from None
        with FileLock(self.folder / ".manifest.lock"):
            known = read_json(manifest) if manifest.is_file() else {}
            known[name] = {
                **facts,
                "order": known.get(name, {}).get("order", len(known)),
                "runs": runs or [],
                "parameters": self.parameters,
                "data": self.data,
                "commit": environment()["commit"],
                "kdnb": environment()["kdnb"],
            }
            write_json(manifest, known)
        return place

    def has(self, name: str) -> bool:
        """Whether an earlier step saved a table of this name."""
        return (self.folder / f"{name}.csv").is_file()

    def load(self, name: str) -> pd.DataFrame:
        """A table that an earlier step saved."""
        return read_table(self.folder / f"{name}.csv")
