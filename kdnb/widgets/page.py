"""The layer stepper as one self-contained page without kernel or network, for a report (04)."""

from __future__ import annotations

import base64
import gzip
import html
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from kdnb.core.errors import UserError
from kdnb.core.progress import track
from kdnb.core.runs import atomic_path
from kdnb.widgets.base import STYLE, script
from kdnb.widgets.layer_maps import StepperData
from kdnb.widgets.stepper import STEPPER_SCRIPTS, first_state, spec_of
from kdnb.widgets.stepper_messages import answer_message, covered_answer, occluded
from kdnb.widgets.stepper_numbers import PLACES, StepperState, stepper_panel

__all__ = ["to_html"]

FLOATS = {"image": 1, "effects": 0}  # question → which of its answer's buffers holds float32
BODY_STYLE = (
    "body { margin: 24px auto; max-width: 900px; padding: 0 16px; "
    "font: 15px/1.5 system-ui, sans-serif; color: #212121; }"
)
PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}
</style>
</head>
<body><main><h1>{title}</h1>
{body}
</main></body></html>
"""
WIDGET = """<style>{style}</style>
<div id="kdnb-stepper"><noscript><p>{words}</p></noscript></div>
<script type="application/json" id="kdnb-page">{content}</script>
<script type="module">{script}</script>"""


def to_html(
    data: StepperData,
    path: str | Path,
    state: StepperState | None = None,
    *,
    title: str = "Layer by layer",
    body: str = "",
) -> Path:
    """Write the stepper, below a heading and some HTML, as one page that first shows ``state``.

    The page starts with all channels. Maps, channels and covered patches of all images are
    computed now; of ablations, those of one channel of the student at a time. Numbers are kept to
    five digits.

    Raises:
        UserError: If the page cannot be written.
    """
    state = replace(state or first_state(data), ablated=())
    content = body + _widget(data, state)
    page = PAGE.format(title=html.escape(title), style=BODY_STYLE, body=content)
    try:
        with atomic_path(Path(path)) as temporary:
            temporary.write_text(page, "utf-8")
    except OSError as error:
        raise UserError(
            f"'{path}' cannot be written ({error.strerror}): choose another place"
        ) from None
    return Path(path)


def _widget(data: StepperData, state: StepperState) -> str:
    """The widget as HTML, with all its data; once per page."""
    blob = bytearray()  # the buffers of all answers, one after the other
    answers = []
    for message, buffers in _answers(data):
        floats = FLOATS.get(message["to"]["ask"])
        parts = []  # where each buffer lies: start, length, whether it is in planes
        for place, buffer in enumerate(buffers):
            parts.append([len(blob), len(buffer), int(place == floats)])
            blob += _planes(buffer) if place == floats else buffer
        answers.append([message, parts])
    packed = base64.b64encode(gzip.compress(bytes(blob), 6, mtime=0)).decode()
    content = {"spec": spec_of(data), "state": asdict(state), "answers": answers, "packed": packed}
    return WIDGET.format(
        style=STYLE,
        words=html.escape(stepper_panel(data, state).sentence),
        content=_json_in_script(content),
        script=script(*STEPPER_SCRIPTS, "page.js"),
    )


def _json_in_script(content: Any) -> str:
    """JSON that no text can end or comment out when it stands between script tags.

    >>> print(_json_in_script({"class": "<!--<script>"}))
    {"class": "\\u003c!--\\u003cscript>"}
    """
    return json.dumps(content, default=_as_json).replace("<", "\\u003c")


def _planes(buffer: bytes) -> bytes:
    """Float32 numbers rounded to five digits, first all lowest bytes, then the next ones.

    gzip makes less of them than of whole numbers one after the other.
    """
    rounded = (np.frombuffer(buffer, "<u4") + 0x80) & np.uint32(0xFFFFFF00)
    return rounded.astype("<u4").view(np.uint8).reshape(-1, 4).T.tobytes()


def _answers(data: StepperData) -> Iterator[tuple[dict[str, Any], list[bytes]]]:
    """Answers to all that the view can ask.

    The names in a question come in the view's order: the page finds an answer by its question.
    """
    places = [list(place) for place in product(range(PLACES), repeat=2)]
    for image in track(range(len(data.pixels)), "page"):
        yield answer_message(data, {"ask": "image", "image": image})
        for layer in range(1, len(data.models[0].taps) + 1):
            yield answer_message(
                data, {"ask": "effects", "image": image, "model": 0, "layer": layer}
            )
        for place, covered in zip(places, occluded(data, image, places), strict=True):
            question = {"ask": "occlude", "image": image, "place": place}
            yield covered_answer(question, covered), []


def _as_json(value: Any) -> Any:
    """A numpy number as Python's, a tuple-like value as a list."""
    return value.item() if hasattr(value, "item") else list(value)
