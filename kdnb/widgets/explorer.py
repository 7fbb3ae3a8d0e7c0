"""The explanation explorer: two explanations of one image side by side; its static twin (05)."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from threading import Event, Thread
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from traitlets import Float, Int, Tuple, Unicode, validate

from kdnb.core.number_text import number
from kdnb.core.plots import Picture, bare, outline, plain, say_nothing
from kdnb.widgets.base import ViewWidget, script, taken_back
from kdnb.widgets.explanation_panel import (
    ABOUT,
    Choice,
    ExplorerData,
    ExplorerPanel,
    ExplorerState,
    Stopped,
    View,
    agreement_text,
    check_explorer_state,
    explorer_panel,
    first_states,
)
from kdnb.widgets.stepper_numbers import palette

__all__ = ["ExplanationExplorer", "explorer_table", "static_explorer"]


class ExplanationExplorer(ViewWidget):
    """Two explanations of one image, by mouse or keyboard.

    The traits are the fields of ``ExplorerState``. The kernel makes every number and colour. Maps
    travel as messages, so that they are not saved with the notebook. A map that is not known yet
    is computed beside the kernel's other work, so that it can be stopped.

    Attributes:
        worker: What computes the maps that were asked for last; None before.
    """

    _esm = script("explorer.js")
    image = Int(0).tag(sync=True)
    a = Tuple(Unicode(), Unicode(), Int()).tag(sync=True)
    b = Tuple(Unicode(), Unicode(), Int()).tag(sync=True)
    opacity = Float(0.6).tag(sync=True)

    def __init__(self, data: ExplorerData, state: ExplorerState | None = None) -> None:
        """Show ``data``; by default the first image's evidence for its class and for another."""
        self.data = data
        self.worker: Thread | None = None
        self._at_work: dict[Event, ExplorerState] = {}  # what stops a work → what is computed
        self.first = check_explorer_state(data, state or first_states(data)[0])
        spec = {
            "classes": data.classes,
            "targets": data.targets,
            "titles": data.titles,
            "models": list(data.models),
            "methods": {name: about._asdict() for name, about in ABOUT.items()},
            "side": data.pixels.shape[1],
            "palettes": [palette(has_sign).tobytes().hex() for has_sign in (False, True)],
        }
        super().__init__(spec=spec, **vars(self.first))
        self.on_msg(self._answer)

    def still(self) -> Picture:
        """The static twin of the state."""
        return static_explorer(self.data, [self.state])

    @property
    def state(self) -> ExplorerState:
        """What is looked at now."""
        return ExplorerState(
            image=self.image, a=Choice(*self.a), b=Choice(*self.b), opacity=self.opacity
        )

    def panel(self) -> ExplorerPanel:
        """The numbers and colours on the screen now."""
        return explorer_panel(self.data, self.state)

    @validate("image", "a", "b", "opacity")
    def _valid(self, proposal: dict) -> Any:
        name = proposal["trait"].name
        value = proposal["value"]
        part = Choice(*value) if name in ("a", "b") else value
        with taken_back():
            check_explorer_state(self.data, replace(self.first, **{name: part}))
        return value

    def _answer(self, _widget: ExplanationExplorer, content: dict, _buffers: list) -> None:
        if content.get("ask") == "stop":
            for stop in list(self._at_work):
                stop.set()
        if content.get("ask") != "panel":
            return
        asked = ExplorerState(
            image=content["image"], a=Choice(*content["a"]), b=Choice(*content["b"])
        )
        state = check_explorer_state(self.data, asked)
        if all(self.data.key(state.image, side) in self.data.known for side in (state.a, state.b)):
            self.send(*_message(self.data, state, content))
            return
        at_work = list(self._at_work.items())
        if any(other == state and not stop.is_set() for stop, other in at_work):
            return  # another view asked the same: the answer reaches all views
        stop = Event()
        self._at_work[stop] = state
        given = (state, content, stop, torch.get_num_threads())
        self.worker = Thread(target=self._compute, args=given, daemon=True)
        self.worker.start()

    def _compute(
        self, state: ExplorerState, content: dict[str, Any], stop: Event, threads: int
    ) -> None:
        """Compute the maps of a state that are missing, and answer; in a thread of its own."""
        torch.set_num_threads(threads)  # each thread has its own number
        try:
            answer = self._computed(state, content, stop)
        except Stopped:
            answer = {"to": content, "stopped": "Stopped."}, []
        except Exception as error:  # whatever it is: or else the view waits for ever
            self.send({"to": content, "stopped": f"This map cannot be computed: {error}"})
            raise
        self.send(*answer)

    def _computed(
        self, state: ExplorerState, content: dict[str, Any], stop: Event
    ) -> tuple[dict[str, Any], list[bytes]]:
        """The answer, after the maps that it needs."""
        try:
            for choice in state.a, state.b:
                if self.data.key(state.image, choice) not in self.data.known:
                    method = ABOUT[choice.method].label
                    busy = f"computing {method} of the {choice.model} …"
                    self.send({"to": content, "busy": busy})
                    self.data.explained(state.image, choice, stop)
            return _message(self.data, state, content)
        finally:
            self._at_work.pop(stop)  # before the answer: who asks after it needs another one


