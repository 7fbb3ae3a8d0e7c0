"""What the layer stepper asks after a click: one image's maps, channels without one another, a covered patch (04).

The same functions answer the live widget, one question at a time, and the saved page, all in advance.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from kdnb.errors import UserError
from kdnb.feature_maps import ledgers, logits_and_taps, probabilities_without
from kdnb.metrics import softmax
from kdnb.widgets.layers import ModelMaps, StepperData, probabilities_of
from kdnb.widgets.render import patch

__all__ = ["ablated", "answer", "covered_answer", "effects", "occluded", "tile_sizes"]

TILE = 24  # px; a channel's picture is no larger


def answer(data: StepperData, question: Mapping[str, Any]) -> tuple[dict[str, Any], list[bytes]] | None:
    """The message and buffers that answer a question of the view; None for a question it cannot have asked."""
    image, m, layer = (question.get(name, default) for name, default in (("image", -1), ("model", 0), ("layer", 1)))
    known = image in range(len(data.images)) and m in range(len(data.models))
    if not known or layer not in range(1, len(data.models[m].taps) + 1):
        return None
    if question["ask"] == "image":
        return {"to": question, "inside": _inside(data, image)}, _image(data, image)
    if question["ask"] == "effects":
        return {"to": question}, [effects(data, image, m, layer).astype("<f4").tobytes()]
    if question["ask"] == "ablate":
        return {"to": question, "probabilities": ablated(data, image, m, layer, question["channels"]).tolist()}, []
    if question["ask"] == "occlude":
        return covered_answer(question, *occluded(data, image, [question["place"]])[0]), []
    return None


def covered_answer(
    question: Mapping[str, Any], probabilities: np.ndarray, evidence: Sequence[np.ndarray | None]
) -> dict[str, Any]:
    """The message that answers where a patch was put."""
    sums = [None if e is None else e.tolist() for e in evidence]
    return {"to": question, "probabilities": probabilities.tolist(), "evidence": sums}


def effects(data: StepperData, image: int, m: int, layer: int) -> np.ndarray:
    """(C, K) float64: the probabilities when each channel alone is replaced by its mean."""
    return _without(data, image, m, layer, torch.eye(len(data.models[m].reference[layer - 1]), dtype=torch.bool))


def ablated(data: StepperData, image: int, m: int, layer: int, channels: list[int]) -> np.ndarray:
    """(K,) float64: the probabilities when some channels of a layer are replaced by their means together.

    Raises:
        UserError: If the layer has no such channel.
    """
    mask = torch.zeros(1, len(data.models[m].reference[layer - 1]), dtype=torch.bool)
    if not all(c in range(mask.shape[1]) for c in channels):
        raise UserError(f"channels of this layer go from 0 to {mask.shape[1] - 1}, got {list(channels)}")
    mask[0, channels] = True
    return _without(data, image, m, layer, mask)[0]


def _without(data: StepperData, image: int, m: int, layer: int, masks: Tensor) -> np.ndarray:
    model, picture = data.models[m], data.images[image : image + 1]
    found = probabilities_without(model.network, picture, model.taps[layer - 1], masks.to(picture.device),
                                  mean=model.reference[layer - 1])  # fmt: skip
    return found.double().cpu().numpy()


def occluded(
    data: StepperData, image: int, places: Sequence[Sequence[int]]
) -> list[tuple[np.ndarray, list[np.ndarray | None]]]:
    """The image with a patch in its mean colour at each of some places, one after the other.

    Returns:
        Per place: probabilities (models, K), and per model its evidence (L, K) or None where there is no ledger. The
        evidence is each tap's sum of gradient × activation for the logit of each class.
    """
    picture = data.images[image : image + 1]
    covered, colour = picture.repeat(len(places), 1, 1, 1), picture.mean(dim=(2, 3))[0, :, None, None]
    for one, place in zip(covered, places, strict=True):
        top, left, bottom, right = patch(tuple(place), data.pixels.shape[1])
        one[:, top:bottom, left:right] = colour
    found = [_answers(model, covered) for model in data.models]
    return [
        (np.array([p[i] for p, _ in found]), [None if e is None else e[i] for _, e in found])
        for i in range(len(places))
    ]


def _answers(model: ModelMaps, images: Tensor) -> tuple[np.ndarray, np.ndarray | None]:
    """Probabilities (N, K), and evidence (N, L, K) where there is a ledger."""
    if model.refusal:
        return probabilities_of(model.network, images), None
    found = ledgers(model.network, images)
    evidence = [[ledger.accounts[tap].evidence for ledger in found] for tap in model.taps]  # L × K × (N,)
    return softmax(np.stack([ledger.logits for ledger in found], 1)), np.moveaxis(np.array(evidence), 2, 0)


def _image(data: StepperData, image: int) -> list[bytes]:
    """Pixels; float32 of maps, contributions and means, models and taps in order; uint8 pictures of all channels.

    HiResCAM is left out of the maps: the browser makes it from the signed evidence, whose positive part it is.
    """
    first, picture = data.row("hirescam"), data.images[image : image + 1]
    left = [np.delete(tap[image], np.s_[first : first + len(data.classes)], 0) for m in data.models for tap in m.maps]
    others = [tap[image] for kind in ("contributions", "means") for m in data.models for tap in getattr(m, kind)]
    numbers = np.concatenate([*left, *others], axis=None).astype("<f4")
    tiles = np.concatenate([tile.cpu() for model in data.models for tile in _tiles(model, picture)], axis=None)
    return [values.tobytes() for values in (data.pixels[image], numbers, tiles)]


def _inside(data: StepperData, image: int) -> list[str] | None:
    """The mask as rows of 0 and 1, where it says anything."""
    if data.masks is None or data.masks[image].all() or not data.masks[image].any():
        return None
    return ["".join("01"[int(v)] for v in row) for row in data.masks[image]]


def tile_sizes(model: ModelMaps) -> list[tuple[int, int]]:
    """Height and width of a channel's picture at each tap."""
    return [(min(TILE, maps.shape[2]), min(TILE, maps.shape[3])) for maps in model.maps]


def _tiles(model: ModelMaps, picture: Tensor) -> list[Tensor]:
    """Per tap (C, h, w) uint8; the ends of the scale are the layer's smallest and largest value, zero included."""
    with torch.inference_mode():
        _, seen = logits_and_taps(model.network, picture)
    found = []
    for activation, size in zip(seen.values(), tile_sizes(model), strict=True):
        small = adaptive_avg_pool2d(activation[0].float(), size)
        low, high = min(0.0, float(small.min())), max(0.0, float(small.max()))
        found.append(((small - low) * (255 / max(high - low, 1e-12)) + 0.5).to(torch.uint8))
    return found
