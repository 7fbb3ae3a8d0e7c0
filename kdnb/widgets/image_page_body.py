"""The page of one image in HTML: words, a table of few columns, pictures of channels (04)."""

from __future__ import annotations

import html
import io
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from matplotlib import colormaps
from PIL import Image
from torch import Tensor, nn

from kdnb.core.plots import png_uri
from kdnb.feature_maps.layer_report import ImageReport
from kdnb.training.taps import logits_and_taps

__all__ = ["channel_pictures", "image_picture", "page_body"]

COLUMNS = {  # of the report's table → heading; the others are folded away
    "tap": "layer",
    "cells": "cells",
    "field": "each sees, px",
    "probe_says": "a probe reads",
    "probe_probability": "p",
    "supporting": "for the answer",
    "opposing": "against it",
    "bias": "bias",
    "logit": "together",
    "inside": "inside the mask",
    "drop": "p lost without its strongest channels",
}
SIDE = 96  # px of a channel's picture
SEEN = 192  # px of the picture of the image itself
BODY_STYLE = (
    "table { border-collapse: collapse; font-variant-numeric: tabular-nums; } "
    "th, td { padding: 4px 10px 4px 0; text-align: right; border-bottom: 1px solid #e0e0e0; } "
    "td { white-space: nowrap; } th:first-child, td:first-child { text-align: left; } "
    ".scroll { overflow-x: auto; } summary { cursor: pointer; margin: 8px 0; } "
    ".note { border-left: 4px solid #b35900; padding: 6px 12px; background: #fff7ef; } "
    "figure.channels { display: flex; flex-wrap: wrap; gap: 12px; margin: 8px 0 24px; } "
    "figure.channels figure { width: 150px; margin: 0; font-size: 12px; color: #616161; } "
    "figure.seen { margin: 8px 0; font-size: 12px; color: #616161; } "
    "figure.channels img, figure.seen img { display: block; image-rendering: pixelated; }"
)


def page_body(
    report: ImageReport,
    worth: Sequence[str],
    seen: str,
    pictures: Mapping[str, str],
    warning: str,
) -> str:
    """The page above the widget, as HTML.

    Args:
        report: Of the image.
        worth: What the answer is worth, in sentences.
        seen: HTML of the image, beside the answer.
        pictures: Tap → HTML of its channels.
        warning: Stands first.
    """
    summary, *paragraphs = report.sentences
    parts = [
        f"<style>{BODY_STYLE}</style>",
        f'<p class="note"><strong>{_text(warning)}</strong></p>',
    ]
    parts.append(f"<h2>The answer</h2>{seen}<p>{_text(summary)}</p>")
    parts.append("<h2>What it is worth</h2>")
    parts += [f"<p>{_text(sentence)}</p>" for sentence in worth]
    parts.append(f"<h2>Layer by layer</h2>{_tables(report.table)}")
    for tap, paragraph in zip(report.table["tap"], paragraphs, strict=True):
        parts.append(f"<p>{_text(paragraph)}</p>{pictures.get(tap, '')}")
    parts.append("<h2>To look at closely</h2>")
    return "\n".join(parts)


def image_picture(pixels: np.ndarray) -> str:
    """HTML of an image (S, S, 3) uint8 as the student sees it."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    said = f"The image as the student sees it, {len(pixels)} × {len(pixels)} px"
    return (
        f'<figure class="seen"><img alt="{said}" width="{SEEN}" height="{SEEN}" '
        f'src="{png_uri(file.getvalue())}">{said}</figure>'
    )


def channel_pictures(student: nn.Module, image: Tensor, table: pd.DataFrame) -> dict[str, str]:
    """Tap → HTML with a picture of each channel that the report names, on the scale of its layer.

    Args:
        student: In eval mode.
        image: (1, 3, S, S), normalised.
        table: The report's, whose column ``strongest`` names the channels.
    """
    with torch.no_grad():
        _, taps = logits_and_taps(student, image)
    found = {}
    for tap, named in zip(table["tap"], table["strongest"], strict=True):
        channels = [int(number) for number in named.split()]
        maps = taps[tap][0, channels].double().cpu().numpy()  # (M, h, w)
        low, high = min(0.0, float(maps.min())), float(maps.max())
        figures = []
        for channel, values in zip(channels, maps, strict=True):
            figures.append(_figure(tap, channel, values, low, high))
        found[tap] = f'<figure class="channels">{"".join(figures)}</figure>'
    return found


def _figure(tap: str, channel: int, values: np.ndarray, low: float, high: float) -> str:
    """One channel (h, w) as a picture with words; dark is ``low``, bright is ``high``."""
    share = (values - low) / (high - low) if high > low else np.zeros_like(values)
    pixels = colormaps["cividis"](share, bytes=True)[..., :3]
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    uri = png_uri(file.getvalue())
    row, column = np.unravel_index(values.argmax(), values.shape)
    alt = f"Layer {tap}, channel {channel}: "
    if values.min() == values.max():
        alt += "the same everywhere"
    else:
        alt += f"brightest at row {row + 1}, column {column + 1} of {values.shape[0]}"
    said = f"channel {channel}, up to {values.max():.3g} of {high:.3g}"
    return (
        f'<figure><img alt="{_text(alt)}" width="{SIDE}" height="{SIDE}" src="{uri}">'
        f"{_text(said)}</figure>"
    )


def _tables(table: pd.DataFrame) -> str:
    """A table of few columns, and all columns behind a line that opens it."""
    known = [name for name in COLUMNS if not table[name].isna().all()]
    few = table[known].rename(columns=COLUMNS)
    style = {"index": False, "border": 0, "na_rep": "–", "float_format": "%.3g"}
    return (
        f'<div class="scroll">{few.to_html(**style)}</div>'
        f'<details><summary>All columns</summary><div class="scroll">{table.to_html(**style)}'
        "</div></details>"
    )


def _text(words: str) -> str:
    return html.escape(words)
