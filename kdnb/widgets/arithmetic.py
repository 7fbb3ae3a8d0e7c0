"""The numbers behind one cell of a map: patch, kernel, products, bias, norm, activation (04).

Where a tap follows a convolution, every number of the way is shown and adds up to the network's
value. Where it follows something else, what enters and what leaves is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from kdnb.core.errors import UserError
from kdnb.core.number_text import number, plus
from kdnb.training.modules import evaluating, modules_at

__all__ = ["Arithmetic", "Trace", "cell_arithmetic", "trace_tap"]

SHOWN = 3  # input channels whose products are written out: those that add most
TOLERANCE = 1e-4  # largest accepted gap to the network's value, relative to max(1, |value|)
ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.Hardtanh, nn.SiLU, nn.GELU, nn.Hardswish, nn.ELU)
IDENTITIES = (nn.Identity, nn.modules.dropout._DropoutNd)
POOLS = {nn.MaxPool2d: "largest", nn.AvgPool2d: "mean"}


class Trace(NamedTuple):
    """How the map at a tap comes about, for one image."""

    entering: Tensor  #: (C, h, w) what the first of the modules gets
    modules: tuple[nn.Module, ...]  #: what runs from there to the tap; (): it is not known
    leaving: Tensor  #: (C, h, w) the map at the tap


class Product(NamedTuple):
    """What one input channel adds to the sum: patch × kernel, cell by cell."""

    channel: int
    patch: np.ndarray  #: (k, k) float64
    kernel: np.ndarray  #: (k, k) float64
    total: float


@dataclass
class Arithmetic:
    """One channel of a map at one cell, step by step."""

    cell: tuple[int, int]  #: row and column, from 0
    channel: int
    value: float  #: what the network gives
    mean: float  #: of all channels at the cell: what the average map shows
    weaker: int  #: the channel that is next smaller at the cell; -1: there is none
    stronger: int  #: the channel that is next larger; -1: there is none
    products: list[Product] = field(default_factory=list)
    rest: tuple[int, float] = (0, 0.0)  #: how many input channels are left out, and their sum
    window: np.ndarray | None = None  #: (k, k) what a pooling layer sees; NaN: padding
    steps: list[tuple[str, float]] = field(default_factory=list)  #: what happens, and its result

    @property
    def sentence(self) -> str:
        """All of it in words."""
        row, column = self.cell
        said = [f"channel {self.channel} at row {row + 1}, column {column + 1}"]
        said += [f"{what} {number(result)}" for what, result in self.steps]
        said.append(f"the network gives {number(self.value)}")
        return (
            "; ".join(said) + f". The mean of all channels here, the average map's value, is "
            f"{number(self.mean)}."
        )

    def message(self) -> dict[str, Any]:
        """As the browser gets it."""
        products = []
        for product in self.products:
            products.append({**product._asdict(), "patch": product.patch.tolist()})
            products[-1]["kernel"] = product.kernel.tolist()
        return {
            "channel": self.channel,
            "weaker": self.weaker,
            "stronger": self.stronger,
            "value": self.value,
            "mean": self.mean,
            "products": products,
            "rest": list(self.rest),
            "window": None if self.window is None else _without_nan(self.window),
            "steps": [list(step) for step in self.steps],
            "sentence": self.sentence,
        }


def _without_nan(window: np.ndarray) -> list[list[float | None]]:
    """A window as lists, None where padding takes no part: JSON has no NaN."""
    return [[None if np.isnan(value) else value for value in row] for row in window.tolist()]


class _Call(NamedTuple):
    """One module's run: ``given`` is the tensor itself, ``entering`` what it held then."""

    module: nn.Module
    given: object
    entering: object
    output: object


def trace_tap(model: nn.Module, image: Tensor, tap: str) -> Trace:
    """Follow an image (1, 3, H, W) to a tap.

    From the tap backwards over activations and batch norms to a convolution or whatever else comes
    before them. A way that does not give the map again (a sum inside a block goes unseen) is given
    up: then the trace has no modules.
    """
    tapped = modules_at(model)[tap]
    calls: list[_Call] = []
    given: dict[nn.Module, tuple[object, object]] = {}

    def note_input(module: nn.Module, inputs: tuple) -> None:
        first = inputs[0] if inputs else None
        works_in_place = isinstance(first, Tensor) and getattr(module, "inplace", False)
        given[module] = first, first.clone() if works_in_place else first

    def note_output(module: nn.Module, _inputs: tuple, output: object) -> None:
        calls.append(_Call(module, *given[module], output))

    with ExitStack() as hooks, evaluating(model), torch.inference_mode():
        for module in model.modules():
            if module is tapped or not list(module.children()):
                hooks.enter_context(module.register_forward_pre_hook(note_input))
                hooks.enter_context(module.register_forward_hook(note_output))
        model(image)
        own = max(place for place, call in enumerate(calls) if call.module is tapped)
        leaving = calls[own].output
        first, modules = _way(calls[: own + 1])
        if modules and not _leads(first.entering, modules, leaving):
            modules = ()
        if not modules:
            first = calls[own]
    entering = first.entering if isinstance(first.entering, Tensor) else leaving[:, :0]
    return Trace(entering=entering[0], modules=modules, leaving=leaving[0])


