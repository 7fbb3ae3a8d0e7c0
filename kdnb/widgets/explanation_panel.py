"""Numbers and colours of the explanation explorer: maps, agreement, readings, sentences (05)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from threading import Event, Lock
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from kdnb.core.errors import UserError
from kdnb.core.number_text import number, probability
from kdnb.feature_maps.cam import CAMS
from kdnb.feature_maps.mask_metrics import energy_in_mask
from kdnb.widgets.base import colour_numbers, one_of, within
from kdnb.widgets.layer_maps import MAP_KINDS, MapKind, check_images, probabilities_of
from kdnb.xai.attribution import Attribution, Context
from kdnb.xai.map_agreement import AGREEMENTS
from kdnb.xai.methods import METHODS, explain
from kdnb.xai.sanity_checks import runner_up

__all__ = [
    "ABOUT",
    "Choice",
    "ExplorerData",
    "ExplorerPanel",
    "ExplorerState",
    "Stopped",
    "View",
    "agreement_text",
    "check_explorer_state",
    "explorer_data",
    "explorer_panel",
    "first_states",
]

ABOUT = {
    name: MapKind(label=name, unit="share of the logit", per_class=True, signed=True)
    for name in METHODS
}
ABOUT["average map"] = MAP_KINDS["average"]
ABOUT["occlusion"] = MapKind(
    label="occlusion", unit="drop of the logit", per_class=True, signed=True
)
ABOUT.update({name: MAP_KINDS[name] for name in CAMS})
CUT = 0.995  # share of a signed map's pixels within its colours: one pixel must not pale the rest


class Stopped(Exception):
    """Somebody no longer wants the map that is being computed."""


class Choice(NamedTuple):
    """What one side shows."""

    method: str  #: one of METHODS
    model: str  #: its name
    target: int = -1  #: the class explained, or -1 for the true class


@dataclass(frozen=True)
class ExplorerState:
    """Which image, what its sides A and B show, and the opacity of the maps, in [0, 1]."""

    image: int
    a: Choice
    b: Choice
    opacity: float = 0.6


class Explained(NamedTuple):
    """A raw map (H, W), or why there is none."""

    values: np.ndarray | None
    error: float = np.nan  #: additivity error; NaN: no sum promised
    repeatability: float = np.nan
    refusal: str = ""


class View(NamedTuple):
    """One side: its map, or why there is none, with colours, readings and words."""

    title: str
    refusal: str
    raw: np.ndarray | None  #: (H, W)
    indices: np.ndarray  #: (H, W) uint8 numbers in the palette
    low: float  #: value at the low end of the colours
    high: float  #: value at the high end
    numbers: dict[str, float]  #: readings by name; NaN where unknown
    lines: tuple[tuple[str, str], ...]  #: the readings as (name, text)

    @property
    def is_constant(self) -> bool:
        """Whether its map is one value everywhere, and so says nothing."""
        return self.raw is not None and self.numbers["lowest"] == self.numbers["highest"]

    @property
    def sentence(self) -> str:
        """The side's part of the live line."""
        said = "; ".join(f"{what} {text}" for what, text in self.lines)
        return f"{self.title}: {self.refusal or said}"


class ExplorerPanel(NamedTuple):
    """All that a state shows."""

    views: tuple[View, View]  #: sides A and B
    agreement: dict[str, float]  #: measure → how alike their maps are, NaN where unknown
    sentence: str  #: the text of the live line


