"""Numbers and colours of the layer stepper: colour ranges, ledger bars, ranks, sentences (04)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import matplotlib
import numpy as np
import pandas as pd

from kdnb.core.errors import UserError
from kdnb.core.number_text import number, plus, probability
from kdnb.feature_maps.receptive_field import field_box
from kdnb.widgets.base import colour_numbers, one_of, within
from kdnb.widgets.layer_maps import FILTERS, MAP_KINDS, StepperData

__all__ = [
    "Bars",
    "ORDERS",
    "PLACES",
    "PREDICTED",
    "Pane",
    "Panel",
    "SCALES",
    "StepperState",
    "TRUE_CLASS",
    "box",
    "cell_at",
    "check_state",
    "palette",
    "resolved",
    "stepper_panel",
    "patch",
    "ranked",
    "signed",
]

SCALES = {
    "map": "this map",
    "layer": "this layer, all images",
    "layers": "all layers, all images",
    "models": "both models, all layers",
}
ORDERS = {"contribution": "contribution", "effect": "effect of ablation", "mean": "mean activation"}
QUIZ = ("off", "asking", "revealed")
ASKING = "Which class is it? Choose your guess, point at the place if you like, then reveal."
TRUE_CLASS = -1  # targets that follow the image: its true class,
PREDICTED = -2  # or the one that the student predicts
PLACES = 8  # a patch can be put on an 8 × 8 grid of places; its side is 2 / 8 of the image's


@dataclass(frozen=True)
class StepperState:
    """What is looked at."""

    image: int = 0  #: from 0
    layer: int = 1  #: from 1
    kind: str = "average"  #: one of MAP_KINDS
    target: int = TRUE_CLASS  #: the class whose logit is explained, TRUE_CLASS or PREDICTED
    versus: int = -1  #: the class whose logit is subtracted, or -1
    scale: str = "map"  #: one of SCALES
    opacity: float = 0.6  #: of the map over the image, in [0, 1]
    shown: str = "both"  #: or the name of a model
    only: str = "all"  #: one of FILTERS: which images the pager stops at
    order: str = "contribution"  #: one of ORDERS: how channels are ranked
    point: tuple[int, ...] = ()  #: (row, column) of a pixel that is pointed at, or ()
    occluded: tuple[int, ...] = ()  #: (row, column) of the patch's place on the 8 × 8 grid, or ()
    ablated: tuple[int, ...] = ()  #: channels of the first shown model, here at their mean
    quiz: str = "off"  #: one of QUIZ: whether the class is being guessed
    guess: int = -1  #: the guessed class, or -1


class Bars(NamedTuple):
    """One tap's line of the ledger: the first three sum to the logit (or the difference of two)."""

    supporting: float  #: at least 0
    opposing: float  #: at most 0
    bias: float
    logit: float


class Pane(NamedTuple):
    """One model's map with its colours, its ledger and its words."""

    model: str
    tap: str
    raw: np.ndarray  #: (h, w)
    low: float  #: value at the low end of the colour bar
    high: float  #: value at the high end
    indices: np.ndarray  #: (h, w) uint8 numbers in the palette
    peak: tuple[int, int] | None  #: cell of the largest value or magnitude; None if all are equal
    cell: tuple[int, int] | None  #: cell (row, column, from 0) that is pointed at
    sees: tuple[int, int, int, int] | None  #: pixels that it can see: top, left, bottom, right
    bars: tuple[Bars, ...]  #: one per layer; empty where there is no ledger
    sentence: str


class Panel(NamedTuple):
    """All that a state shows, and the text of the live line."""

    panes: tuple[Pane, ...]
    sentence: str


def palette(signed: bool) -> np.ndarray:
    """Colours (256, 3) uint8: cividis, or blue-white-red.

    The signed one has zero at number 128 and its ends at 1 and 255.

    >>> palette(True)[128].tolist()
    [247, 247, 247]
    """
    if not signed:
        return matplotlib.colormaps["cividis"](np.arange(256), bytes=True)[:, :3]
    colours = matplotlib.colormaps["RdBu_r"].resampled(255)(np.arange(255), bytes=True)[:, :3]
    return np.concatenate([colours[:1], colours])


