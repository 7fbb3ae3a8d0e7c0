"""Every number and colour of the explanation explorer, without a view: maps, agreement, readings, sentences (05)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from kdnb.errors import UserError
from kdnb.explanations import CAMS, METHODS, Attribution, Context, explain
from kdnb.faithfulness import AGREEMENTS, energy_in_mask, runner_up
from kdnb.widgets.layers import KINDS, Kind, check_images, probabilities_of
from kdnb.widgets.render import number
from kdnb.widgets.view import colour_numbers, one_of, within

__all__ = ["ABOUT", "Choice", "ExplorerData", "ExplorerPanel", "ExplorerState", "View", "check", "explorer_data",
           "explorer_panel", "first_states"]  # fmt: skip

ABOUT = {name: Kind(name, "share of the logit", per_class=True, signed=True) for name in METHODS} | {
    "average map": KINDS["average"], **{name: KINDS[name] for name in CAMS},
    "occlusion": Kind("occlusion", "drop of the logit", per_class=True, signed=True),
}  # fmt: skip
CUT = 0.995  # of a signed map's pixels are inside the ends of its colours, so that one pixel does not pale the rest


class Choice(NamedTuple):
    """What one side shows: a method of ``METHODS``, a model's name, the class explained, or -1 for the true class."""

    method: str
    model: str
    target: int = -1


@dataclass(frozen=True)
class ExplorerState:
    """Which image, what its sides A and B show, and the opacity of the maps, in [0, 1]."""

    image: int
    a: Choice
    b: Choice
    opacity: float = 0.6


class Explained(NamedTuple):
    """A raw map (H, W) with its additivity error (NaN: no sum promised) and repeatability, or why there is none."""

    values: np.ndarray | None
    error: float = np.nan
    repeatability: float = np.nan
    refusal: str = ""


class View(NamedTuple):
    """One side: raw map (H, W) or None, colour numbers (H, W) uint8, values at the ends of the colours.

    ``numbers`` are readings by name, NaN where unknown; ``lines`` say them as (name, text).
    """

    title: str
    refusal: str
    raw: np.ndarray | None
    indices: np.ndarray
    low: float
    high: float
    numbers: dict[str, float]
    lines: tuple[tuple[str, str], ...]

    @property
    def sentence(self) -> str:
        """The side's part of the live line."""
        return f"{self.title}: {self.refusal or '; '.join(f'{what} {text}' for what, text in self.lines)}"


class ExplorerPanel(NamedTuple):
    """Both sides, measure → how alike their maps are (NaN where unknown), and the text of the live line."""

    views: tuple[View, View]
    agreement: dict[str, float]
    sentence: str


@dataclass(frozen=True, eq=False)
class ExplorerData:
    """N images, the models to be explained, and all maps that are known; see `explorer_data`."""

    models: Mapping[str, nn.Module]
    images: Tensor
    pixels: np.ndarray
    targets: tuple[int, ...]
    classes: tuple[str, ...]
    titles: tuple[str, ...]
    context: Context
    masks: np.ndarray | None = None
    known: dict[tuple[str, str, int, int], Explained] = field(default_factory=dict)  # method, model, image, class

    @cached_property
    def probabilities(self) -> dict[str, np.ndarray]:
        """Model → (N, K) float64."""
        return {name: probabilities_of(model, self.images) for name, model in self.models.items()}

    def key(self, image: int, choice: Choice) -> tuple[str, str, int, int]:
        """Where a map is kept; a map without a class in it is kept once."""
        asked = choice.target if choice.target >= 0 and ABOUT[choice.method].per_class else self.targets[image]
        return choice.method, choice.model, image, asked

    def explained(self, image: int, choice: Choice) -> Explained:
        """One map, found or computed now."""
        method, model, _, target = key = self.key(image, choice)
        if key not in self.known:
            given = self.models[model], self.images[image : image + 1], torch.tensor([target]), self.context
            try:
                self.known[key] = _one(explain(method, *given), 0)
            except UserError as refusal:
                self.known[key] = Explained(None, refusal=str(refusal))
        return self.known[key]


def _one(found: Attribution, i: int) -> Explained:
    """One image's map; one that is not finite is refused."""
    if not np.isfinite(found.values[i]).all():
        return Explained(None, refusal="the map is not finite: check the weights and the input range")
    return Explained(found.maps[i], float(found.delta[i]), float(found.repeatability[i]))


