"""What an explanation is given, what a method computes, what is returned, and its checks (05)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from kdnb.core.errors import UserError
from kdnb.core.method_names import method_name
from kdnb.training.modules import evaluating, network_name
from kdnb.training.taps import check_targets

__all__ = [
    "AXIOM",
    "Attribution",
    "Context",
    "Promise",
    "Raw",
    "TargetLogit",
    "check_background",
    "checked_targets",
    "completeness",
    "require",
]

AXIOM = 1e-3  # largest accepted relative error of what a method promises


@dataclass(frozen=True)
class Raw:
    """What a method computes, before its promise is checked.

    Attributes:
        values: (N, C, H, W) float32, raw and signed; C is 3 where each colour has its own value,
            else 1.
        repeatability: (N,) correlation to expect between two runs with other seeds, in [0, 1]; 0
            is not repeatable, None a deterministic method.
    """

    values: np.ndarray
    repeatability: np.ndarray | None = None


@dataclass(frozen=True)
class Attribution:
    """Maps of a batch of images and how far they can be trusted.

    Attributes:
        values: (N, C, H, W) float32, raw and signed; C is 3 where each colour has its own value,
            else 1.
        delta: (N,) relative additivity error, |Σ values − (logit − logit of "absent")| divided by
            max(1, |that difference|); NaN where the method does not promise this sum.
        repeatability: (N,) correlation to expect between two runs with other seeds, in [0, 1]; 0
            is not repeatable, 1 a deterministic method.
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
        background: (M, 3, H, W), M ≥ 2: images that stand for "absent"; their mean is the one
            baseline image of the methods that take one.
        samples: Gradient samples, or evaluations of the model, per image; at least 10.
        seed: Seeds what is drawn.
        tap: Which tap the maps of the CAM family are read at, counted as in a list: 0 is the first,
            -1 the last.
    """

    background: Tensor
    samples: int = 200
    seed: int = 0
    tap: int = -1

    @property
    def baseline(self) -> Tensor:
        """(1, 3, H, W): the mean image of the background."""
        return check_background(self.background).mean(dim=0, keepdim=True)


@dataclass(frozen=True)
class Promise:
    """All values of a map add up to the target logit minus the mean logit of what is "absent".

    Attributes:
        absent: Context → images (M, 3, H, W) that are "absent": the baseline alone, or the whole
            background.
        remedy: What a refusal advises; None where the promise holds on average only, so that the
            error is shown and nothing is refused.
    """

    absent: Callable[[Context], Tensor]
    remedy: str | None = None

    def check(
        self,
        method: str,
        model: nn.Module,
        images: Tensor,
        targets: Tensor,
        context: Context,
        values: np.ndarray,
    ) -> np.ndarray:
        """Relative additivity error (N,) of values (N, C, H, W), see :class:`Attribution`.

        Raises:
            UserError: If the promise is broken and there is a remedy to advise.
        """
        delta = completeness(model, images, targets, self.absent(context), values)
        if self.remedy is not None:
            broken = "its attributions miss the logit by"
            require(delta, method, model, broken, self.remedy)
        return delta


class TargetLogit(nn.Module):
    """A model reduced to one logit (N, 1), as SHAP computes every output it is given."""

    def __init__(self, model: nn.Module, target: int) -> None:
        """``target``: class number."""
        super().__init__()
        self.model = model
        self.target = target

    def forward(self, x: Tensor) -> Tensor:
        """Logit (N, 1) of images (N, 3, H, W)."""
        return self.model(x)[:, self.target : self.target + 1]


def checked_targets(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    """Targets as int64 (N,) on the CPU, if model and images can be explained.

    No forward pass is made where the last linear layer is wide enough for every target. That layer
    need not be the classifier, so whoever knows the logits checks the classes once more.

    Raises:
        UserError: If the model is not in 32 or 64 bits, images are not (N, 3, H, W), or there is
            not one target per image, or a target is no class.
    """
    if images.ndim != 4 or images.shape[1] != 3 or len(images) == 0:
        raise UserError(f"images must have shape (N, 3, height, width), got {tuple(images.shape)}")
    kinds = {p.dtype for p in model.parameters() if p.is_floating_point()} | {images.dtype}
    low = kinds - {torch.float32, torch.float64}
    if low:
        raise UserError(
            f"model and images must be in float32 to be explained, got {', '.join(map(str, low))}: "
            "gradients underflow and sums do not close; use .float()"
        )
    targets = torch.as_tensor(targets, dtype=torch.int64).reshape(-1).cpu()
    widths = [module.out_features for module in model.modules() if isinstance(module, nn.Linear)]
    likely_classes = widths[-1] if widths else 0
    if len(targets) == len(images) and ((targets >= 0) & (targets < likely_classes)).all():
        return targets
    with evaluating(model), torch.inference_mode():
        classes = model(images[:1]).shape[1]
    return check_targets(targets, classes, len(images))


def check_background(background: Tensor) -> Tensor:
    """The background itself.

    Raises:
        UserError: If it is not at least 2 images.
    """
    if background.ndim != 4 or len(background) < 2:
        raise UserError(
            "background must hold at least 2 images (N, 3, H, W), got shape "
            f'{tuple(background.shape)}: one image is no picture of what "absent" looks like'
        )
    return background


def completeness(
    model: nn.Module, images: Tensor, targets: Tensor, absent: Tensor, values: np.ndarray
) -> np.ndarray:
    """Relative additivity error (N,) of values (N, C, H, W), see :class:`Attribution`.

    ``absent`` (M, 3, H, W) are the images whose mean logit is the starting point.
    """
    with evaluating(model), torch.inference_mode():
        logits = model(images)
        base = model(absent).mean(dim=0)
    column = targets.to(logits.device)[:, None]
    gap = (logits - base).gather(1, column)[:, 0].double().cpu().numpy()
    total = values.reshape(len(values), -1).sum(axis=1, dtype=np.float64)
    return np.abs(total - gap) / np.maximum(1, np.abs(gap))


def require(errors: np.ndarray, method: str, model: nn.Module, broken: str, remedy: str) -> None:
    """Refuse what breaks its own axiom.

    Args:
        errors: (N,) relative errors.
        method: One of `kdnb.xai.methods.METHODS`.
        model: That was explained.
        broken: What misses what, before the largest error.
        remedy: What to do.

    Raises:
        UserError: If an error exceeds ``AXIOM`` or is no number; the message holds the largest.
    """
    if not np.nanmax(errors, initial=0) <= AXIOM or np.isnan(errors).any():
        raise UserError(
            f"{method_name(method)} is refused on {network_name(model)}: {broken} "
            f"{np.max(errors):.2%} (accepted: {AXIOM:.1%}); {remedy}"
        )
