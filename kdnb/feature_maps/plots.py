"""Plots of layers: maps, probes, likeness of networks, the ledger, ablation (notebook 04)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from kdnb.core.model_names import KD_STUDENT
from kdnb.core.plots import (
    GREY,
    MODEL_COLOURS,
    PALETTE,
    Picture,
    colours_of,
    draw_unsigned,
    image_panels,
    is_constant,
    say_nothing,
    silent_words,
)
from kdnb.feature_maps.layer_report import ClassChannels

__all__ = [
    "ablation_curves",
    "channel_grid",
    "cka_heatmaps",
    "ledger_bars",
    "map_grid",
    "probe_curves",
]

LINE_MARKS = ("o-", "s--", "^-.", "D:")
CUTS = {  # of the ablation: column, its name, line, colour; what is compared with is grey
    "ranked": ("strongest", LINE_MARKS[0], MODEL_COLOURS[KD_STUDENT]),
    "random": ("random", LINE_MARKS[1], GREY),
}
LEDGER_PARTS = {  # of the ledger: column, offset and height of its bars, colour, hatch
    "for": ("supporting", -0.12, 0.42, PALETTE[5], ""),
    "against": ("opposing", -0.12, 0.42, PALETTE[0], "//"),
    "bias": ("bias", 0.25, 0.3, "#999999", ".."),
}


def map_grid(
    images: np.ndarray,
    maps: Mapping[str, np.ndarray],
    titles: Sequence[str],
    masks: np.ndarray | None = None,
) -> Picture:
    """Raw maps of every layer, one row per image and one column per tap.

    Each has its own range printed below; a constant map is not drawn, and said. ``images`` are
    (N, S, S, 3) uint8 with N row titles, ``maps`` hold (N, h, w) raw values per tap; dark is 0, or
    the smallest value where that is negative. ``masks`` (N, S, S) bool are outlined on the images.
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
            draw_unsigned(ax, value)  # below 0 where a tap has no ReLU
    figure.tight_layout(pad=0.4)  # again, with the numbers below the panels
    sizes = ", ".join(f"{name} {of.shape[1]} by {of.shape[2]}" for name, of in maps.items())
    return Picture(
        figure,
        f"Maps of {len(images)} images ({', '.join(titles)}) at {len(maps)} layers: {sizes} cells. "
        f"Bright cells are large values.{silent_words(silent)}",
        pixels=True,
    )


def channel_grid(images: np.ndarray, channels: ClassChannels) -> Picture:
    """The strongest channel of each class at every layer, on one image of the class.

    Args:
        images: (N, S, S, 3) uint8, one of each class.
        channels: Of `kdnb.feature_maps.layer_report.class_channels`.
    """
    taps = list(channels.maps)
    figure, axes = image_panels(images, channels.classes, None, taps, size=2)
    said = []
    for column, tap in enumerate(taps, start=1):
        for row, values in enumerate(channels.maps[tap]):
            ax = axes[row, column]
            caption = channels.captions[tap][row]
            ax.set_xlabel(caption, fontsize=9)
            said.append(f"{channels.classes[row]} at {tap}: {caption}")
            if is_constant(values):
                say_nothing(ax, "silent on this image")
            else:
                ax.imshow(values, cmap="cividis", vmin=0, interpolation="nearest")
    figure.tight_layout(pad=0.4)
    return Picture(
        figure,
        f"The channel that adds most to the logit of each class, on an image of it. "
        f"{'; '.join(said)}.",
        pixels=True,
    )


def probe_curves(probes: pd.DataFrame) -> Picture:
    """Accuracy of a linear probe at every layer, a line per network with its interval.

    The untrained student is drawn beside them. Columns: model, tap, accuracy, low, high, untrained,
    untrained_low, untrained_high, chance.
    """
    figure, axes = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
    first = probes[probes["model"] == probes["model"].iloc[0]]
    untrained = first[["untrained", "untrained_low", "untrained_high"]]
    lines = dict(tuple(probes.groupby("model", sort=False)))
    lines["untrained student"] = untrained.set_axis(["accuracy", "low", "high"], axis=1)
    said = []
    colours = colours_of(lines)
    for i, (name, line) in enumerate(lines.items()):
        x = np.arange(1, len(line) + 1)
        axes.plot(x, line["accuracy"], LINE_MARKS[i % 4], color=colours[name], label=name, ms=5)
        axes.fill_between(x, line["low"], line["high"], color=colours[name], alpha=0.12, lw=0)
        accuracies = ", ".join(f"{value:.2f}" for value in line["accuracy"])
        said.append(f"{name}: {accuracies}")
    chance = first["chance"].iloc[0]
    axes.axhline(chance, color=GREY, ls=":", lw=1)
    axes.set(
        xticks=x,
        xlabel="layer, by its name in the student",
        ylabel="accuracy of a linear probe",
        ylim=(0, 1.03),
    )
    axes.set_xticklabels([f"{number}\n{tap}" for number, tap in zip(x, first["tap"], strict=True)])
    axes.legend(frameon=False, fontsize=9)
    return Picture(
        figure,
        f"Lines: accuracy of a linear probe at layers 1 to {len(x)}. {'; '.join(said)}. "
        f"Dotted line: most frequent class, {chance:.2f}.",
    )


