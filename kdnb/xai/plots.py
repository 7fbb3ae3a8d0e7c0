"""Plots of explanations: maps side by side, how metrics agree (notebook 05)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from kdnb.core.plots import Picture, image_panels

__all__ = ["attribution_grid", "tau_heatmap"]


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

    Red is for the class, blue against it, zero is white.
    """
    figure, axes = image_panels(images, titles, masks, list(maps))
    for column, values in enumerate(maps.values(), start=1):
        for row, value in enumerate(values):
            limit = max(float(np.quantile(np.abs(value), 0.995)), 1e-12)
            ax = axes[row, column]
            ax.imshow(value, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
            ax.set_xlabel(f"±{limit:.2g}", fontsize=7)
    return Picture(
        figure,
        f"Explanations of {len(images)} images ({', '.join(titles)}) by {', '.join(maps)}. "
        "Red counts for the class, blue against it.",
        pixels=True,
    )
