"""The layer stepper as one self-contained page: no kernel, no network, for a report or a lecture's web page (04)."""

from __future__ import annotations

import base64
import gzip
import html
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from kdnb.errors import UserError
from kdnb.progress import track
from kdnb.runs import atomic_path
from kdnb.widgets.layers import ModelMaps, StepperData
from kdnb.widgets.questions import answer, covered_answer, occluded
from kdnb.widgets.render import PLACES, StepperState, panel
from kdnb.widgets.stepper import SCRIPT, first_state, plain_state, spec_of
from kdnb.widgets.view import STYLE

__all__ = ["subset", "to_html", "widget_html", "write_stepper_page"]

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
MODEL = """
const page = JSON.parse(document.getElementById("kdnb-page").textContent);
const packed = Uint8Array.from(atob(page.packed), (c) => c.charCodeAt(0));
const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
const bytes = await new Response(stream).arrayBuffer();
function joined(start, length) { // bytes of float32 numbers, stored by place in the number
  const planes = new Uint8Array(bytes, start, length), out = new Uint8Array(length), count = length / 4;
  for (let i = 0; i < length; i++) out[4 * (i % count) + Math.floor(i / count)] = planes[i];
  return out.buffer;
}
const known = new Map(page.answers.map(([message, parts]) => [JSON.stringify(message.to),
  [message, parts.map(([start, length, floats]) => new DataView(floats ? joined(start, length)
    : bytes.slice(start, start + length)))]]));
const listeners = {}, values = { ...page.state, spec: page.spec, smooth: false };
const emit = (event, ...what) => (listeners[event] ?? []).forEach((f) => f(...what));
const model = {
  get: (name) => values[name],
  set(name, value) {
    values[name] = value;
    emit(`change:${name}`);
  },
  save_changes() {},
  on: (event, f) => (listeners[event] ??= []).push(f),
  off: (event, f) => (listeners[event] = (listeners[event] ?? []).filter((g) => g !== f)),
  send(question) {
    const refused = "this page holds one channel of the student at a time: more needs a running notebook";
    const found = known.get(JSON.stringify(question)) ?? single(question) ?? [{ to: question, refused }, []];
    queueMicrotask(() => emit("msg:custom", ...found));
  },
};
function single({ ask, image, model: m, layer, channels }) { // one channel: a line of the effects of all
  const effects = known.get(JSON.stringify({ ask: "effects", image, model: m, layer }));
  if (ask !== "ablate" || channels.length !== 1 || !effects) return null;
  const all = new Float32Array(bytesOf(effects[1][0]).buffer), count = page.spec.classes.length;
  const probabilities = [...all.subarray(channels[0] * count, (channels[0] + 1) * count)];
  return [{ to: { ask, image, model: m, layer, channels }, probabilities }, []];
}
render({ model, el: document.getElementById("kdnb-stepper") });
"""


def to_html(
    data: StepperData, path: str | Path, state: StepperState | None = None, images: Sequence[int] | None = None
) -> Path:
    """Write the stepper as one page.

    Maps, channels and covered patches of the chosen images are computed now; of ablations, those of one channel of the
    student at a time. Numbers are kept to five digits.

    Args:
        data: See :func:`kdnb.widgets.stepper_data`.
        path: The page to write.
        state: What it shows first.
        images: Which images go into the page; all by default.

    Raises:
        UserError: If an image does not exist or the page cannot be written.
    """
    chosen = subset(data, range(len(data.pixels)) if images is None else images)
    if state is not None:
        state = replace(state, image=_place(state.image, images), ablated=())
    return write_stepper_page(chosen, path, "Layer by layer", "", state)


def write_stepper_page(
    data: StepperData, path: str | Path, title: str, body: str, state: StepperState | None = None
) -> Path:
    """Write a page with a title, some HTML and below it the stepper of all images of ``data``."""
    page = PAGE.format(title=html.escape(title), body=body + widget_html(data, state))
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(Path(path)) as temporary:
            temporary.write_text(page, "utf-8")
    except OSError as error:
        raise UserError(f"'{path}' cannot be written ({error.strerror}): choose another place") from None
    return Path(path)


def widget_html(data: StepperData, state: StepperState | None = None) -> str:
    """The widget as HTML to put into a page, with all its data; once per page."""
    state = state or first_state(data)
    blob, answers = bytearray(), []
    for message, buffers in _answers(data):
        parts, floats = [], {"image": 1, "effects": 0}.get(message["to"]["ask"], -1)
        for place, buffer in enumerate(buffers):
            parts.append([len(blob), len(buffer), int(place == floats)])
            if place == floats:
                buffer = _planes(buffer)
            blob += buffer
        answers.append([message, parts])
    packed = base64.b64encode(gzip.compress(bytes(blob), 6, mtime=0)).decode()
    content = {"spec": spec_of(data), "state": plain_state(state), "answers": answers, "packed": packed}
    embedded = json.dumps(content, default=_number).replace("</", "<\\/")
    words = html.escape(panel(data, state).sentence)
    return (f'<style>{STYLE}</style>\n<div id="kdnb-stepper"><noscript><p>{words}</p></noscript></div>\n'
            f'<script type="application/json" id="kdnb-page">{embedded}</script>\n'
            f'<script type="module">{SCRIPT.replace("export default { render };", "")}{MODEL}</script>')  # fmt: skip


def _planes(buffer: bytes) -> bytes:
    """Float32 numbers rounded to five digits, first all lowest bytes, then the next ones: gzip makes less of them."""
    rounded = (np.frombuffer(buffer, "<u4") + 0x80) & np.uint32(0xFFFFFF00)
    return rounded.astype("<u4").view(np.uint8).reshape(-1, 4).T.tobytes()


def subset(data: StepperData, images: Sequence[int]) -> StepperData:
    """The data of some images, in the given order.

    Raises:
        UserError: If there is no such image.
    """
    rows = list(images)
    if not rows or not all(i in range(len(data.pixels)) for i in rows):
        raise UserError(f"images must be numbers from 0 to {len(data.pixels) - 1}, at least one, got {rows}")

    def taken(model: ModelMaps) -> ModelMaps:
        parts = {name: tuple(v[rows] for v in getattr(model, name)) for name in ("maps", "contributions", "means")}
        bias = None if model.bias is None else model.bias[:, rows]
        return replace(model, **parts, logits=model.logits[rows], bias=bias)

    pick = lambda values: None if values is None else tuple(values[i] for i in rows)  # noqa: E731
    return replace(data, pixels=data.pixels[rows], images=data.images[rows], targets=pick(data.targets),
                   titles=pick(data.titles), models=tuple(map(taken, data.models)), early=pick(data.early),
                   masks=None if data.masks is None else data.masks[rows])  # fmt: skip


def _place(image: int, images: Sequence[int] | None) -> int:
    return image if images is None else list(images).index(image) if image in images else 0


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
