"""Every explanation by one signature: ``explain(method, model, images, targets, context)`` (05).

Inputs are checked, a method computes, and what it promises is checked. The computation is bare, so
that notebook 06 can time it alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from kdnb.core.errors import UserError, did_you_mean
from kdnb.feature_maps.cam import CAMS, cams
from kdnb.feature_maps.maps import average_map, to_size
from kdnb.training.modules import evaluating, modules_at
from kdnb.training.taps import check_targets, logits_and_taps
from kdnb.xai.attribution import Attribution, Context, Promise, Raw, checked_targets, require
from kdnb.xai.integrated_gradients import integrated_gradients
from kdnb.xai.occlusion import occlusion
from kdnb.xai.shap_values import shap_deep, shap_gradient, shap_partition

__all__ = ["METHODS", "Method", "explain"]

Compute = Callable[[nn.Module, Tensor, Tensor, Context], Raw]
AT_ONCE = 16  # images per call of a method


@dataclass(frozen=True)
class Method:
    """A way of explaining: a bare computation, and what it promises.

    Attributes:
        compute: (model, images (N, 3, H, W), targets (N,), context) → values (N, C, H, W). Checks
            neither its inputs nor what it returns.
        promise: What the values add up to; None where a method promises no sum.
        one_pass: True where the map comes from a single forward pass, which then also tells how
            many classes there are; False where many answers of the model are compared.
    """

    compute: Compute
    promise: Promise | None = None
    one_pass: bool = False


def _tap(model: nn.Module, number: int) -> dict[str, str]:
    """The model's tap of that number, alone."""
    names = list(modules_at(model))
    if not -len(names) <= number < len(names):
        raise UserError(
            f"tap must be a number from {-len(names)} to {len(names) - 1} for {', '.join(names)}, "
            f"got {number}"
        )
    name = names[number]
    return {name: model.taps[name]}


def _average_map(model: nn.Module, images: Tensor, targets: Tensor, context: Context) -> Raw:
    with torch.inference_mode():
        logits, seen = logits_and_taps(model, images, _tap(model, context.tap))
        (activations,) = seen.values()
        maps = average_map(activations)
    check_targets(targets, logits.shape[1], len(images))
    return _at_image_size(maps, images)


def _cam(name: str, model: nn.Module, images: Tensor, targets: Tensor, context: Context) -> Raw:
    (maps,) = cams(model, images, targets, name, _tap(model, context.tap)).values()
    return _at_image_size(maps, images)


def _at_image_size(maps: Tensor, images: Tensor) -> Raw:
    """Maps (N, h, w) as values (N, 1, H, W)."""
    resized = to_size(maps, images.shape[-2:])
    return Raw(values=resized.detach().float().cpu().numpy()[:, None])


METHODS: dict[str, Method] = {
    "average map": Method(compute=_average_map, one_pass=True),
    **{name: Method(compute=partial(_cam, name), one_pass=True) for name in CAMS},
    "integrated gradients": Method(
        compute=integrated_gradients,
        promise=Promise(
            absent=lambda context: context.baseline,
            remedy="take another baseline",
        ),
    ),
    "SHAP deep": Method(
        compute=shap_deep,
        promise=Promise(
            absent=lambda context: context.background,
            remedy="use Gradient SHAP ('SHAP gradient')",
        ),
    ),
    "SHAP gradient": Method(
        compute=shap_gradient,
        promise=Promise(absent=lambda context: context.background),
    ),
    "SHAP partition": Method(
        compute=shap_partition,
        promise=Promise(
            absent=lambda context: context.baseline,
            remedy="use more samples",
        ),
    ),
    "occlusion": Method(compute=occlusion),
}


def explain(
    method: str, model: nn.Module, images: Tensor, targets: Tensor, context: Context
) -> Attribution:
    """Raw, signed maps of the target logit at the size of the images, by any method of the study.

    A model that answers differently when asked again is refused. It is asked again before a method
    that compares many answers, and after one of a single pass only if that pass drew from torch's
    random generators. Modes are restored, nothing is stretched to [0, 1], and the same seed gives
    the same map.

    Args:
        method: One of ``METHODS``.
        model: Student or teacher in float32; its ``taps`` serve the CAM family.
        images: (N, 3, H, W) normalised.
        targets: (N,) class numbers.
        context: Background, samples, seed, tap.

    Raises:
        UserError: If the method is unknown, a target is no class, the model is in half precision,
            the background is a single image, or the attribution breaks its own axiom
            (completeness, additivity, determinism).
    """
    if method not in METHODS:
        near = did_you_mean(method, METHODS)
        raise UserError(f"method must be one of {', '.join(METHODS)}, got {method!r}{near}")
    chosen = METHODS[method]
    targets = checked_targets(model, images, targets)
    if not chosen.one_pass:
        classes = _check_determinism(method, model, images[:1])
        check_targets(targets, classes, len(images))
    before = _generators(images.device)
    parts = []
    for some, of_some in zip(images.split(AT_ONCE), targets.split(AT_ONCE), strict=True):
        raw = chosen.compute(model, some, of_some, context)
        parts.append(_checked(method, model, some, of_some, context, raw))
    if chosen.one_pass and not torch.equal(before, _generators(images.device)):
        _check_determinism(method, model, images[:1])  # its single pass has drawn random numbers
    return Attribution(
        values=np.concatenate([part.values for part in parts]),
        delta=np.concatenate([part.delta for part in parts]),
        repeatability=np.concatenate([part.repeatability for part in parts]),
    )


def _checked(
    method: str, model: nn.Module, images: Tensor, targets: Tensor, context: Context, raw: Raw
) -> Attribution:
    """What was computed, if it keeps the method's promise."""
    delta = np.full(len(images), np.nan)
    promise = METHODS[method].promise
    if promise is not None:
        delta = promise.check(method, model, images, targets, context, raw.values)
    repeatability = raw.repeatability
    if repeatability is None:
        repeatability = np.ones(len(images))
    return Attribution(values=raw.values, delta=delta, repeatability=repeatability)


def _check_determinism(method: str, model: nn.Module, image: Tensor) -> int:
    """The number of classes, if the model answers the same for image (1, 3, H, W) twice."""
    with evaluating(model), torch.inference_mode():
        first = model(image)
        again = model(image)
    change = (first - again).abs().max() / first.abs().max().clamp_min(1e-30)
    require(
        change.reshape(1).double().cpu().numpy(),
        method,
        model,
        "asked again, its logits differ by",
        "is something in it random in eval mode?",
    )
    return first.shape[1]


def _generators(device: torch.device) -> Tensor:
    """State of torch's random generators: another one after a model has drawn from them."""
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return torch.cat(states)
