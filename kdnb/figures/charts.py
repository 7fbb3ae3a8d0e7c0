"""Charts of numbers: class balance, learning curves, scores, the grid (notebooks 01-04, 07)."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from kdnb.figures.output import PALETTE, Picture
from kdnb.metrics import Interval

__all__ = [
    "class_balance",
    "confusion_heatmap",
    "grid_heatmap",
    "ladder",
    "leak_dots",
    "learning_curves",
    "legend_once",
    "reach",
    "reliability",
    "score_bars",
    "tau_heatmap",
]

HATCHES = ("", "//", "..", "xx")


def class_balance(table: pd.DataFrame) -> Picture:
    """Images per class and part, from a table with columns ``label`` and ``part``."""
    parts = [part for part in ("train", "val", "test", "unused") if (table["part"] == part).any()]
    counts = table.groupby(["label", "part"]).size().unstack(fill_value=0)[parts]
    left = counts.cumsum(axis=1) - counts
    figure, axes = plt.subplots(figsize=(7, 0.5 * len(counts) + 1.2))
    for i, part in enumerate(parts):
        axes.barh(
            counts.index,
            counts[part],
            left=left[part],
            label=part,
            color=PALETTE[i],
            hatch=HATCHES[i],
            edgecolor="white",
        )
    axes.set_xlabel("images")
    axes.invert_yaxis()
    axes.legend(frameon=False, ncols=len(parts), loc="lower left", bbox_to_anchor=(0, 1))
    said = []
    for label, row in counts.iterrows():
        numbers = ", ".join(f"{row[part]} {part}" for part in parts)
        said.append(f"{label}: {numbers}")
    return Picture(figure, f"Bar chart of images per class and part. {'; '.join(said)}.")


def leak_dots(summary: pd.DataFrame, registry: Mapping[str, Mapping]) -> Picture:
    """The leak meter of every split as dots, and the paper's accuracies on its own split.

    ``summary`` has index (dataset, split) and columns "1-NN" and "1-NN mirrored". Of a data set's
    entry in ``registry`` the keys ``protocol`` and ``paper`` are read where they are there.
    """
    figure, axes = plt.subplots(figsize=(7.5, 0.34 * len(summary) + 1.3))
    marks = {"teacher": ("s", PALETTE[1]), "student": ("D", PALETTE[5])}
    said = []
    for row, ((dataset, split), value) in enumerate(summary["1-NN"].items()):
        mirrored = summary.loc[(dataset, split), "1-NN mirrored"]
        axes.plot(value, row, "o", color=PALETTE[0], label="nearest neighbour (1-NN)")
        axes.plot(
            mirrored, row, "|", color=PALETTE[0], ms=12, label="the same, mirrored images too"
        )
        axes.annotate(
            f"{value:.3f}",
            (value, row),
            xytext=(-7, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=8,
        )
        said.append(f"{dataset} {split} {value:.3f}, mirrored too {mirrored:.3f}")
        known = registry.get(dataset, {})
        papers = known["paper"] if known.get("protocol") == split else {}
        for model, (shape, colour) in marks.items():
            if papers.get(model):
                published = papers[model]
                label = f"paper's {model}"
                axes.plot(published, row, shape, color=colour, mfc="none", ms=8, label=label)
                said.append(f"{label} there {published:.3f}")
    legend_once(axes, columns=4, left=-0.25)
    names = [f"{dataset}, {split}" for dataset, split in summary.index]
    axes.set(yticks=range(len(names)), yticklabels=names)
    axes.set(xlabel="accuracy on the test part", xlim=(0, 1.03))
    axes.invert_yaxis()
    return Picture(
        figure, f"Accuracy of the nearest training image under each split: {'; '.join(said)}."
    )


def legend_once(axes: plt.Axes, columns: int, left: float = 0) -> None:
    """A legend above the axes that holds each name once, however often it is drawn.

    It begins at ``left`` of the axes' width.
    """
    handles, labels = axes.get_legend_handles_labels()
    named = dict(zip(labels, handles, strict=True))
    axes.legend(
        named.values(),
        named,
        frameon=False,
        ncols=columns,
        loc="lower left",
        bbox_to_anchor=(left, 1),
        fontsize=8,
    )


def learning_curves(histories: Mapping[str, pd.DataFrame]) -> Picture:
    """Loss and accuracy per epoch of each training; solid is validation, dashed is training."""
    figure, both = plt.subplots(1, 2, figsize=(9, 3.2))
    said = []
    for i, (name, history) in enumerate(histories.items()):
        epochs = history["epoch"] + 1
        validation = {"color": PALETTE[i], "marker": "o", "ms": 3, "label": f"{name}, validation"}
        training = {"color": PALETTE[i], "ls": "--", "lw": 1, "label": f"{name}, training"}
        for axes, what in zip(both, ("loss", "accuracy"), strict=True):
            axes.plot(epochs, history[f"val_{what}"], **validation)
            axes.plot(epochs, history[f"train_{what}"], **training)
            axes.set(xlabel="epoch", ylabel=what)
            axes.xaxis.get_major_locator().set_params(integer=True)
        loss, accuracy = history[["val_loss", "val_accuracy"]].iloc[-1]
        said.append(
            f"{name} ends at validation loss {loss:.3f}, accuracy {accuracy:.3f} "
            f"after {len(history)} epochs"
        )
    both[0].set_yscale("log")
    both[1].legend(frameon=False, fontsize=8)
    figure.tight_layout()
    return Picture(figure, f"Two line charts, loss and accuracy by epoch: {'; '.join(said)}.")


def confusion_heatmap(matrix: pd.DataFrame) -> Picture:
    """A confusion matrix: counts of true class (rows) by predicted class (columns)."""
    figure, axes = plt.subplots(figsize=(1.0 * len(matrix) + 1.6, 0.7 * len(matrix) + 1.2))
    shares = matrix.div(matrix.sum(axis=1).clip(lower=1), axis=0)
    sns.heatmap(
        shares,
        annot=matrix,
        fmt="d",
        cmap="cividis",
        vmin=0,
        vmax=1,
        ax=axes,
        cbar_kws={"label": "share of the true class"},
    )
    recalls = "; ".join(f"{name} {shares.loc[name, name]:.0%}" for name in matrix.index)
    return Picture(
        figure, f"Confusion matrix; share of each true class that is recognised: {recalls}."
    )


def reach(rows: pd.DataFrame, value: str, low: str = "low", high: str = "high") -> np.ndarray:
    """(2, N) how far an interval's ends are from its value: error bars, below and above."""
    return np.abs(rows[[low, high]].to_numpy(float).T - rows[value].to_numpy(float))


