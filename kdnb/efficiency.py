"""What each model costs: parameters, MACs and FLOPs, latency, and the time of every explanation (notebook 06).

Times are wall-clock with both models interleaved (teacher, student, student, teacher, …), so that a noisy machine
disturbs both alike; what is reported is the ratio with its interval. FLOPs = 2 · MACs throughout.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from kdnb.explanations import grad_cam, shap_deep, shap_gradient
from kdnb.feature_maps import average_maps
from kdnb.models import count_parameters, depth, evaluating
from kdnb.progress import track

__all__ = ["closed_form_macs", "cost_table", "explanation_times", "flops_of", "interleaved", "latency", "macs"]

WARM_UP = 10  # calls of each side before the first timed one (fewer for calls that take seconds)
Call = Callable[[], object]


def flops_of(call: Call) -> int:
    """FLOPs of everything a call computes, backward passes included (convolutions and matrix products)."""
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = _NoModules()  # its hooks fail when a call differentiates with respect to a leaf, as SHAP does
    with counter:
        call()
    return counter.get_total_flops()


class _NoModules:
    """Stands in for torch's module tracker: everything is counted under one name."""

    parents = frozenset({"Global"})

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def macs(model: nn.Module, size: int) -> int:
    """Multiply-accumulates of one forward pass on one (1, 3, size, size) image, counted by torch."""
    image = torch.zeros(1, 3, size, size, device=next(model.parameters()).device)
    with evaluating(model), torch.no_grad():
        return flops_of(lambda: model(image)) // 2


def closed_form_macs(model: nn.Module, size: int) -> int:
    """The same number by hand: output positions × kernel area × input channels × output channels, layer by layer."""
    total = 0

    def count(module: nn.Module, _inputs: object, output: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            total += output[0].numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            total += module.weight.numel()

    handles = [module.register_forward_hook(count) for module in model.modules()]
    try:
        with evaluating(model), torch.no_grad():
            model(torch.zeros(1, 3, size, size, device=next(model.parameters()).device))
    finally:
        for handle in handles:
            handle.remove()
    return total


def cost_table(models: Mapping[str, nn.Module], size: int) -> pd.DataFrame:
    """One row per model: parameters, depth (layers with weights), MACs and FLOPs of one image of ``size`` px."""
    rows = {
        name: {
            "parameters": count_parameters(model),
            "depth": depth(model),
            "macs": macs(model, size),
        }
        for name, model in models.items()
    }
    table = pd.DataFrame(rows).T.rename_axis("model")
    return table.assign(flops=2 * table["macs"])


def interleaved(first: Call, second: Call, *, repeats: int, warm_up: int = WARM_UP) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of ``repeats`` calls of each side, in the order A B B A A B B A …

    Args:
        first: Call A.
        second: Call B.
        repeats: Timed calls of each side.
        warm_up: Untimed calls of each side before.
    """
    sides = (first, second)
    for _ in range(warm_up):
        first(), second()
    times = np.zeros((2, repeats))
    for i in range(repeats):
        for side in (0, 1) if i % 2 == 0 else (1, 0):
            _synchronize()
            start = time.perf_counter()
            sides[side]()
            _synchronize()
            times[side, i] = time.perf_counter() - start
    return times[0], times[1]


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _summary(teacher: np.ndarray, student: np.ndarray) -> dict[str, float]:
    """Medians and quartiles in ms, and the ratio of medians with its 95 % bootstrap interval over pairs."""
    rng = np.random.default_rng(0)
    draws = rng.integers(len(teacher), size=(2000, len(teacher)))
    ratios = np.median(teacher[draws], axis=1) / np.median(student[draws], axis=1)
    row = {"ratio": np.median(teacher) / np.median(student)}
    row["ratio_low"], row["ratio_high"] = np.quantile(ratios, [0.025, 0.975])
    for name, times in (("teacher", teacher), ("student", student)):
        row[f"{name}_ms"] = 1e3 * np.median(times)
        row[f"{name}_q25_ms"], row[f"{name}_q75_ms"] = 1e3 * np.quantile(times, [0.25, 0.75])
    return {**row, "repeats": len(teacher)}


def latency(teacher: nn.Module, student: nn.Module, images: Tensor, *, repeats: int) -> pd.DataFrame:
    """Forward time of both models at batch 1 and 32 (images (≥ 1, 3, S, S) are repeated to fill the batch).

    Returns:
        One row per batch size: teacher and student median and quartiles in ms, ratio with 95 % interval, repeats.
    """
    rows = {}
    for batch in (1, 32):
        x = images.repeat(-(-batch // len(images)), 1, 1, 1)[:batch].contiguous(memory_format=torch.channels_last)
        with evaluating(teacher), evaluating(student), torch.inference_mode():
            rows[batch] = _summary(*interleaved(_forward(teacher, x), _forward(student, x), repeats=repeats))
    return pd.DataFrame(rows).T.rename_axis("batch")


def _forward(model: nn.Module, x: Tensor) -> Call:
    return lambda: model(x)


def explanation_times(
    teacher: nn.Module,
    student: nn.Module,
    image: Tensor,
    target: int,
    background: Tensor,
    *,
    repeats: int,
    samples: int,
) -> pd.DataFrame:
    """Time and work of every explanation of one image, for both models: the paper's MET, with both factors shown.

    Args:
        teacher: Explained by the average map, Grad-CAM and GradientExplainer.
        student: Explained by the same, and by DeepExplainer, which has no teacher side (it is wrong on a DenseNet).
        image: (1, 3, S, S).
        target: Class whose logit is explained.
        background: (M, 3, S, S) for SHAP.
        repeats: Timed calls of each side (a fifth of it, at least 5, where a call takes over a second).
        samples: Gradient samples per SHAP call.

    Returns:
        One row per method: medians in ms, ratio with interval, ``teacher_forwards`` and ``student_forwards`` (the
        explanation's FLOPs divided by those of one forward pass of the same model).
    """
    targets = torch.tensor([target])
    methods: dict[str, Callable[[nn.Module], object]] = {
        "forward only": lambda m: _plain_forward(m, image),
        "average maps, 5 taps": lambda m: average_maps(m, image),
        "Grad-CAM, 5 taps": lambda m: grad_cam(m, image, targets),
        f"SHAP gradient, {samples} samples": lambda m: shap_gradient(m, image, targets, background, samples=samples),
    }
    rows = {}
    for name, method in track(methods.items(), "explanation times", len(methods)):
        method(teacher)  # the first call pays for what later ones reuse
        slow = _seconds(lambda m=method: m(teacher)) > 1
        count, warm_up = (max(5, repeats // 5), 1) if slow else (repeats, WARM_UP)
        times = interleaved(lambda m=method: m(teacher), lambda m=method: m(student), repeats=count, warm_up=warm_up)
        rows[name] = _summary(*times)
        for side, model in (("teacher", teacher), ("student", student)):
            forward = 2 * macs(model, image.shape[-1])
            rows[name][f"{side}_forwards"] = flops_of(lambda m=method, x=model: m(x)) / forward
    deep = np.array(
        [_seconds(lambda: shap_deep(student, image, targets, background)) for _ in range(max(5, repeats // 5))]
    )
    rows["SHAP deep (student only)"] = {"student_ms": 1e3 * np.median(deep[1:]), "repeats": len(deep) - 1}
    return pd.DataFrame(rows).T.rename_axis("method")


def _plain_forward(model: nn.Module, image: Tensor) -> Tensor:
    with torch.inference_mode():
        return model(image)


def _seconds(call: Call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