@dataclass(frozen=True, eq=False)
class ExplorerData:
    """N images, the models to be explained, and all maps that are known; see `explorer_data`."""

    models: Mapping[str, nn.Module]
    images: Tensor  #: (N, 3, S, S) normalised
    pixels: np.ndarray  #: (N, S, S, 3) uint8
    targets: tuple[int, ...]  #: (N,)
    classes: tuple[str, ...]  #: K names
    titles: tuple[str, ...]  #: (N,)
    context: Context
    masks: np.ndarray | None = None  #: (N, S, S) bool
    known: dict[tuple[str, str, int, int], Explained] = field(default_factory=dict)  #: by `key`
    copies: dict[str, nn.Module] = field(default_factory=dict)  #: of models, for `stoppable`
    turn: Lock = field(default_factory=Lock)  #: held while a copy explains: its hooks are its own

    @cached_property
    def probabilities(self) -> dict[str, np.ndarray]:
        """Model → (N, K) float64."""
        return {name: probabilities_of(model, self.images) for name, model in self.models.items()}

    def target(self, image: int, choice: Choice) -> int:
        """The class that a map is about; for a map without a class in it, the true class."""
        if choice.target >= 0 and ABOUT[choice.method].per_class:
            return choice.target
        return self.targets[image]

    def key(self, image: int, choice: Choice) -> tuple[str, str, int, int]:
        """Where a map is kept: method, model, image, class."""
        return choice.method, choice.model, image, self.target(image, choice)

    def explained(self, image: int, choice: Choice, stop: Event | None = None) -> Explained:
        """One map, found or computed now.

        Raises:
            Stopped: If ``stop`` is set before the map is there.
        """
        key = self.key(image, choice)
        if key in self.known:
            return self.known[key]
        if stop is None:
            found = self._computed(self.models[choice.model], image, choice)
        else:
            with self.turn, self.stoppable(choice.model, stop) as model:
                found = self.known.get(key) or self._computed(model, image, choice)
        self.known[key] = found
        return found

    @contextmanager
    def stoppable(self, name: str, stop: Event) -> Iterator[nn.Module]:
        """A copy of a model that asks before every pass whether it is still wanted.

        A copy, so that a cell may use the model at the same time.
        """
        if name not in self.copies:
            self.copies[name] = deepcopy(self.models[name])

        def ask(_module: nn.Module, _inputs: tuple) -> None:
            if stop.is_set():
                raise Stopped

        with self.copies[name].register_forward_pre_hook(ask):
            yield self.copies[name]

    def _computed(self, model: nn.Module, image: int, choice: Choice) -> Explained:
        one_image = self.images[image : image + 1]
        target = torch.tensor([self.target(image, choice)])
        try:
            return _one(explain(choice.method, model, one_image, target, self.context), 0)
        except UserError as refusal:
            return Explained(values=None, refusal=str(refusal))


def _one(found: Attribution, i: int) -> Explained:
    """One image's map; one that is not finite is refused."""
    if not np.isfinite(found.values[i]).all():
        refusal = "the map is not finite: check the weights and the input range"
        return Explained(values=None, refusal=refusal)
    return Explained(
        values=found.maps[i],
        error=float(found.delta[i]),
        repeatability=float(found.repeatability[i]),
    )


def explorer_data(
    models: Mapping[str, nn.Module],
    images: Tensor,
    pixels: np.ndarray,
    targets: Sequence[int],
    classes: Sequence[str],
    titles: Sequence[str],
    context: Context,
    *,
    known: Mapping[str, Mapping[str, Attribution]] | None = None,
    masks: np.ndarray | None = None,
) -> ExplorerData:
    """All that the explorer needs; maps that are not given are computed when they are asked for.

    Args:
        models: Name → module; the first one is shown first.
        images: (N, 3, S, S) normalised.
        pixels: (N, S, S, 3) uint8, the same images to look at.
        targets: (N,) true class numbers.
        classes: K class names.
        titles: N names of the images.
        context: What the methods need besides.
        known: Model's name → method → the attributions of all N images for their true classes.
        masks: (N, S, S) bool, what defines the class.

    Raises:
        UserError: If shapes or counts do not match.
    """
    check_images(images, pixels, targets, classes, titles, masks)
    if not models:
        raise UserError("models must hold at least one model to explain, got none")
    data = ExplorerData(
        models=dict(models),
        images=images.detach(),
        pixels=pixels,
        targets=tuple(int(target) for target in targets),
        classes=tuple(classes),
        titles=tuple(str(title) for title in titles),
        context=context,
        masks=masks,
    )
    for model, methods in (known or {}).items():
        for method, found in methods.items():
            for image, target in enumerate(data.targets):
                data.known[method, model, image, target] = _one(found, image)
    return data


def first_states(data: ExplorerData) -> list[ExplorerState]:
    """Questions to the first image: another class, another method, other models?

    The widget starts with the first.
    """
    main, *others = data.models
    other_class = int(runner_up(data.probabilities[main][:1], data.targets[:1])[0])
    deep = Choice(method="SHAP deep", model=main)
    evidence = Choice(method="evidence", model=main)
    average = Choice(method="average map", model=main)
    return [
        ExplorerState(image=0, a=evidence, b=evidence._replace(target=other_class)),
        ExplorerState(image=0, a=average, b=deep),
        *(ExplorerState(image=0, a=deep, b=deep._replace(model=name)) for name in others),
    ]


