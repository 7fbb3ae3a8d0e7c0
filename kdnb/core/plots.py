"""Pictures with alt text, their style, and charts that several rooms share (all notebooks)."""

from __future__ import annotations

import base64
import html
import io
import itertools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.figure import Figure
from PIL import Image

from kdnb.core.errors import UserError
from kdnb.core.intervals import Difference, Interval
from kdnb.core.model_names import KD_STUDENT, LABEL_ONLY, TEACHER
from kdnb.core.number_text import short

__all__ = [
    "GREY",
    "MODEL_COLOURS",
    "MODEL_SHAPES",
    "PALETTE",
    "Picture",
    "bare",
    "colours_of",
    "draw_unsigned",
    "error_bars",
    "image_panels",
    "is_constant",
    "legend_once",
    "outline",
    "plain",
    "png_of",
    "png_uri",
    "say_nothing",
    "score_bars",
    "show",
    "show_folded",
    "silent_words",
]

# Okabe and Ito: safe for colour blindness
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
GREY = "#777777"  # of baselines, such as memory, and of lines to compare with
MODEL_COLOURS = {  # a network has the same colour in every chart; what learned from labels is green
    TEACHER: PALETTE[1],
    KD_STUDENT: PALETTE[0],
    "student": PALETTE[0],
    "KD": PALETTE[0],
    LABEL_ONLY: PALETTE[2],
    "labels": PALETTE[2],
    "labels alone": PALETTE[2],
    "untrained student": GREY,
}
MODEL_SHAPES = {TEACHER: "s", KD_STUDENT: "o", "student": "o", LABEL_ONLY: "D"}
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


def colours_of(names: Iterable[str]) -> dict[str, str]:
    """A colour for each line of a chart: that of its network, or one that no network has."""
    others = [colour for colour in PALETTE if colour not in MODEL_COLOURS.values()]
    free = itertools.cycle(others)
    return {name: MODEL_COLOURS.get(name) or next(free) for name in names}


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


def show_folded(picture: Picture, title: str) -> HTML:
    """The picture behind a line that opens it, for the end of a notebook cell."""
    shown = show(picture).data
    return HTML(f"<details><summary>{html.escape(title)}</summary>{shown}</details>")


def plain(text: object) -> str:
    """A name for a figure that is drawn as it is: matplotlib takes text between "$" for a formula.

    >>> print(plain("a$b$"))
    a\\$b\\$
    """
    return str(text).replace("$", r"\$")


def legend_once(axes: plt.Axes, columns: int, left: float = 0) -> None:
    """A legend above the axes that holds each name once, however often it is drawn.

    It begins at ``left`` of the axes' width.
    """
    handles, labels = axes.get_legend_handles_labels()
    named = dict(zip(labels, handles, strict=True))
    axes.legend(
        named.values(),
        named,
        frameon=False,
        ncols=columns,
        loc="lower left",
        bbox_to_anchor=(left, 1),
        fontsize=8,
    )


def error_bars(rows: pd.DataFrame, value: str, low: str = "low", high: str = "high") -> np.ndarray:
    """(2, N) how far the ends of intervals are from their values, below and above."""
    return np.abs(rows[[low, high]].to_numpy(float).T - rows[value].to_numpy(float))


def score_bars(
    scores: pd.DataFrame,
    reference: float | None = None,
    reference_name: str = "1-NN on raw pixels",
    label: str = "accuracy on the test part",
    grey: Collection[str] = (),
) -> Picture:
    """Values with 95 % intervals as dots with bars, one row per model; the leak meter as a line.

    ``scores`` has an index of models and columns value, low, high; ``label`` says what the values
    are. The line named ``reference_name`` stands at ``reference``; where that is 0, the values are
    differences. Rows named in ``grey`` are what the others are compared with.
    """
    figure, axes = plt.subplots(figsize=(7, 0.5 * len(scores) + 1.4))
    rows = np.arange(len(scores))
    bars = error_bars(scores, "value")
    for row, name in enumerate(scores.index):
        colour = GREY if name in grey else MODEL_COLOURS.get(name, PALETTE[0])
        value = scores["value"].iloc[row]
        axes.errorbar(value, row, xerr=bars[:, [row]], fmt="o", color=colour, capsize=4)
    above = {"textcoords": "offset points", "ha": "center", "fontsize": 9}
    behind = {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8}
    are_small = (scores["value"].abs() < 2).all()
    for row, value in enumerate(scores["value"]):
        text = f"{value:z.3f}" if are_small else short(float(value))
        axes.annotate(text, (value, row), xytext=(0, 7), bbox=behind, **above)
    line = ""
    if reference is not None:
        line = f" The line marks {reference_name}: {reference:.3f}."
        axes.axvline(reference, color=GREY, ls="--")
        axes.annotate(
            f"{reference_name} {reference:.3g}",
            (reference, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 4),
            color=GREY,
            **above,
        )
    shown = "95 % intervals"
    if scores["low"].isna().all():
        shown = "no intervals, for too few patients or seeds"
    axes.set(yticks=rows, yticklabels=scores.index.map(plain), ylim=(len(rows) - 0.4, -0.6))
    axes.set(xlabel=f"{label} ({shown})")
    columns = scores[["value", "low", "high"]]
    kind = Difference if reference == 0 else Interval
    said = "; ".join(f"{name} {kind(row)}" for name, row in columns.iterrows())
    return Picture(figure, f"{label[:1].upper()}{label[1:]} with {shown}: {said}.{line}")