def score_bars(
    scores: pd.DataFrame,
    reference: float | None = None,
    reference_name: str = "1-NN on raw pixels",
    label: str = "accuracy on the test part",
) -> Picture:
    """Values with 95 % intervals as dots with bars, one row per model; the leak meter as a line.

    ``scores`` has an index of models and columns value, low, high; ``label`` says what the values
    are. The line named ``reference_name`` stands at ``reference``.
    """
    figure, axes = plt.subplots(figsize=(7, 0.5 * len(scores) + 1.4))
    rows = np.arange(len(scores))
    bars = reach(scores, "value")
    axes.errorbar(scores["value"], rows, fmt="o", color=PALETTE[0], capsize=4, xerr=bars)
    above = {"textcoords": "offset points", "ha": "center", "fontsize": 9}
    for row, value in enumerate(scores["value"]):
        axes.annotate(f"{value:z.3f}", (value, row), xytext=(0, 7), **above)
    line = ""
    if reference is not None:
        line = f" The line marks {reference_name}: {reference:.3f}."
        axes.axvline(reference, color=PALETTE[5], ls="--")
        axes.annotate(
            f"{reference_name} {reference:.3f}",
            (reference, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 4),
            color=PALETTE[5],
            **above,
        )
    shown = "95 % intervals"
    if scores["low"].isna().all():
        shown = "no intervals, for too few patients or seeds"
    axes.set(yticks=rows, yticklabels=scores.index, ylim=(len(rows) - 0.4, -0.6))
    axes.set(xlabel=f"{label} ({shown})")
    columns = scores[["value", "low", "high"]]
    said = "; ".join(f"{name} {Interval(row)}" for name, row in columns.iterrows())
    return Picture(figure, f"{label[:1].upper()}{label[1:]} with {shown}: {said}.{line}")


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
    below = tau.where(np.tril(np.ones(tau.shape, bool), -1)).stack().dropna()
    said = "; ".join(f"{a} and {b} {value:.1f}" for (a, b), value in below.sort_values().items())
    return Picture(
        figure, f"Heatmap of Kendall's tau between metrics, from opposed to alike: {said}."
    )


