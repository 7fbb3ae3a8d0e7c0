"""The explanation explorer: two explanations of one image side by side, by mouse or keyboard; its static twin (05)."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from traitlets import Float, Int, Tuple, Unicode, validate

from kdnb.figures.output import Picture
from kdnb.figures.pictures import bare, outline
from kdnb.widgets import explained
from kdnb.widgets.explained import ABOUT, Choice, ExplorerData, ExplorerState, View, explorer_panel
from kdnb.widgets.render import number, palette
from kdnb.widgets.view import ViewWidget, script

__all__ = ["ExplanationExplorer", "explorer_table", "static_explorer"]


class ExplanationExplorer(ViewWidget):
    """Two explanations of one image, by mouse or keyboard; the traits are the fields of ``ExplorerState``.

    The kernel makes every number and colour. Maps travel as messages, so that they are not saved with the notebook.
    """

    _esm = script("explorer.js")
    image = Int(0).tag(sync=True)
    a = Tuple(Unicode(), Unicode(), Int()).tag(sync=True)
    b = Tuple(Unicode(), Unicode(), Int()).tag(sync=True)
    opacity = Float(0.6).tag(sync=True)

    def __init__(self, data: ExplorerData, state: ExplorerState | None = None) -> None:
        """Show ``data``; by default the first image's evidence for its true class beside that for another."""
        self.data, self.first = data, explained.check(data, state or explained.first_states(data)[0])
        spec = {"classes": data.classes, "targets": data.targets, "titles": data.titles, "models": list(data.models),
                "methods": {name: kind._asdict() for name, kind in ABOUT.items()}, "side": data.pixels.shape[1],
                "palettes": [palette(signed).tobytes().hex() for signed in (False, True)]}  # fmt: skip
        super().__init__(spec=spec, **vars(self.first))
        self.on_msg(self._answer)

    @property
    def state(self) -> ExplorerState:
        """What is looked at now."""
        return ExplorerState(self.image, Choice(*self.a), Choice(*self.b), self.opacity)

    def panel(self) -> explained.ExplorerPanel:
        """The numbers and colours on the screen now."""
        return explorer_panel(self.data, self.state)

    @validate("image", "a", "b", "opacity")
    def _valid(self, proposal: dict) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        explained.check(self.data, replace(self.first, **{name: Choice(*value) if name in ("a", "b") else value}))
        return value

    def _answer(self, _widget: ExplanationExplorer, content: dict, _buffers: list) -> None:
        if content.get("ask") != "panel":
            return
        sides = [Choice(*content[side]) for side in ("a", "b")]
        state = explained.check(self.data, ExplorerState(content["image"], *sides))
        for choice in sides:
            if self.data.key(state.image, choice) not in self.data.known:
                self.send({"to": content, "busy": f"computing {ABOUT[choice.method].label} of the {choice.model} …"})
                self.data.explained(state.image, choice)
        self.send(*_message(self.data, state, content))


def _message(data: ExplorerData, state: ExplorerState, to: Mapping[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
    """What the browser draws: words and numbers; pixels, mask, colour numbers of A and B."""
    found = explorer_panel(data, state)
    mask = np.zeros(data.pixels.shape[1:3], bool) if data.masks is None else data.masks[state.image]
    views = [{"lines": v.lines, "refusal": v.refusal, "low": number(v.low), "high": number(v.high),
              "sentence": v.sentence} for v in found.views]  # fmt: skip
    alike = [[m, "unknown" if np.isnan(v) else f"{v:z.2f}"] for m, v in found.agreement.items()]
    arrays = data.pixels[state.image], mask, *(v.indices for v in found.views)
    return {"to": to, "views": views, "agreement": alike, "sentence": found.sentence}, [a.tobytes() for a in arrays]


def explorer_table(data: ExplorerData, states: Sequence[ExplorerState] | None = None) -> pd.DataFrame:
    """The numbers of some states, a row per side; by default those of `first_states`."""
    rows = []
    for state in states or explained.first_states(data):
        found = explorer_panel(data, state)
        for side, choice, view in zip("AB", (state.a, state.b), found.views, strict=True):
            name = data.classes[data.key(state.image, choice)[-1]]
            rows.append({"image": data.titles[state.image], "side": side, "method": choice.method,
                         "model": choice.model, "class": name, **view.numbers, **found.agreement})  # fmt: skip
    return pd.DataFrame(rows)


def static_explorer(data: ExplorerData, states: Sequence[ExplorerState] | None = None) -> Picture:
    """A column per state, A above B, by the same ``explorer_panel`` as the widget; by default `first_states`."""
    states, said = list(states or explained.first_states(data)), []
    figure, axes = plt.subplots(2, len(states), figsize=(2.4 * len(states), 8), squeeze=False, layout="constrained")
    for column, state in zip(axes.T, states, strict=True):
        found = explorer_panel(data, state)
        for ax, side, choice, view in zip(column, "AB", (state.a, state.b), found.views, strict=True):
            _draw(ax, data, state, view, palette(ABOUT[choice.method].signed))
            ax.set_title("\n".join(f"{side}: {view.title}".split(", ")), fontsize=8)
        alike = "\n".join(f"{m} {'unknown' if np.isnan(v) else f'{v:z.2f}'}" for m, v in found.agreement.items())
        column[1].set_xlabel(f"{column[1].get_xlabel()}\n\nA and B agree:\n{alike}", fontsize=7)
        said.append(found.sentence.replace("\n", ". "))
    return Picture(figure, ". ".join(said) + ".", pixels=True)


def _draw(ax: plt.Axes, data: ExplorerData, state: ExplorerState, view: View, colours: np.ndarray) -> None:
    ax.imshow(data.pixels[state.image], interpolation="nearest", alpha=1.0 if view.raw is not None else 0.3)
    bare(ax)
    if view.raw is None:
        ax.text(0.5, 0.5, textwrap.fill(view.refusal, 30), transform=ax.transAxes, ha="center", va="center", fontsize=7)
        return
    ax.imshow(colours[view.indices], interpolation="nearest", alpha=state.opacity)
    outline(ax, None if data.masks is None else data.masks[state.image])
    lines = ("colours", f"{number(view.low)} to {number(view.high)}"), *view.lines
    ax.set_xlabel("\n".join(f"{what}: {text}" for what, text in lines), fontsize=7)
