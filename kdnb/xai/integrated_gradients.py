"""Integrated gradients with steps where the path needs them (notebook 05)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from kdnb.core.progress import track
from kdnb.training.modules import evaluating
from kdnb.xai.attribution import AXIOM, Context, Raw, TargetLogit

__all__ = ["integrated_gradients"]

FIRST = 16  # equal intervals to begin with, and how many are halved at once
LIMIT = 4096  # gradients per image


def integrated_gradients(
    model: nn.Module, images: Tensor, targets: Tensor, context: Context
) -> Raw:
    """Integrated gradients of the target logit along the straight path from a baseline.

    The source is arXiv 1703.01365, equation 1. The gradient of a ReLU network jumps along the path.
    A fixed rule, such as captum's, then errs by about 1/steps: on a DenseNet 512 steps still miss
    the logit by up to 0.5 %. Here the midpoint rule is refined where it is wrong: an interval's
    gradient must add up to what the logit gains in it, and those that miss it most are halved.
    That ends when the sum of all is right to 0.1 % of what the logit gains on the whole path (of 1,
    where it gains less), or 4096 gradients are used up. Only this sum is tested: errors of opposite
    sign cancel in it. It takes a few hundred.

    Args:
        model: Student or teacher.
        images: (N, 3, H, W).
        targets: (N,) class indices.
        context: The baseline (1, 3, H, W), where the path begins.

    Returns:
        Values (N, 3, H, W).
    """
    baseline = context.baseline[0]
    values = np.zeros(images.shape, dtype=np.float32)
    with evaluating(model):
        for i, target in enumerate(track(targets.tolist(), "integrated gradients")):
            values[i] = _refined(TargetLogit(model, target), images[i], baseline).cpu().numpy()
    return Raw(values=values)


def _refined(logit: nn.Module, image: Tensor, baseline: Tensor) -> Tensor:
    """(3, H, W) attributions of one image."""
    nodes = torch.linspace(0, 1, FIRST + 1, dtype=torch.float64)
    with torch.no_grad():
        ends = logit(_path(image, baseline, nodes))[:, 0].double().cpu()
    gain = ends[-1] - ends[0]
    # one of each per interval: where it begins and how wide it is, the logit at its two ends (K,),
    # the logit (K,) and the gradient (K, 3, H, W) in its middle
    left = nodes[:-1]
    width = nodes.diff()
    low = ends[:-1]
    high = ends[1:]
    middle, slope = _gradients(logit, image, baseline, left + width / 2)
    while True:
        rest = high - low - width * slope.sum((1, 2, 3)).double().cpu()
        if abs(rest.sum()) <= 0.9 * AXIOM * max(1, abs(gain)) or 2 * len(rest) > LIMIT:
            return torch.einsum("k,kchw->chw", width.to(slope), slope)
        worst = torch.zeros(len(rest), dtype=torch.bool)
        worst[rest.abs().topk(FIRST).indices] = True
        halves = torch.cat([left[worst], (left + width / 2)[worst]])
        quarter = (width[worst] / 4).repeat(2)
        values, slopes = _gradients(logit, image, baseline, halves + quarter)
        low = _halved(low, worst, low[worst], middle[worst])
        high = _halved(high, worst, middle[worst], high[worst])
        left = _halved(left, worst, halves)
        width = _halved(width, worst, (width[worst] / 2).repeat(2))
        middle = _halved(middle, worst, values)
        slope = _halved(slope, worst, slopes)


def _halved(old: Tensor, worst: Tensor, *new: Tensor) -> Tensor:
    """What is known of the intervals (K, …) after the worst have made room for their halves."""
    return torch.cat([old[~worst.to(old.device)], *new])


def _path(image: Tensor, baseline: Tensor, at: Tensor) -> Tensor:
    """(K, 3, H, W): the images at places (K,) in [0, 1] on the way from baseline to image."""
    return baseline + at.to(image)[:, None, None, None] * (image - baseline)


def _gradients(
    logit: nn.Module, image: Tensor, baseline: Tensor, at: Tensor
) -> tuple[Tensor, Tensor]:
    """Logits (K,) and gradient × (image − baseline), (K, 3, H, W), at places (K,) of the path."""
    points = _path(image, baseline, at).requires_grad_(True)
    with torch.enable_grad():
        values = logit(points)[:, 0]
        (gradients,) = torch.autograd.grad(values.sum(), points)
    return values.detach().double().cpu(), gradients * (image - baseline)
