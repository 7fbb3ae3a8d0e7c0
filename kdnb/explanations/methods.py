"""Every explanation behind one signature: ``explain(method, model, images, targets, context)`` (notebook 05)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from kdnb.errors import UserError
from kdnb.explanations.attribution import Attribution, Context, checked_targets, require, without_promise
from kdnb.explanations.cam import CAMS, cams
from kdnb.explanations.gradients import integrated_gradients
from kdnb.explanations.occlusion import occlusion
from kdnb.explanations.shapley import shap_deep, shap_gradient, shap_partition
from kdnb.feature_maps import average_maps, to_size
from kdnb.models import evaluating

__all__ = ["METHODS", "explain"]

Method = Callable[[nn.Module, Tensor, Tensor, Context], Attribution]
AT_ONCE = 16  # images per call of a method


def _tap(model: nn.Module, number: int) -> dict[str, str]:
    """The model's tap of that number, alone."""
    taps = list(model.taps.items())
    if not -len(taps) <= number < len(taps):
        raise UserError(f"tap must be a number from {-len(taps)} to {len(taps) - 1} for {', '.join(model.taps)}, "
                        f"got {number}")  # fmt: skip
    return dict([taps[number]])


def _average(model: nn.Module, images: Tensor, _targets: Tensor, context: Context) -> Attribution:
    (maps,) = average_maps(model, images, _tap(model, context.tap)).values()
    return without_promise(to_size(maps, images.shape[-1]))


def _cam(name: str, model: nn.Module, images: Tensor, targets: Tensor, context: Context) -> Attribution:
    (maps,) = cams(model, images, targets, name, _tap(model, context.tap)).values()
    return without_promise(to_size(maps, images.shape[-1]))


def _sampled(context: Context) -> dict[str, int]:
    return {"samples": context.samples, "seed": context.seed}


METHODS: dict[str, Method] = {
    "average map": _average,
    **{name: partial(_cam, name) for name in CAMS},
    "integrated gradients": lambda m, x, y, c: integrated_gradients(m, x, y, c.baseline),
    "SHAP deep": lambda m, x, y, c: shap_deep(m, x, y, c.background),
    "SHAP gradient": lambda m, x, y, c: shap_gradient(m, x, y, c.background, **_sampled(c)),
    "SHAP partition": lambda m, x, y, c: shap_partition(m, x, y, c.baseline, **_sampled(c)),
    "occlusion": lambda m, x, y, c: occlusion(m, x, y, c.baseline),
}


def explain(method: str, model: nn.Module, images: Tensor, targets: Tensor, context: Context) -> Attribution:
    """Raw, signed maps of the target logit at the size of the images, by any method of the study.

    A model that answers differently when asked again is refused. Modes are restored, nothing is stretched to [0, 1],
    and the same seed gives the same map.

    Args:
        method: One of ``METHODS``.
        model: Student or teacher in float32; its ``taps`` serve the CAM family.
        images: (N, 3, H, W) normalised.
        targets: (N,) class numbers.
        context: Background, samples, seed, tap.

    Raises:
        UserError: If the method is unknown, a target is no class, the model is in half precision, the background is a
            single image, or the attribution breaks its own axiom (completeness, additivity, determinism).
    """
    if method not in METHODS:
        raise UserError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    targets, run = checked_targets(model, images, targets), METHODS[method]
    _check_determinism(method, model, images[:1])
    starts = range(0, len(images), AT_ONCE)
    parts = [run(model, images[i : i + AT_ONCE], targets[i : i + AT_ONCE], context) for i in starts]
    return Attribution(*(np.concatenate([getattr(p, f) for p in parts]) for f in Attribution.__annotations__))


def _check_determinism(method: str, model: nn.Module, image: Tensor) -> None:
    with evaluating(model), torch.inference_mode():
        first, again = model(image), model(image)
    change = ((first - again).abs().max() / first.abs().max().clamp_min(1e-30)).reshape(1).double().cpu().numpy()
    require(change, method, model, "asked again, its logits differ by", "is something in it random in eval mode?")
