"""The layer stepper: every layer of student and teacher; its static twin (04)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from traitlets import Bool, Float, Int, List, Unicode, validate

from kdnb.core.errors import UserError, first_line
from kdnb.core.number_text import number, plus, probability
from kdnb.core.plots import Picture, bare, outline, plain, say_nothing
from kdnb.widgets.base import ViewWidget, as_tuple, script, taken_back
from kdnb.widgets.layer_maps import MAP_KINDS, ModelMaps, StepperData, filters
from kdnb.widgets.stepper_messages import answer_message, tile_sizes
from kdnb.widgets.stepper_numbers import (
    ASKING,
    ORDERS,
    PLACES,
    PREDICTED,
    SCALES,
    TRUE_CLASS,
    Pane,
    Panel,
    StepperState,
    check_state,
    palette,
    resolved,
    signed,
    stepper_panel,
)

__all__ = [
    "LayerStepper",
    "STEPPER_SCRIPTS",
    "exported_state",
    "first_state",
    "spec_of",
    "static_stepper",
]

STATE = tuple(field.name for field in fields(StepperState))
NETWORKS = ("student", "teacher")  # what the provenance of data may name
NEW_CHANNELS = ("image", "layer", "shown")  # a change of these shows other channels
STEPPER_SCRIPTS = ("stepper_numbers.js", "stepper_parts.js", "arithmetic.js", "stepper.js")


class LayerStepper(ViewWidget):
    """Step through the layers of a student beside its teacher, by mouse, keyboard or ear.

    The traits are the fields of ``StepperState``, with its defaults, and ``smooth``, which only the
    page uses: whether maps are drawn smoothly. The browser asks for an
    image's maps once, then draws every step by itself; ablation and occlusion are asked when they
    are wanted. Maps and pixels travel as messages, so that they are not saved with the notebook.
    """

    _esm = script(*STEPPER_SCRIPTS)
    _has_state = False  # until the first state is set as a whole
    _cut_together = False  # while changes are told among which channels were cut
    image = Int(0).tag(sync=True)
    layer = Int(1).tag(sync=True)
    kind = Unicode("average").tag(sync=True)
    target = Int(TRUE_CLASS).tag(sync=True)
    versus = Int(-1).tag(sync=True)
    scale = Unicode("map").tag(sync=True)
    opacity = Float(0.6).tag(sync=True)
    shown = Unicode("both").tag(sync=True)
    only = Unicode("all").tag(sync=True)
    order = Unicode("contribution").tag(sync=True)
    point = List(Int()).tag(sync=True)
    occluded = List(Int()).tag(sync=True)
    ablated = List(Int()).tag(sync=True)
    quiz = Unicode("off").tag(sync=True)
    guess = Int(-1).tag(sync=True)
    smooth = Bool(False).tag(sync=True)

    def __init__(self, data: StepperData, state: StepperState | None = None) -> None:
        """Show ``data``; by default the first image and the true class of each."""
        self.data = data
        super().__init__(spec=spec_of(data), **asdict(state or first_state(data)))
        self._has_state = True
        self.on_msg(self._answer)

    def still(self) -> Picture:
        """The static twin of the state, without a covered patch and cut channels."""
        return static_stepper(self.data, self.state)

    @property
    def state(self) -> StepperState:
        """What is looked at now."""
        return StepperState(**{name: as_tuple(getattr(self, name)) for name in STATE})

    def panel(self) -> Panel:
        """Maps, numbers and colours of the state, but for a covered patch and cut channels."""
        return stepper_panel(self.data, self.state)

    def notify_change(self, change: Any) -> None:
        """Tell the browser and all who listen; what a change puts an end to ends before it.

        Another image, layer or model has other channels, but those that are cut in one go with it
        are already of the new ones. And they are cut in the whole picture, so no patch is covered
        meanwhile. The browser has the same rules.
        """
        if self._has_state:
            covers = change.name == "occluded" and change.new
            elsewhere = change.name in NEW_CHANNELS and not self._cut_together
            if self.ablated and (covers or elsewhere):
                self.ablated = []
            if self.occluded and change.name == "ablated" and change.new:
                self.occluded = []
        super().notify_change(change)

    @contextmanager
    def hold_trait_notifications(self) -> Iterator[None]:
        """Tell of all changes at the end; they are told with what else was set."""
        before = self.ablated
        try:
            with super().hold_trait_notifications():
                yield
                self._cut_together = self.ablated != before
        finally:
            self._cut_together = False

    @validate(*STATE)
    def _valid(self, proposal: dict) -> Any:
        name = proposal["trait"].name
        # which channels there are depends on layer and model
        others = self.state if name == "ablated" else first_state(self.data)
        with taken_back():
            check_state(self.data, replace(others, **{name: as_tuple(proposal["value"])}))
        return proposal["value"]

    def _answer(self, _widget: LayerStepper, content: dict, _buffers: list) -> None:
        if not isinstance(content, Mapping) or "ask" not in content:
            return
        try:
            with self.data.turn:  # messages may come in several threads
                found = answer_message(self.data, content)
        except UserError as error:
            found = _refusal(content, str(error), again=False), []
        except Exception as error:  # whatever it is: or else the view waits for ever
            reason = f"this cannot be computed: {type(error).__name__}: {first_line(error)}"
            self.send(_refusal(content, reason, again=True), [])
            raise
        if found:
            self.send(*found)


def _refusal(question: Mapping[str, Any], reason: str, *, again: bool) -> dict[str, Any]:
    """The message to a question without an answer; ``again``: it may get one another time."""
    return {"to": question, "refused": reason, "again": again}


def first_state(data: StepperData) -> StepperState:
    """The first image and each image's true class; its predicted one if no true one is known."""
    return StepperState(target=TRUE_CLASS if max(data.targets) >= 0 else PREDICTED)