def check_state(data: StepperData, state: StepperState) -> None:
    """Refuse a state that asks for what the data do not hold.

    Raises:
        UserError: If it does; the message names the field.
    """
    last_class = len(data.classes) - 1
    shown = ("both", *(model.name for model in data.models))
    within("image", state.image, 0, len(data.pixels) - 1)
    within("layer", state.layer, 1, len(data.models[0].taps))
    within("target", state.target, PREDICTED, last_class)
    within("versus", state.versus, -1, last_class)
    within("guess", state.guess, -1, last_class)
    within("opacity", state.opacity, 0, 1)
    one_of("kind", state.kind, MAP_KINDS)
    one_of("scale", state.scale, SCALES)
    one_of("shown", state.shown, shown)
    one_of("only", state.only, FILTERS)
    one_of("order", state.order, ORDERS)
    one_of("quiz", state.quiz, QUIZ)
    _check_place("point", state.point, data.pixels.shape[1])
    _check_place("occluded", state.occluded, PLACES)
    model = data.models[max(0, shown.index(state.shown) - 1)]
    count = model.means[state.layer - 1].shape[1]
    if not all(0 <= channel < count for channel in state.ablated):
        raise UserError(
            f"ablated must be channels from 0 to {count - 1}, got {list(state.ablated)}"
        )


def _check_place(name: str, place: tuple[int, ...], end: int) -> None:
    if len(place) not in (0, 2) or not all(0 <= value < end for value in place):
        raise UserError(
            f"{name} must be empty or a row and a column from 0 to {end - 1}, got {list(place)}"
        )


def resolved(data: StepperData, state: StepperState) -> StepperState:
    """The state with a class's number as its target.

    Where nobody knows the true class, the one that the student predicts takes its place.
    """
    if state.target >= 0:
        return state
    target = data.targets[state.image]
    if state.target == PREDICTED or target < 0:
        target = int(data.models[0].probabilities[state.image].argmax())
    return replace(state, target=target)


def stepper_panel(data: StepperData, state: StepperState) -> Panel:
    """The maps that a state shows, with their colours, ledger and words.

    Raises:
        UserError: If the state names an image, layer, class, kind, scale or model that the data do
            not hold.
    """
    check_state(data, state)
    state = resolved(data, state)
    panes = []
    for index, model in enumerate(data.models):
        if state.shown in ("both", model.name):
            panes.append(_pane(data, state, index))
    if state.quiz == "asking":
        return Panel(panes=tuple(panes), sentence=ASKING)
    said = [*_verdict(data, state), *(pane.sentence for pane in panes)]
    return Panel(panes=tuple(panes), sentence="\n".join(said))


def _verdict(data: StepperData, state: StepperState) -> list[str]:
    """Whether the guess was right, what the student says, and whether the pointed place counts."""
    if state.quiz != "revealed" or state.guess < 0:
        return []
    truth = data.targets[state.image]
    best = data.models[0].probabilities[state.image].argmax()
    if truth < 0:
        right = ""
    elif state.guess == truth:
        right = ": right"
    else:
        right = f": it is {data.classes[truth]}"
    said = f"you said {data.classes[state.guess]}{right}; the student says {data.classes[best]}"
    if state.point and data.masks is not None:
        mask = data.masks[state.image]
        if mask.any() and not mask.all():  # else it says nothing about a place
            where = "inside" if mask[state.point] else "outside"
            said += f"; your place lies {where} what defines the class"
    return [said]


def signed(state: StepperState) -> bool:
    """Whether the map has a sign: class evidence, and every difference of two classes."""
    kind = MAP_KINDS[state.kind]
    return kind.signed or (state.versus >= 0 and kind.per_class)


def _pane(data: StepperData, state: StepperState, index: int) -> Pane:
    """The pane of the model at a place in ``data.models``."""
    model = data.models[index]
    side = data.pixels.shape[1]
    raw = data.values(index, state.layer, state.kind, state.target, state.versus)[state.image]
    low, high = _colour_range(data, state, index)
    peak = _peak(raw, signed(state))
    cell = cell_at(state.point, raw.shape, side) if state.point else None
    sees = box(model.fields[state.layer - 1], cell, side) if cell else None
    bars = []
    if not model.refusal:
        bars = [_bars(data, state, index, layer + 1) for layer in range(len(model.taps))]
    said = [_map_words(data, state, index, raw, peak), *_bar_words(state, bars)]
    said += _pointed_words(raw, cell, sees)
    return Pane(
        model=model.name,
        tap=model.taps[state.layer - 1],
        raw=raw,
        low=low,
        high=high,
        indices=colour_numbers(raw, low, high, signed=signed(state)),
        peak=peak,
        cell=cell,
        sees=sees,
        bars=tuple(bars),
        sentence="; ".join(said),
    )


def _colour_range(data: StepperData, state: StepperState, index: int) -> tuple[float, float]:
    """Values at the ends of the colour bar; zero lies inside, in the middle of a signed one."""
    layers = [state.layer]
    if state.scale in ("layers", "models"):
        layers = range(1, len(data.models[index].taps) + 1)
    models = range(len(data.models)) if state.scale == "models" else [index]
    images = slice(state.image, state.image + 1) if state.scale == "map" else slice(None)
    low = high = 0.0
    for model in models:
        for layer in layers:
            values = data.values(model, layer, state.kind, state.target, state.versus)[images]
            low = min(low, float(values.min()))
            high = max(high, float(values.max()))
    if signed(state):
        return min(low, -high), max(high, -low)
    return low, high


