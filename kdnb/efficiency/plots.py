"""Live charts of cost: teacher against student by method, quality against cost (notebook 06)."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from kdnb.core.pareto import MODEL_MARKS, pareto_points
from kdnb.core.plots import PALETTE

__all__ = ["cost_ratios_live", "pareto_live"]


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


def pareto_live(rows: pd.DataFrame, quality: str = "") -> go.Figure:
    """The same chart for a person at the notebook: point at a dot to see the numbers."""
    rows, quality = pareto_points(rows, quality)
    dots = []
    for model, part in rows.groupby("model", sort=False):
        _, symbol, colour = MODEL_MARKS[model]
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