def exported_state(path: str | Path, data: StepperData | None = None) -> StepperState:
    """The state in a JSON file that the widget exported.

    ``LayerStepper(data, exported_state(path, data))`` shows it again.

    Args:
        path: Of the file.
        data: What the state is to show; None: do not ask whether the export is of these.

    Raises:
        UserError: If the file is no such export, or shows another image or other networks.
    """
    try:
        content = json.loads(Path(path).read_text("utf-8"))
        values = {name: as_tuple(value) for name, value in content["state"].items()}
        state = StepperState(**values)
        if not isinstance(state.image, int):
            raise TypeError(f"image is {state.image!r}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"'{path}' is no export of the layer stepper ({error}): give a file it saved"
        ) from None
    if data is not None:
        _check_same(content, state, data, path)
    return state


def _check_same(
    content: Mapping[str, Any], state: StepperState, data: StepperData, path: str | Path
) -> None:
    """Refuse an export of another image, or of other networks."""
    check_state(data, replace(state, ablated=()))
    title = data.titles[state.image]
    if state.quiz != "asking" and content.get("image") != title:  # then it tells no title
        raise UserError(
            f"'{path}' shows {content.get('image')!r}, and image {state.image + 1} is '{title}' "
            "here: give the images that the export was made of"
        )
    for name in NETWORKS:
        here = data.provenance.get(name)
        there = content.get(name)
        if here is not None and here != there:
            raise UserError(
                f"'{path}' was made with the {name} {there!r}, and the {name} here is {here!r}: "
                "give the networks that it was made with"
            )


def static_stepper(data: StepperData, state: StepperState | None = None) -> Picture:
    """One image at every layer, a row per model, with the numbers of the widget.

    The state's layer is ignored. Under each map stands its range, and where there is a ledger what
    speaks for the class, against it, and the bias.
    """
    state = state or first_state(data)
    check_state(data, state)
    state = resolved(data, state)
    layers = range(1, len(data.models[0].taps) + 1)
    steps = [stepper_panel(data, replace(state, layer=layer, ablated=())) for layer in layers]
    rows = len(steps[0].panes)
    columns = 1 + len(steps)
    figure, axes = plt.subplots(
        nrows=rows, ncols=columns, figsize=(1.7 * columns, 2.25 * rows), squeeze=False
    )
    for ax in axes.flat:
        ax.imshow(data.pixels[state.image], extent=(0, 1, 1, 0), interpolation="nearest")
        bare(ax)
    asking = state.quiz == "asking"  # a title may tell the class, and an outline, too
    title = f"image {state.image + 1}" if asking else data.titles[state.image]
    axes[0, 0].set_title(plain(title), fontsize=8)
    for row in range(rows):
        _label(axes[row, 0], data, state, steps[0].panes[row].model, asking=asking)
        for layer, step in zip(layers, steps, strict=True):
            _draw(axes[row, layer], step.panes[row], layer, state)
    if data.masks is not None and not asking:
        for ax in axes.flat:
            outline(ax, data.masks[state.image], extent=(0, 1, 1, 0))
    figure.tight_layout(pad=0.5)
    return Picture(figure, _alt(data, state, steps), pixels=True)


