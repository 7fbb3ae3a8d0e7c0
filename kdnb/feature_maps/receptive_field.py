"""Receptive fields: the square of the image that one cell of a tap can see (notebook 04)."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from math import ceil, inf, isinf

import pandas as pd
import torch
from torch import Tensor, nn

from kdnb.core.errors import UserError
from kdnb.training.modules import evaluating, modules_at
from kdnb.training.taps import capture

__all__ = ["field_box", "receptive_fields"]

Windowed = nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d
Adaptive = nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d
NormOverSpace = nn.GroupNorm | nn.InstanceNorm2d
ROUNDING = 1e-5  # a gradient below this share of the largest one may be rounding


def receptive_fields(model: nn.Module, size: int) -> pd.DataFrame:
    """Receptive field of every tap, for images of side ``size``, px.

    In closed form, from kernels, strides and paddings. The recursion of Araujo, Norris and Sim (doi
    10.23915/distill.00021) over the layers in the order in which they run. Convolutions of skip
    connections ("downsample" in their name) are left out: the longer way sees more. (ConvNeXt has
    layers of this name on its one way; there the sides add up only with them.) Where other
    branches run side by side, all of them are counted: an upper bound. After global pooling, also
    that of squeeze-and-excitation, and after a norm over space every cell sees the whole image: the
    field is infinite. What functions do inside a module (attention, a shift) has no closed form: so
    one cell of each tap is asked by gradient whether it sees more.

    Returns:
        Index ``tap``; columns ``field`` (side, px), ``jump`` (px from one cell to the next) and
        ``start`` (centre of cell 0 in px, where 0 is the centre of the first pixel; may be a half).

    Raises:
        UserError: If a tap does not exist, is no map (N, C, h, w), follows a layer that changes
            the side and is neither a convolution nor a max or average pooling with a square window,
            or sees more than its layers explain.
    """
    tapped = modules_at(model)
    layers: list[tuple] = []  # as they run: name, module, side of the map before and after it
    rows: dict[str, tuple[float, int, float]] = {}

    def note_layer(name: str, module: nn.Module, inputs: tuple, output: Tensor) -> None:
        if _is_map(inputs[0]) and _is_map(output):
            layers.append((name, module, inputs[0].shape[-1], output.shape[-1]))

    def note_tap(tap: str, _module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        if not _is_map(output):
            raise UserError(
                f"tap {tap!r} has no receptive field: its output is no map (N, C, height, width)"
            )
        without_skips = [layer for layer in layers if "downsample" not in layer[0]]
        cells = output.shape[-1]
        try:
            rows[tap] = _field(tap, without_skips, size, cells)
        except UserError:
            rows[tap] = _field(tap, layers, size, cells)

    with evaluating(model), torch.inference_mode(), ExitStack() as hooks:
        for name, module in model.named_modules():
            is_leaf = not list(module.children()) or isinstance(module, NormOverSpace)
            if is_leaf:
                hooks.enter_context(module.register_forward_hook(partial(note_layer, name)))
        for tap, module in tapped.items():  # their hooks run after those of the layers
            hooks.enter_context(module.register_forward_hook(partial(note_tap, tap)))
        model(next(model.parameters(), torch.empty(0)).new_zeros(1, 3, size, size))
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["field", "jump", "start"])
    table = table.loc[list(tapped)].rename_axis("tap")
    _check_by_gradient(model, table, size)
    return table


def _check_by_gradient(model: nn.Module, table: pd.DataFrame, size: int) -> None:
    """Whether the middle cell of each tap depends on no pixel outside its field."""
    noise = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    pixels = noise.to(next(model.parameters(), torch.empty(0))).requires_grad_()
    with torch.enable_grad(), capture(model) as seen, evaluating(model):
        model(pixels)
    for tap, row in table.iterrows():
        cell = (seen[tap].shape[2] // 2, seen[tap].shape[3] // 2)
        top, left, bottom, right = field_box(row, cell, size)
        if (top, left, bottom, right) == (0, 0, size, size):
            continue  # there is nothing outside
        answer = seen[tap][0, :, cell[0], cell[1]].sum()
        (gradient,) = torch.autograd.grad(answer, pixels, retain_graph=True)
        outside = gradient.abs().amax(dim=(0, 1))
        largest = outside.max().item()
        outside[top:bottom, left:right] = 0
        if outside.max().item() > ROUNDING * largest:
            raise UserError(
                f"the receptive field of tap {tap!r} has no closed form: its cells see more than "
                f"the {row.field:g} px that the layers before it explain"
            )


def _is_map(value: object) -> bool:
    return isinstance(value, Tensor) and value.ndim == 4


def _field(tap: str, layers: list[tuple], size: int, cells: int) -> tuple[float, int, float]:
    """Field, jump and start after the layers, at a tap of so many cells along a side."""
    side = size
    field = 1.0
    jump = 1
    start = 0.0
    for name, module, before, after in layers:
        if isinstance(module, NormOverSpace) or (isinstance(module, Adaptive) and after == 1):
            field = inf
            continue
        if not isinstance(module, Windowed) and before == after:
            continue  # an activation, a norm: every cell from itself
        if isinstance(module, nn.Linear):
            continue  # of channels that stand last
        window = _window(module, before, after)
        if window == (1, 1, 0):
            if before == 1 < side:
                field = inf  # squeeze-and-excitation with a function as its pooling
            continue  # the side stays, also where squeeze-and-excitation has one cell
        if window is None or before != side:
            raise UserError(
                f"the receptive field of tap {tap!r} has no closed form: before it runs "
                f"'{name}' ({module}); convolutions and pooling with square windows have one"
            )
        kernel, stride, padding = window
        start += ((kernel - 1) / 2 - padding) * jump
        field += (kernel - 1) * jump
        jump *= stride
        side = after
    if cells != side and not isinf(field):
        raise UserError(
            f"the receptive field of tap {tap!r} has no closed form: {side} cells were expected "
            f"along a side, got {cells}; resize or pool with a module, not a function"
        )
    return field, jump, start


def _window(module: nn.Module, before: int, after: int) -> tuple[int, int, int] | None:
    """Kernel (with its holes), stride and padding of a square window; None for all other layers."""
    if not isinstance(module, Windowed):
        return None
    dilation = getattr(module, "dilation", 1)  # average pooling has none
    sizes = [module.kernel_size, module.stride, module.padding, dilation]
    pairs = [size if isinstance(size, tuple) else (size, size) for size in sizes]
    if any(isinstance(down, str) or down != across for down, across in pairs):
        return None
    kernel, stride, padding, dilation = (down for down, _ in pairs)
    kernel = dilation * (kernel - 1) + 1
    if padding == 0 and after == ceil(before / stride):
        # TensorFlow's "same", as timm's layers do it: they pad inside, the smaller half first
        padding = max(0, (after - 1) * stride + kernel - before) // 2
    return kernel, stride, padding


def field_box(row: pd.Series, cell: tuple[int, int], size: int) -> tuple[int, int, int, int]:
    """The pixels that a cell (row, column) sees, in an image of side ``size``, px.

    Cut off at the border. From a row of :func:`receptive_fields`: top, left, bottom, right in px;
    bottom and right are the first outside.

    >>> field_box(pd.Series({"field": 8.0, "jump": 2, "start": 0.5}), (0, 10), 64)
    (0, 17, 5, 25)
    """
    if isinf(row.field):
        return 0, 0, size, size
    top, left = (int(row.start + i * row.jump - (row.field - 1) / 2) for i in cell)
    bottom = top + int(row.field)
    right = left + int(row.field)
    return tuple(min(max(0, edge), size) for edge in (top, left, bottom, right))