def explorer_data(
    models: Mapping[str, nn.Module], images: Tensor, pixels: np.ndarray, targets: Sequence[int], classes: Sequence[str],
    titles: Sequence[str], context: Context, *, known: Mapping[str, Mapping[str, Attribution]] | None = None,
    masks: np.ndarray | None = None,
) -> ExplorerData:  # fmt: skip
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
    made = {
        (method, model, i, int(targets[i])): _one(found, i)
        for model, methods in (known or {}).items() for method, found in methods.items() for i in range(len(images))
    }  # fmt: skip
    return ExplorerData(dict(models), images.detach(), pixels, tuple(map(int, targets)), tuple(classes),
                        tuple(map(str, titles)), context, masks, made)  # fmt: skip


def first_states(data: ExplorerData) -> list[ExplorerState]:
    """Questions to the first image: another class, another method, other models? The widget starts with the first."""
    main, *others = data.models
    other = int(runner_up(data.probabilities[main][:1], data.targets[:1])[0])
    deep = Choice("SHAP deep", main)
    pairs = [(Choice("evidence", main), Choice("evidence", main, other)), (Choice("average map", main), deep)]
    return [ExplorerState(0, *pair) for pair in (*pairs, *((deep, deep._replace(model=name)) for name in others))]


def check(data: ExplorerData, state: ExplorerState) -> ExplorerState:
    """The state, if the data hold what it asks for; else a UserError that names the field."""
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
        UserError: If the state asks for what is not there. A refused map is no error: its side says why.
    """
    check(data, state)
    views = _view(data, state.image, state.a), _view(data, state.image, state.b)
    maps = [v.raw[None] for v in views if v.raw is not None]
    agreement = {m: float(alike(*maps)[0]) if len(maps) == 2 else np.nan for m, alike in AGREEMENTS.items()}
    alike = ", ".join(f"{m} {v:z.2f}" for m, v in agreement.items() if not np.isnan(v))
    missing = "a map is missing" if len(maps) < 2 else "a map is constant"
    about = f"{data.titles[state.image]}, true class {data.classes[data.targets[state.image]]}"
    sides = (f"{side}: {view.sentence}" for side, view in zip("AB", views, strict=True))
    said = "\n".join([about, *sides, f"A and B agree: {alike or f'unknown, {missing}'}"])
    return ExplorerPanel(views, agreement, said)


def _view(data: ExplorerData, image: int, choice: Choice) -> View:
    found, about, target = data.explained(image, choice), ABOUT[choice.method], data.key(image, choice)[-1]
    title = f"{about.label}, {choice.model}, {data.classes[target] if about.per_class else 'class-blind'}"
    numbers = {
        "p": float(data.probabilities[choice.model][image, target]), "lowest": np.nan, "highest": np.nan,
        "additivity error": found.error, "repeatability": found.repeatability, "energy in mask": np.nan,
    }  # fmt: skip
    if (raw := found.values) is None:
        return View(title, found.refusal, None, np.zeros((0, 0), np.uint8), 0.0, 0.0, numbers, ())
    numbers |= {"lowest": float(raw.min()), "highest": float(raw.max())}
    if data.masks is not None:
        numbers["energy in mask"] = float(energy_in_mask(raw[None], data.masks[image][None])[0])
    low, high = min(0.0, numbers["lowest"]), max(0.0, numbers["highest"])
    if about.signed:
        high = float(np.quantile(np.abs(raw), CUT)) or max(high, -low)
        low = -high
    return View(title, "", raw, colour_numbers(raw, low, high, signed=about.signed), low, high, numbers,
                _lines(data, image, target, numbers))  # fmt: skip


def _lines(data: ExplorerData, image: int, target: int, numbers: Mapping[str, float]) -> tuple[tuple[str, str], ...]:
    p, low, high, error, repeat, inside = numbers.values()
    lines = [(f"p({data.classes[target]})", f"{p + 1e-12:.2f}"),
             ("values", f"{number(low)} everywhere" if low == high else f"{number(low)} to {number(high)}"),
             ("additivity error", "no sum promised" if np.isnan(error) else f"{number(100 * error)} %"),
             ("repeatability", "deterministic" if repeat == 1 else f"r = {repeat:.2f}")]  # fmt: skip
    if not np.isnan(inside):
        lines.append(("energy in mask", f"{inside:.2f} (chance {data.masks[image].mean():.2f})"))
    return tuple(lines)
