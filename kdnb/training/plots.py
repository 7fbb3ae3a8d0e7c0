"""Plots of training: learning curves, confusion, reliability (notebooks 02, 03)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.ticker import LogLocator, NullLocator

from kdnb.core.plots import MODEL_SHAPES, Picture, colours_of, plain
from kdnb.training.evaluation import kept_epoch

__all__ = [
    "confusion_heatmap",
    "error_pairs",
    "learning_curves",
    "reliability",
    "why_no_reliability",
]


def learning_curves(histories: Mapping[str, pd.DataFrame]) -> Picture:
    """Loss and accuracy per epoch of each training; solid is validation, dashed is training.

    A ring marks the epoch whose network is kept, see `kdnb.training.evaluation.kept_epoch`.
    """
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.2))
    said = []
    colours = colours_of(histories)
    for name, history in histories.items():
        colour = colours[name]
        epochs = history["epoch"] + 1
        validation = {"color": colour, "marker": "o", "ms": 3, "label": f"{name}, validation"}
        training = {"color": colour, "ls": "--", "lw": 1, "label": f"{name}, training"}
        kept = kept_epoch(history)
        ring = {"mfc": "none", "mec": colour, "mew": 1.5, "ms": 10, "ls": ""}
        for axes, what in zip(panels, ("loss", "accuracy"), strict=True):
            axes.plot(epochs, history[f"val_{what}"], **validation)
            axes.plot(epochs, history[f"train_{what}"], **training)
            axes.plot(kept["epoch"] + 1, kept[f"val_{what}"], marker="o", **ring)
            axes.set(xlabel="epoch", ylabel=what)
            axes.xaxis.get_major_locator().set_params(integer=True)
        loss, accuracy = history[["val_loss", "val_accuracy"]].iloc[-1]
        said.append(
            f"{name} ends at validation loss {loss:.3f}, accuracy {accuracy:.3f} "
            f"after {len(history)} epochs, and is kept at epoch {kept['epoch'] + 1:.0f}"
        )
    panels[0].set_yscale("log")
    panels[0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panels[0].yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    panels[0].yaxis.set_minor_locator(NullLocator())
    panels[1].plot([], [], "o", mfc="none", mec="#444444", ms=10, label="the epoch that is kept")
    panels[1].legend(frameon=False, fontsize=8)
    figure.tight_layout()
    return Picture(figure, f"Two line charts, loss and accuracy by epoch: {'; '.join(said)}.")


def confusion_heatmap(matrix: pd.DataFrame) -> Picture:
    """A confusion matrix: counts of true class (rows) by predicted class (columns).

    The row of a class without an image stays empty.
    """
    figure, axes = plt.subplots(figsize=(1.0 * len(matrix) + 1.6, 0.7 * len(matrix) + 1.2))
    images = matrix.sum(axis=1)
    shares = matrix.div(images.where(images > 0), axis=0)  # NaN: nothing is known of such a class
    sns.heatmap(
        shares.rename(index=plain, columns=plain),
        annot=matrix,
        fmt="d",
        cmap="cividis",
        vmin=0,
        vmax=1,
        ax=axes,
        cbar_kws={"label": "share of the true class"},
    )
    recalls = []
    for name in matrix.index:
        share = f"{shares.loc[name, name]:.0%}" if images.loc[name] else "no image"
        recalls.append(f"{name} {share}")
    return Picture(
        figure,
        f"Confusion matrix; share of each true class that is recognised: {'; '.join(recalls)}.",
    )


def reliability(probabilities: Mapping[str, np.ndarray], targets: np.ndarray) -> Picture:
    """Reliability diagram: how often the answers of a confidence are right.

    On the diagonal, confidence can be trusted. The larger a point, the more answers are in it.
    ``probabilities`` holds (N, K) per model, ``targets`` (N,) class indices; confidence is cut into
    ten equal steps.
    """
    figure, axes = plt.subplots(figsize=(4.6, 4))
    axes.plot([0, 1], [0, 1], color="#777777", lw=1, ls=":")
    said = []
    colours = colours_of(probabilities)
    for i, (name, values) in enumerate(probabilities.items()):
        sure = values.max(1)
        rows = pd.DataFrame({"sure": sure, "right": values.argmax(1) == targets})
        step = np.minimum((sure * 10).astype(int), 9)
        points = rows.groupby(step).agg(
            sure=("sure", "mean"), right=("right", "mean"), count=("right", "size")
        )
        marker = MODEL_SHAPES.get(name, "^v<>"[i % 4])
        area = 15 + 250 * points["count"] / len(rows)
        style = {"color": colours[name], "marker": marker, "alpha": 0.75}
        axes.plot(points["sure"], points["right"], color=colours[name], lw=1)
        axes.scatter(points["sure"], points["right"], s=area, label=name, **style)
        top = points.iloc[-1]
        share = f"{top['count']:.0f} of {len(rows)} answers in the most confident step"
        said.append(f"{name}: {share}, {top['right']:.0%} of these right")
    axes.set(xlabel="confidence", ylabel="share that is right")
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02))
    legend = axes.legend(frameon=False, fontsize=8)
    for handle in legend.legend_handles:
        handle.set_sizes([30])
    return Picture(figure, f"Reliability diagram. {'; '.join(said)}.")


def why_no_reliability(probabilities: Mapping[str, np.ndarray]) -> str:
    """Why a reliability diagram would say nothing; empty where it says something.

    A model whose answers are all of one confidence, in steps of a tenth, is a single point.

    >>> why_no_reliability({"teacher": np.array([[0.99, 0.01], [0.02, 0.98]])})
    'All 2 answers of every model are of one confidence (teacher 0.98): no diagram.'
    """
    steps = {}
    for name, values in probabilities.items():
        steps[name] = np.unique(np.minimum((values.max(1) * 10).astype(int), 9))
    if any(len(of_model) > 1 for of_model in steps.values()):
        return ""
    means = ", ".join(
        f"{name} {values.max(1).mean():.2f}" for name, values in probabilities.items()
    )
    count = len(next(iter(probabilities.values())))
    return f"All {count} answers of every model are of one confidence ({means}): no diagram."


def error_pairs(
    images: np.ndarray,
    twins: np.ndarray,
    titles: Sequence[str],
    twin_titles: Sequence[str],
) -> Picture:
    """Test images that a model gets wrong, each beside the training image most like it.

    Args:
        images: (N, S, S, 3) uint8, N at least 1.
        twins: (N, S, S, 3) uint8, the training images.
        titles: N texts: the true class and the answer.
        twin_titles: N texts: the class of the training image.
    """
    columns = min(3, len(images))
    rows = -(-len(images) // columns)
    figure, axes = plt.subplots(
        rows,
        3 * columns,  # an image, its twin, a gap
        figsize=(3.2 * columns, 2 * rows),
        squeeze=False,
        layout="constrained",
        width_ratios=[1, 1, 0.12] * columns,
    )
    for panel in axes.flat:
        panel.axis("off")
    for place, (title, twin_title) in enumerate(zip(titles, twin_titles, strict=True)):
        row, column = divmod(place, columns)
        pair = axes[row, 3 * column : 3 * column + 2]
        for panel, pixels, words in zip(
            pair, (images[place], twins[place]), (title, twin_title), strict=True
        ):
            panel.imshow(pixels, interpolation="nearest")
            panel.set_title(plain(words), fontsize=9)
    said = "; ".join(
        f"{title}, nearest {twin_title}".replace("\n", " ")
        for title, twin_title in zip(titles, twin_titles, strict=True)
    )
    return Picture(
        figure, f"Wrong answers, the surest first, beside their twins: {said}.", pixels=True
    )
