"""What the layer stepper knows of some images: maps, channels, biases, answers (notebook 04)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from kdnb.core.errors import UserError
from kdnb.core.statistics import softmax
from kdnb.feature_maps.ablation import channel_means
from kdnb.feature_maps.cam import CAMS
from kdnb.feature_maps.ledger import ledgers
from kdnb.feature_maps.receptive_field import receptive_fields
from kdnb.training.modules import evaluating
from kdnb.training.taps import gradients_at_taps
from kdnb.widgets.arithmetic import Trace
from kdnb.widgets.own_network import (
    Normalisation,
    check_names_and_numbers,
    checked_network,
    images_for,
)

__all__ = [
    "FILTERS",
    "MAP_KINDS",
    "MapKind",
    "ModelMaps",
    "StepperData",
    "check_images",
    "filters",
    "probabilities_of",
    "stepper_data",
]

CHUNK = 8  # images per forward and backward pass: bounds the memory, does not change the result
MOST_CLASSES = 50  # what the browser gets grows with their pairs: 1.5 MB per network
UNSURE = 0.6  # a student whose largest probability is below is called unsure
FILTERS = ("all", "wrong", "disagree", "unsure")


class MapKind(NamedTuple):
    """A kind of map: its name in sentences, what a cell holds, whether it has class and sign."""

    label: str
    unit: str
    per_class: bool
    signed: bool


MAP_KINDS = {  # in the order of the maps in ModelMaps
    "average": MapKind(label="average map", unit="mean activation", per_class=False, signed=False),
    "eigencam": MapKind(
        label="Eigen-CAM", unit="principal component", per_class=False, signed=False
    ),
    "gradcam": MapKind(label="Grad-CAM", unit="weighted activation", per_class=True, signed=False),
    "hirescam": MapKind(label="HiResCAM", unit="positive evidence", per_class=True, signed=False),
    "layercam": MapKind(
        label="LayerCAM", unit="positive gradient × activation", per_class=True, signed=False
    ),
    "evidence": MapKind(
        label="class evidence", unit="gradient × activation", per_class=True, signed=True
    ),
}


@dataclass(frozen=True, eq=False)
class ModelMaps:
    """One network and what it makes of N images at its L taps.

    ``maps`` to ``reference`` have one entry per tap. The R maps of a tap are those of
    ``MAP_KINDS`` and, where a kind depends on the class, of the K classes.
    """

    name: str  #: "student" or "teacher"
    network: nn.Module  #: for what is asked later
    taps: tuple[str, ...]  #: in order of depth
    maps: tuple[np.ndarray, ...]  #: (N, R, h, w) float32
    contributions: tuple[np.ndarray, ...]  #: (N, K, C) float32 gradient × activation, cells summed
    means: tuple[np.ndarray, ...]  #: (N, C) float32 mean activation of each channel
    reference: tuple[Tensor, ...]  #: (C,) the mean that stands for an ablated channel
    logits: np.ndarray  #: (N, K) float64
    bias: np.ndarray | None  #: (L, N, K) float64 added after a tap; None: the ledger is not exact
    refusal: str  #: why there is no ledger, or ""
    fields: np.ndarray  #: (L, 3) receptive field: side, jump, start of cell 0, px; NaN if unknown
    readings: pd.DataFrame  #: a row per tap of numbers to show (probe accuracy, CKA, …); or empty

    @cached_property
    def probabilities(self) -> np.ndarray:
        """(N, K) float64."""
        return softmax(self.logits)


@dataclass(frozen=True, eq=False)
class StepperData:
    """N images, what is known of them, and the networks' maps."""

    pixels: np.ndarray  #: (N, S, S, 3) uint8
    images: Tensor  #: (N, 3, S, S) normalised
    classes: tuple[str, ...]  #: K names
    targets: tuple[int, ...]  #: (N,) -1 where nobody knows
    titles: tuple[str, ...]  #: (N,)
    models: tuple[ModelMaps, ...]  #: the student, then perhaps the teacher
    masks: np.ndarray | None = None  #: (N, S, S) bool: what defines the class, where that is known
    #: (N,) layer from which on probes say what the student says
    early: tuple[int, ...] | None = None
    #: run ids, versions, seed: exported
    provenance: Mapping[str, Any] = field(default_factory=dict)
    #: (image, model, layer) → how its map came about; only what was asked last
    traces: dict[tuple[int, int, int], Trace] = field(default_factory=dict)
    #: held while a question is answered: the networks have one question's hooks at a time
    turn: Lock = field(default_factory=Lock)

    def row(self, kind: str, target: int = 0) -> int:
        """Which of the R maps of a tap shows a kind, for a class where it depends on the class."""
        names = list(MAP_KINDS)
        row = 0
        for before in names[: names.index(kind)]:
            row += len(self.classes) if MAP_KINDS[before].per_class else 1
        return row + target if MAP_KINDS[kind].per_class else row

    def values(self, model: int, layer: int, kind: str, target: int, versus: int) -> np.ndarray:
        """(N, h, w): maps of a kind for a class, minus those for ``versus`` unless that is -1."""
        maps = self.models[model].maps[layer - 1]
        found = maps[:, self.row(kind, target)]
        if versus >= 0 and MAP_KINDS[kind].per_class:
            return found - maps[:, self.row(kind, versus)]
        return found


