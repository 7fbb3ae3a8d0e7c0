"""The layer stepper: the maps of every layer, stepped through by keyboard; and its static twin (notebook 04)."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from typing import Any

import anywidget
import matplotlib.pyplot as plt
import numpy as np
from traitlets import Bool, Dict, Float, Int, Unicode, validate

from kdnb.figures.output import Picture
from kdnb.widgets import render
from kdnb.widgets.render import Pane, Panel, StepperData, StepperState, panel
from kdnb.widgets.view import STYLE, script

__all__ = ["LayerStepper", "static"]

STATE = tuple(field.name for field in fields(StepperState))


class LayerStepper(anywidget.AnyWidget):
    """Step through the layers of a student beside its teacher; the traits are the fields of ``StepperState``.

    The browser asks for an image's maps once, then draws every step by itself. Maps and pixels travel as messages, so
    that they are not saved with the notebook.
    """

    _esm = script("stepper.js")
    _css = STYLE
    spec = Dict().tag(sync=True)
    image = Int(0).tag(sync=True)
    layer = Int(1).tag(sync=True)
    kind = Unicode("average").tag(sync=True)
    target = Int(0).tag(sync=True)
    scale = Unicode("map").tag(sync=True)
    opacity = Float(0.6).tag(sync=True)
    shown = Unicode("both").tag(sync=True)
    smooth = Bool(False).tag(sync=True)

    def __init__(self, data: StepperData, state: StepperState | None = None) -> None:
        """Show ``data``; by default the first image and the class that the student predicts for it."""
        self.data = data
        super().__init__(spec=_spec(data), **asdict(state or _first(data)))
        self.on_msg(self._answer)

    @property
    def state(self) -> StepperState:
        """What is looked at now."""
        return StepperState(**{name: getattr(self, name) for name in STATE})

    def panel(self) -> Panel:
        """The numbers and colours on the screen now."""
        return panel(self.data, self.state)

    @validate(*STATE)
    def _valid(self, proposal: dict) -> Any:
        render.check(self.data, replace(_first(self.data), **{proposal["trait"].name: proposal["value"]}))
        return proposal["value"]

    def _answer(self, _widget: LayerStepper, content: dict, _buffers: list) -> None:
        """Send the pixels and all maps of one image: models, taps and rows in order, float32."""
        if content.get("ask") == "image" and (image := content.get("image")) in range(len(self.data.pixels)):
            maps = [tap[image].astype("<f4").ravel() for model in self.data.models for tap in model.maps]
            self.send({"image": image}, [self.data.pixels[image].tobytes(), np.concatenate(maps).tobytes()])


def static(data: StepperData, state: StepperState | None = None) -> Picture:
    """One image at every layer, a row per model, by the same ``panel`` as the widget; the state's layer is ignored."""
    state = state or _first(data)
    steps = [panel(data, replace(state, layer=i + 1)) for i in range(len(data.models[0].taps))]
    shape = len(steps[0].panes), 1 + len(steps)
    figure, axes = plt.subplots(*shape, figsize=(1.6 * shape[1], 2.05 * shape[0]), squeeze=False)
    for ax in axes.flat:
        ax.imshow(data.pixels[state.image], extent=(0, 1, 1, 0), interpolation="nearest")
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        ax.grid(False)
    colours = render.palette(render.KINDS[state.kind].signed)
    for row, panes in zip(axes, zip(*(step.panes for step in steps), strict=True), strict=True):
        row[0].set(ylabel=panes[0].model)
        row[0].set_xlabel(panes[0].sentence.rpartition("; ")[2], fontsize=7)
        for ax, pane in zip(row[1:], panes, strict=True):
            _draw(ax, pane, colours, state.opacity)
    axes[0, 0].set_title(data.titles[state.image], fontsize=8)
    figure.tight_layout(pad=0.5)
    about = f"{data.titles[state.image]}, true class {data.classes[data.targets[state.image]]}. "
    return Picture(figure, about + ". ".join(pane.sentence for step in steps for pane in step.panes) + ".", pixels=True)


def _draw(ax: plt.Axes, pane: Pane, colours: np.ndarray, opacity: float) -> None:
    ax.imshow(colours[pane.indices], extent=(0, 1, 1, 0), interpolation="nearest", alpha=opacity)
    ax.set_title(f"{pane.tap}, {pane.raw.shape[0]} × {pane.raw.shape[1]}", fontsize=8)
    ax.set_xlabel(f"{render.number(pane.low)} to {render.number(pane.high)}", fontsize=7)


def _first(data: StepperData) -> StepperState:
    return StepperState(target=int(data.models[0].probabilities[0].argmax()))


def _spec(data: StepperData) -> dict[str, Any]:
    """What the browser must know before it has any map."""
    models = [
        {"name": m.name, "taps": m.taps, "sizes": [v.shape[2:] for v in m.maps], "extremes": m.extremes.tolist(),
         "probabilities": m.probabilities.tolist()} for m in data.models
    ]  # fmt: skip
    kinds = {name: kind._asdict() | {"first": data.row(name)} for name, kind in render.KINDS.items()}
    return {"classes": data.classes, "targets": data.targets, "titles": data.titles, "side": data.pixels.shape[1],
            "kinds": kinds, "scales": render.SCALES, "models": models,
            "palettes": [render.palette(signed).tobytes().hex() for signed in (False, True)]}  # fmt: skip
