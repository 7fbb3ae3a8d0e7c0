"""Pictures of what planted traps do to maps: a tag that names the class, a blob (04, 05)."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_dilation

from kdnb.core.plots import (
    PALETTE,
    Picture,
    image_panels,
    is_constant,
    outline,
    say_nothing,
    silent_words,
)
from kdnb.feature_maps.mask_metrics import energy_in_mask, pointing_game
from kdnb.xai.shortcuts import TrapMaps

__all__ = ["trap_grid"]

WORDS_HEIGHT = 0.3  # inches that two lines of words below a panel take


def trap_grid(found: TrapMaps, trap: str) -> Picture:
    """Images with a trap, and maps beside them: the peak of each is marked, the trap outlined.

    Below a map stands whether its peak lies on the trap, and how much of what is red. Red is for
    the class, blue against it; maps without a sign are red alone.

    Args:
        found: Of `kdnb.xai.shortcuts.distractor_maps` or `cheat_maps`.
        trap: What the trap is called, such as "blob".
    """
    figure, axes = image_panels(found.pixels, found.titles, found.traps, list(found.maps), size=2.2)
    silent = []
    said = []
    for column, (name, maps) in enumerate(found.maps.items(), start=1):
        energy = energy_in_mask(maps, found.traps)
        on_trap = pointing_game(maps, found.traps)
        for row, values in enumerate(maps):
            ax = axes[row, column]
            if is_constant(values):
                say_nothing(ax)
                silent.append(f"{name} of image {row + 1}")
                continue
            _draw_map(ax, values, found.traps[row])
            share = "none" if np.isnan(energy[row]) else f"{energy[row]:.0%}"
            where = _place_of_peak(values, found.traps[row], trap)
            ax.set_xlabel(f"peak {where}\n{share} of the red on the {trap}", fontsize=8)
        said.append(f"{name}: the peak lies on the {trap} in {np.nansum(on_trap):.0f}")
    figure.set_figheight(figure.get_figheight() + WORDS_HEIGHT * len(found.pixels))
    figure.tight_layout(pad=0.4, h_pad=2.4)  # again, with two lines of words below each panel
    chance = found.traps.mean()
    return Picture(
        figure,
        f"{len(found.pixels)} images with a {trap}, which covers {chance:.1%} of each, and their "
        f"maps. {'; '.join(said)} of {len(found.pixels)} images.{silent_words(silent)}",
        pixels=True,
    )


def _place_of_peak(values: np.ndarray, trap: np.ndarray, name: str) -> str:
    """Where the largest value of a map (H, W) lies, seen from a trap (H, W), in words."""
    peak = np.unravel_index(values.argmax(), values.shape)
    if trap[peak]:
        return f"on the {name}"
    if binary_dilation(trap, np.ones((3, 3)))[peak]:
        return "one pixel beside it"
    return "elsewhere"


def _draw_map(ax, values: np.ndarray, trap: np.ndarray) -> None:
    """One map with its peak, and the outline of the trap."""
    limit = max(float(np.abs(values).max()), 1e-12)
    ax.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    outline(ax, trap, colour="black")
    row, column = np.unravel_index(values.argmax(), values.shape)
    style = {"ms": 13, "mew": 2.5, "mec": PALETTE[2], "mfc": "none"}
    ax.plot(column, row, "x", **style)