def probabilities_of(network: nn.Module, images: Tensor) -> np.ndarray:
    """(N, K) float64: the network's answers to images (N, 3, S, S)."""
    with evaluating(network), torch.inference_mode():
        return softmax(network(images).double().cpu().numpy())


def filters(data: StepperData) -> dict[str, list[int]]:
    """Which images each of ``FILTERS`` leaves: the student wrong, unlike the teacher, or unsure."""
    student = data.models[0].probabilities
    answers = student.argmax(axis=1)
    teacher_answers = data.models[-1].probabilities.argmax(axis=1)
    truth = np.array(data.targets)
    kept = {
        "all": np.full(len(student), True),
        "wrong": (answers != truth) & (truth >= 0),
        "disagree": answers != teacher_answers,
        "unsure": student.max(axis=1) < UNSURE,
    }
    return {name: np.flatnonzero(kept[name]).tolist() for name in FILTERS}


def stepper_data(
    student: nn.Module,
    teacher: nn.Module | None = None,
    images: Tensor | None = None,
    pixels: np.ndarray | None = None,
    targets: Sequence[int] | None = None,
    classes: Sequence[str] | None = None,
    titles: Sequence[str] | None = None,
    *,
    taps: Mapping[str, str] | None = None,
    teacher_taps: Mapping[str, str] | None = None,
    normalisation: Normalisation | None = None,
    masks: np.ndarray | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> StepperData:
    """All that is computed before the first step; what depends on a click is asked later.

    For a network of one's own, ``stepper_data(my_model, pixels=pixels, classes=names)`` is enough.

    Args:
        student: Any convolutional classifier.
        teacher: One with as many taps, paired with the student's by depth; or None.
        images: (N, 3, S, S) normalised; None: they are made of the pixels.
        pixels: (N, S, S, 3) uint8, the same images to look at.
        targets: (N,) true class numbers; -1 where nobody knows, None where nobody knows any.
        classes: K class names; numbered if omitted.
        titles: N names of the images; numbered if omitted.
        taps: Tap name → module path in the student; None: its attribute ``taps``, or else the last
            module of each resolution.
        teacher_taps: The same of the teacher.
        normalisation: Mean and standard deviation of the three colours, where images are made of
            the pixels; None for those of ImageNet.
        masks: (N, S, S) bool, what defines the class.
        provenance: What goes into exports besides the state.

    Raises:
        UserError: If shapes or counts do not match, there are more than ``MOST_CLASSES``, a tap is
            missing or is no map, or a map is not finite.
    """
    images = images_for(student, images, pixels, normalisation)
    _check_pixels(images, pixels)
    student = checked_network("student", student, taps, images)
    if classes is None:
        classes = _numbered("class", probabilities_of(student, images[:1]).shape[1])
    targets = [-1] * len(images) if targets is None else targets
    titles = _numbered("image", len(images)) if titles is None else titles
    check_images(images, pixels, targets, classes, titles, masks, lowest=-1)
    if len(classes) > MOST_CLASSES:
        raise UserError(
            f"the stepper compares each class with each other, at most {MOST_CLASSES} of them, got "
            f"{len(classes)}: keep the outputs of those that you ask about"
        )
    models = [_model_maps("student", student, images, len(classes))]
    if teacher is not None:
        teacher = checked_network("teacher", teacher, teacher_taps, images)
        models.append(_model_maps("teacher", teacher, images, len(classes)))
    if len(models[0].taps) != len(models[-1].taps):
        taps = " and ".join(", ".join(model.taps) for model in models)
        raise UserError(f"student and teacher need equally many taps, got {taps}")
    return StepperData(
        pixels=pixels,
        images=images,
        classes=tuple(classes),
        targets=tuple(int(target) for target in targets),
        titles=tuple(str(title) for title in titles),
        models=tuple(models),
        masks=masks,
        provenance=dict(provenance or {}),
    )


def _numbered(word: str, count: int) -> list[str]:
    return [f"{word} {number}" for number in range(1, count + 1)]


def _check_pixels(images: Tensor, pixels: np.ndarray) -> None:
    """Whether square images (N, 3, S, S) and pixels (N, S, S, 3) uint8 belong together."""
    shape = tuple(images.shape)
    if len(shape) == 4 and shape[2] != shape[3]:
        raise UserError(
            f"the widgets show square images, got {shape[2]} x {shape[3]} px: "
            "resize them first, as the data sets of the study are"
        )
    wanted = (len(images), *shape[2:], 3)
    fitting = len(shape) == 4 and pixels.shape == wanted and pixels.dtype == np.uint8
    if len(images) == 0 or not fitting:
        raise UserError(
            "images (N, 3, S, S) need pixels (N, S, S, 3) uint8, N at least 1; "
            f"got {shape} and {pixels.shape} {pixels.dtype}"
        )


def check_images(
    images: Tensor,
    pixels: np.ndarray,
    targets: Sequence[int],
    classes: Sequence[str],
    titles: Sequence[str],
    masks: np.ndarray | None,
    *,
    lowest: int = 0,
) -> None:
    """Whether images (N, 3, S, S) and what is known of them belong together, see `stepper_data`.

    Targets are class numbers from ``lowest``: -1 if they may be unknown.

    Raises:
        UserError: If shapes or counts do not match.
    """
    _check_pixels(images, pixels)
    check_names_and_numbers(targets, classes, masks)
    n = len(images)
    k = len(classes)
    known = all(lowest <= target < k for target in targets)
    if len(targets) != n or len(titles) != n or not known:
        unknown = " (-1 if unknown)" if lowest else ""
        raise UserError(
            f"{n} images of {k} classes need {n} targets from 0 to {k - 1}{unknown} "
            f"and {n} titles; got targets {[int(target) for target in targets]} "
            f"and {len(titles)} titles"
        )
    if masks is not None and masks.shape != pixels.shape[:3]:
        raise UserError(f"masks must be {pixels.shape[:3]}, one per image, got {masks.shape}")


class _Chunk(NamedTuple):
    """What a network makes of n images; arrays by tap, in order of depth."""

    logits: np.ndarray  #: (n, K) float64
    maps: dict[str, np.ndarray]  #: (n, R, h, w) float32
    contributions: dict[str, np.ndarray]  #: (n, K, C) float32
    means: dict[str, np.ndarray]  #: (n, C) float32


def _model_maps(name: str, model: nn.Module, images: Tensor, classes: int) -> ModelMaps:
    chunks = [_chunk(name, model, part, classes) for part in images.split(CHUNK)]
    maps = _joined([chunk.maps for chunk in chunks])
    for tap, values in maps.items():
        if not np.isfinite(values).all():
            raise UserError(
                f"the {name}'s maps at {tap} are not finite: check its weights and the input range"
            )
    taps = tuple(maps)
    reference = channel_means(model, images)
    bias, refusal = _bias(model, images)
    return ModelMaps(
        name=name,
        network=model,
        taps=taps,
        maps=tuple(maps.values()),
        contributions=tuple(_joined([chunk.contributions for chunk in chunks]).values()),
        means=tuple(_joined([chunk.means for chunk in chunks]).values()),
        reference=tuple(reference[tap] for tap in taps),
        logits=np.concatenate([chunk.logits for chunk in chunks]),
        bias=bias,
        refusal=refusal,
        fields=_fields(model, images.shape[-1], taps),
        readings=pd.DataFrame(index=taps),
    )


def _joined(parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Tap → the parts' arrays, one after the other."""
    joined = {}
    for tap in parts[0]:
        joined[tap] = np.concatenate([part[tap] for part in parts])
    return joined


def _chunk(name: str, model: nn.Module, images: Tensor, classes: int) -> _Chunk:
    maps: dict[str, dict[str, list[Tensor]]] = defaultdict(lambda: defaultdict(list))
    contributions: dict[str, list[Tensor]] = defaultdict(list)
    means = {}
    for target in range(classes):
        logits, pairs = gradients_at_taps(model, images, torch.full((len(images),), target))
        if logits.shape[1] != classes:
            raise UserError(
                f"the {name} has {logits.shape[1]} outputs, but {classes} class names were given"
            )
        for tap, (activation, gradient) in pairs.items():  # (n, C, h, w) each
            if activation.ndim != 4:
                raise UserError(
                    f"tap {tap!r} of the {name} is no map: it must be (N, C, h, w), "
                    f"is {tuple(activation.shape)}"
                )
            means[tap] = activation.mean(dim=(2, 3)).cpu().numpy()
            contributions[tap].append((gradient * activation).sum(dim=(2, 3)))
            for kind, about in MAP_KINDS.items():
                if about.per_class or target == 0:
                    maps[tap][kind].append(_map(kind, activation, gradient))
    return _Chunk(
        logits=logits.double().cpu().numpy(),
        maps={tap: _in_order(found) for tap, found in maps.items()},
        contributions={tap: _stacked(found) for tap, found in contributions.items()},
        means=means,
    )


def _map(kind: str, activation: Tensor, gradient: Tensor) -> Tensor:
    """(n, h, w) float32."""
    if kind == "average":
        return activation.mean(dim=1).float()
    return CAMS[kind](activation, gradient).float()


def _in_order(found: Mapping[str, Sequence[Tensor]]) -> np.ndarray:
    """(n, R, h, w): the maps of each kind and, within it, of each class."""
    return np.concatenate([_stacked(found[kind]) for kind in MAP_KINDS], axis=1)


def _stacked(found: Sequence[Tensor]) -> np.ndarray:
    """Entries (n, …) as (n, entries, …) float32."""
    return torch.stack(list(found), dim=1).float().cpu().numpy()


def _bias(model: nn.Module, images: Tensor) -> tuple[np.ndarray | None, str]:
    """What biases add after each tap, (L, N, K), or why the ledger does not say."""
    try:
        found = ledgers(model, images)
    except UserError as error:
        return None, str(error)
    of_classes = []
    for ledger in found:
        of_classes.append([account.bias for account in ledger.accounts.values()])  # L × (N,)
    return np.stack(of_classes, axis=-1), ""


def _fields(model: nn.Module, size: int, taps: Sequence[str]) -> np.ndarray:
    """(L, 3): field, jump and start of each tap, in the order of ``taps``."""
    try:
        found = receptive_fields(model, size).loc[list(taps)].to_numpy(np.float64)
        return np.where(np.isinf(found), 1e9, found)  # JSON has no infinity
    except UserError:  # no closed form: the widget says so
        return np.full((len(model.taps), 3), np.nan)
