"""Plots of distillation: the grid of alpha and temperature, accuracy by cost (notebook 03)."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from kdnb.core.intervals import Difference, Interval
from kdnb.core.number_text import short
from kdnb.core.plots import Picture, colours_of, error_bars

__all__ = ["grid_heatmap", "ladder"]


def grid_heatmap(table: pd.DataFrame) -> Picture:
    """Gain over labels alone in a `kdnb.distillation.grid.grid_table` in points, with interval.

    Red is above zero, blue below. A column ``chosen`` marks the cell that the validation part
    chose.
    """
    cells = table[table["alpha"] < 1]
    gain = cells.pivot(index="alpha", columns="temperature", values="gain")
    intervals = 100 * cells[["gain", "gain_low", "gain_high"]].to_numpy()
    texts = [f"{Difference(row):+z.1f}" for row in intervals]
    if "chosen" in cells:
        for number, chosen in enumerate(cells["chosen"]):
            if chosen:
                texts[number] += " chosen"
    notes = cells.assign(text=[text.replace(" ", "\n") for text in texts])
    notes = notes.pivot(index="alpha", columns="temperature", values="text")
    limit = max(float(np.nanmax(np.abs(intervals))), 0.1)
    figure, axes = plt.subplots(figsize=(1.15 * gain.shape[1] + 2.2, 0.95 * gain.shape[0] + 1.2))
    sns.heatmap(
        100 * gain,
        annot=notes,
        fmt="",
        cmap="RdBu_r",
        vmin=-limit,
        vmax=limit,
        linewidths=1,
        ax=axes,
        annot_kws={"fontsize": 8},
        cbar_kws={"label": "points above labels alone"},
    )
    axes.set(xlabel="temperature T", ylabel="alpha (weight of the labels)")
    said = "; ".join(
        f"alpha {cell.alpha:g}, T {cell.temperature:g}: {text}"
        for cell, text in zip(cells.itertuples(), texts, strict=True)
    )
    return Picture(
        figure,
        "Heatmap of the gain in accuracy over labels alone, in points, with 95 % intervals: "
        f"{said}.",
    )


def ladder(table: pd.DataFrame) -> Picture:
    """Accuracy against cost: a line per way of training, a point per student size.

    Points have 95 % intervals; both ways of training a network stand at its own work. Columns:
    training, width, macs, accuracy, low, high.
    """
    figure, axes = plt.subplots(figsize=(6, 3.6))
    colours = colours_of(table["training"].unique())
    looks = ({"lw": 2, "capsize": 5}, {"lw": 1.2, "capsize": 3, "ls": "--"})
    said = []
    for i, (name, rows) in enumerate(table.sort_values("macs").groupby("training", sort=False)):
        axes.errorbar(
            rows["macs"],
            rows["accuracy"],
            yerr=error_bars(rows, "accuracy"),
            marker="osD"[i % 3],
            ms=(8, 5, 4)[i % 3],
            color=colours[name],
            label=name,
            **looks[i % 2],
        )
        for row in rows.itertuples():
            accuracy = Interval((row.accuracy, row.low, row.high))
            said.append(f"{name} × {row.width:g}, {short(row.macs)} MACs {accuracy}")
    steps = table.drop_duplicates("macs")
    names = [f"{short(int(step.macs))}\n× {step.width:g}" for step in steps.itertuples()]
    axes.set(xscale="log", xlabel="multiply-accumulates of one image, and width of the student")
    axes.set_ylabel("accuracy on the test part")
    axes.set_xticks(steps["macs"], names)
    axes.minorticks_off()
    axes.legend(frameon=False)
    return Picture(figure, f"Accuracy against cost, with 95 % intervals: {'; '.join(said)}.")
