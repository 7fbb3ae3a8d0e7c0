"""Receptive fields: the square of the image that one cell of a tap can see, in closed form (notebook 04)."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from math import inf, isinf
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn

from kdnb.errors import UserError
from kdnb.models import evaluating, modules_at

__all__ = ["field_box", "receptive_fields"]

Windowed = nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d
Adaptive = nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d


class _Grid(NamedTuple):
    """The cells after a layer: what each sees, how they lie on the image, how many there are along a side."""

    side: int
    field: float = 1.0
    jump: int = 1
    start: float = 0.0
    trouble: str = ""


def receptive_fields(model: nn.Module, size: int) -> pd.DataFrame:
    """Receptive field of every tap for images of side ``size``, px, from the layers' kernels, strides and paddings.

    The recursion of Araujo, Norris and Sim (doi 10.23915/distill.00021) over the layers in the order in which they
    run. Convolutions of skip connections ("downsample" in their name) are left out: the longer way sees more. Where
    other branches run side by side, all of them are counted: an upper bound. After global pooling, also that of
    squeeze-and-excitation, and after a norm over space every cell sees the whole image: the field is infinite.

    Returns:
        Index ``tap``; columns ``field`` (side, px), ``jump`` (px from one cell to the next) and ``start`` (centre of
        cell 0 in px, where 0 is the centre of the first pixel; may be a half).

    Raises:
        UserError: If a tap does not exist, is no map (N, C, h, w), or follows a layer without a closed form.
    """
    tapped = modules_at(model)
    grid, rows = _Grid(size), {}

    def follow(name: str, module: nn.Module, inputs: tuple, output: Tensor) -> None:
        nonlocal grid
        grid = _after(grid, name, module, inputs[0], output)

    def keep(tap: str, _module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        rows[tap] = _checked(grid, tap, output)

    with evaluating(model), torch.inference_mode(), ExitStack() as hooks:
        for name, module in model.named_modules():
            if next(module.children(), None) is None and "downsample" not in name:
                hooks.enter_context(module.register_forward_hook(partial(follow, name)))
        for tap, module in tapped.items():
            hooks.enter_context(module.register_forward_hook(partial(keep, tap)))  # after the layer's own
        model(next(model.parameters(), torch.empty(0)).new_zeros(1, 3, size, size))
    return pd.DataFrame([rows[tap] for tap in tapped], index=pd.Index(tapped, name="tap"))[["field", "jump", "start"]]


def _after(grid: _Grid, name: str, module: nn.Module, before: Tensor, after: Tensor) -> _Grid:
    if not all(isinstance(x, Tensor) and x.ndim == 4 for x in (before, after)) or grid.trouble:
        return grid
    if isinstance(module, nn.GroupNorm | nn.InstanceNorm2d) or (isinstance(module, Adaptive) and after.shape[-1] == 1):
        return grid._replace(field=inf)
    kernel, stride, padding = _window(module, before.shape[-1], after.shape[-1])
    if kernel == stride == 1 and padding == 0:  # also the convolutions inside squeeze-and-excitation, on one cell
        return grid
    if kernel == 0 or before.shape[-1] != grid.side:
        return grid._replace(trouble=f"'{name}' ({module})")
    start = grid.start + ((kernel - 1) / 2 - padding) * grid.jump
    return _Grid(after.shape[-1], grid.field + (kernel - 1) * grid.jump, grid.jump * stride, start)


def _window(module: nn.Module, before: int, after: int) -> tuple[int, int, int]:
    """Kernel (with its holes), stride and padding at the start of an axis; a kernel of 0 if there is no closed form."""
    if isinstance(module, Adaptive):
        return (0, 0, 0) if before % after else (before // after, before // after, 0)
    if not isinstance(module, Windowed):
        return (1, 1, 0) if before == after else (0, 0, 0)
    sizes = [module.kernel_size, module.stride, getattr(module, "dilation", 1)]
    sizes = [set(value) if isinstance(value, tuple) else {value} for value in sizes]
    if any(len(value) > 1 for value in sizes):
        return 0, 0, 0
    kernel, stride, dilation = (value.pop() for value in sizes)
    kernel, padding = dilation * (kernel - 1) + 1, module.padding
    padding = {"valid": 0, "same": (kernel - 1) // 2}.get(padding, padding)
    return kernel, stride, padding[0] if isinstance(padding, tuple) else padding


def _checked(grid: _Grid, tap: str, output: Tensor) -> _Grid:
    if not isinstance(output, Tensor) or output.ndim != 4:
        raise UserError(f"tap {tap!r} has no receptive field: its output is no map (N, C, height, width)")
    if isinf(grid.field):
        return grid
    if grid.trouble:
        raise UserError(f"the receptive field of tap {tap!r} has no closed form: before it runs {grid.trouble}; "
                        "convolutions and pooling with square windows have one")  # fmt: skip
    if output.shape[-1] != grid.side:
        raise UserError(f"the receptive field of tap {tap!r} has no closed form: {grid.side} cells were expected along "
                        f"a side, got {output.shape[-1]}; resize or pool with a module, not a function")  # fmt: skip
    return grid


def field_box(row: pd.Series, cell: tuple[int, int], size: int) -> tuple[int, int, int, int]:
    """The pixels that a cell (row, column) sees, cut off at the border of an image of side ``size``, px.

    From a row of :func:`receptive_fields`: top, left, bottom, right in px; bottom and right are the first outside.

    >>> field_box(pd.Series({"field": 8.0, "jump": 2, "start": 0.5}), (0, 10), 64)
    (0, 17, 5, 25)
    """
    if isinf(row.field):
        return 0, 0, size, size
    corner = [int(row.start + i * row.jump - (row.field - 1) / 2) for i in cell]
    return tuple(min(max(0, c), size) for c in (*corner, *(c + int(row.field) for c in corner)))
