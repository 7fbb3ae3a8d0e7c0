"""Integrated gradients by captum, with as many steps as completeness needs (notebook 05)."""

from __future__ import annotations

import numpy as np
import torch
from captum.attr import IntegratedGradients
from torch import Tensor, nn

from kdnb.explanations.attribution import AXIOM, Attribution, checked_targets, completeness, require
from kdnb.models import evaluating

__all__ = ["integrated_gradients"]

STEPS = (32, 128, 512, 2048)  # along the path; more only for the images that need them
AT_ONCE = 64  # images on the path per backward pass


def integrated_gradients(model: nn.Module, images: Tensor, targets: Tensor, baseline: Tensor) -> Attribution:
    """Integrated gradients of the target logit (arXiv 1703.01365, equation 1) along the straight path from a baseline.

    The gradient of a ReLU network jumps along the path, so no fixed number of steps serves every image. The midpoint
    rule is refined for those whose values do not add up to logit − baseline logit within 0.1 %.

    Args:
        model: Student or teacher.
        images: (N, 3, H, W).
        targets: (N,) class indices.
        baseline: (1, 3, H, W): what "absent" looks like.

    Raises:
        UserError: If completeness fails with 2048 steps too: the attribution is refused with the number.
    """
    targets = checked_targets(model, images, targets).to(images.device)
    method, values = IntegratedGradients(model), np.zeros(images.shape, dtype=np.float32)
    delta, left = np.full(len(images), np.inf), np.arange(len(images))
    for steps in STEPS:
        rows = torch.as_tensor(left, device=images.device)
        with evaluating(model):
            part = method.attribute(images[rows], baseline, targets[rows], n_steps=steps, method="riemann_middle",
                                    internal_batch_size=max(AT_ONCE, len(left)))  # fmt: skip
        values[left] = part.detach().float().cpu().numpy()
        delta[left] = completeness(model, images[rows], targets[rows], baseline, values[left])
        left = np.flatnonzero(~(delta <= AXIOM))
        if not len(left):
            break
    require(delta, "integrated gradients", model, "its attributions miss the logit by", "take another baseline")
    return Attribution(values, delta, np.ones(len(values)))