def grid_heatmap(table: pd.DataFrame) -> Picture:
    """Gain over labels alone in a `kdnb.distillation.grid_table`, with its interval.

    Red is above zero, blue below. A column ``chosen`` marks the cell that the validation part
    chose.
    """
    cells = table[table["alpha"] < 1]
    gain = cells.pivot(index="alpha", columns="temperature", values="gain")
    gains = [Interval(row) for row in cells[["gain", "gain_low", "gain_high"]].to_numpy()]
    told = [f"{one:+z.3f}" for one in gains]
    if "chosen" in cells:
        told = [
            f"{text} chosen" if chosen else text
            for text, chosen in zip(told, cells["chosen"], strict=True)
        ]
    notes = cells.assign(text=[text.replace(" ", "\n") for text in told])
    notes = notes.pivot(index="alpha", columns="temperature", values="text")
    limit = max(float(np.nanmax(np.abs(gains))), 1e-3)
    figure, axes = plt.subplots(figsize=(1.15 * gain.shape[1] + 2.2, 0.95 * gain.shape[0] + 1.2))
    sns.heatmap(
        gain,
        annot=notes,
        fmt="",
        cmap="RdBu_r",
        vmin=-limit,
        vmax=limit,
        linewidths=1,
        ax=axes,
        annot_kws={"fontsize": 8},
        cbar_kws={"label": "accuracy minus labels alone"},
    )
    axes.set(xlabel="temperature T", ylabel="alpha (weight of the labels)")
    said = "; ".join(
        f"alpha {cell.alpha:g}, T {cell.temperature:g}: {text}"
        for cell, text in zip(cells.itertuples(), told, strict=True)
    )
    return Picture(
        figure,
        f"Heatmap of the gain in accuracy over labels alone, with 95 % intervals: {said}.",
    )


def reliability(probabilities: Mapping[str, np.ndarray], targets: np.ndarray) -> Picture:
    """Reliability diagram: how often the answers of a confidence are right.

    On the diagonal, confidence can be trusted. ``probabilities`` holds (N, K) per model,
    ``targets`` (N,) class indices; confidence is cut into ten equal steps.
    """
    figure, axes = plt.subplots(figsize=(4.6, 4))
    axes.plot([0, 1], [0, 1], color="#777777", lw=1, ls=":")
    said = []
    for i, (name, values) in enumerate(probabilities.items()):
        sure = values.max(1)
        rows = pd.DataFrame({"sure": sure, "right": values.argmax(1) == targets})
        step = np.minimum((sure * 10).astype(int), 9)
        points = rows.groupby(step).agg(
            sure=("sure", "mean"), right=("right", "mean"), count=("right", "size")
        )
        marker = "osD^"[i % 4]
        axes.plot(
            points["sure"], points["right"], color=PALETTE[i], marker=marker, ms=4, label=name
        )
        top = points.iloc[-1]
        share = f"{top['count']:.0f} of {len(rows)} answers in the most confident step"
        said.append(f"{name}: {share}, {top['right']:.0%} of these right")
    axes.set(xlabel="confidence", ylabel="share that is right")
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02))
    axes.legend(frameon=False, fontsize=8)
    return Picture(figure, f"Reliability diagram. {'; '.join(said)}.")


def ladder(table: pd.DataFrame) -> Picture:
    """Accuracy against cost: a line per way of training, a point per student size.

    Points have 95 % intervals. Columns: training, macs, accuracy, low, high.
    """
    figure, axes = plt.subplots(figsize=(6, 3.6))
    said = []
    for i, (name, rows) in enumerate(table.sort_values("macs").groupby("training", sort=False)):
        axes.errorbar(
            rows["macs"] * (1 + 0.03 * i),  # beside each other
            rows["accuracy"],
            yerr=reach(rows, "accuracy"),
            marker="osD"[i % 3],
            ms=5,
            capsize=3,
            color=PALETTE[i],
            label=name,
        )
        for row in rows.itertuples():
            accuracy = Interval((row.accuracy, row.low, row.high))
            said.append(f"{name} {row.macs:.3g} MACs {accuracy}")
    axes.set(
        xscale="log", xlabel="multiply-accumulates of one image", ylabel="accuracy on the test part"
    )
    axes.legend(frameon=False)
    return Picture(figure, f"Accuracy against cost, with 95 % intervals: {'; '.join(said)}.")
