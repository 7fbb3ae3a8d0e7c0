"""A picture with its alt text: shown, saved with provenance, put into reports (all notebooks)."""

import base64
import html
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from filelock import FileLock
from IPython.display import HTML
from matplotlib.figure import Figure
from PIL import Image

from kdnb.errors import UserError
from kdnb.runs import AS_IS, atomic_path, environment, read_json, write_json

__all__ = ["PALETTE", "Picture", "Results", "png_of", "png_uri", "show"]

# Okabe and Ito: safe for colour blindness
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
STYLE = {
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "axes.axisbelow": True,
    "font.size": 10,
    "figure.dpi": 110,
    "axes.prop_cycle": plt.cycler(color=PALETTE),
    "image.cmap": "cividis",
}
plt.rcParams.update(STYLE)


@dataclass(frozen=True)
class Picture:
    """A matplotlib figure, what it shows in words, and whether it shows pixels of the data."""

    figure: Figure
    alt: str
    pixels: bool = False


def png_uri(png: bytes) -> str:
    """A PNG as a ``data:`` address."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def png_of(picture: Picture) -> bytes:
    """The same bytes for the same figure.

    A chart in 256 colours is less than half as large and looks the same.
    """
    drawn = io.BytesIO()
    picture.figure.savefig(drawn, format="png", bbox_inches="tight")
    image = Image.open(drawn).convert("RGB")
    if not picture.pixels:
        image = image.quantize(256)
    small = io.BytesIO()
    image.save(small, format="png", optimize=True)
    return small.getvalue()


def show(picture: Picture, png: bytes | None = None) -> HTML:
    """The picture for the end of a notebook cell, with alt text; closes the figure.

    ``png`` is given if it is drawn already.
    """
    alt = html.escape(picture.alt)
    source = png_uri(png or png_of(picture))
    plt.close(picture.figure)
    return HTML(f'<img alt="{alt}" src="{source}" style="max-width:100%">')


@dataclass(frozen=True)
class Results:
    """A folder of tables (CSV) and pictures (PNG); ``manifest.json`` tells what made each file."""

    folder: Path
    parameters: dict[str, Any]  #: the settings that made them
    data: str  #: hash of the image set

    def table(self, name: str, table: pd.DataFrame, runs: list[str] | None = None) -> Path:
        """Save a table as ``name.csv`` (floats with 6 significant digits)."""
        named = any(table.index.names)
        text = table.to_csv(index=named, float_format="%.6g", lineterminator="\n")
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
        return pd.read_csv(self.folder / f"{name}.csv", **AS_IS)
