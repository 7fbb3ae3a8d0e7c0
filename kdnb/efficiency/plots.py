"""Charts of cost: two factors of one headline, teacher against student, quality (notebook 06)."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import plotly.graph_objects as go

from kdnb.core.method_names import method_name
from kdnb.core.number_text import times as factor_text
from kdnb.core.pareto import MODEL_MARKS, pareto_points
from kdnb.core.plots import GREY, PALETTE, Picture

__all__ = ["cost_ratios_live", "headline_steps", "pareto_live"]


def headline_steps(model: float, method: float, names: tuple[str, str]) -> Picture:
    """A headline taken apart: on a scale of factors, what the model saves and what the method does.

    Args:
        model: Factor of another model under the same method, above 0.
        method: Factor of another method on the same model, above 0.
        names: Of the slow and of the quick method.
    """
    slow, quick = names
    whole = model * method
    steps = [
        (1.0, model, f"teacher → student, both {slow}", PALETTE[0], ""),
        (model, whole, f"{slow} → {quick}, both the student", PALETTE[3], "//"),
        (1.0, whole, "the headline that mixes both", "#999999", ".."),
    ]
    figure, axes = plt.subplots(figsize=(7.5, 2.6), layout="constrained")
    said = []
    for row, (start, end, label, colour, hatch) in enumerate(steps):
        left = min(start, end)
        look = {"color": colour, "hatch": hatch, "edgecolor": "white"}
        axes.barh(row, max(start, end) - left, left=left, height=0.6, **look)
        text = f"× {factor_text(end / start)}"
        axes.annotate(
            text,
            (max(start, end), row),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=13,
            fontweight="bold",
        )
        said.append(f"{label} {text}")
    axes.set(xscale="log", xlabel="times as fast (a step of the same length is the same factor)")
    low = min(1.0, model, whole)
    axes.set_xlim(low * 0.95, max(1.0, model, whole) * 2.5)
    axes.set_yticks(range(len(steps)), [label for _, _, label, _, _ in steps], fontsize=10)
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    return Picture(figure, f"One headline as two factors: {'; '.join(said)}.")


MARGIN = {"l": 10, "r": 10, "t": 30, "b": 10}  # px; the axes ask for more where they need it


def cost_ratios_live(times: pd.DataFrame) -> go.Figure:
    """Teacher time / student time per method (columns ratio, ratio_low, ratio_high).

    Point at a dot for both times.
    """
    rows = times.dropna(subset=["ratio"])
    dots = go.Scatter(
        x=rows["ratio"],
        y=rows.index.map(method_name),
        mode="markers+text",
        text=[f"{ratio:.2f}" for ratio in rows["ratio"]],
        textposition="top center",
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
    low = min(1.0, rows["ratio_low"].min())  # the line at 1 is in view
    high = max(1.0, rows["ratio_high"].max())
    room = 0.08 * (high - low)
    layout = {
        "height": 90 + 44 * len(rows),
        "margin": MARGIN,
        "xaxis": {
            "title": "teacher's time / student's time (95 % intervals)",
            "range": [low - room, high + room],
        },
        "yaxis": {"autorange": "reversed", "automargin": True},
        "template": "simple_white",
    }
    figure = go.Figure(dots, layout)
    line = {"color": GREY, "dash": "dash"}
    figure.add_vline(1, line=line, annotation_text="as fast 1.000", annotation_position="top")
    return figure


def pareto_live(rows: pd.DataFrame, quality: str = "") -> go.Figure:
    """`kdnb.core.pareto.pareto` for a person at the notebook: point at a dot to see its numbers."""
    rows, quality = pareto_points(rows, quality)
    dots = []
    for model, part in rows.groupby("model", sort=False):
        _, symbol, colour = MODEL_MARKS[model]
        error = None
        if quality and "low" in part:
            error = {
                "symmetric": False,
                "array": part["high"] - part["place"],
                "arrayminus": part["place"] - part["low"],
                "thickness": 1,
            }
        dots.append(
            go.Scatter(
                x=part["ms"],
                y=part["place" if quality else "method"],
                error_y=error,
                mode="markers+text" if quality else "markers",
                text=part["method"],
                textposition="top right",
                textfont={"size": 10},
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
        line = {"color": GREY, "dash": "dash", "shape": "hv"}
        dots.append(
            go.Scatter(x=front["ms"], y=front["place"], mode="lines", name="not beaten", line=line)
        )
    layout = {
        "height": 440 if quality else 110 + 30 * rows["method"].nunique(),
        "margin": MARGIN,
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        "template": "simple_white",
        "xaxis": {"type": "log", "title": "time of one explanation, ms"},
        "yaxis": {"title": quality} if quality else {"autorange": "reversed"},
    }
    return go.Figure(dots, layout)
