"""Occlusion by captum: what the logit loses when a patch is covered (notebook 05)."""

from __future__ import annotations

from captum.attr import Occlusion
from torch import Tensor, nn

from kdnb.explanations.attribution import Attribution, checked_targets, without_promise
from kdnb.models import evaluating

__all__ = ["occlusion"]

AT_ONCE = 64  # covered images per forward pass: more of them leave the cache of a CPU


def occlusion(model: nn.Module, images: Tensor, targets: Tensor, baseline: Tensor, *, cells: int = 8) -> Attribution:
    """Drop of the target logit when a square patch is replaced by the baseline (arXiv 1311.2901, section 4.2).

    The patch has 1/``cells`` of the image's side and moves by half of its own; a pixel gets the mean drop of all
    patches that cover it. Captum does it: it covers several places per pass, and nothing is left to add.

    Args:
        model: Student or teacher; no gradient is asked of it.
        images: (N, 3, H, W).
        targets: (N,) class indices.
        baseline: (1, 3, H, W): what lies under the patch.
        cells: Patches along a side.

    Returns:
        Values (N, 1, H, W): all colours are covered at once. No sum is promised.
    """
    targets = checked_targets(model, images, targets).to(images.device)
    side = max(2, images.shape[-1] // cells)
    with evaluating(model):
        drops = Occlusion(model).attribute(
            images, (3, side, side), (3, side // 2, side // 2), baseline.expand_as(images), targets,
            perturbations_per_eval=max(1, AT_ONCE // len(images)),
        )  # fmt: skip
    return without_promise(drops[:, 0])
