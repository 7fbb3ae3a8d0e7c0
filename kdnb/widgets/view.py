"""What all widgets share: base class, script, style, and how pixels and maps reach the browser (01, 03-05)."""

from collections.abc import Collection
from dataclasses import fields
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
from traitlets import Dict, Float, Int, List, Unicode

from kdnb.errors import UserError

__all__ = ["STYLE", "ViewWidget", "as_tuple", "colour_numbers", "one_of", "script", "widget_of", "within"]

STYLE = Path(__file__).with_name("widget.css").read_text("utf-8")


def script(*names: str) -> str:
    """The browser side of a widget: ``common.js`` followed by the files ``names``, as one module."""
    return "\n".join(Path(__file__).with_name(part).read_text("utf-8") for part in ("common.js", *names))


class ViewWidget(anywidget.AnyWidget):
    """What all widgets have: their style, and ``spec``, what the browser must know from the start."""

    _css = STYLE
    spec = Dict().tag(sync=True)


def widget_of(state: type) -> type[ViewWidget]:
    """The base of a widget whose traits are the fields of a state, a dataclass, with the same names and defaults.

    Its property ``state`` is what is looked at now.
    """
    made = {int: Int, float: Float, str: Unicode, tuple: lambda _: List(Int())}
    traits = {field.name: made[type(field.default)](field.default).tag(sync=True) for field in fields(state)}
    now = property(lambda widget: state(**{name: as_tuple(getattr(widget, name)) for name in traits}),
                   doc="What is looked at now.")  # fmt: skip
    return type("StateWidget", (ViewWidget,), {**traits, "state": now})


def as_tuple(value: Any) -> Any:
    """A list, which is what a browser and JSON have, as the tuple that a state holds; other values as they are."""
    return tuple(value) if isinstance(value, list) else value


def within(name: str, value: float, low: float, high: float) -> None:
    """Refuse a part of a state that does not lie from ``low`` to ``high`` with a UserError."""
    if not low <= value <= high:
        raise UserError(f"{name} must lie between {low} and {high}, got {value!r}")


def one_of(name: str, value: str, allowed: Collection[str]) -> None:
    """Refuse a part of a state that is none of the ``allowed`` names with a UserError."""
    if value not in allowed:
        raise UserError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")


def colour_numbers(raw: np.ndarray, low: float, high: float, *, signed: bool) -> np.ndarray:
    """Numbers in a palette, (h, w) uint8, of raw values (h, w); those beyond the ends take the ends' colours.

    A signed palette has zero at number 128 and its ends, -``high`` and ``high``, at 1 and 255.

    >>> colour_numbers(np.array([[-1.0, 0.0, 0.5, 9.0]]), -1.0, 1.0, signed=True).tolist()
    [[1, 128, 192, 255]]
    """
    if low >= high:  # all zero
        return np.full(raw.shape, 128 * signed, np.uint8)
    values = np.clip(raw.astype(np.float64), low, high)
    scaled = 127 * (values / high) + 128 if signed else 255 * ((values - low) / (high - low))
    return np.floor(scaled + 0.5).astype(np.uint8)
