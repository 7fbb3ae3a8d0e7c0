"""The pipeline of the study in one picture, from the data to the cost (notebook 00, the report)."""

from __future__ import annotations

import html
from dataclasses import dataclass

from IPython.display import HTML

__all__ = ["STATIONS", "Station", "show_pipeline", "pipeline_html"]

BLUE = "#0072B2"
ORANGE = "#E69F00"


@dataclass(frozen=True)
class Station:
    """One step of the study."""

    name: str
    notebook: str  #: its number
    words: str  #: what happens there
    drawing: str  #: what is inside an SVG of 96 by 56


def _rectangle(x: float, y: float, width: float, height: float, fill: str, shade: float = 1) -> str:
    """A filled rectangle."""
    where = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"'
    return f'<rect {where} rx="2" fill="{fill}" fill-opacity="{shade:g}"/>'


def _images() -> str:
    """Three images behind each other, with what is to be found."""
    parts = []
    for place in (22, 30, 38):
        frame = f'x="{place}" y="{place - 16}" width="34" height="34" rx="2"'
        parts.append(f'<rect {frame} fill="none" stroke="currentColor" stroke-width="1.5"/>')
    parts.append(f'<circle cx="60" cy="34" r="6" fill="{ORANGE}"/>')
    return "".join(parts)


def _network(layers: int, colour: str) -> str:
    """Layers as bars that become shorter and shorter."""
    step = 84 / 18
    left = 48 - layers * step / 2
    parts = []
    for layer in range(layers):
        height = 48 - 30 * layer / layers
        x = left + layer * step
        parts.append(_rectangle(x, 28 - height / 2, 3, height, colour))
    return "".join(parts)


def _maps() -> str:
    """Three maps, from fine to coarse."""
    parts = []
    for place, cells in enumerate((6, 4, 2)):
        side = 26 / cells
        for row in range(cells):
            for column in range(cells):
                distance = abs(row - cells / 2) + abs(column - cells / 2)
                shade = max(0.15, 1 - distance / cells)
                x = 4 + 31 * place + column * side
                parts.append(_rectangle(x, 15 + row * side, side - 0.6, side - 0.6, BLUE, shade))
    return "".join(parts)


def _tests() -> str:
    """Two tests that are passed, and one that is not."""
    style = 'fill="none" stroke-width="4" stroke-linecap="round"'
    passed = "".join(f'<path d="M{x} 29l6 7 11-15" stroke="{BLUE}" {style}/>' for x in (6, 38))
    return f'{passed}<path d="M71 21l15 15m0-15l-15 15" stroke="{ORANGE}" {style}/>'


def _cost() -> str:
    """A long bar and a short one."""
    return _rectangle(6, 12, 84, 13, ORANGE) + _rectangle(6, 31, 24, 13, BLUE)


STATIONS = (
    Station(
        name="Data",
        notebook="01",
        words="Images of patients. Does the test part hold what training has seen?",
        drawing=_images(),
    ),
    Station(
        name="Teacher",
        notebook="02",
        words="A large network learns to name the class.",
        drawing=_network(18, ORANGE),
    ),
    Station(
        name="Student",
        notebook="03",
        words="A small network learns from the labels and from the teacher's answers.",
        drawing=_network(5, BLUE),
    ),
    Station(
        name="Maps",
        notebook="04",
        words="What does each layer show? Where is the decision made?",
        drawing=_maps(),
    ),
    Station(
        name="Tests",
        notebook="05",
        words="Which explanation is true? Each one has to pass tests.",
        drawing=_tests(),
    ),
    Station(
        name="Cost",
        notebook="06",
        words="Work, memory and time of both networks.",
        drawing=_cost(),
    ),
)


def pipeline_html() -> str:
    """The stations as HTML: a list of drawings and words that breaks into rows on a narrow page.

    It takes colours from the page around it, light or dark, and loads nothing.
    """
    cards = []
    for number, station in enumerate(STATIONS):
        arrow = "" if number == 0 else '<span aria-hidden="true" style="float:left">→</span>'
        cards.append(
            '<li style="flex:1 1 6.5em;min-width:6.5em;margin:0;padding:.5em;list-style:none;'
            'border:1px solid rgba(128,128,128,.45);border-radius:6px;text-align:center">'
            f'{arrow}<svg viewBox="0 0 96 56" width="96" height="56" aria-hidden="true">'
            f"{station.drawing}</svg>"
            f'<div style="font-weight:600">{html.escape(station.name)}</div>'
            f'<div style="font-size:.85em;line-height:1.35">{html.escape(station.words)}</div>'
            f'<div style="font-size:.85em;opacity:.75">notebook {station.notebook}</div></li>'
        )
    style = "display:flex;flex-wrap:wrap;gap:.5em;margin:.8em 0;padding:0"
    label = "The pipeline of the study, from the data to the cost"
    return f'<ol aria-label="{label}" style="{style}">{"".join(cards)}</ol>'


def show_pipeline() -> HTML:
    """`pipeline_html` for the end of a notebook cell."""
    return HTML(pipeline_html())