def image_panels(
    images: np.ndarray,
    titles: Sequence[str],
    masks: np.ndarray | None,
    columns: Sequence[str],
    size: float = 1.6,
) -> tuple[Figure, np.ndarray]:
    """A figure and its axes (N, 1 + columns), the images drawn in the first column.

    Args:
        images: (N, S, S, 3) uint8.
        titles: N names, one beside each image.
        masks: (N, S, S), outlined on the images; None for none.
        columns: Headings of the columns to the right, which are left empty.
        size: Of a panel, inches; from 2 on the words are larger, too.
    """
    rows = len(images)
    across = 1 + len(columns)
    words = 8 if size < 2 else 10
    figsize = (size * across, (size + 0.15) * rows)
    figure, axes = plt.subplots(rows, across, figsize=figsize, squeeze=False)
    for panel in axes.flat:
        bare(panel)
    for row, title in enumerate(titles):
        axes[row, 0].imshow(images[row], interpolation="nearest")
        outline(axes[row, 0], None if masks is None else masks[row])
        axes[row, 0].set_ylabel(plain(title), fontsize=words)
    for column, name in enumerate(["image", *columns]):
        axes[0, column].set_title(plain(name), fontsize=words)
    for panel in axes[:, 1:].flat:  # as high as its neighbours, also where nothing is drawn
        panel.set_box_aspect(images.shape[1] / images.shape[2])
    figure.tight_layout(pad=0.4)
    return figure, axes


def bare(axes: plt.Axes) -> None:
    """Axes for pixels: no ticks, no frame, no grid."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.grid(False)


def say_nothing(axes: plt.Axes, why: str = "says nothing here") -> None:
    """Words in place of a map that is one value everywhere: its colours would say something."""
    style = {"ha": "center", "va": "center", "fontsize": 7, "color": "#333333"}
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    axes.text(0.5, 0.5, why, transform=axes.transAxes, bbox=box, **style)


def is_constant(values: np.ndarray) -> bool:
    """Whether a map is one value everywhere, but for the rounding of float32.

    Raises:
        UserError: If a value is NaN or infinity.

    >>> is_constant(np.full((2, 2), 0.3)), is_constant(np.eye(2))
    (True, False)
    """
    values = np.asarray(values)
    if not np.isfinite(values).all():
        raise UserError(
            "a map holds NaN or infinity, which no colour can show: check the weights, and that "
            "no refused explanation is drawn"
        )
    return bool(np.ptp(values) <= 1e-6 * np.abs(values).max(initial=0))


def draw_unsigned(axes: plt.Axes, values: np.ndarray) -> None:
    """Draw a map (H, W) without a sign, its range below it: dark is 0, or a least value below."""
    low = min(float(values.min()), 0.0)
    high = float(values.max())
    axes.imshow(values, cmap="cividis", vmin=low, vmax=high, interpolation="nearest")
    axes.set_xlabel(f"{low:.2g} to {high:.2g}", fontsize=7)


def silent_words(names: Sequence[str]) -> str:
    """The end of an alt text: which maps say nothing, or "".

    >>> silent_words(["conv1 of a"])
    ' One value everywhere, and so nothing: conv1 of a.'
    """
    return f" One value everywhere, and so nothing: {', '.join(names)}." if names else ""


def outline(
    axes: plt.Axes,
    mask: np.ndarray | None,
    extent: tuple[float, float, float, float] | None = None,
    colour: str = "white",
) -> None:
    """A line around what a mask (S, S) marks, where it says anything.

    ``extent`` is that of the image below it: left, right, bottom, top; None where it is in pixels.
    """
    if mask is None or mask.all() or not mask.any():
        return
    values = mask.astype(float)
    style = {"levels": [0.5], "colors": colour, "linewidths": 0.8}
    if extent is None:
        axes.contour(values, **style)
        return
    left, right, bottom, top = extent
    height, width = mask.shape
    x = left + (np.arange(width) + 0.5) * (right - left) / width
    y = top + (np.arange(height) + 0.5) * (bottom - top) / height
    axes.contour(x, y, values, **style)