def cka_heatmaps(cka: pd.DataFrame) -> Picture:
    """Debiased linear CKA of the student's layers with those of other networks.

    Columns: tap, model, other_tap, cka.
    """
    names = cka["model"].unique()
    figure, axes = _row_of_axes(len(names), width=3.1, height=3.2)
    said = []
    for ax, name in zip(axes, names, strict=True):
        part = cka[cka["model"] == name]
        table = part.pivot(index="tap", columns="other_tap", values="cka")
        table = table.loc[part["tap"].unique(), part["other_tap"].unique()]
        sns.heatmap(
            table,
            ax=ax,
            vmin=0,
            vmax=1,
            cmap="cividis",
            annot=True,
            fmt=".2f",
            cbar=False,
            annot_kws={"size": 8},
        )
        is_first = ax is axes[0]
        ax.set(title=name, xlabel="", ylabel=KD_STUDENT if is_first else "")
        ax.tick_params(axis="x", rotation=45)
        ax.tick_params(axis="y", rotation=0, labelleft=is_first)
        pairs = zip(table.index, table.columns, strict=False)  # as deep in both networks
        values = ", ".join(
            f"{own} with {other} {table.loc[own, other]:.2f}" for own, other in pairs
        )
        said.append(f"{name}: {values}")
    return Picture(
        figure,
        "Heat maps of the likeness (CKA) of the student's layers to other networks. "
        f"{'; '.join(said)}.",
    )


def _row_of_axes(
    count: int, width: float, height: float, sharey: bool = False
) -> tuple[plt.Figure, np.ndarray]:
    """A figure with so many axes side by side, each of a width and height in inches."""
    figure, axes = plt.subplots(
        1,
        count,
        figsize=(width * count, height),
        sharey=sharey,
        layout="constrained",
        squeeze=False,
    )
    return figure, axes[0]


def ledger_bars(ledger: pd.DataFrame) -> Picture:
    """What carries the predicted class's logit at each layer, mean over test images.

    That is what speaks for the class, what speaks against it, and the bias that is added later.
    Columns: model, tap, logit, supporting, opposing, bias.
    """
    models = dict(tuple(ledger.groupby("model", sort=False)))
    figure, axes = _row_of_axes(len(models), width=3.3, height=3)
    said = []
    for ax, (name, table) in zip(axes, models.items(), strict=True):
        y = np.arange(len(table))
        for label, (column, offset, height, colour, hatch) in LEDGER_PARTS.items():
            look = {"color": colour, "hatch": hatch, "edgecolor": "white", "label": label}
            ax.barh(y + offset, table[column], height, **look)
        ax.axvline(0, color="#333333", lw=0.8)
        ax.plot(table["logit"], y, "k|", ms=14, label="logit")
        ax.set(yticks=y, yticklabels=table["tap"], title=name, xlabel="logits")
        ax.invert_yaxis()
        parts = "; ".join(
            f"{row.tap} for {row.supporting:.1f}, against {row.opposing:.1f}, bias {row.bias:+.1f}"
            for row in table.itertuples()
        )
        said.append(f"{name}: {parts}")
    axes[-1].legend(frameon=False, fontsize=8)
    return Picture(
        figure,
        f"Bars: parts of the predicted class's mean logit at each layer. {'. '.join(said)}.",
    )


def ablation_curves(ablation: pd.DataFrame) -> Picture:
    """Fall of the predicted class's probability without k channels: its strongest, random ones.

    Columns: tap, k, ranked, ranked_low, ranked_high, random, random_low, random_high.
    """
    taps = ablation["tap"].unique()
    figure, axes = _row_of_axes(len(taps), width=2.2, height=2.7, sharey=True)
    said = []
    for ax, tap in zip(axes, taps, strict=True):
        part = ablation[ablation["tap"] == tap]
        for name, (label, style, colour) in CUTS.items():
            below = part[name] - part[f"{name}_low"]
            above = part[f"{name}_high"] - part[name]
            error = np.clip([below, above], 0, None)
            ax.errorbar(part["k"], part[name], error, fmt=style, color=colour, ms=4, label=label)
        ax.set(title=tap, xlabel="channels cut")
        ax.set(xscale="log", xticks=part["k"], xticklabels=part["k"])
        ax.minorticks_off()
        last = part.iloc[-1]
        said.append(
            f"{tap}, {last['k']:.0f} channels: strongest {last['ranked']:.2f}, "
            f"random {last['random']:.2f}"
        )
    axes[0].set_ylabel("fall of probability")
    axes[0].legend(frameon=False, fontsize=8, loc="upper left")
    return Picture(
        figure,
        "Curves: fall of the predicted class's probability when channels become their mean. "
        f"{'; '.join(said)}.",
    )
