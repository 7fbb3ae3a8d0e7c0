"""The layer stepper as one self-contained page: no kernel, no network, for a report or a lecture's web page (04)."""

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

from kdnb.errors import UserError
from kdnb.progress import track
from kdnb.runs import atomic_path
from kdnb.widgets.layers import StepperData
from kdnb.widgets.questions import answer, covered_answer, occluded
from kdnb.widgets.render import PLACES, StepperState, panel
from kdnb.widgets.stepper import PARTS, first_state, spec_of
from kdnb.widgets.view import STYLE, script

__all__ = ["to_html"]

PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ margin: 24px auto; max-width: 900px; padding: 0 16px; font: 15px/1.5 system-ui, sans-serif; color: #212121; }}
</style>
</head>
<body><main><h1>{title}</h1>
{body}
</main></body></html>
"""


def to_html(
    data: StepperData, path: str | Path, state: StepperState | None = None, *, title: str = "Layer by layer",
    body: str = "",
) -> Path:  # fmt: skip
    """Write the stepper, below a heading and some HTML, as one page that first shows ``state`` with all its channels.

    Maps, channels and covered patches of all images are computed now; of ablations, those of one channel of the
    student at a time. Numbers are kept to five digits.

    Raises:
        UserError: If the page cannot be written.
    """
    state = replace(state or first_state(data), ablated=())
    page = PAGE.format(title=html.escape(title), body=body + _widget(data, state))
    try:
        with atomic_path(Path(path)) as temporary:
            temporary.write_text(page, "utf-8")
    except OSError as error:
        raise UserError(f"'{path}' cannot be written ({error.strerror}): choose another place") from None
    return Path(path)


def _widget(data: StepperData, state: StepperState) -> str:
    """The widget as HTML, with all its data; once per page."""
    blob, answers = bytearray(), []
    for message, buffers in _answers(data):
        parts, floats = [], {"image": 1, "effects": 0}.get(message["to"]["ask"], -1)
        for place, buffer in enumerate(buffers):
            parts.append([len(blob), len(buffer), int(place == floats)])
            blob += _planes(buffer) if place == floats else buffer
        answers.append([message, parts])
    packed = base64.b64encode(gzip.compress(bytes(blob), 6, mtime=0)).decode()
    content = {"spec": spec_of(data), "state": asdict(state), "answers": answers, "packed": packed}
    embedded = json.dumps(content, default=_number).replace("</", "<\\/")
    words = html.escape(panel(data, state).sentence)
    return (f'<style>{STYLE}</style>\n<div id="kdnb-stepper"><noscript><p>{words}</p></noscript></div>\n'
            f'<script type="application/json" id="kdnb-page">{embedded}</script>\n'
            f'<script type="module">{script(*PARTS, "page.js")}</script>')  # fmt: skip


def _planes(buffer: bytes) -> bytes:
    """Float32 numbers rounded to five digits, first all lowest bytes, then the next ones: gzip makes less of them."""
    rounded = (np.frombuffer(buffer, "<u4") + 0x80) & np.uint32(0xFFFFFF00)
    return rounded.astype("<u4").view(np.uint8).reshape(-1, 4).T.tobytes()


def _answers(data: StepperData) -> Iterator[tuple[dict[str, Any], list[bytes]]]:
    """Answers to all that the view can ask; the questions' names come in its order, they are the keys."""
    places = [list(place) for place in product(range(PLACES), repeat=2)]
    for image in track(range(len(data.pixels)), "page"):
        yield answer(data, {"ask": "image", "image": image})
        for layer in range(1, len(data.models[0].taps) + 1):
            yield answer(data, {"ask": "effects", "image": image, "model": 0, "layer": layer})
        for place, found in zip(places, occluded(data, image, places), strict=True):
            yield covered_answer({"ask": "occlude", "image": image, "place": place}, *found), []


def _number(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else list(value)
