"""Every number and colour of the layer stepper, without a view: colour ranges, ledger bars, ranks, sentences (04)."""

from dataclasses import dataclass
from typing import NamedTuple

import matplotlib
import numpy as np
import pandas as pd

from kdnb.errors import UserError
from kdnb.feature_maps import field_box
from kdnb.widgets.layers import FILTERS, KINDS, StepperData
from kdnb.widgets.view import colour_numbers, one_of, within

__all__ = ["ORDERS", "SCALES", "Bars", "Pane", "Panel", "StepperState", "box", "cell_at", "check", "number", "palette",
           "panel", "patch", "plus", "ranked", "signed"]  # fmt: skip

SCALES = {"map": "this map", "layer": "this layer, all images", "layers": "all layers, all images",
          "models": "both models, all layers"}  # fmt: skip
ORDERS = {"contribution": "contribution", "effect": "effect of ablation", "mean": "mean activation"}
QUIZ = ("off", "asking", "revealed")
ASKING = "Which class is it? Choose your guess, point at the place if you like, then reveal."
PLACES = 8  # an occluding patch can be put on an 8 × 8 grid of places; its side is 2 / 8 of the image's


@dataclass(frozen=True)
class StepperState:
    """What is looked at."""

    image: int = 0  #: from 0
    layer: int = 1  #: from 1
    kind: str = "average"  #: one of KINDS
    target: int = 0  #: the class whose logit is explained
    versus: int = -1  #: the class whose logit is subtracted, or -1
    scale: str = "map"  #: one of SCALES
    opacity: float = 0.6  #: of the map over the image, in [0, 1]
    shown: str = "both"  #: or the name of a model
    only: str = "all"  #: one of FILTERS: which images the pager stops at
    order: str = "contribution"  #: one of ORDERS: how channels are ranked
    point: tuple[int, ...] = ()  #: (row, column) of a pixel that is pointed at, or ()
    occluded: tuple[int, ...] = ()  #: (row, column) of the patch's place on the 8 × 8 grid, or ()
    ablated: tuple[int, ...] = ()  #: channels of the first shown model at this layer that are replaced by their mean
    quiz: str = "off"  #: one of QUIZ: whether the class is being guessed
    guess: int = -1  #: the guessed class, or -1


class Bars(NamedTuple):
    """One tap's line of the ledger: supporting ≥ 0, opposing ≤ 0, bias; their sum is the logit (or the difference)."""

    supporting: float
    opposing: float
    bias: float
    logit: float


class Pane(NamedTuple):
    """One model's map: raw values (h, w), the ends of its colour bar, its colours as palette numbers (h, w) uint8.

    ``peak`` is the cell (row, column, from 0) of the largest value, in a signed map of the largest magnitude; None
    where all cells are equal. ``cell`` is the cell that is pointed at, ``sees`` the pixels it can see (top, left,
    bottom, right). ``bars`` has one entry per layer, or is empty where there is no ledger.
    """

    model: str
    tap: str
    raw: np.ndarray
    low: float
    high: float
    indices: np.ndarray
    peak: tuple[int, int] | None
    cell: tuple[int, int] | None
    sees: tuple[int, int, int, int] | None
    bars: tuple[Bars, ...]
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


def check(data: StepperData, state: StepperState) -> None:
    """Refuse a state that asks for what the data do not hold with a UserError that names the field."""
    side, classes = data.pixels.shape[1], len(data.classes)
    shown = ("both", *(model.name for model in data.models))
    limits = {"image": (0, len(data.pixels) - 1), "layer": (1, len(data.models[0].taps)), "target": (0, classes - 1),
              "versus": (-1, classes - 1), "guess": (-1, classes - 1), "opacity": (0, 1)}  # fmt: skip
    for name, (low, high) in limits.items():
        within(name, getattr(state, name), low, high)
    named = {"kind": KINDS, "scale": SCALES, "shown": shown, "only": FILTERS, "order": ORDERS, "quiz": QUIZ}
    for name, allowed in named.items():
        one_of(name, getattr(state, name), allowed)
    for name, end in ("point", side), ("occluded", PLACES):
        value = getattr(state, name)
        if len(value) not in (0, 2) or not all(0 <= v < end for v in value):
            raise UserError(f"{name} must be empty or a row and a column from 0 to {end - 1}, got {list(value)}")
    count = data.models[max(0, shown.index(state.shown) - 1)].means[state.layer - 1].shape[1]
    if not all(0 <= channel < count for channel in state.ablated):
        raise UserError(f"ablated must be channels from 0 to {count - 1}, got {list(state.ablated)}")


