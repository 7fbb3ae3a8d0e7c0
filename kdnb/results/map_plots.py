"""Charts of the published explanations: where they look in tumours, quality beside time (07)."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.ticker import PercentFormatter

from kdnb.core.method_names import method_name
from kdnb.core.model_names import KD_STUDENT, LABEL_ONLY, TEACHER
from kdnb.core.plots import MODEL_COLOURS, Picture, legend_once
from kdnb.results.finding_words import MODEL_WORDS
from kdnb.results.plots import SUMMARY_MARKS
from kdnb.xai.tumour_localisation import INPUT

__all__ = ["energy_spread", "worth_rows"]

# the maps that the spread inside tumours is shown of, and the number of their layer; 0: the input
SPREAD_ROWS = (
    ("average map", 1),
    ("average map", 3),
    ("average map", 5),
    ("Grad-CAM", 5),
    ("LayerCAM", 1),
    ("class evidence", 1),
    ("class evidence", 3),
    ("SHAP gradient", 0),
    ("integrated gradients", 0),
    ("occlusion", 0),
    ("mean training mask", 0),
    ("centre", 0),
    ("brightness", 0),
    ("random", 0),
)
GUESSES = {  # what sees no network -> what a reader sees
    "mean training mask": "the usual place of such tumours",
    "centre": "the image's centre",
    "brightness": "the image's brightness",
    "random": "chance",
}
SPREAD_SHIFT = {TEACHER: -0.22, KD_STUDENT: 0.0, LABEL_ONLY: 0.22}  # within a row
NO_NETWORK = "no network"


def energy_spread(table: pd.DataFrame) -> Picture:
    """How much of each map lies in the tumour: the spread over images.

    One row per map of `SPREAD_ROWS` and layer, one mark per model; what sees no network stands
    below. Columns: model, explanation, tap, q10, q25, median, q75, q90.
    """
    of_layers = table[table["tap"] != INPUT]
    order = of_layers.groupby("model")["tap"].transform(lambda taps: pd.factorize(taps)[0] + 1)
    table = table.assign(layer=order.reindex(table.index, fill_value=0))
    rows = [row for row in SPREAD_ROWS if len(_of_row(table, *row))]
    figure, axes = plt.subplots(figsize=(8, 0.34 * len(rows) + 1.4))
    said = []
    for place, (explanation, layer) in enumerate(rows):
        marks = _of_row(table, explanation, layer)
        if explanation in GUESSES:
            marks = marks.head(1)  # it is the same for every model
        for mark in marks.itertuples():
            said.append(_draw_spread(axes, place, mark, _spread_name(explanation, layer)))
    names = [_spread_name(*row) for row in rows]
    axes.set(yticks=range(len(names)), yticklabels=names, xlim=(0, None))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_xlabel("share of the map inside the tumour (mark: median, bar: middle half of images)")
    axes.invert_yaxis()
    legend_once(axes, columns=4)
    figure.tight_layout()
    return Picture(
        figure, f"Share of each map that lies inside the tumour, over images. {'; '.join(said)}."
    )


def _of_row(table: pd.DataFrame, explanation: str, layer: int) -> pd.DataFrame:
    """The models' spreads of one explanation at the layer of that number; 0: at the input."""
    return table[(table["explanation"] == explanation) & (table["layer"] == layer)]


def _spread_name(explanation: str, layer: int) -> str:
    """What a row of the figure is called."""
    if explanation in GUESSES:
        return GUESSES[explanation]
    return method_name(explanation, f"layer {layer}" if layer else "")


def _draw_spread(axes: plt.Axes, place: int, mark: Any, name: str) -> str:
    """Draw one model's spread in a row; returns it in words."""
    shape, colour = "o", "#777777"
    model = NO_NETWORK
    shift = 0.0
    if mark.explanation not in GUESSES:
        model = MODEL_WORDS[mark.model]
        shape, colour = SUMMARY_MARKS[mark.model]
        shift = SPREAD_SHIFT[mark.model]
    axes.plot([mark.q25, mark.q75], [place + shift] * 2, color=colour, lw=4, alpha=0.4)
    axes.plot(mark.median, place + shift, shape, color=colour, ms=5, label=model, clip_on=False)
    return (
        f"{name}, {model}: median {mark.median:.3f}, middle half {mark.q25:.3f} to {mark.q75:.3f}"
    )


def worth_rows(table: pd.DataFrame) -> Picture:
    """Time and quality of every explanation, side by side, the fastest first.

    The quality is the mean over seeds, its bar spans all their intervals. Columns: method, metric,
    quality with low and high, ms.
    """
    metric = table["metric"].iloc[0]
    of_seeds = table.groupby("method")
    rows = of_seeds.agg({"quality": "mean", "low": "min", "high": "max", "ms": "mean"})
    rows = rows.sort_values("ms").rename(index=method_name)
    figure, (times, qualities) = plt.subplots(
        1, 2, figsize=(8, 0.32 * len(rows) + 1.2), sharey=True, gridspec_kw={"wspace": 0.08}
    )
    said = []
    for place, row in enumerate(rows.itertuples()):
        look = {"color": MODEL_COLOURS[KD_STUDENT], "ms": 7}
        times.plot(row.ms, place, "o", **look)
        ends = [[row.quality - row.low], [row.high - row.quality]]
        qualities.errorbar(row.quality, place, xerr=ends, fmt="o", capsize=3, **look)
        said.append(f"{row.Index} {row.ms:.3g} ms, {row.quality:.3f}")
    times.set(xscale="log", xlabel="time, ms (SHAP: extrapolated)")
    times.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    times.set(yticks=range(len(rows)), yticklabels=rows.index)
    times.set_ylim(len(rows) - 0.5, -0.5)
    qualities.set_xlabel(f"{metric}, mean over images")
    if rows["low"].min() >= 0 and rows["high"].max() <= 1:
        qualities.set_xlim(0, None)
        qualities.xaxis.set_major_formatter(PercentFormatter(1))
    return Picture(figure, f"Time of one explanation, and {metric}: {'; '.join(said)}.")
