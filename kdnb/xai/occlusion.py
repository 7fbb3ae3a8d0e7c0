"""Occlusion by captum: what the logit loses when a patch is covered (notebook 05)."""

from __future__ import annotations

from captum.attr import Occlusion
from torch import Tensor, nn

from kdnb.training.modules import evaluating
from kdnb.xai.attribution import Context, Raw

__all__ = ["occlusion"]

CELLS = 8  # patches along a side
AT_ONCE = 64  # covered images per forward pass: more of them leave the cache of a CPU


def occlusion(model: nn.Module, images: Tensor, targets: Tensor, context: Context) -> Raw:
    """Drop of the logit when a square patch is replaced by the baseline (arXiv 1311.2901, 4.2).

    The patch has an eighth of the image's shorter side and moves by half of its own; a pixel gets
    the mean drop of all patches that cover it. Captum does it: it covers several places per pass,
    and nothing is left to add.

    Args:
        model: Student or teacher; no gradient is asked of it.
        images: (N, 3, H, W).
        targets: (N,) class indices.
        context: The baseline (1, 3, H, W), which lies under the patch.

    Returns:
        Values (N, 1, H, W): all colours are covered at once. No sum is promised.
    """
    side = max(2, min(images.shape[-2:]) // CELLS)
    with evaluating(model):
        drops = Occlusion(model).attribute(
            inputs=images,
            sliding_window_shapes=(3, side, side),
            strides=(3, side // 2, side // 2),
            baselines=context.baseline.expand_as(images),
            target=targets.to(images.device),
            perturbations_per_eval=max(1, AT_ONCE // len(images)),
        )
    return Raw(values=drops[:, :1].detach().float().cpu().numpy())