def _way(calls: Sequence[_Call]) -> tuple[_Call, tuple[nn.Module, ...]]:
    """The first call of the way to the last call's output, and the modules on it."""
    way: list[_Call] = []
    tensor = calls[-1].output
    for call in reversed(calls):
        is_leaf = not list(call.module.children())
        if not is_leaf or call.output is not tensor:
            continue
        between = _is_elementwise(call.module)
        if not between and way and type(call.module) is not nn.Conv2d:
            break
        way.insert(0, call)
        if not between:
            break
        tensor = call.given
    return (way or calls)[0], tuple(call.module for call in way)


def _is_elementwise(module: nn.Module) -> bool:
    """Whether a cell of its output comes from the one cell of the same channel."""
    is_norm = type(module) is nn.BatchNorm2d and module.running_mean is not None
    return is_norm or isinstance(module, (*ACTIVATIONS, *IDENTITIES))


def _leads(entering: object, modules: Sequence[nn.Module], leaving: Tensor) -> bool:
    """Whether the modules alone make the map of what enters them."""
    if not isinstance(entering, Tensor):
        return False
    found = entering.clone()
    for module in modules:
        found = module(found.clone())
    return found.shape == leaving.shape and torch.allclose(found, leaving, atol=1e-5, rtol=1e-4)


def cell_arithmetic(trace: Trace, cell: tuple[int, int], channel: int = -1) -> Arithmetic:
    """The steps that make one channel of a map at a cell (row, column, from 0).

    ``channel`` -1 takes the one that is largest there.

    Raises:
        UserError: If the map has no such cell or channel.
    """
    count, height, width = trace.leaving.shape
    row, column = cell
    if not (0 <= row < height and 0 <= column < width and -1 <= channel < count):
        raise UserError(
            f"this map has {height} × {width} cells and channels from 0 to {count - 1}, "
            f"got cell {list(cell)} and channel {channel}"
        )
    here = trace.leaving[:, row, column].double().cpu().numpy()
    order = np.argsort(-here, kind="stable").tolist()
    channel = order[0] if channel < 0 else channel
    rank = order.index(channel)
    found = Arithmetic(
        cell=(row, column),
        channel=channel,
        value=float(here[channel]),
        mean=float(here.mean()),
        weaker=order[rank + 1] if rank + 1 < count else -1,
        stronger=order[rank - 1] if rank > 0 else -1,
    )
    _add_way(found, trace)
    result = found.steps[-1][1] if trace.modules and found.steps else found.value
    if abs(result - found.value) > TOLERANCE * max(1, abs(found.value)):
        found.products.clear()
        found.steps.clear()
        _add_ends(found, trace.entering)
    return found


def _add_way(found: Arithmetic, trace: Trace) -> None:
    """Every step from the first module to the tap, or what enters where the way is unknown."""
    first = trace.modules[0] if trace.modules else None
    if type(first) is nn.Conv2d:
        value = _add_convolution(found, first, trace.entering)
        modules = trace.modules[1:]
    elif first is not None and _is_elementwise(first):
        value = float(trace.entering[(found.channel, *found.cell)])
        found.steps.append(("what enters is", value))
        modules = trace.modules
    elif type(first) in POOLS and _add_pool(found, first, trace.entering):
        return
    else:
        _add_ends(found, trace.entering)
        return
    for module in modules:
        value = _add_elementwise(found, module, value)


