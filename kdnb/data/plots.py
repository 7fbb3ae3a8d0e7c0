"""Plots of data: samples, class balance, the leak meter (notebooks 00, 01)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from kdnb.core.model_names import KD_STUDENT, TEACHER
from kdnb.core.plots import (
    GREY,
    MODEL_COLOURS,
    PALETTE,
    Picture,
    legend_once,
    outline,
    plain,
)
from kdnb.data.origin_counts import FOUND_IN_TRAINING

__all__ = ["class_balance", "leak_dots", "origin_bars", "sample_grid"]

HATCHES = ("", "//", "..", "xx", "\\\\", "--")
BELOW = (0.24, 0.43)  # rows that the paper's marks stand under the dot, so that none covers another


def class_balance(table: pd.DataFrame) -> Picture:
    """Images per class and part, from a table with columns ``label`` and ``part``."""
    parts = [part for part in ("train", "val", "test", "unused") if (table["part"] == part).any()]
    counts = table.groupby(["label", "part"]).size().unstack(fill_value=0)[parts]
    figure, axes = plt.subplots(figsize=(7, 0.5 * len(counts) + 1.2))
    _stacked_bars(axes, counts, {part: part for part in parts})
    axes.set_xlabel("images")
    axes.invert_yaxis()
    axes.legend(frameon=False, ncols=len(parts), loc="lower left", bbox_to_anchor=(0, 1))
    said = []
    for label, row in counts.iterrows():
        numbers = ", ".join(f"{row[part]} {part}" for part in parts)
        said.append(f"{label}: {numbers}")
    return Picture(figure, f"Bar chart of images per class and part. {'; '.join(said)}.")


def _stacked_bars(axes: plt.Axes, counts: pd.DataFrame, names: Mapping[str, str]) -> None:
    """One bar per row of ``counts``, a piece per column; ``names`` gives each column's label."""
    left = counts.cumsum(axis=1) - counts
    for i, (column, name) in enumerate(names.items()):
        axes.barh(
            counts.index.map(plain),
            counts[column],
            left=left[column],
            label=name,
            color=PALETTE[i],
            hatch=HATCHES[i],
            edgecolor="white",
        )


def leak_dots(
    summary: pd.DataFrame, registry: Mapping[str, Mapping], chance: float | None = None
) -> Picture:
    """The leak meter of every split as dots, and the paper's accuracies on its own split.

    ``summary`` has index (dataset, split) and columns "1-NN" and "1-NN mirrored". Of a data set's
    entry in ``registry`` the keys ``protocol`` and ``paper`` are read where they are there. A line
    stands at ``chance``, the score of always naming the most frequent class, where it is given.
    """
    figure, axes = plt.subplots(figsize=(7.5, 0.48 * len(summary) + 1.3))
    marks = {
        "teacher": ("s", MODEL_COLOURS[TEACHER]),
        "student": ("D", MODEL_COLOURS[KD_STUDENT]),
    }
    said = []
    for row, ((dataset, split), value) in enumerate(summary["1-NN"].items()):
        mirrored = summary.loc[(dataset, split), "1-NN mirrored"]
        axes.plot(value, row, "o", color=GREY, label="nearest neighbour (1-NN)")
        axes.plot(mirrored, row, "|", color=GREY, ms=12, label="the same, mirrored images too")
        axes.annotate(
            f"{value:.3f}",
            (value, row),
            xytext=(0, 5),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
        said.append(f"{dataset} {split} {value:.3f}, mirrored too {mirrored:.3f}")
        known = registry.get(dataset, {})
        papers = known["paper"] if known.get("protocol") == split else {}
        told = [model for model in marks if papers.get(model)]
        for model, below in zip(told, BELOW, strict=False):
            shape, colour = marks[model]
            place = (papers[model], row + below)
            label = f"paper's {model}"
            axes.plot(*place, shape, color=colour, mfc="none", ms=5, label=label)
            said.append(f"{label} there {papers[model]:.3f}")
    if chance is not None:
        name = f"always the most frequent class, {chance:.2f}"
        axes.axvline(chance, color=GREY, ls=":", lw=1.2, label=name)
        said.append(name)
    legend_once(axes, columns=3, left=-0.25)
    names = [plain(f"{dataset}, {split}") for dataset, split in summary.index]
    axes.set(yticks=range(len(names)), yticklabels=names)
    axes.set(xlabel="accuracy on the test part", xlim=(0, 1.03), ylim=(len(names) - 0.4, -0.6))
    return Picture(
        figure, f"Accuracy of the nearest training image under each split: {'; '.join(said)}."
    )


def origin_bars(counts: pd.DataFrame) -> Picture:
    """What the training folder holds of each published test image, as stacked bars by class.

    ``counts`` is `kdnb.data.origin_counts.published_test_origins`.
    """
    figure, axes = plt.subplots(figsize=(7.5, 0.6 * len(counts) + 1.5))
    _stacked_bars(axes, counts, FOUND_IN_TRAINING)
    said = []
    for label, row in counts.iterrows():
        numbers = ", ".join(f"{name} {row[kind]}" for kind, name in FOUND_IN_TRAINING.items())
        said.append(f"{label}: {numbers}")
    axes.set_xlabel("published test images")
    axes.invert_yaxis()
    legend_once(axes, columns=3)
    return Picture(
        figure,
        "Bar chart of what the training folder holds of each published test image, by class. "
        f"{'; '.join(said)}.",
    )


def sample_grid(
    images: np.ndarray, titles: Sequence[str], masks: np.ndarray | None = None
) -> Picture:
    """Images (N, S, S, 3) uint8 in a grid; the outline of a mask (N, S, S) where one is given."""
    columns = min(8, len(images))
    rows = ceil(len(images) / columns)
    figure, axes = plt.subplots(rows, columns, figsize=(1.35 * columns, 1.55 * rows), squeeze=False)
    for i, ax in enumerate(axes.flat):
        ax.axis("off")
        if i < len(images):
            ax.imshow(images[i], interpolation="nearest")
            outline(ax, None if masks is None else masks[i])
            ax.set_title(plain(titles[i]), fontsize=8)
    figure.tight_layout(pad=0.3)
    said = f"Grid of {len(images)} sample images: {', '.join(dict.fromkeys(titles))}."
    marked = " White outlines mark what defines the class." if masks is not None else ""
    return Picture(figure, said + marked, pixels=True)