def check_explorer_state(data: ExplorerData, state: ExplorerState) -> ExplorerState:
    """The state, if the data hold what it asks for.

    Raises:
        UserError: If they do not; the message names the field.
    """
    within("image", state.image, 0, len(data.pixels) - 1)
    within("opacity", state.opacity, 0, 1)
    for side, choice in ("a", state.a), ("b", state.b):
        one_of(f"method of {side}", choice.method, METHODS)
        one_of(f"model of {side}", choice.model, data.models)
        within(f"target of {side}", choice.target, -1, len(data.classes) - 1)
    return state


def explorer_panel(data: ExplorerData, state: ExplorerState) -> ExplorerPanel:
    """Both sides of a state, their agreement, and all words; maps that are missing are computed.

    Raises:
        UserError: If the state asks for what is not there. A refused map is no error: its side
            says why.
    """
    check_explorer_state(data, state)
    a = _view(data, state.image, state.a)
    b = _view(data, state.image, state.b)
    both = a.raw is not None and b.raw is not None
    agreement = {}
    for measure, alike in AGREEMENTS.items():
        agreement[measure] = float(alike(a.raw[None], b.raw[None])[0]) if both else np.nan
    known = [f"{name} {value:z.2f}" for name, value in agreement.items() if not np.isnan(value)]
    unknown = "unknown, a map is constant" if both else "unknown, a map is missing"
    said = [
        f"{data.titles[state.image]}, true class {data.classes[data.targets[state.image]]}",
        f"A: {a.sentence}",
        f"B: {b.sentence}",
        f"A and B agree: {', '.join(known) or unknown}",
    ]
    return ExplorerPanel(views=(a, b), agreement=agreement, sentence="\n".join(said))


def agreement_text(value: float) -> str:
    """How alike two maps are, in words.

    >>> agreement_text(-0.001), agreement_text(float("nan"))
    ('0.00', 'unknown')
    """
    return "unknown" if np.isnan(value) else f"{value:z.2f}"


def _view(data: ExplorerData, image: int, choice: Choice) -> View:
    found = data.explained(image, choice)
    about = ABOUT[choice.method]
    target = data.target(image, choice)
    of_class = data.classes[target] if about.per_class else "class-blind"
    title = f"{about.label}, {choice.model}, {of_class}"
    numbers = {
        "p": float(data.probabilities[choice.model][image, target]),
        "lowest": np.nan,
        "highest": np.nan,
        "additivity error": found.error,
        "repeatability": found.repeatability,
        "energy in mask": np.nan,
    }
    raw = found.values
    if raw is None:
        return View(
            title=title,
            refusal=found.refusal,
            raw=None,
            indices=np.zeros((0, 0), np.uint8),
            low=0.0,
            high=0.0,
            numbers=numbers,
            lines=(),
        )
    numbers["lowest"] = float(raw.min())
    numbers["highest"] = float(raw.max())
    if data.masks is not None:
        numbers["energy in mask"] = float(energy_in_mask(raw[None], data.masks[image][None])[0])
    low, high = _colour_range(raw, about.signed)
    return View(
        title=title,
        refusal="",
        raw=raw,
        indices=colour_numbers(raw, low, high, signed=about.signed),
        low=low,
        high=high,
        numbers=numbers,
        lines=_lines(data, image, target, numbers),
    )


def _colour_range(raw: np.ndarray, signed: bool) -> tuple[float, float]:
    """Values at the ends of the colours; zero lies inside, in the middle of a signed map."""
    low = min(0.0, float(raw.min()))
    high = max(0.0, float(raw.max()))
    if not signed:
        return low, high
    limit = float(np.quantile(np.abs(raw), CUT)) or max(high, -low)
    return -limit, limit


def _lines(
    data: ExplorerData, image: int, target: int, numbers: Mapping[str, float]
) -> tuple[tuple[str, str], ...]:
    low = numbers["lowest"]
    high = numbers["highest"]
    error = numbers["additivity error"]
    repeatability = numbers["repeatability"]
    inside = numbers["energy in mask"]
    values = (
        f"says nothing: {number(low)} everywhere"
        if low == high
        else f"{number(low)} to {number(high)}"
    )
    lines = [
        (f"p({data.classes[target]})", probability(numbers["p"])),
        ("values", values),
        ("additivity error", "no sum promised" if np.isnan(error) else f"{number(100 * error)} %"),
        ("repeatability", "deterministic" if repeatability == 1 else f"r = {repeatability:.2f}"),
    ]
    if not np.isnan(inside):
        chance = data.masks[image].mean()
        lines.append(("energy in mask", f"{inside:.3f} (chance {chance:.3f})"))
    return tuple(lines)
