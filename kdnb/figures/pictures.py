"""Pictures of images and maps: samples, maps of layers, attributions (notebooks 01, 04, 05).

Amounts use cividis, signed evidence a blue-white-red scale with zero in the middle; every panel
shows its own scale.
"""

from collections.abc import Mapping, Sequence
from math import ceil

import matplotlib.pyplot as plt
import numpy as np

from kdnb.figures.output import Picture

__all__ = ["attribution_grid", "bare", "map_grid", "outline", "sample_grid"]


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
            ax.set_title(titles[i], fontsize=8)
    figure.tight_layout(pad=0.3)
    said = f"Grid of {len(images)} sample images: {', '.join(dict.fromkeys(titles))}."
    marked = " White outlines mark what defines the class." if masks is not None else ""
    return Picture(figure, said + marked, pixels=True)


def map_grid(
    images: np.ndarray,
    maps: Mapping[str, np.ndarray],
    titles: Sequence[str],
    masks: np.ndarray | None = None,
) -> Picture:
    """Raw maps of every layer, one row per image and one column per tap.

    Each has its own range printed below. ``images`` are (N, S, S, 3) uint8 with N row titles,
    ``maps`` hold (N, h, w) raw values ≥ 0 per tap; ``masks`` (N, S, S) bool are outlined on the
    images.
    """
    figure, axes = _panels(images, titles, masks, list(maps))
    for column, values in enumerate(maps.values(), start=1):
        for row, value in enumerate(values):
            high = max(float(value.max()), 1e-12)
            ax = axes[row, column]
            ax.imshow(value, cmap="cividis", vmin=0, vmax=high, interpolation="nearest")
            ax.set_xlabel(f"0 to {value.max():.2g}", fontsize=7)
    sizes = ", ".join(f"{name} {of.shape[1]} by {of.shape[2]}" for name, of in maps.items())
    return Picture(
        figure,
        f"Maps of {len(images)} images ({', '.join(titles)}) at {len(maps)} layers: {sizes} cells. "
        "Bright cells are large values.",
        pixels=True,
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
    figure, axes = _panels(images, titles, masks, list(maps))
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


def _panels(
    images: np.ndarray, titles: Sequence[str], masks: np.ndarray | None, columns: Sequence[str]
) -> tuple:
    """A figure and its axes (N, 1 + columns), the images drawn in the first column."""
    rows = len(images)
    across = 1 + len(columns)
    size = (1.6 * across, 1.75 * rows)
    figure, axes = plt.subplots(rows, across, figsize=size, squeeze=False)
    for ax in axes.flat:
        bare(ax)
    for row, title in enumerate(titles):
        axes[row, 0].imshow(images[row], interpolation="nearest")
        outline(axes[row, 0], None if masks is None else masks[row])
        axes[row, 0].set_ylabel(title, fontsize=8)
    for column, name in enumerate(["image", *columns]):
        axes[0, column].set_title(name, fontsize=8)
    figure.tight_layout(pad=0.4)
    return figure, axes


def bare(axes: plt.Axes) -> None:
    """Axes for pixels: no ticks, no frame, no grid."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.grid(False)


def outline(axes: plt.Axes, mask: np.ndarray | None) -> None:
    """A white line around what a mask (S, S) marks, where it says anything."""
    if mask is not None and mask.any() and not mask.all():
        axes.contour(mask.astype(float), levels=[0.5], colors="white", linewidths=0.8)
