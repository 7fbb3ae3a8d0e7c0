"""Charts of cost: teacher against student, and quality against cost (notebook 06)."""

import matplotlib.pyplot as plt
import pandas as pd
import plotly.graph_objects as go

from kdnb.efficiency import pareto_front
from kdnb.figures.charts import reach
from kdnb.figures.output import PALETTE, Picture

__all__ = ["cost_ratios_live", "pareto", "pareto_live"]

# matplotlib's mark, plotly's mark, colour
MARKS = {"teacher": ("s", "square", PALETTE[1]), "student": ("o", "circle", PALETTE[0])}


def cost_ratios_live(times: pd.DataFrame) -> go.Figure:
    """Teacher time / student time per method (columns ratio, ratio_low, ratio_high).

    Point at a dot for both times.
    """
    rows = times.dropna(subset=["ratio"])
    dots = go.Scatter(
        x=rows["ratio"],
        y=rows.index,
        mode="markers",
        error_x={
            "symmetric": False,
            "array": rows["ratio_high"] - rows["ratio"],
            "arrayminus": rows["ratio"] - rows["ratio_low"],
        },
        marker={"color": PALETTE[0], "size": 10},
        customdata=rows[["teacher_ms", "student_ms"]],
        hovertemplate=(
            "%{x:.1f}<br>teacher %{customdata[0]:.1f} ms, student %{customdata[1]:.1f} ms"
            "<extra></extra>"
        ),
    )
    layout = {
        "height": 320,
        "xaxis": {"title": "teacher's time / student's time", "rangemode": "tozero"},
        "yaxis": {"autorange": "reversed"},
        "template": "simple_white",
    }
    return go.Figure(dots, layout)


def pareto(rows: pd.DataFrame, quality: str = "") -> Picture:
    """Quality of every explanation against its time.

    A line joins those that no other beats on both. ``rows`` has index (method, model), a column ms,
    and one named by ``quality`` (large is good), with low and high where it has an interval; "", or
    a name that is not there, shows the times alone.
    """
    rows, quality = _points(rows, quality)
    methods = rows["method"].unique()
    height = 4 if quality else 0.34 * len(methods) + 1.3
    figure, axes = plt.subplots(figsize=(7, height))
    for model, part in rows.groupby("model", sort=False):
        shape, _, colour = MARKS[model]
        if quality and "low" in part:
            axes.errorbar(
                part["ms"],
                part["place"],
                yerr=reach(part, "place"),
                fmt="none",
                ecolor=colour,
                lw=1,
                capsize=2,
            )
        axes.plot(part["ms"], part["place"], shape, color=colour, ms=7, label=model)
    axes.set(xscale="log", xlabel="time of one explanation, ms", ylabel=quality)
    axes.legend(frameon=False, ncols=2, loc="lower left", bbox_to_anchor=(0, 1))
    if quality:
        front = rows[rows["front"]].sort_values("ms")
        line = {"color": "#777777", "lw": 1, "ls": "--", "zorder": 0}
        axes.step(front["ms"], front["place"], where="post", **line)
        _label(axes, rows)
    else:
        axes.set_yticks(range(len(methods)), methods)
        axes.invert_yaxis()
    return Picture(figure, _said(rows, quality))


def _label(axes: plt.Axes, rows: pd.DataFrame) -> None:
    """The methods' names beside their points, moved up where they would cover each other."""
    axes.autoscale_view()  # the limits are final from here on
    taken: list[tuple[float, float]] = []
    for row in rows.sort_values("place").itertuples():
        point = (row.ms, row.place)
        x, start = axes.transData.transform(point) * 72 / axes.figure.dpi  # typographic points
        y = start
        while any(abs(x - a) < 50 and abs(y - b) < 8 for a, b in taken):
            y += 1
        taken.append((x, y))
        offset = (5, y - start + 4)
        axes.annotate(row.method, point, xytext=offset, textcoords="offset points", fontsize=7)


def pareto_live(rows: pd.DataFrame, quality: str = "") -> go.Figure:
    """The same chart for a person at the notebook: point at a dot to see the numbers."""
    rows, quality = _points(rows, quality)
    dots = []
    for model, part in rows.groupby("model", sort=False):
        _, symbol, colour = MARKS[model]
        dots.append(
            go.Scatter(
                x=part["ms"],
                y=part["place" if quality else "method"],
                mode="markers",
                name=model,
                customdata=part[["method", "forwards_time"]],
                marker={"color": colour, "symbol": symbol, "size": 10},
                hovertemplate=(
                    "%{customdata[0]}<br>%{x:.3g} ms, as long as %{customdata[1]:.1f} forward "
                    "passes<br>%{y}"
                ),
            )
        )
    if quality:
        front = rows[rows["front"]].sort_values("ms")
        line = {"color": "#777777", "dash": "dash", "shape": "hv"}
        dots.append(
            go.Scatter(x=front["ms"], y=front["place"], mode="lines", name="not beaten", line=line)
        )
    layout = {
        "height": 400,
        "template": "simple_white",
        "xaxis": {"type": "log", "title": "time of one explanation, ms"},
        "yaxis": {"title": quality} if quality else {"autorange": "reversed"},
    }
    return go.Figure(dots, layout)


def _points(rows: pd.DataFrame, quality: str) -> tuple[pd.DataFrame, str]:
    """Rows with their place on the vertical axis, and what that is.

    The quality, or "" for the method's number.
    """
    if quality not in rows or rows[quality].isna().all():
        rows = rows.reset_index()
        number, _ = pd.factorize(rows["method"])
        return rows.assign(place=number), ""
    rows = rows.dropna(subset=[quality]).reset_index()
    front = pareto_front(rows["ms"].to_numpy(float), rows[quality].to_numpy(float))
    return rows.assign(place=rows[quality], front=front), quality


def _said(rows: pd.DataFrame, quality: str) -> str:
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