def _add_convolution(found: Arithmetic, conv: nn.Conv2d, entering: Tensor) -> float:
    """The products of patch and kernel, their sum and the bias; returns the result."""
    of_group = conv.in_channels // conv.groups
    start = of_group * (found.channel // (conv.out_channels // conv.groups))
    inputs = entering[start : start + of_group]
    patch = _window(inputs, found.cell, conv).double().cpu().numpy()  # (C, kh, kw)
    kernel = conv.weight[found.channel].detach().double().cpu().numpy()
    sums = (patch * kernel).sum(axis=(1, 2))
    most = np.argsort(-np.abs(sums), kind="stable")[:SHOWN]
    for place in most:
        found.products.append(
            Product(int(start + place), patch[place], kernel[place], float(sums[place]))
        )
    value = float(sums.sum())
    found.rest = len(sums) - len(most), value - float(sums[most].sum())
    kh, kw = conv.kernel_size
    across = "channel" if of_group == 1 else "channels"
    found.steps.append(
        (f"{patch.size} products of a {kh} × {kw} patch of {of_group} {across} sum to", value)
    )
    if conv.bias is not None:
        bias = float(conv.bias.detach()[found.channel])
        value += bias
        found.steps.append((f"the bias {plus(bias)} makes it", value))
    return value


def _window(
    inputs: Tensor,
    cell: tuple[int, int],
    layer: nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d,
    beyond: float = 0.0,
) -> Tensor:
    """What a layer sees of maps (C, h, w) at a cell of its output: (C, kh, kw)."""
    kernel = _pair(layer.kernel_size)
    stride = _pair(layer.stride)
    dilation = _pair(getattr(layer, "dilation", 1))
    height = dilation[0] * (kernel[0] - 1)  # from the first row that it sees to the last
    width = dilation[1] * (kernel[1] - 1)
    if layer.padding == "same":
        top = height // 2
        left = width // 2
        sides = (left, width - left, top, height - top)
    else:
        down, right = (0, 0) if layer.padding == "valid" else _pair(layer.padding)
        sides = (right, right, down, down)
    mode = getattr(layer, "padding_mode", "zeros")
    if mode == "zeros":
        padded = pad(inputs[None], sides, value=beyond)[0]
    else:
        padded = pad(inputs[None], sides, mode=mode)[0]
    row = cell[0] * stride[0]
    column = cell[1] * stride[1]
    # beyond the border a slice is shorter: a pooling that rounds up sees less there
    rows = slice(row, row + height + 1, dilation[0])
    columns = slice(column, column + width + 1, dilation[1])
    return padded[:, rows, columns]


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return size if isinstance(size, tuple) else (size, size)


def _add_pool(found: Arithmetic, pool: nn.MaxPool2d | nn.AvgPool2d, entering: Tensor) -> bool:
    """The window of a pooling layer and what is made of it; False where it cannot be told."""
    inputs = entering[found.channel : found.channel + 1]
    beyond = -np.inf if isinstance(pool, nn.MaxPool2d) else 0.0
    window = _window(inputs, found.cell, pool, beyond)[0].double().cpu().numpy()
    value = float(window.max() if isinstance(pool, nn.MaxPool2d) else window.mean())
    if abs(value - found.value) > TOLERANCE * max(1, abs(found.value)):
        return False
    enters = np.isfinite(window)  # padding of a largest value takes no part
    found.window = np.where(enters, window, np.nan)
    found.steps.append((f"the {POOLS[type(pool)]} of {enters.sum()} values that enter is", value))
    return True


def _add_elementwise(found: Arithmetic, module: nn.Module, value: float) -> float:
    """What a batch norm or an activation makes of a value."""
    if isinstance(module, IDENTITIES):
        return value
    if isinstance(module, nn.BatchNorm2d):
        mean = float(module.running_mean[found.channel])
        spread = float((module.running_var[found.channel].double() + module.eps).sqrt())
        weight = float(module.weight.detach()[found.channel]) if module.affine else 1.0
        bias = float(module.bias.detach()[found.channel]) if module.affine else 0.0
        value = (value - mean) / spread * weight + bias
        how = f"(x {_added(-mean)}) / {number(spread)} · {number(weight)} {_added(bias)}"
        found.steps.append((f"batch norm {how} makes it", value))
        return value
    result = float(module(torch.tensor([[[[value]]]], dtype=torch.float64)))
    found.steps.append((f"{type(module).__name__} makes it", result))
    return result


def _added(value: float) -> str:
    """A number with a sign before it that can follow another one.

    >>> _added(-0.5)
    '- 0.500'
    """
    return f"{'-' if value < 0 else '+'} {number(abs(value))}"


def _add_ends(found: Arithmetic, entering: Tensor) -> None:
    """What enters near the cell, where the layer's own arithmetic is not shown."""
    if entering.ndim != 3 or 0 in entering.shape:
        found.steps.append(("what enters is no map; what leaves is", found.value))
        return
    count, height, width = entering.shape
    found.steps.append(
        (f"{count} channels of {height} × {width} cells enter, on average", float(entering.mean()))
    )
    found.steps.append(("what leaves is", found.value))