def panel(data: StepperData, state: StepperState) -> Panel:
    """The maps that a state shows, with their colours, ledger and words.

    Raises:
        UserError: If the state names an image, layer, class, kind, scale or model that the data do not hold.
    """
    check(data, state)
    panes = tuple(_pane(data, state, m) for m, model in enumerate(data.models) if state.shown in ("both", model.name))
    if state.quiz == "asking":
        return Panel(panes, ASKING)
    return Panel(panes, "\n".join([*_verdict(data, state), *(pane.sentence for pane in panes)]))


def _verdict(data: StepperData, state: StepperState) -> list[str]:
    """Whether the guess was right, what the student says, and whether the pointed place defines the class."""
    if state.quiz != "revealed" or state.guess < 0:
        return []
    truth, best = data.targets[state.image], data.models[0].probabilities[state.image].argmax()
    right = "" if truth < 0 else ": right" if state.guess == truth else f": it is {data.classes[truth]}"
    said = f"you said {data.classes[state.guess]}{right}; the student says {data.classes[best]}"
    if state.point and data.masks is not None and (mask := data.masks[state.image]).any() and not mask.all():
        said += f"; your place lies {'inside' if mask[state.point] else 'outside'} what defines the class"
    return [said]


def signed(state: StepperState) -> bool:
    """Whether the map has a sign: signed evidence, and every difference of two classes."""
    return KINDS[state.kind].signed or (state.versus >= 0 and KINDS[state.kind].per_class)


def _pane(data: StepperData, state: StepperState, m: int) -> Pane:
    model, has_sign = data.models[m], signed(state)
    raw = data.values(m, state.layer, state.kind, state.target, state.versus)[state.image]
    low, high = _colour_range(data, state, m)
    indices = colour_numbers(raw, low, high, signed=has_sign)
    y, x = np.unravel_index((np.abs(raw) if has_sign else raw).argmax(), raw.shape)
    peak = (int(y), int(x)) if raw.min() < raw.max() else None
    cell = cell_at(state.point, raw.shape, data.pixels.shape[1]) if state.point else None
    sees = box(model.fields[state.layer - 1], cell, data.pixels.shape[1]) if cell else None
    bars = tuple(_bars(data, state, m, layer) for layer in range(1, len(model.taps) + 1)) if not model.refusal else ()
    words = _words(data, state, m, raw, peak, bars) + _pointed(raw, cell, sees)
    return Pane(model.name, model.taps[state.layer - 1], raw, low, high, indices, peak, cell, sees, bars, words)


def _colour_range(data: StepperData, state: StepperState, m: int) -> tuple[float, float]:
    """Values at the ends of the colour bar; zero lies inside, in the middle of a signed one."""
    every = range(1, len(data.models[m].taps) + 1) if state.scale in ("layers", "models") else (state.layer,)
    images = slice(state.image, state.image + 1) if state.scale == "map" else slice(None)
    scope = range(len(data.models)) if state.scale == "models" else (m,)
    asked = (state.kind, state.target, state.versus)
    values = [data.values(j, layer, *asked)[images] for j in scope for layer in every]
    low, high = min(0.0, *(float(v.min()) for v in values)), max(0.0, *(float(v.max()) for v in values))
    return (min(low, -high), max(high, -low)) if signed(state) else (low, high)


