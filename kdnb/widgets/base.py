"""What all widgets share: base class, script, style, checks, colour numbers (01, 03-05)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import anywidget
import numpy as np
from IPython.display import HTML, display
from traitlets import Dict, TraitError

from kdnb.core.errors import UserError
from kdnb.core.plots import Picture, show

__all__ = [
    "STYLE",
    "RefusedState",
    "ViewWidget",
    "as_tuple",
    "colour_numbers",
    "one_of",
    "script",
    "taken_back",
    "within",
]

STYLE = Path(__file__).with_name("widget.css").read_text("utf-8")


# JupyterLab writes an error where a widget's kernel is gone: the picture above says it better
STILL = """<div data-kdnb-still="{name}">
<style>.jp-OutputArea-child:has([data-kdnb-still]) + .jp-OutputArea-child
.jupyter-widgets:not(:has(*)) {{ display: none; }}</style>
<p>This picture stands for a live view. To use the view, run this cell again.</p>
{picture}
</div>"""
AGAIN = "a live view: run this cell again"


class RefusedState(UserError, TraitError):
    """A value that a widget's trait cannot have: people read one line, the trait is as before.

    traitlets takes changes that come together back where it meets an error of its own.
    """


@contextmanager
def taken_back() -> Iterator[None]:
    """For a trait's check: what it refuses is taken back.

    Raises:
        RefusedState: With the line of a UserError in the block.
    """
    try:
        yield
    except UserError as error:
        raise RefusedState(str(error)) from None


def script(*names: str) -> str:
    """A widget's browser side: ``common.js`` followed by the files ``names``, as one module."""
    parts = [Path(__file__).with_name(name) for name in ("common.js", *names)]
    return "\n".join(part.read_text("utf-8") for part in parts)


class ViewWidget(anywidget.AnyWidget):
    """What all widgets have: style, and ``spec``, what the browser must know from the start.

    A notebook that is opened without its kernel, or turned into a page, has no live view. So a
    picture is shown before it, which the view hides once it lives.
    """

    _css = STYLE
    spec = Dict().tag(sync=True)

    def __init__(self, *, spec: dict[str, Any], **traits: Any) -> None:
        """``spec``, and the traits of the widget's state."""
        super().__init__(spec={**spec, "still": uuid4().hex}, **traits)

    def still(self) -> Picture:
        """The static picture of what is shown now."""
        raise NotImplementedError

    def _ipython_display_(self) -> None:
        """Show the picture, then the live view."""
        picture = show(self.still()).data
        display(HTML(STILL.format(name=self.spec["still"], picture=picture)))
        data, metadata = self._repr_mimebundle_()
        display({**data, "text/plain": AGAIN}, metadata=metadata, raw=True)


def as_tuple(value: Any) -> Any:
    """A list, which browsers and JSON have, as a state's tuple; other values as they are."""
    return tuple(value) if isinstance(value, list) else value


def within(name: str, value: float, low: float, high: float) -> None:
    """Refuse a part of a state that does not lie from ``low`` to ``high``.

    Raises:
        UserError: If it lies outside.
    """
    if not low <= value <= high:
        raise UserError(f"{name} must lie between {low} and {high}, got {value!r}")


def one_of(name: str, value: str, allowed: Collection[str]) -> None:
    """Refuse a part of a state that is none of the ``allowed`` names.

    Raises:
        UserError: If it is none of them.
    """
    if value not in allowed:
        raise UserError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")


def colour_numbers(raw: np.ndarray, low: float, high: float, *, signed: bool) -> np.ndarray:
    """Numbers in a palette, (h, w) uint8, of raw values (h, w).

    Values beyond the ends take the ends' colours. A signed palette has zero at number 128 and its
    ends, -``high`` and ``high``, at 1 and 255.

    >>> colour_numbers(np.array([[-1.0, 0.0, 0.5, 9.0]]), -1.0, 1.0, signed=True).tolist()
    [[1, 128, 192, 255]]
    """
    if low >= high:  # all zero
        return np.full(raw.shape, 128 if signed else 0, np.uint8)
    values = np.clip(raw.astype(np.float64), low, high)
    scaled = 127 * (values / high) + 128 if signed else 255 * ((values - low) / (high - low))
    return np.floor(scaled + 0.5).astype(np.uint8)
