"""Plots of explanations: maps side by side, how metrics agree (notebook 05)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from kdnb.core.method_names import graded_name
from kdnb.core.plots import (
    GREY,
    Picture,
    colours_of,
    draw_unsigned,
    error_bars,
    image_panels,
    is_constant,
    say_nothing,
    silent_words,
)
from kdnb.xai.evaluation import EXPLANATIONS
from kdnb.xai.tumour_localisation import BRIGHTNESS, COMPARED_MAPS, INPUT, MEAN_MASK

__all__ = ["attribution_grid", "pointing_curves", "tau_heatmap", "verdict_grid"]

MARKS = "os^Dv"
VERDICTS = {1.0: ("✓", "#9ecae1"), 0.0: ("✗", "#fdd0a2")}  # passed, not passed: sign, colour
UNKNOWN = ("?", "white")


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
    unsigned: Collection[str] = (),
) -> Picture:
    """Maps (N, S, S) of several methods beside each image; a constant one is not drawn, and said.

    Red is for the class, blue against it, zero is white. Maps of the methods in ``unsigned``, such
    as average maps, go from dark, 0, to yellow instead.
    """
    unknown = set(unsigned) - set(maps)
    if unknown:
        raise ValueError(f"unsigned must name some of the maps {list(maps)}, got {unknown}")
    size = 2.1 if len(maps) <= 5 else 1.6
    figure, axes = image_panels(images, titles, masks, list(maps), size=size)
    silent = []
    for column, (name, values) in enumerate(maps.items(), start=1):
        for row, value in enumerate(values):
            ax = axes[row, column]
            if is_constant(value):
                say_nothing(ax)
                ax.set_xlabel(f"{value.max():.2g} everywhere", fontsize=7)
                silent.append(f"{name} of {titles[row]}")
                continue
            if name in unsigned:
                draw_unsigned(ax, value)
                continue
            limit = max(float(np.quantile(np.abs(value), 0.995)), 1e-12)
            ax.imshow(value, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
            ax.set_xlabel(f"±{limit:.2g}", fontsize=7)
    figure.tight_layout(pad=0.4)  # again, with the numbers below the panels
    colours = "Red counts for the class, blue against it."
    if unsigned:
        colours += f" Yellow is large, without a sign: {', '.join(unsigned)}."
    return Picture(
        figure,
        f"Explanations of {len(images)} images ({', '.join(titles)}) by {', '.join(maps)}. "
        f"{colours}{silent_words(silent)}",
        pixels=True,
    )


def verdict_grid(passed: pd.DataFrame, tests: Sequence[str]) -> Picture:
    """Which explanation passes which test: a sign and a colour in every cell, a panel per model.

    Models and tests of which nothing is known are left out.

    Args:
        passed: Of `kdnb.xai.verdicts.explanation_verdicts`; at least one verdict is known.
        tests: Its columns of verdicts, from left to right.
    """
    known = passed[list(tests)].notna().any(axis=1).groupby(level="model", sort=False).any()
    models = known.index[known]
    unknown = [test for test in tests if passed[test].isna().all()]
    tests = [test for test in tests if test not in unknown]
    there = set(passed.index.unique("explanation"))
    explanations = pd.Index([name for name in EXPLANATIONS if name in there])
    width = 2.4 + 1.9 * len(models)
    height = 1.7 + 0.3 * len(explanations)
    figure, panels = plt.subplots(
        1, len(models), figsize=(width, height), sharey=True, squeeze=False, layout="constrained"
    )
    said = []
    for axes, model in zip(panels[0], models, strict=True):
        of_model = passed.loc[model].reindex(explanations)[tests]
        _draw_verdicts(axes, of_model)
        axes.set_title(model, fontsize=10)
        for name, row in of_model.iterrows():
            of = row.index[row == 1]
            if len(of):
                said.append(f"{graded_name(name)} of the {model} passes {', '.join(of)}")
    panels[0, 0].set_yticks(range(len(explanations)), explanations.map(graded_name), fontsize=9)
    left_out = f"Not known here: {', '.join(unknown)}" if unknown else ""
    figure.supxlabel(left_out, fontsize=9)
    return Picture(
        figure,
        "Table of verdicts: a tick is passed, a cross is not passed, a question mark is not known. "
        f"{'; '.join(said) or 'Nothing is passed'}. {left_out}",
    )


def _draw_verdicts(axes: plt.Axes, verdicts: pd.DataFrame) -> None:
    """One panel of `verdict_grid`: rows are explanations, columns are tests."""
    for row, of_row in enumerate(verdicts.to_numpy(float)):
        for column, verdict in enumerate(of_row):
            sign, colour = VERDICTS.get(verdict, UNKNOWN)
            box = plt.Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=colour, edgecolor="#888")
            axes.add_patch(box)
            axes.text(column, row, sign, ha="center", va="center", fontsize=9)
    rows, columns = verdicts.shape
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    axes.set_xticks(range(columns), verdicts.columns, rotation=60, ha="right", fontsize=9)
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def pointing_curves(
    table: pd.DataFrame,
    lines: Sequence[str] = COMPARED_MAPS,
    levels: Sequence[str] = (BRIGHTNESS, MEAN_MASK),
) -> Picture:
    """How often the peak of a map lies inside the mask, layer by layer, with 95 % intervals.

    Args:
        table: Of `kdnb.xai.tumour_tables.localisation_table`.
        lines: Explanations that have a map at every layer.
        levels: Those that come from no layer: dashed lines, grey as baselines are.
    """
    table = table.xs("pointing game", level="metric")
    figure, axes = plt.subplots(figsize=(7, 3.8), layout="constrained")
    taps = list(table.loc[lines[0]].index)
    x = np.arange(len(taps))
    said = []
    colours = colours_of(lines)
    for number, name in enumerate(lines):
        rows = table.loc[name].loc[taps]
        beside = x + 0.08 * (number - (len(lines) - 1) / 2)  # so that intervals do not hide others
        style = {"marker": MARKS[number % len(MARKS)], "capsize": 3, "lw": 1.4, "ms": 6}
        bars = error_bars(rows, "value")
        axes.errorbar(beside, rows["value"], bars, color=colours[name], label=name, **style)
        said.append(f"{name} {', '.join(f'{value:.2f}' for value in rows['value'])}")
    dashes = ((0, (6, 2)), (0, (2, 2)))
    for number, name in enumerate(levels):
        value = table.loc[(name, INPUT), "value"]
        label = f"{name} {value:.2f}"
        axes.axhline(value, color=GREY, ls=dashes[number % 2], lw=1.4, label=label)
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
