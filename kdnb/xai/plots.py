"""Plots of explanations: maps side by side, how metrics agree (notebook 05)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from kdnb.core.plots import (
    PALETTE,
    Picture,
    error_bars,
    image_panels,
    is_constant,
    say_nothing,
    silent_words,
)
from kdnb.xai.tumour_localisation import BRIGHTNESS, COMPARED, INPUT, MEAN_MASK

__all__ = ["attribution_grid", "pointing_curves", "tau_heatmap"]

MARKS = "os^Dv"


def tau_heatmap(tau: pd.DataFrame) -> Picture:
    """How alike metrics rank the explanations: Kendall's tau of every pair (square table).

    Red is alike, blue opposed.
    """
    figure, axes = plt.subplots(figsize=(0.62 * len(tau) + 2.6, 0.5 * len(tau) + 2))
    sns.heatmap(
        tau,
        annot=True,
        fmt=".1f",
        cmap="RdBu_r",
        vmin=-1,
        vmax=1,
        linewidths=1,
        ax=axes,
        annot_kws={"fontsize": 8},
        cbar_kws={"label": "Kendall's tau"},
    )
    axes.set(xlabel="", ylabel="")
    below_diagonal = np.tril(np.ones(tau.shape, bool), -1)  # each pair once
    pairs = tau.where(below_diagonal).stack().dropna().sort_values()
    said = "; ".join(f"{a} and {b} {value:.1f}" for (a, b), value in pairs.items())
    return Picture(
        figure, f"Heatmap of Kendall's tau between metrics, from opposed to alike: {said}."
    )


def attribution_grid(
    images: np.ndarray,
    maps: Mapping[str, np.ndarray],
    titles: Sequence[str],
    masks: np.ndarray | None = None,
) -> Picture:
    """Signed maps (N, S, S) of several methods beside each image.

    Red is for the class, blue against it, zero is white; a constant map is not drawn, and said.
    """
    figure, axes = image_panels(images, titles, masks, list(maps))
    silent = []
    for column, (name, values) in enumerate(maps.items(), start=1):
        for row, value in enumerate(values):
            ax = axes[row, column]
            if is_constant(value):
                say_nothing(ax)
                ax.set_xlabel(f"{value.max():.2g} everywhere", fontsize=7)
                silent.append(f"{name} of {titles[row]}")
                continue
            limit = max(float(np.quantile(np.abs(value), 0.995)), 1e-12)
            ax.imshow(value, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
            ax.set_xlabel(f"±{limit:.2g}", fontsize=7)
    return Picture(
        figure,
        f"Explanations of {len(images)} images ({', '.join(titles)}) by {', '.join(maps)}. "
        f"Red counts for the class, blue against it.{silent_words(silent)}",
        pixels=True,
    )


def pointing_curves(
    table: pd.DataFrame,
    lines: Sequence[str] = COMPARED,
    levels: Sequence[str] = (BRIGHTNESS, MEAN_MASK),
) -> Picture:
    """How often the peak of a map lies inside the mask, layer by layer, with 95 % intervals.

    Args:
        table: Of `kdnb.xai.tumour_tables.localisation_table`.
        lines: Explanations that have a map at every layer.
        levels: Those that come from no layer: dashed lines.
    """
    table = table.xs("pointing game", level="metric")
    figure, axes = plt.subplots(figsize=(7, 3.8), layout="constrained")
    taps = list(table.loc[lines[0]].index)
    x = np.arange(len(taps))
    said = []
    for number, name in enumerate(lines):
        rows = table.loc[name].loc[taps]
        beside = x + 0.08 * (number - (len(lines) - 1) / 2)  # so that intervals do not hide others
        style = {"marker": MARKS[number % len(MARKS)], "capsize": 3, "lw": 1.4, "ms": 6}
        bars = error_bars(rows, "value")
        axes.errorbar(beside, rows["value"], bars, color=PALETTE[number], label=name, **style)
        said.append(f"{name} {', '.join(f'{value:.2f}' for value in rows['value'])}")
    dashes = ((0, (6, 2)), (0, (2, 2)))
    for number, name in enumerate(levels):
        value = table.loc[(name, INPUT), "value"]
        colour = PALETTE[len(lines) + number]
        label = f"{name} {value:.2f}"
        axes.axhline(value, color=colour, ls=dashes[number % 2], lw=1.4, label=label)
        said.append(label)
    highest = table.loc[[*lines], ["value", "high"]].max(axis=None)
    axes.set(xticks=x, xticklabels=taps, ylim=(-0.02, min(1.02, 1.3 * highest + 0.1)))
    axes.set(xlabel="layer", ylabel="share of images, peak inside")
    axes.legend(frameon=False, fontsize=8, ncols=2)
    return Picture(
        figure,
        f"Share of images in which a map's peak lies inside the mask, at {', '.join(taps)}: "
        f"{'; '.join(said)}.",
    )
