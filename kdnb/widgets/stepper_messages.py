"""What the layer stepper asks after a click: maps of an image, ablation, a covered patch (04).

The same functions answer the live widget, one question at a time, and the saved page, in advance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from kdnb.core.errors import UserError
from kdnb.feature_maps.ablation import Tail
from kdnb.feature_maps.ledger import ledgers
from kdnb.training.modules import evaluating
from kdnb.training.taps import logits_and_taps
from kdnb.widgets.arithmetic import Arithmetic, cell_arithmetic, trace_tap
from kdnb.widgets.layer_maps import ModelMaps, StepperData
from kdnb.widgets.stepper_numbers import patch

__all__ = [
    "Covered",
    "ablated",
    "arithmetic",
    "answer_message",
    "covered_answer",
    "effects",
    "occluded",
    "tile_sizes",
]

TILE = 24  # px; a channel's picture is no larger


class Covered(NamedTuple):
    """What the M models say of an image with a patch over it."""

    logits: np.ndarray  #: (M, K) float64
    evidence: list[np.ndarray | None]  #: (L, K) of each model; None where there is no ledger


def answer_message(
    data: StepperData, question: Mapping[str, Any]
) -> tuple[dict[str, Any], list[bytes]] | None:
    """The message and buffers that answer a question; None for one that the view cannot have."""
    image = question.get("image", -1)
    model = question.get("model", 0)
    layer = question.get("layer", 1)
    known = image in range(len(data.images)) and model in range(len(data.models))
    if not known or layer not in range(1, len(data.models[model].taps) + 1):
        return None
    if question["ask"] == "image":
        return {"to": question, "inside": _inside(data, image)}, _image(data, image)
    if question["ask"] == "effects":
        found = effects(data, image, model, layer)
        return {"to": question}, [found.astype("<f4").tobytes()]
    if question["ask"] == "ablate":
        found = ablated(data, image, model, layer, question["channels"])
        return {"to": question, "logits": found.tolist()}, []
    if question["ask"] == "occlude":
        found = occluded(data, image, [question["place"]])
        return covered_answer(question, found[0]), []
    if question["ask"] == "arithmetic":
        found = arithmetic(data, image, model, layer, question["cell"], question["channel"])
        return {"to": question, **found.message()}, []
    return None


def arithmetic(
    data: StepperData, image: int, model: int, layer: int, cell: Sequence[int], channel: int = -1
) -> Arithmetic:
    """How a channel of a map gets its number at a cell (row, column, from 0); -1: the largest.

    Raises:
        UserError: If the map has no such cell or channel.
    """
    key = (image, model, layer)
    if key not in data.traces:
        maps = data.models[model]
        found = trace_tap(maps.network, data.images[image : image + 1], maps.taps[layer - 1])
        data.traces.clear()  # one layer's numbers are enough to keep
        data.traces[key] = found
    row, column = cell
    return cell_arithmetic(data.traces[key], (row, column), channel)


def covered_answer(question: Mapping[str, Any], covered: Covered) -> dict[str, Any]:
    """The message that answers where a patch was put."""
    evidence = [None if sums is None else sums.tolist() for sums in covered.evidence]
    return {
        "to": question,
        "logits": covered.logits.tolist(),
        "evidence": evidence,
    }


def effects(data: StepperData, image: int, model: int, layer: int) -> np.ndarray:
    """(C, K) float64: the logits when each channel alone is replaced by its mean."""
    channels = len(data.models[model].reference[layer - 1])
    return _without(data, image, model, layer, torch.eye(channels, dtype=torch.bool))


def ablated(
    data: StepperData, image: int, model: int, layer: int, channels: list[int]
) -> np.ndarray:
    """(K,) float64: the logits when some channels are replaced by their means together.

    Raises:
        UserError: If the layer has no such channel.
    """
    count = len(data.models[model].reference[layer - 1])
    if not all(channel in range(count) for channel in channels):
        raise UserError(f"channels of this layer go from 0 to {count - 1}, got {list(channels)}")
    mask = torch.zeros(1, count, dtype=torch.bool)
    mask[0, channels] = True
    return _without(data, image, model, layer, mask)[0]


def _without(data: StepperData, image: int, model: int, layer: int, masks: Tensor) -> np.ndarray:
    """(A, K) float64: the logits without the channels in each of A masks (A, C) bool."""
    maps = data.models[model]
    picture = data.images[image : image + 1]
    tail = Tail(maps.network, picture, maps.taps[layer - 1])
    found = tail.logits(picture, masks.to(picture.device), maps.reference[layer - 1])
    return found.double().cpu().numpy()


def occluded(data: StepperData, image: int, places: Sequence[Sequence[int]]) -> list[Covered]:
    """The image with a patch in its mean colour at each of some places, one after the other.

    The evidence is each tap's sum of gradient × activation for the logit of each class.
    """
    picture = data.images[image : image + 1]
    colour = picture.mean(dim=(2, 3))[0, :, None, None]  # (3, 1, 1)
    pictures = picture.repeat(len(places), 1, 1, 1)
    for one, place in zip(pictures, places, strict=True):
        top, left, bottom, right = patch(tuple(place), data.pixels.shape[1])
        one[:, top:bottom, left:right] = colour
    found = [_answers(model, pictures) for model in data.models]
    covered = []
    for i in range(len(places)):
        logits = np.array([of_model[i] for of_model, _ in found])
        evidence = [None if sums is None else sums[i] for _, sums in found]
        covered.append(Covered(logits=logits, evidence=evidence))
    return covered


def _answers(model: ModelMaps, images: Tensor) -> tuple[np.ndarray, np.ndarray | None]:
    """Logits (N, K), and evidence (N, L, K) where there is a ledger."""
    if model.refusal:
        with evaluating(model.network), torch.inference_mode():
            return model.network(images).double().cpu().numpy(), None
    found = ledgers(model.network, images)
    evidence = []
    for ledger in found:
        evidence.append([ledger.accounts[tap].evidence for tap in model.taps])  # L × (N,)
    logits = np.stack([ledger.logits for ledger in found], axis=1)
    return logits, np.stack(evidence, axis=-1).swapaxes(0, 1)


def _image(data: StepperData, image: int) -> list[bytes]:
    """Three buffers: pixels, numbers, pictures of all channels; models and taps in order.

    The numbers are float32 of all maps, then contributions, then means; the pictures are uint8.
    HiResCAM is left out of the maps: the browser makes it from the class evidence, whose positive
    part it is.
    """
    hirescam = np.arange(len(data.classes)) + data.row("hirescam")
    numbers = []
    for model in data.models:
        numbers += [np.delete(maps[image], hirescam, axis=0) for maps in model.maps]
    for model in data.models:
        numbers += [contributions[image] for contributions in model.contributions]
    for model in data.models:
        numbers += [means[image] for means in model.means]
    tiles = []
    for model in data.models:
        tiles += [tile.cpu() for tile in _tiles(model, data.images[image : image + 1])]
    return [
        data.pixels[image].tobytes(),
        np.concatenate(numbers, axis=None).astype("<f4").tobytes(),
        np.concatenate(tiles, axis=None).tobytes(),
    ]


def _inside(data: StepperData, image: int) -> list[str] | None:
    """The mask as rows of 0 and 1, where it says anything."""
    if data.masks is None:
        return None
    mask = data.masks[image]
    if mask.all() or not mask.any():
        return None
    return ["".join(row) for row in np.where(mask, "1", "0")]


def tile_sizes(model: ModelMaps) -> list[tuple[int, int]]:
    """Height and width of a channel's picture at each tap."""
    return [(min(TILE, maps.shape[2]), min(TILE, maps.shape[3])) for maps in model.maps]


def _tiles(model: ModelMaps, picture: Tensor) -> list[Tensor]:
    """Pictures of all channels, per tap (C, h, w) uint8.

    The ends of the scale are the layer's smallest and largest value, zero included.
    """
    with torch.inference_mode():
        _, activations = logits_and_taps(model.network, picture)
    found = []
    for activation, size in zip(activations.values(), tile_sizes(model), strict=True):
        small = adaptive_avg_pool2d(activation[0].float(), size)
        low = min(0.0, float(small.min()))
        high = max(0.0, float(small.max()))
        scaled = (small - low) * (255 / max(high - low, 1e-12))
        found.append((scaled + 0.5).to(torch.uint8))
    return found
