"""Work of a model, counted and never timed: parameters, depth, MACs, FLOPs of any call (06).

FLOPs = 2 · MACs throughout. Models are counted on torch's meta device, where layers have shapes but
compute nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import nullcontext

import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from kdnb.training.modules import count_parameters, depth

__all__ = ["Call", "closed_form_macs", "cost_table", "flops_of", "macs"]

Call = Callable[[], object]


class _NoModules(nullcontext):
    """Stands in for torch's module tracker: everything is counted under one name."""

    parents = frozenset({"Global"})


def flops_of(call: Call) -> int:
    """FLOPs of a call's convolutions and matrix products, backward passes included."""
    counter = FlopCounterMode(display=False)
    # torch's own tracker has hooks that fail when a call differentiates by a leaf, as SHAP does
    counter.mod_tracker = _NoModules()
    with counter:
        call()
    return counter.get_total_flops()


def macs(model: nn.Module, size: int) -> int:
    """Multiply-accumulates of one forward pass on an image (1, 3, size, size), as torch counts.

    >>> macs(nn.Conv2d(3, 8, 3, padding=1), 10) == 10 * 10 * 9 * 3 * 8
    True
    """
    shapes = _shapes_of(model)
    return flops_of(lambda: _dry_run(shapes, size)) // 2


def closed_form_macs(model: nn.Module, size: int) -> int:
    """The same number by hand, layer by layer.

    It is output positions × kernel area × input channels × output channels; a linear layer is a
    kernel of one.
    """
    total = 0

    def count(module: nn.Module, _inputs: object, output: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            total += output[0].numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            total += output[0].numel() * module.in_features

    shapes = _shapes_of(model)
    for module in shapes.modules():
        module.register_forward_hook(count)
    _dry_run(shapes, size)
    return total


def _dry_run(shapes: nn.Module, size: int) -> None:
    with torch.no_grad():
        shapes(torch.empty(1, 3, size, size, device="meta"))


def _shapes_of(model: nn.Module) -> nn.Module:
    """A copy of the model on the meta device, in eval mode; no weight is copied."""
    weights = [*model.parameters(), *model.buffers()]
    copied = {id(weight): weight.detach().to("meta") for weight in weights}
    return copy.deepcopy(model, memo=copied).eval()


def cost_table(models: Mapping[str, nn.Module], size: int) -> pd.DataFrame:
    """One row per model: what it costs in parameters, layers and work on one image.

    Args:
        models: Name → model, trained or not; those made under ``torch.device("meta")`` cost no
            time.
        size: Side of the image, px.

    Returns:
        Index ``model``; parameters, depth (layers with weights), MACs by both counters, FLOPs.
    """
    rows = {}
    for name, model in models.items():
        rows[name] = {
            "parameters": count_parameters(model),
            "depth": depth(model),
            "macs": macs(model, size),
            "macs_by_hand": closed_form_macs(model, size),
        }
    table = pd.DataFrame(rows).T.rename_axis("model")
    return table.assign(flops=2 * table["macs"])