def _message(
    data: ExplorerData, state: ExplorerState, to: Mapping[str, Any]
) -> tuple[dict[str, Any], list[bytes]]:
    """What the browser draws: words and numbers; pixels, mask, colour numbers of A and B."""
    found = explorer_panel(data, state)
    views = []
    for view in found.views:
        views.append(
            {
                "lines": view.lines,
                "refusal": view.refusal,
                "constant": view.is_constant,
                "low": number(view.low),
                "high": number(view.high),
                "sentence": view.sentence,
            }
        )
    message = {
        "to": to,
        "views": views,
        "agreement": [[name, agreement_text(value)] for name, value in found.agreement.items()],
        "sentence": found.sentence,
    }
    pixels = data.pixels[state.image]
    mask = np.zeros(pixels.shape[:2], bool) if data.masks is None else data.masks[state.image]
    arrays = [pixels, mask, *(view.indices for view in found.views)]
    return message, [array.tobytes() for array in arrays]


def explorer_table(
    data: ExplorerData, states: Sequence[ExplorerState] | None = None
) -> pd.DataFrame:
    """The numbers of some states, a row per side; by default those of `first_states`."""
    rows = []
    for state in states or first_states(data):
        found = explorer_panel(data, state)
        for side, choice, view in zip("AB", (state.a, state.b), found.views, strict=True):
            about = {
                "image": data.titles[state.image],
                "side": side,
                "method": choice.method,
                "model": choice.model,
                "class": data.classes[data.target(state.image, choice)],
            }
            rows.append(about | view.numbers | found.agreement)
    return pd.DataFrame(rows)


def static_explorer(data: ExplorerData, states: Sequence[ExplorerState] | None = None) -> Picture:
    """A column per state, A above B, with the numbers of the widget; by default `first_states`."""
    states = list(states or first_states(data))
    figure, axes = plt.subplots(
        nrows=2,
        ncols=len(states),
        figsize=(2.4 * len(states), 8),
        squeeze=False,
        layout="constrained",
    )
    said = []
    for column, state in zip(axes.T, states, strict=True):
        found = explorer_panel(data, state)
        for ax, side, choice, view in zip(
            column, "AB", (state.a, state.b), found.views, strict=True
        ):
            _draw(ax, data, state, view, palette(ABOUT[choice.method].signed))
            title = f"{side}: {view.title}".replace(", ", "\n")
            ax.set_title(plain(title), fontsize=8)
        alike = [f"{name} {agreement_text(value)}" for name, value in found.agreement.items()]
        below = [column[1].get_xlabel(), "", "A and B agree:", *alike]
        column[1].set_xlabel("\n".join(below), fontsize=7)
        said.append(found.sentence.replace("\n", ". "))
    return Picture(figure, ". ".join(said) + ".", pixels=True)


def _draw(
    ax: plt.Axes, data: ExplorerData, state: ExplorerState, view: View, colours: np.ndarray
) -> None:
    alpha = 0.3 if view.raw is None else 1.0
    ax.imshow(data.pixels[state.image], interpolation="nearest", alpha=alpha)
    bare(ax)
    if view.raw is None:
        refusal = textwrap.fill(view.refusal, 30)
        ax.text(
            0.5, 0.5, plain(refusal), transform=ax.transAxes, ha="center", va="center", fontsize=7
        )
        return
    if view.is_constant:
        say_nothing(ax)
    else:
        ax.imshow(colours[view.indices], interpolation="nearest", alpha=state.opacity)
    outline(ax, None if data.masks is None else data.masks[state.image])
    below = [f"colours: {number(view.low)} to {number(view.high)}"]
    below += [f"{what}: {text}" for what, text in view.lines]
    ax.set_xlabel(plain("\n".join(below)), fontsize=7)