def _label(
    ax: plt.Axes, data: StepperData, state: StepperState, name: str, *, asking: bool
) -> None:
    """The name of a row's model, and what it says of the class, unless that is to be guessed."""
    ax.set_ylabel(name)
    if asking:
        return
    model = next(model for model in data.models if model.name == name)
    chance = probability(model.probabilities[state.image, state.target])
    ax.set_xlabel(plain(f"p({data.classes[state.target]}) {chance}"), fontsize=7)


def _draw(ax: plt.Axes, pane: Pane, layer: int, state: StepperState) -> None:
    """A map over the image that is there, its size, its range and its line of the ledger.

    A constant map is not drawn: that it says nothing is written in its place.
    """
    colours = palette(signed(state))[pane.indices]
    if pane.peak is None:
        say_nothing(ax)
    else:
        ax.imshow(colours, extent=(0, 1, 1, 0), interpolation="nearest", alpha=state.opacity)
    ax.set_title(f"{pane.tap}, {pane.raw.shape[0]} × {pane.raw.shape[1]}", fontsize=8)
    text = f"{number(pane.low)} to {number(pane.high)}"
    if pane.bars and state.quiz != "asking":
        here = pane.bars[layer - 1]
        text += f"\n{plus(here.supporting)} {number(here.opposing)} bias {plus(here.bias)}"
    ax.set_xlabel(text, fontsize=7)


def _alt(data: StepperData, state: StepperState, steps: list[Panel]) -> str:
    """The picture in words; while a class is to be guessed, without it."""
    if state.quiz == "asking":
        return f"Image {state.image + 1} at every layer. {ASKING}"
    truth = data.targets[state.image]
    title = data.titles[state.image]
    said = [title if truth < 0 else f"{title}, true class {data.classes[truth]}"]
    for step in steps:
        said += [pane.sentence for pane in step.panes]
    return ". ".join(said) + "."


def spec_of(data: StepperData) -> dict[str, Any]:
    """What the browser must know before it has any map."""
    kinds = {}
    for name, kind in MAP_KINDS.items():
        kinds[name] = {**kind._asdict(), "first": data.row(name)}
    return {
        "classes": data.classes,
        "targets": data.targets,
        "titles": data.titles,
        "side": data.pixels.shape[1],
        "kinds": kinds,
        "scales": SCALES,
        "orders": ORDERS,
        "filters": filters(data),
        "places": PLACES,
        "early": data.early,
        "provenance": dict(data.provenance),
        "models": [_about(data, index) for index in range(len(data.models))],
        "palettes": [palette(has_sign).tobytes().hex() for has_sign in (False, True)],
    }


def _about(data: StepperData, index: int) -> dict[str, Any]:
    """What the browser must know of the model at a place in ``data.models``."""
    model = data.models[index]
    layers = range(1, len(model.taps) + 1)
    fields_or_none = np.where(np.isnan(model.fields), None, model.fields)  # JSON has no NaN
    return {
        "name": model.name,
        "taps": model.taps,
        "sizes": [maps.shape[2:] for maps in model.maps],
        "channels": [means.shape[1] for means in model.means],
        "tiles": tile_sizes(model),
        "extremes": [_extremes(maps) for maps in model.maps],
        "contrasts": [_contrasts(data, index, layer) for layer in layers],
        "logits": model.logits.tolist(),
        "probabilities": model.probabilities.tolist(),
        "bias": [] if model.bias is None else model.bias.tolist(),
        "refusal": model.refusal,
        "fields": fields_or_none.tolist(),
        "readings": _readings(model),
    }


def _extremes(maps: np.ndarray) -> list[list[float]]:
    """The ends of each of the R maps of a tap (N, R, h, w), over all images."""
    return [_ends(maps[:, row]) for row in range(maps.shape[1])]


def _contrasts(data: StepperData, model: int, layer: int) -> dict[str, dict[str, list[float]]]:
    """Kind → two classes → the ends of the difference of their maps, over all images."""
    found = {}
    for kind, about in MAP_KINDS.items():
        if about.per_class:
            found[kind] = {}
            for a, b in combinations(range(len(data.classes)), 2):
                found[kind][f"{a},{b}"] = _ends(data.values(model, layer, kind, a, b))
    return found


def _readings(model: ModelMaps) -> list[list[str]]:
    """The texts to show beside each tap."""
    found = []
    for _, row in model.readings.iterrows():
        found.append([f"{name} {value:.2f}" for name, value in row.dropna().items()])
    return found


def _ends(values: np.ndarray) -> list[float]:
    return [float(values.min()), float(values.max())]
