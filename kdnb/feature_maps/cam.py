"""The class activation mapping family, at all taps from one forward and one backward pass (04, 05).

Each method turns activations a and the target logit's gradients g, both (N, C, h, w), into maps
(N, h, w). All are raw: nothing is stretched to [0, 1], so that maps of different images, layers and
models can be compared.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from kdnb.core.errors import UserError
from kdnb.training.taps import gradients_at_taps

__all__ = ["CAMS", "cams", "eigencam", "evidence", "gradcam", "hirescam", "layercam"]


def gradcam(a: Tensor, g: Tensor) -> Tensor:
    """Grad-CAM (arXiv 1610.02391, equations 1 and 2): ReLU(Σ_c mean(g_c) · a_c)."""
    return (g.mean(dim=(2, 3), keepdim=True) * a).sum(dim=1).clamp_min(0)


def evidence(a: Tensor, g: Tensor) -> Tensor:
    """Signed class evidence Σ_c g_c · a_c: what the decision ledger adds up, place by place."""
    return (g * a).sum(dim=1)


def hirescam(a: Tensor, g: Tensor) -> Tensor:
    """HiResCAM (arXiv 2011.08891): the positive part of the signed evidence."""
    return evidence(a, g).clamp_min(0)


def layercam(a: Tensor, g: Tensor) -> Tensor:
    """LayerCAM (doi 10.1109/TIP.2021.3089943): ReLU(Σ_c ReLU(g_c) · a_c)."""
    return (g.clamp_min(0) * a).sum(dim=1).clamp_min(0)


def eigencam(a: Tensor, _g: Tensor) -> Tensor:
    """Eigen-CAM (arXiv 2008.00299): activations on their first principal axis; no class in it.

    Channels are centred over space first. An axis has no sign of its own: it is turned so that the
    map rises with the average map. Negative parts are cut off.
    """
    rows = a.flatten(2).transpose(1, 2)  # (N, h·w, C)
    centred = rows - rows.mean(dim=1, keepdim=True)
    _, _, axes = torch.linalg.svd(centred, full_matrices=False)
    maps = (centred @ axes[:, 0, :, None])[..., 0]  # (N, h·w)
    sign = torch.sign((maps * rows.mean(dim=2)).sum(dim=1, keepdim=True))
    return (maps * torch.where(sign == 0, 1.0, sign)).clamp_min(0).reshape(len(a), *a.shape[2:])


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
) -> OrderedDict[str, Tensor]:
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
        raise UserError(f"method must be one of {', '.join(CAMS)}, got {method!r}")
    _, pairs = gradients_at_taps(model, images, targets, taps)
    return OrderedDict((name, CAMS[method](*pair)) for name, pair in pairs.items())
