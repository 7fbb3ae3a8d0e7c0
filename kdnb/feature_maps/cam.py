"""The class activation mapping family, at all taps from one forward and one backward pass (04, 05).

Each method turns activations and the target logit's gradients, both (N, C, h, w), into maps
(N, h, w). All are raw: nothing is stretched to [0, 1], so that maps of different images, layers and
models can be compared. In the formulas a_c and g_c are channel c of activations and gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from kdnb.core.errors import UserError, did_you_mean
from kdnb.training.taps import gradients_at_taps

__all__ = ["CAMS", "cams", "eigencam", "evidence", "gradcam", "hirescam", "layercam"]


def gradcam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Grad-CAM (arXiv 1610.02391, equations 1 and 2): ReLU(Σ_c mean(g_c) · a_c)."""
    weights = gradients.mean(dim=(2, 3), keepdim=True)  # (N, C, 1, 1)
    return (weights * activations).sum(dim=1).clamp_min(0)


def evidence(activations: Tensor, gradients: Tensor) -> Tensor:
    """Signed class evidence Σ_c g_c · a_c: what the decision ledger adds up, place by place."""
    return (gradients * activations).sum(dim=1)


def hirescam(activations: Tensor, gradients: Tensor) -> Tensor:
    """HiResCAM (arXiv 2011.08891): the positive part of the signed evidence."""
    return evidence(activations, gradients).clamp_min(0)


def layercam(activations: Tensor, gradients: Tensor) -> Tensor:
    """LayerCAM (doi 10.1109/TIP.2021.3089943): ReLU(Σ_c ReLU(g_c) · a_c)."""
    return (gradients.clamp_min(0) * activations).sum(dim=1).clamp_min(0)


def eigencam(activations: Tensor, _gradients: Tensor) -> Tensor:
    """Eigen-CAM (arXiv 2008.00299): activations on their first principal axis; no class in it.

    Channels are centred over space first. An axis has no sign of its own: it is turned so that the
    map rises with the average map. Negative parts are cut off.
    """
    cells = activations.flatten(2).transpose(1, 2)  # (N, h·w, C)
    centred = cells - cells.mean(dim=1, keepdim=True)
    _, _, axes = torch.linalg.svd(centred, full_matrices=False)
    maps = (centred @ axes[:, 0, :, None])[..., 0]  # (N, h·w)
    average_map = cells.mean(dim=2)
    sign = torch.sign((maps * average_map).sum(dim=1, keepdim=True))
    turned = maps * torch.where(sign == 0, 1.0, sign)
    count, _, height, width = activations.shape
    return turned.clamp_min(0).reshape(count, height, width)


CAMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "gradcam": gradcam,
    "hirescam": hirescam,
    "layercam": layercam,
    "eigencam": eigencam,
    "evidence": evidence,
}


def cams(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    method: str = "gradcam",
    taps: Mapping[str, str] | None = None,
) -> dict[str, Tensor]:
    """One method's maps at every tap, of the target's logit.

    Args:
        model: Any module with taps.
        images: (N, 3, H, W) normalised.
        targets: (N,) class numbers.
        method: One of ``CAMS``.
        taps: Tap name → module path.

    Returns:
        Tap → (N, h, w) raw maps at the tap's own resolution; ≥ 0, but "evidence" is signed.

    Raises:
        UserError: If the method is unknown, a target is no class, or a tap does not exist.
    """
    if method not in CAMS:
        near = did_you_mean(method, CAMS)
        raise UserError(f"method must be one of {', '.join(CAMS)}, got {method!r}{near}")
    _, pairs = gradients_at_taps(model, images, targets, taps)
    found = {}
    for tap, (activations, gradients) in pairs.items():
        found[tap] = CAMS[method](activations, gradients)
    return found