def _peak(raw: np.ndarray, has_sign: bool) -> tuple[int, int] | None:
    """The cell of the largest value, in a signed map of the largest magnitude; None if constant."""
    if raw.min() == raw.max():
        return None
    largest = (np.abs(raw) if has_sign else raw).argmax()
    row, column = np.unravel_index(largest, raw.shape)
    return int(row), int(column)


def _bars(data: StepperData, state: StepperState, index: int, layer: int) -> Bars:
    model = data.models[index]
    evidence = data.values(index, layer, "evidence", state.target, state.versus)[state.image]
    evidence = evidence.astype(np.float64)
    biases = model.bias[layer - 1, state.image]  # (K,)
    logits = model.logits[state.image]  # (K,)
    bias = biases[state.target]
    logit = logits[state.target]
    if state.versus >= 0:
        bias = bias - biases[state.versus]
        logit = logit - logits[state.versus]
    return Bars(
        supporting=float(evidence[evidence > 0].sum()),
        opposing=float(evidence[evidence < 0].sum()),
        bias=float(bias),
        logit=float(logit),
    )


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
    """Pixels that a cell can see, ends excluded, cut at the border; None if that is unknown.

    Returns:
        Top, left, bottom, right.

    >>> box(np.array([3.0, 1.0, 0.0]), (0, 5), 64)
    (0, 4, 2, 7)
    """
    if np.isnan(field).any():
        return None
    if field[0] >= 2 * side:
        return 0, 0, side, side
    return field_box(pd.Series(field, index=["field", "jump", "start"]), cell, side)


def patch(place: tuple[int, ...], side: int) -> tuple[int, int, int, int]:
    """Pixels of the occluding patch at a place of the 8 × 8 grid, ends excluded.

    Returns:
        Top, left, bottom, right.

    >>> patch((0, 7), 64)
    (0, 52, 12, 64)
    """
    half = side // PLACES
    y, x = (int((part + 0.5) * side / PLACES + 0.5) for part in place)
    return max(0, y - half), max(0, x - half), min(side, y + half), min(side, x + half)


def _map_words(
    data: StepperData,
    state: StepperState,
    index: int,
    raw: np.ndarray,
    peak: tuple[int, int] | None,
) -> str:
    """Model, layer, kind of map, its peak, and the probabilities of the classes it is about."""
    model = data.models[index]
    kind = MAP_KINDS[state.kind]
    about = kind.label
    if kind.per_class:
        about += f" for {data.classes[state.target]}"
        if state.versus >= 0:
            about += f" minus {data.classes[state.versus]}"
    if peak is None:
        where = f"says nothing here: the same value {number(float(raw[0, 0]))} everywhere"
    else:
        value = float(raw[peak])
        strongest = f"strongest {plus(value)}" if signed(state) else f"brightest {number(value)}"
        where = f"{strongest} at row {peak[0] + 1}, column {peak[1] + 1}"
    asked = [state.target] if state.versus < 0 else [state.target, state.versus]
    answers = model.probabilities[state.image]
    chances = ", ".join(f"p({data.classes[k]}) {probability(answers[k])}" for k in asked)
    tap = f"{model.taps[state.layer - 1]}, {raw.shape[0]} × {raw.shape[1]}"
    place = f"layer {state.layer} of {len(model.taps)} ({tap})"
    whole = "nothing covered or cut: " if state.occluded or state.ablated else ""
    return f"{model.name}, {place}, {about}, {where}; {whole}{chances}"


def _bar_words(state: StepperState, bars: list[Bars]) -> list[str]:
    if not bars:
        return []
    here = bars[state.layer - 1]
    logit = "logit difference" if state.versus >= 0 else "logit"
    return [
        f"{logit} {plus(here.logit)} = for {number(here.supporting)}, "
        f"against {number(here.opposing)}, bias {plus(here.bias)}"
    ]


def _pointed_words(
    raw: np.ndarray, cell: tuple[int, int] | None, sees: tuple[int, int, int, int] | None
) -> list[str]:
    if cell is None:
        return []
    said = f"cell at row {cell[0] + 1}, column {cell[1] + 1}: {number(float(raw[cell]))}"
    if sees is not None:
        top, left, bottom, right = sees
        said += f", sees rows {top + 1} to {bottom}, columns {left + 1} to {right}"
    return [said]
