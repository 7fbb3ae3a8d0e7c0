"""The folder of a study's tables, pictures and answers, and what made each (all notebooks)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock
from IPython.display import HTML

from kdnb.core.answers import QUESTIONS, Answer
from kdnb.core.errors import UserError
from kdnb.core.plots import Picture, png_of, show
from kdnb.core.provenance import environment
from kdnb.core.runs import atomic_path, read_json, write_json
from kdnb.core.tables import csv_text, read_table

__all__ = ["Results"]


@dataclass(frozen=True)
class Results:
    """A folder of tables (CSV), pictures (PNG) and answers (JSON).

    ``manifest.json`` tells what made each file.
    """

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

    def answer(
        self,
        notebook: str,
        text: str,
        *,
        sure: str,
        figure: str = "",
        question: str = "",
        runs: list[str] | None = None,
    ) -> HTML:
        """Save the answer of a notebook for the report, and return it for display.

        It lies in ``<notebook>_answer.json``. The words are shown as they are: no markup.

        Args:
            notebook: Its number, "01" to "07".
            text: The answer, in one to three sentences made from this study's numbers.
            sure: One sentence on how sure it is: the interval, the patients, the seeds.
            figure: Name of the saved picture that shows it, such as "03_accuracy"; empty for none.
            question: What was asked; empty for the notebook's question in the report.
            runs: Ids of the runs that the numbers come from.

        Raises:
            ValueError: If the notebook is unknown, words are missing, or no such picture was saved.
        """
        if notebook not in QUESTIONS:
            raise ValueError(f"notebook must be one of {', '.join(QUESTIONS)}, got {notebook!r}")
        if not text.strip() or not sure.strip():
            raise ValueError(f"text and sure must hold words, got {text!r} and {sure!r}")
        if figure and not (self.folder / f"{figure}.png").is_file():
            raise ValueError(f"figure must be a picture saved before, got {figure!r}")
        answer = Answer(
            question=question or QUESTIONS[notebook], text=text, sure=sure, figure=figure
        )
        content = json.dumps(answer.record, ensure_ascii=False, indent=1).encode()
        self._save(f"{notebook}_answer.json", content, {"alt": "", "pixels": False}, runs)
        return HTML(answer.html())

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
