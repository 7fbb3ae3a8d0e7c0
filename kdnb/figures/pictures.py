"""Pictures of images and maps: samples, the maps of every layer, attributions (notebooks 01, 04, 05).

Amounts use cividis, signed evidence a blue-white-red scale with zero in the middle; every panel shows its own scale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np

from kdnb.figures.output import Picture

__all__ = ["attribution_grid", "map_grid", "sample_grid"]


def sample_grid(
    images: np.ndarray, titles: Sequence[str], masks: np.ndarray | None = None, columns: int = 8
) -> Picture:
    """Images (N, S, S, 3) uint8 in a grid; the outline of a mask (N, S, S) where one is given."""
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(1.35 * columns, 1.55 * rows), squeeze=False)
    for i, ax in enumerate(axes.flat):
        ax.axis("off")
        if i < len(images):
            _image(ax, images[i], None if masks is None else masks[i])
            ax.set_title(titles[i], fontsize=8)
    figure.tight_layout(pad=0.3)
    outline = " White outlines mark what defines the class." if masks is not None else ""
    return Picture(
        figure, f"Grid of {len(images)} sample images: {', '.join(dict.fromkeys(titles))}.{outline}", pixels=True
    )


def map_grid(
    images: np.ndarray, maps: Mapping[str, np.ndarray], titles: Sequence[str], masks: np.ndarray | None = None
) -> Picture:
    """Raw maps of every layer, one row per image and one column per tap, each with its own range printed below.

    Args:
        images: (N, S, S, 3) uint8.
        maps: Tap → (N, h, w) raw values ≥ 0.
        titles: N row titles.
        masks: (N, S, S) bool, outlined on the image.
    """
    figure, axes = _panels(images, titles, masks, list(maps))
    for column, values in enumerate(maps.values(), start=1):
        for row, value in enumerate(values):
            axes[row, column].imshow(
                value, cmap="cividis", vmin=0, vmax=max(float(value.max()), 1e-12), interpolation="nearest"
            )
            axes[row, column].set_xlabel(f"0 to {value.max():.2g}", fontsize=7)
    sizes = ", ".join(f"{name} {v.shape[1]} by {v.shape[2]}" for name, v in maps.items())
    return Picture(figure, f"Maps of {len(images)} images ({', '.join(titles)}) at {len(maps)} layers: {sizes} cells. "
                           "Bright cells are large values.", pixels=True)  # fmt: skip


def attribution_grid(
    images: np.ndarray, maps: Mapping[str, np.ndarray], titles: Sequence[str], masks: np.ndarray | None = None
) -> Picture:
    """Signed maps (N, S, S) of several methods beside each image; red for, blue against, zero is white."""
    figure, axes = _panels(images, titles, masks, list(maps))
    for column, values in enumerate(maps.values(), start=1):
        for row, value in enumerate(values):
            limit = max(float(np.quantile(np.abs(value), 0.995)), 1e-12)
            axes[row, column].imshow(value, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
            axes[row, column].set_xlabel(f"±{limit:.2g}", fontsize=7)
    return Picture(figure, f"Explanations of {len(images)} images ({', '.join(titles)}) by {', '.join(maps)}. "
                           "Red counts for the class, blue against it.", pixels=True)  # fmt: skip


def _panels(images, titles, masks, columns) -> tuple:  # noqa: ANN001
    shape = (len(images), len(columns) + 1)
    figure, axes = plt.subplots(*shape, figsize=(1.6 * shape[1], 1.75 * shape[0]), squeeze=False)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        ax.grid(False)
    for row, title in enumerate(titles):
        _image(axes[row, 0], images[row], None if masks is None else masks[row])
        axes[row, 0].set_ylabel(title, fontsize=8)
    for column, name in enumerate(["image", *columns]):
        axes[0, column].set_title(name, fontsize=8)
    figure.tight_layout(pad=0.4)
    return figure, axes


def _image(axes: plt.Axes, image: np.ndarray, mask: np.ndarray | None) -> None:
    axes.imshow(image, interpolation="nearest")
    axes.grid(False)
    if mask is not None and mask.any() and not mask.all():
        axes.contour(mask.astype(float), levels=[0.5], colors="white", linewidths=0.8)
