"""Quality against cost: which points no other beats, and the chart of it (notebooks 06, 07)."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import LogLocator, NullLocator

from kdnb.core.method_names import method_name
from kdnb.core.plots import GREY, MODEL_COLOURS, Picture, error_bars

__all__ = ["MODEL_MARKS", "pareto", "pareto_front", "pareto_points"]

# marks of matplotlib and of plotly, colour
MODEL_MARKS = {
    "teacher": ("s", "square", MODEL_COLOURS["teacher"]),
    "student": ("o", "circle", MODEL_COLOURS["student"]),
}

BESIDE = 9.0  # typographic points that a number stands above its mark
LEADER = {"arrowstyle": "-", "lw": 0.6, "color": GREY, "shrinkA": 0, "shrinkB": 3}


def pareto(rows: pd.DataFrame, quality: str = "") -> Picture:
    """Quality of every explanation against its time.

    A line joins those that no other beats on both. ``rows`` has index (method, model), a column ms,
    and one named by ``quality`` (large is good), with low and high where it has an interval; "", or
    a name that is not there, shows the times alone.
    """
    rows, quality = pareto_points(rows, quality)
    methods = rows["method"].unique()
    height = 4 if quality else 0.34 * len(methods) + 1.3
    figure, axes = plt.subplots(figsize=(7, height))
    for model, part in rows.groupby("model", sort=False):
        shape, _, colour = MODEL_MARKS[model]
        if quality and "low" in part:
            axes.errorbar(
                part["ms"],
                part["place"],
                yerr=error_bars(part, "place"),
                fmt="none",
                ecolor=colour,
                lw=1,
                capsize=2,
            )
        axes.plot(part["ms"], part["place"], shape, color=colour, ms=7, label=model)
    axes.set(xscale="log", xlabel="time of one explanation, ms", ylabel=quality)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    if rows["model"].nunique() > 1:
        axes.legend(frameon=False, ncols=2, loc="lower left", bbox_to_anchor=(0, 1))
    if quality:
        front = rows[rows["front"]].sort_values("ms")
        line = {"color": GREY, "lw": 1, "ls": "--", "zorder": 0}
        axes.step(front["ms"], front["place"], where="post", **line)
        _number_points(axes, rows)
    else:
        axes.set_yticks(range(len(methods)), methods)
        axes.invert_yaxis()
    return Picture(figure, _pareto_text(rows, quality))


def _number_points(axes: plt.Axes, rows: pd.DataFrame) -> None:
    """A number beside each point, one for each method, moved up where two would cover each other.

    A thin line leads from a number that was moved to its point. The methods are listed at the
    right, the fastest first.
    """
    fastest_first = rows.groupby("method")["ms"].min().sort_values().index
    numbers = {method: number for number, method in enumerate(fastest_first, start=1)}
    listed = "\n".join(f"{number}  {method}" for method, number in numbers.items())
    axes.text(1.02, 1, listed, transform=axes.transAxes, va="top", fontsize=8, linespacing=1.6)
    axes.autoscale_view()  # the limits are final from here on
    per_point = 72 / axes.figure.dpi  # typographic points of a pixel
    marks = axes.transData.transform(rows[["ms", "place"]].to_numpy(float)) * per_point
    taken = [tuple(mark) for mark in marks]  # centres of marks and of numbers
    for row, (x, y) in zip(rows.itertuples(), marks, strict=True):
        height = BESIDE
        while any(abs(x + 7 - a) < 8 and abs(y + height - b) < 10 for a, b in taken):
            height += 1
        taken.append((x + 7, y + height))
        axes.annotate(
            numbers[row.method],
            (row.ms, row.place),
            xytext=(7, height),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=8,
            arrowprops=LEADER if height > BESIDE else None,
        )


def pareto_points(rows: pd.DataFrame, quality: str) -> tuple[pd.DataFrame, str]:
    """Rows with their place on the vertical axis, and what that is.

    The quality, or "" for the method's number. Methods have the names that a reader sees.
    """
    rows = rows.rename(index=method_name, level="method")
    if quality not in rows or rows[quality].isna().all():
        rows = rows.reset_index()
        number, _ = pd.factorize(rows["method"])
        return rows.assign(place=number), ""
    rows = rows.dropna(subset=[quality]).reset_index()
    front = pareto_front(rows["ms"].to_numpy(float), rows[quality].to_numpy(float))
    return rows.assign(place=rows[quality], front=front), quality


def _pareto_text(rows: pd.DataFrame, quality: str) -> str:
    """The chart in words."""
    if not quality:
        times = [f"{row.method} of the {row.model} {row.ms:.3g} ms" for row in rows.itertuples()]
        return f"Time of one explanation: {'; '.join(times)}."
    said = "; ".join(
        f"{row.method} of the {row.model} {row.ms:.3g} ms, {quality} {row.place:.3f}"
        for row in rows.itertuples()
    )
    front = ", ".join(
        f"{row.method} of the {row.model}" for row in rows[rows["front"]].itertuples()
    )
    return f"{quality} against the time of one explanation: {said}. Not beaten: {front}."


def pareto_front(cost: np.ndarray, quality: np.ndarray) -> np.ndarray:
    """Which points (N,) bool no other beats: none is as cheap and better, or cheaper and as good.

    A small ``cost`` (N,) is good, and a large ``quality`` (N,). A point with NaN is never on it.

    >>> pareto_front(np.array([1.0, 2.0, 3.0]), np.array([0.5, 0.4, 0.9])).tolist()
    [True, False, True]
    >>> pareto_front(np.array([np.nan, 2.0]), np.array([0.5, 0.4])).tolist()
    [False, True]
    """
    cheaper = cost[:, None] <= cost
    better = quality[:, None] >= quality
    strictly = (cost[:, None] < cost) | (quality[:, None] > quality)
    is_known = ~np.isnan(cost) & ~np.isnan(quality)
    return ~(cheaper & better & strictly).any(axis=0) & is_known
