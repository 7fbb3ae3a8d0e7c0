"""Every number and pixel of the layer stepper, without a view: raw maps, colour ranges, sentences (notebook 04)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import matplotlib
import numpy as np
import torch
from torch import Tensor, nn

from kdnb.errors import UserError
from kdnb.feature_maps import gradients_at_taps
from kdnb.metrics import softmax

__all__ = ["KINDS", "SCALES", "Kind", "ModelMaps", "Pane", "Panel", "StepperData", "StepperState", "check", "number",
           "palette", "panel", "stepper_data"]  # fmt: skip

CHUNK = 8  # images per forward and backward pass: bounds the memory, does not change the result


class Kind(NamedTuple):
    """A kind of map: its name in sentences, what a cell holds, whether it depends on the class and has a sign."""

    label: str
    unit: str
    per_class: bool
    signed: bool


KINDS = {  # in the order of the maps in ModelMaps
    "average": Kind("average map", "mean activation", per_class=False, signed=False),
    "gradcam": Kind("Grad-CAM", "weighted activation", per_class=True, signed=False),
    "evidence": Kind("signed evidence", "gradient × activation", per_class=True, signed=True),
}
SCALES = {"map": "this map", "layer": "this layer, all images", "layers": "all layers, all images",
          "models": "both models, all layers"}  # fmt: skip


@dataclass(frozen=True, eq=False)
class ModelMaps:
    """One model's maps, (N, R, h, w) float32 per tap in order of depth, and its probabilities (N, K) float64.

    R runs over the kinds of map and, where a kind depends on the class, over the K classes.
    """

    name: str
    taps: tuple[str, ...]
    maps: tuple[np.ndarray, ...]
    probabilities: np.ndarray

    @cached_property
    def extremes(self) -> np.ndarray:
        """Smallest and largest value of every map: (layers, R, N, 2) float64."""
        return np.stack([np.stack([m.min((2, 3)).T, m.max((2, 3)).T], -1) for m in self.maps]).astype(np.float64)


@dataclass(frozen=True, eq=False)
class StepperData:
    """N images, pixels (N, S, S, 3) uint8, with true class numbers, titles, and the maps of one or two models."""

    pixels: np.ndarray
    classes: tuple[str, ...]
    targets: tuple[int, ...]
    titles: tuple[str, ...]
    models: tuple[ModelMaps, ...]

    def row(self, kind: str, target: int = 0) -> int:
        """Which of the R maps of a tap shows a kind, for a class where it depends on the class."""
        before = list(KINDS)[: list(KINDS).index(kind)]
        return sum(len(self.classes) if KINDS[k].per_class else 1 for k in before) + target * KINDS[kind].per_class


@dataclass(frozen=True)
class StepperState:
    """What is looked at: image from 0, layer from 1, the class whose logit is explained, and how it is drawn."""

    image: int = 0
    layer: int = 1
    kind: str = "average"
    target: int = 0
    scale: str = "map"
    opacity: float = 0.6
    shown: str = "both"


class Pane(NamedTuple):
    """One model's map: raw values (h, w), the ends of its colour bar, its colours as palette numbers (h, w) uint8.

    ``peak`` is the cell (row, column, from 0) of the largest value, in a signed map of the largest magnitude; None
    where all cells are equal.
    """

    model: str
    tap: str
    raw: np.ndarray
    low: float
    high: float
    indices: np.ndarray
    peak: tuple[int, int] | None
    sentence: str


class Panel(NamedTuple):
    """All that a state shows, and the text of the live line."""

    panes: tuple[Pane, ...]
    sentence: str


def palette(signed: bool) -> np.ndarray:
    """Colours (256, 3) uint8: cividis, or blue-white-red with zero at number 128 and the ends at 1 and 255.

    >>> palette(True)[128].tolist()
    [247, 247, 247]
    """
    name, colours = ("RdBu_r", 255) if signed else ("cividis", 256)
    table = matplotlib.colormaps[name].resampled(colours)(np.arange(colours), bytes=True)[:, :3]
    return np.concatenate([table[: 256 - colours], table])


def number(value: float) -> str:
    """Three significant digits; the browser writes the same.

    >>> number(0.42), number(1234.5), number(-0.000012), number(0)
    ('0.420', '1235', '-1.20e-5', '0')
    """
    value *= 1 + 1e-12  # ties away from zero, as in JavaScript
    mantissa, power = f"{value:.2e}".split("e")
    if not -4 <= int(power) < 4:
        return f"{mantissa}e{int(power)}"
    return f"{value:.{max(0, 2 - int(power))}f}" if value else "0"


def check(data: StepperData, state: StepperState) -> StepperState:
    """The state, if the data hold what it asks for; else a UserError that names the field."""
    layers, last = len(data.models[0].taps), (len(data.pixels) - 1, len(data.classes) - 1)
    for name, low, high in ("image", 0, last[0]), ("layer", 1, layers), ("target", 0, last[1]), ("opacity", 0, 1):
        if not low <= (value := getattr(state, name)) <= high:
            raise UserError(f"{name} must lie between {low} and {high}, got {value!r}")
    shown = ("both", *(model.name for model in data.models))
    for name, allowed in ("kind", KINDS), ("scale", SCALES), ("shown", shown):
        if (value := getattr(state, name)) not in allowed:
            raise UserError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
    return state


def panel(data: StepperData, state: StepperState) -> Panel:
    """The maps that a state shows, with their colours and words.

    Raises:
        UserError: If the state names an image, layer, class, kind, scale or model that the data do not hold.
    """
    check(data, state)
    panes = tuple(_pane(data, state, model) for model in data.models if state.shown in ("both", model.name))
    return Panel(panes, "\n".join(pane.sentence for pane in panes))


def _pane(data: StepperData, state: StepperState, model: ModelMaps) -> Pane:
    signed, tap = KINDS[state.kind].signed, model.taps[state.layer - 1]
    raw = model.maps[state.layer - 1][state.image, data.row(state.kind, state.target)]
    low, high = _colour_range(data, state, model)
    indices = np.full(raw.shape, 128 * signed, np.uint8)  # all zero
    if low < high:
        values = raw.astype(np.float64)
        scaled = 127 * (values / high) + 128 if signed else 255 * ((values - low) / (high - low))
        indices = np.floor(scaled + 0.5).astype(np.uint8)
    y, x = np.unravel_index((np.abs(raw) if signed else raw).argmax(), raw.shape)
    peak = (int(y), int(x)) if raw.min() < raw.max() else None
    return Pane(model.name, tap, raw, low, high, indices, peak, _words(data, state, model, raw, peak))


def _colour_range(data: StepperData, state: StepperState, model: ModelMaps) -> tuple[float, float]:
    """Values at the ends of the colour bar; zero lies inside, in the middle of a signed one."""
    layers = slice(None) if state.scale in ("layers", "models") else slice(state.layer - 1, state.layer)
    images = slice(state.image, state.image + 1) if state.scale == "map" else slice(None)
    scope = data.models if state.scale == "models" else (model,)
    values = np.stack([m.extremes[layers, data.row(state.kind, state.target), images] for m in scope])
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    return (min(low, -high), max(high, -low)) if KINDS[state.kind].signed else (low, high)


def _words(data: StepperData, state: StepperState, model: ModelMaps, raw: np.ndarray, peak: tuple | None) -> str:
    kind, name, tap = KINDS[state.kind], data.classes[state.target], model.taps[state.layer - 1]
    where = f"the same value {number(float(raw[0, 0]))} everywhere"
    if peak:
        value = ("+" if kind.signed and raw[peak] > 0 else "") + number(float(raw[peak]))
        where = f"{'strongest' if kind.signed else 'brightest'} {value} at row {peak[0] + 1}, column {peak[1] + 1}"
    return (f"{model.name}, layer {state.layer} of {len(model.taps)} ({tap}, {raw.shape[0]} × {raw.shape[1]}), "
            f"{kind.label}{f' for {name}' * kind.per_class}, {where}; "
            f"p({name}) {model.probabilities[state.image, state.target] + 1e-12:.2f}")  # fmt: skip


def stepper_data(
    student: nn.Module, teacher: nn.Module | None, images: Tensor, pixels: np.ndarray, targets: Sequence[int],
    classes: Sequence[str], titles: Sequence[str] | None = None,
) -> StepperData:  # fmt: skip
    """All maps of all images, from one forward and one backward pass per class.

    Args:
        student: Model with ``taps``.
        teacher: Model with as many taps, paired with the student's by depth; or None.
        images: (N, 3, S, S) normalised.
        pixels: (N, S, S, 3) uint8, the same images to look at.
        targets: (N,) true class numbers.
        classes: K class names.
        titles: N names of the images; numbered if omitted.

    Raises:
        UserError: If shapes or counts do not match, a tap is missing or is no map, or a map is not finite.
    """
    n, k, shape = len(images), len(classes), tuple(images.shape)
    titles = [f"image {i + 1}" for i in range(n)] if titles is None else titles
    if n == 0 or len(shape) != 4 or pixels.shape != (n, *shape[2:], 3) or pixels.dtype != np.uint8:
        raise UserError("images (N, 3, S, S) need pixels (N, S, S, 3) uint8, N at least 1; "
                        f"got {shape} and {pixels.shape} {pixels.dtype}")  # fmt: skip
    if len(targets) != n or len(titles) != n or not all(0 <= t < k for t in targets):
        raise UserError(f"{n} images of {k} classes need {n} targets from 0 to {k - 1} and {n} titles; "
                        f"got targets {[int(t) for t in targets]} and {len(titles)} titles")  # fmt: skip
    named = {"student": student} if teacher is None else {"student": student, "teacher": teacher}
    models = tuple(_model_maps(name, model, images, k) for name, model in named.items())
    if len(models[0].taps) != len(models[-1].taps):
        taps = " and ".join(", ".join(m.taps) for m in models)
        raise UserError(f"student and teacher need equally many taps, got {taps}")
    return StepperData(pixels, tuple(classes), tuple(map(int, targets)), tuple(map(str, titles)), models)


def _model_maps(name: str, model: nn.Module, images: Tensor, classes: int) -> ModelMaps:
    parts = [_chunk(name, model, part, classes) for part in images.detach().split(CHUNK)]
    maps = {tap: np.concatenate([part[tap] for _, part in parts]) for tap in parts[0][1]}
    for tap, values in maps.items():
        if not np.isfinite(values).all():
            raise UserError(f"the {name}'s maps at {tap} are not finite: check its weights and the input range")
    return ModelMaps(name, tuple(maps), tuple(maps.values()), softmax(np.concatenate([logits for logits, _ in parts])))


def _chunk(name: str, model: nn.Module, images: Tensor, classes: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Logits (N, K), and tap → maps (N, R, h, w)."""
    maps = defaultdict(list)
    inputs = images.clone().requires_grad_()  # so that a frozen model has gradients too
    for target in range(classes):
        logits, pairs = gradients_at_taps(model, inputs, torch.full((len(images),), target))
        if logits.shape[1] != classes:
            raise UserError(f"the {name} has {logits.shape[1]} outputs, but {classes} class names were given")
        for tap, (a, g) in pairs.items():  # (N, C, h, w)
            if a.ndim != 4:
                raise UserError(f"tap {tap!r} of the {name} is no map: it must be (N, C, h, w), is {tuple(a.shape)}")
            cam = (g.mean(dim=(2, 3), keepdim=True) * a).sum(dim=1).clamp_min(0)  # as explanations.grad_cam
            maps[tap] += [a.mean(dim=1), cam, (g * a).sum(dim=1)]  # in the order of KINDS
    step = len(KINDS)
    order = [j for i, k in enumerate(KINDS.values()) for j in (range(i, step * classes, step) if k.per_class else [i])]
    return logits.cpu().numpy(), {tap: torch.stack(m, 1)[:, order].float().cpu().numpy() for tap, m in maps.items()}
