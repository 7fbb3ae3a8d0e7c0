"""The layer stepper: every layer of student and teacher, by mouse, keyboard or ear; its static twin (04)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from traitlets import Bool, validate

from kdnb.errors import UserError
from kdnb.figures.output import Picture
from kdnb.figures.pictures import bare
from kdnb.widgets import render
from kdnb.widgets.layers import KINDS, ModelMaps, StepperData, filters
from kdnb.widgets.questions import answer, tile_sizes
from kdnb.widgets.render import Pane, Panel, StepperState, panel
from kdnb.widgets.view import as_tuple, script, widget_of

__all__ = ["LayerStepper", "exported_state", "first_state", "spec_of", "static"]

STATE = tuple(field.name for field in fields(StepperState))
PARTS = ("stepper_numbers.js", "stepper_parts.js", "stepper.js")


class LayerStepper(widget_of(StepperState)):
    """Step through the layers of a student beside its teacher; the traits are the fields of ``StepperState``.

    ``state`` is what is looked at now. The browser asks for an image's maps once, then draws every step by itself;
    ablation and occlusion are asked when they are wanted. Maps and pixels travel as messages, so that they are not
    saved with the notebook.
    """

    _esm = script(*PARTS)
    smooth = Bool(False).tag(sync=True)

    def __init__(self, data: StepperData, state: StepperState | None = None) -> None:
        """Show ``data``; by default the first image and the class that the student predicts for it."""
        self.data = data
        super().__init__(spec=spec_of(data), **asdict(state or first_state(data)))
        self.on_msg(self._answer)

    def panel(self) -> Panel:
        """The numbers and colours on the screen now."""
        return panel(self.data, self.state)

    @validate(*STATE)
    def _valid(self, proposal: dict) -> Any:
        name, value = proposal["trait"].name, as_tuple(proposal["value"])
        if name != "ablated":  # whether there are such channels depends on layer and model, which may change with it
            render.check(self.data, replace(first_state(self.data), **{name: value}))
        return proposal["value"]

    def _answer(self, _widget: LayerStepper, content: dict, _buffers: list) -> None:
        try:
            found = answer(self.data, content) if isinstance(content, Mapping) and "ask" in content else None
        except UserError as error:
            found = {"to": content, "refused": str(error)}, []
        if found:
            self.send(*found)


def first_state(data: StepperData) -> StepperState:
    """The first image and the class that the student predicts for it."""
    return StepperState(target=int(data.models[0].probabilities[0].argmax()))


def exported_state(path: str | Path) -> StepperState:
    """The state in a JSON file that the widget exported: ``LayerStepper(data, exported_state(path))`` shows it again.

    Raises:
        UserError: If the file is no such export.
    """
    try:
        values = json.loads(Path(path).read_text("utf-8"))["state"]
        return StepperState(**{name: as_tuple(value) for name, value in values.items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"'{path}' is no export of the layer stepper ({error}): give a file it saved") from None


def static(data: StepperData, state: StepperState | None = None) -> Picture:
    """One image at every layer, a row per model, by the same ``panel`` as the widget; the state's layer is ignored.

    Under each map its range, and where there is a ledger what speaks for the class, against it, and the bias.
    """
    state = state or first_state(data)
    steps = [panel(data, replace(state, layer=i + 1, ablated=())) for i in range(len(data.models[0].taps))]
    shape = len(steps[0].panes), 1 + len(steps)
    figure, axes = plt.subplots(*shape, figsize=(1.7 * shape[1], 2.25 * shape[0]), squeeze=False)
    for ax in axes.flat:
        ax.imshow(data.pixels[state.image], extent=(0, 1, 1, 0), interpolation="nearest")
        bare(ax)
    colours = render.palette(render.signed(state))
    name = data.classes[state.target]
    title = f"image {state.image + 1}" if state.quiz == "asking" else data.titles[state.image]  # it may tell the class
    axes[0, 0].set_title(title, fontsize=8)
    for row, panes in zip(axes, zip(*(step.panes for step in steps), strict=True), strict=True):
        model = next(model for model in data.models if model.name == panes[0].model)
        row[0].set(ylabel=panes[0].model)
        row[0].set_xlabel(f"p({name}) {model.probabilities[state.image, state.target] + 1e-12:.2f}", fontsize=7)
        for layer, (ax, pane) in enumerate(zip(row[1:], panes, strict=True), start=1):
            _draw(ax, pane, layer, colours, state.opacity)
    figure.tight_layout(pad=0.5)
    truth = data.targets[state.image]
    about = data.titles[state.image] + (f", true class {data.classes[truth]}. " if truth >= 0 else ". ")
    return Picture(figure, about + ". ".join(pane.sentence for step in steps for pane in step.panes) + ".", pixels=True)


def _draw(ax: plt.Axes, pane: Pane, layer: int, colours: np.ndarray, opacity: float) -> None:
    ax.imshow(colours[pane.indices], extent=(0, 1, 1, 0), interpolation="nearest", alpha=opacity)
    ax.set_title(f"{pane.tap}, {pane.raw.shape[0]} × {pane.raw.shape[1]}", fontsize=8)
    text = f"{render.number(pane.low)} to {render.number(pane.high)}"
    if pane.bars:
        here = pane.bars[layer - 1]
        text += f"\n{render.plus(here.supporting)} {render.number(here.opposing)} bias {render.plus(here.bias)}"
    ax.set_xlabel(text, fontsize=7)


def spec_of(data: StepperData) -> dict[str, Any]:
    """What the browser must know before it has any map."""
    kinds = {name: kind._asdict() | {"first": data.row(name)} for name, kind in KINDS.items()}
    return {"classes": data.classes, "targets": data.targets, "titles": data.titles, "side": data.pixels.shape[1],
            "kinds": kinds, "scales": render.SCALES, "orders": render.ORDERS, "filters": filters(data),
            "places": render.PLACES, "early": data.early, "provenance": dict(data.provenance),
            "models": [_about(data, m, model) for m, model in enumerate(data.models)],
            "palettes": [render.palette(signed).tobytes().hex() for signed in (False, True)]}  # fmt: skip


def _about(data: StepperData, m: int, model: ModelMaps) -> dict[str, Any]:
    fields = [[None if np.isnan(v) else v for v in row] for row in model.fields.tolist()]
    readings = [[f"{name} {value:.2f}" for name, value in row.items() if not np.isnan(value)]
                for _, row in model.readings.iterrows()]  # fmt: skip
    extremes = [[_ends(maps[:, r]) for r in range(maps.shape[1])] for maps in model.maps]
    contrasts = [{kind: {f"{a},{b}": _ends(data.values(m, layer + 1, kind, a, b))
                         for a, b in combinations(range(len(data.classes)), 2)}
                  for kind in KINDS if KINDS[kind].per_class} for layer in range(len(model.taps))]  # fmt: skip
    return {"name": model.name, "taps": model.taps, "sizes": [maps.shape[2:] for maps in model.maps],
            "channels": [means.shape[1] for means in model.means], "tiles": tile_sizes(model), "extremes": extremes,
            "contrasts": contrasts, "logits": model.logits.tolist(), "probabilities": model.probabilities.tolist(),
            "bias": [] if model.bias is None else model.bias.tolist(), "refusal": model.refusal, "fields": fields,
            "readings": readings}  # fmt: skip


def _ends(values: np.ndarray) -> list[float]:
    return [float(values.min()), float(values.max())]