def _bars(data: StepperData, state: StepperState, m: int, layer: int) -> Bars:
    model = data.models[m]
    raw = data.values(m, layer, "evidence", state.target, state.versus)[state.image].astype(np.float64)
    bias, logit = model.bias[layer - 1, state.image], model.logits[state.image]
    bias, logit = (v[state.target] - (v[state.versus] if state.versus >= 0 else 0.0) for v in (bias, logit))
    return Bars(float(raw[raw > 0].sum()), float(raw[raw < 0].sum()), float(bias), float(logit))


def ranked(values: np.ndarray) -> np.ndarray:
    """Channels from the largest value to the smallest; equal ones by number.

    >>> ranked(np.array([0.1, 0.5, 0.5])).tolist()
    [1, 2, 0]
    """
    return np.argsort(-values, kind="stable")


def cell_at(point: tuple[int, ...], shape: tuple[int, ...], side: int) -> tuple[int, int]:
    """The cell of a map of some shape that lies over a pixel.

    >>> cell_at((63, 20), (4, 4), 64)
    (3, 1)
    """
    return point[0] * shape[0] // side, point[1] * shape[1] // side


def box(field: np.ndarray, cell: tuple[int, int], side: int) -> tuple[int, int, int, int] | None:
    """Pixels that a cell can see, (top, left, bottom, right), ends excluded, cut at the border; None if unknown.

    >>> box(np.array([3.0, 1.0, 0.0]), (0, 5), 64)
    (0, 4, 2, 7)
    """
    if np.isnan(field).any():
        return None
    if field[0] >= 2 * side:
        return 0, 0, side, side
    return field_box(pd.Series(field, index=["field", "jump", "start"]), cell, side)


def patch(place: tuple[int, ...], side: int) -> tuple[int, int, int, int]:
    """Pixels of the occluding patch at a place of the 8 × 8 grid, (top, left, bottom, right), ends excluded.

    >>> patch((0, 7), 64)
    (0, 52, 12, 64)
    """
    half, (y, x) = side // PLACES, (int((p + 0.5) * side / PLACES + 0.5) for p in place)
    return max(0, y - half), max(0, x - half), min(side, y + half), min(side, x + half)


def plus(value: float) -> str:
    """A number with its sign."""
    return ("+" if value > 0 else "") + number(value)


def _words(data: StepperData, state: StepperState, m: int, raw: np.ndarray, peak: tuple | None, bars: tuple) -> str:
    model, kind, name = data.models[m], KINDS[state.kind], data.classes[state.target]
    if state.versus >= 0:
        name += f" minus {data.classes[state.versus]}"
    where = f"the same value {number(float(raw[0, 0]))} everywhere"
    if peak:
        value = (plus if signed(state) else number)(float(raw[peak]))
        where = f"{'strongest' if signed(state) else 'brightest'} {value} at row {peak[0] + 1}, column {peak[1] + 1}"
    said = (f"{model.name}, layer {state.layer} of {len(model.taps)} ({model.taps[state.layer - 1]}, "
            f"{raw.shape[0]} × {raw.shape[1]}), {kind.label}{f' for {name}' * kind.per_class}, {where}; "
            + ", ".join(f"p({data.classes[k]}) {model.probabilities[state.image, k] + 1e-12:.2f}"
                        for k in (state.target, state.versus) if k >= 0))  # fmt: skip
    if bars:
        here = bars[state.layer - 1]
        said += (f"; logit{' difference' * (state.versus >= 0)} {plus(here.logit)} = for {number(here.supporting)}, "
                 f"against {number(here.opposing)}, bias {plus(here.bias)}")  # fmt: skip
    return said


def _pointed(raw: np.ndarray, cell: tuple | None, sees: tuple | None) -> str:
    if cell is None:
        return ""
    said = f"; cell at row {cell[0] + 1}, column {cell[1] + 1}: {number(float(raw[cell]))}"
    return said + (f", sees rows {sees[0] + 1} to {sees[2]}, columns {sees[1] + 1} to {sees[3]}" if sees else "")
