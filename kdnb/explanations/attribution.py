"""What an explanation returns, what it is given, and what it must satisfy before it is shown (notebook 05)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from kdnb.errors import UserError
from kdnb.feature_maps import check_targets
from kdnb.models import evaluating

__all__ = ["AXIOM", "Attribution", "Context", "TargetLogit", "check_background", "checked_targets", "completeness",
           "require", "without_promise"]  # fmt: skip

AXIOM = 1e-3  # largest accepted relative error of what a method promises


@dataclass(frozen=True)
class Attribution:
    """Maps of a batch of images and how far they can be trusted.

    Attributes:
        values: (N, C, H, W) float32, raw and signed; C is 3 where each colour has its own value, else 1.
        delta: (N,) relative additivity error: |Σ values − (logit − logit of "absent")| / max(1, |that difference|); NaN
            where the method does not promise this sum.
        repeatability: (N,) correlation to expect between two runs with other seeds; 1 for a deterministic method.
    """

    values: np.ndarray
    delta: np.ndarray
    repeatability: np.ndarray

    @property
    def maps(self) -> np.ndarray:
        """(N, H, W) signed maps: the sum over colour channels."""
        return self.values.sum(axis=1)


@dataclass(frozen=True)
class Context:
    """What methods need besides a model, images and classes.

    Attributes:
        background: (M, 3, H, W), M ≥ 2: images that stand for "absent"; their mean is the one baseline image of the
            methods that take one.
        samples: Gradient samples, or evaluations of the model, per image; at least 10.
        seed: Seeds what is drawn.
        tap: Which tap the maps of the CAM family are read at, counted as in a list: 0 is the first, -1 the last.
    """

    background: Tensor
    samples: int = 200
    seed: int = 0
    tap: int = -1

    @property
    def baseline(self) -> Tensor:
        """(1, 3, H, W): the mean image of the background."""
        return check_background(self.background).mean(dim=0, keepdim=True)


class TargetLogit(nn.Module):
    """A model reduced to one logit (N, 1), as SHAP computes every output it is given."""

    def __init__(self, model: nn.Module, target: int) -> None:
        """``target``: class number."""
        super().__init__()
        self.model, self.target = model, target

    def forward(self, x: Tensor) -> Tensor:
        """Logit (N, 1) of images (N, 3, H, W)."""
        return self.model(x)[:, self.target : self.target + 1]


def checked_targets(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    """Targets as int64 (N,), if model and images can be explained.

    Raises:
        UserError: If the model is not in 32 or 64 bits, images are not (N, 3, H, W), or a target is no class.
    """
    if images.ndim != 4 or images.shape[1] != 3 or not len(images):
        raise UserError(f"images must have shape (N, 3, height, width), got {tuple(images.shape)}")
    kinds = {p.dtype for p in model.parameters() if p.is_floating_point()} | {images.dtype}
    if low := kinds - {torch.float32, torch.float64}:
        raise UserError(f"model and images must be in float32 to be explained, got {', '.join(map(str, low))}: "
                        "gradients underflow and sums do not close; use .float()")  # fmt: skip
    with evaluating(model), torch.inference_mode():
        classes = model(images[:1]).shape[1]
    return check_targets(targets, classes, len(images)).cpu()


def check_background(background: Tensor) -> Tensor:
    """The background itself.

    Raises:
        UserError: If it is not at least 2 images.
    """
    if background.ndim != 4 or len(background) < 2:
        raise UserError(f"background must hold at least 2 images (N, 3, H, W), got shape {tuple(background.shape)}: "
                        "one image is no picture of what \"absent\" looks like")  # fmt: skip
    return background


def completeness(model: nn.Module, images: Tensor, targets: Tensor, absent: Tensor, values: np.ndarray) -> np.ndarray:
    """Relative additivity error (N,) of values (N, C, H, W), see :class:`Attribution`.

    ``absent`` (M, 3, H, W) are the images whose mean logit is the starting point.
    """
    with evaluating(model), torch.inference_mode():
        logits, base = model(images), model(absent).mean(dim=0)
    gap = (logits - base).gather(1, targets.to(logits.device)[:, None])[:, 0].double().cpu().numpy()
    total = values.reshape(len(values), -1).sum(axis=1, dtype=np.float64)
    return np.abs(total - gap) / np.maximum(1, np.abs(gap))


def require(errors: np.ndarray, method: str, model: nn.Module, broken: str, remedy: str) -> None:
    """Refuse what breaks its own axiom.

    Raises:
        UserError: If an error exceeds ``AXIOM`` or is no number; the message holds the largest.
    """
    if not np.nanmax(errors, initial=0) <= AXIOM or np.isnan(errors).any():
        raise UserError(f"{method} is refused on {type(model).__name__}: {broken} {np.max(errors):.2%} "
                        f"(accepted: {AXIOM:.1%}); {remedy}")  # fmt: skip


def without_promise(maps: Tensor) -> Attribution:
    """Deterministic maps (N, H, W) of a method that promises no sum."""
    values = maps.detach().float().cpu().numpy()[:, None]
    return Attribution(values, np.full(len(values), np.nan), np.ones(len(values)))
