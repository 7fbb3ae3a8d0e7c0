"""What the layer stepper knows of some images: maps, channels, biases, answers of one or two networks (notebook 04)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from kdnb.errors import UserError
from kdnb.explanations import CAMS
from kdnb.feature_maps import channel_means, gradients_at_taps, ledgers, receptive_fields
from kdnb.metrics import softmax

__all__ = ["FILTERS", "KINDS", "Kind", "ModelMaps", "StepperData", "check_images", "filters", "stepper_data"]

CHUNK = 8  # images per forward and backward pass: bounds the memory, does not change the result
UNSURE = 0.6  # a student whose largest probability is below is called unsure
FILTERS = ("all", "wrong", "disagree", "unsure")


class Kind(NamedTuple):
    """A kind of map: its name in sentences, what a cell holds, whether it depends on the class and has a sign."""

    label: str
    unit: str
    per_class: bool
    signed: bool


KINDS = {  # in the order of the maps in ModelMaps
    "average": Kind("average map", "mean activation", per_class=False, signed=False),
    "eigencam": Kind("Eigen-CAM", "principal component", per_class=False, signed=False),
    "gradcam": Kind("Grad-CAM", "weighted activation", per_class=True, signed=False),
    "hirescam": Kind("HiResCAM", "positive evidence", per_class=True, signed=False),
    "layercam": Kind("LayerCAM", "positive gradient × activation", per_class=True, signed=False),
    "evidence": Kind("signed evidence", "gradient × activation", per_class=True, signed=True),
}


@dataclass(frozen=True, eq=False)
class ModelMaps:
    """One network and what it makes of N images at its L taps.

    Attributes:
        name: "student" or "teacher".
        network: The network itself, for what is asked later.
        taps: Names of the taps in order of depth.
        maps: Per tap (N, R, h, w) float32; R runs over the kinds of map and, where a kind depends on it, the K classes.
        contributions: Per tap (N, K, C) float32, each channel's gradient × activation, summed over cells.
        means: Per tap (N, C) float32 mean activation of each channel.
        reference: Per tap (C,) the mean that stands for an ablated channel.
        logits: (N, K) float64.
        bias: (L, N, K) float64, what the biases after a tap add to a logit; None where the ledger is not exact.
        refusal: Why there is no ledger, or "".
        fields: (L, 3) receptive field: side, jump, start of cell 0, in px; NaN where there is no closed form.
        readings: One row per tap of numbers to show beside it (probe accuracy, CKA, …); may be empty.
    """

    name: str
    network: nn.Module
    taps: tuple[str, ...]
    maps: tuple[np.ndarray, ...]
    contributions: tuple[np.ndarray, ...]
    means: tuple[np.ndarray, ...]
    reference: tuple[Tensor, ...]
    logits: np.ndarray
    bias: np.ndarray | None
    refusal: str
    fields: np.ndarray
    readings: pd.DataFrame

    @cached_property
    def probabilities(self) -> np.ndarray:
        """(N, K) float64."""
        return softmax(self.logits)


@dataclass(frozen=True, eq=False)
class StepperData:
    """N images, pixels (N, S, S, 3) uint8 and tensors (N, 3, S, S), with true classes, titles, and the networks' maps.

    ``masks`` (N, S, S) bool marks what defines the class, where that is known; ``early`` (N,) is the layer from which
    on probes agree with the student's answer; ``provenance`` (run ids, versions, seed) goes into exports.
    """

    pixels: np.ndarray
    images: Tensor
    classes: tuple[str, ...]
    targets: tuple[int, ...]
    titles: tuple[str, ...]
    models: tuple[ModelMaps, ...]
    masks: np.ndarray | None = None
    early: tuple[int, ...] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def row(self, kind: str, target: int = 0) -> int:
        """Which of the R maps of a tap shows a kind, for a class where it depends on the class."""
        before = list(KINDS)[: list(KINDS).index(kind)]
        return sum(len(self.classes) if KINDS[k].per_class else 1 for k in before) + target * KINDS[kind].per_class

    def values(self, model: int, layer: int, kind: str, target: int, versus: int) -> np.ndarray:
        """(N, h, w): the maps of a kind for a class, minus those for the class ``versus`` unless that is -1."""
        maps = self.models[model].maps[layer - 1]
        found = maps[:, self.row(kind, target)]
        return found - maps[:, self.row(kind, versus)] if versus >= 0 and KINDS[kind].per_class else found


def filters(data: StepperData) -> dict[str, list[int]]:
    """Which images each of ``FILTERS`` leaves: the student wrong, unlike the teacher, or unsure."""
    answers, sure = [m.probabilities.argmax(1) for m in data.models], data.models[0].probabilities.max(1)
    kept = (np.full(len(sure), True), answers[0] != np.array(data.targets), answers[0] != answers[-1], sure < UNSURE)
    return {name: np.flatnonzero(k).tolist() for name, k in zip(FILTERS, kept, strict=True)}


def stepper_data(
    student: nn.Module, teacher: nn.Module | None, images: Tensor, pixels: np.ndarray, targets: Sequence[int],
    classes: Sequence[str], titles: Sequence[str] | None = None, *, reference: Tensor | None = None,
    masks: np.ndarray | None = None, readings: Mapping[str, pd.DataFrame] | None = None,
    early: Sequence[int] | None = None, provenance: Mapping[str, Any] | None = None,
) -> StepperData:  # fmt: skip
    """All that is computed before the first step; what depends on a click is asked later.

    Args:
        student: Module with ``taps``.
        teacher: Module with as many taps, paired with the student's by depth; or None.
        images: (N, 3, S, S) normalised.
        pixels: (N, S, S, 3) uint8, the same images to look at.
        targets: (N,) true class numbers.
        classes: K class names.
        titles: N names of the images; numbered if omitted.
        reference: (M, 3, S, S) images whose mean activation stands for an ablated channel; by default ``images``.
        masks: (N, S, S) bool, what defines the class.
        readings: "student" and "teacher" → table with one row per tap.
        early: (N,) first layer from which on probes agree with the student.
        provenance: What goes into exports besides the state.

    Raises:
        UserError: If shapes or counts do not match, a tap is missing or is no map, or a map is not finite.
    """
    titles = [f"image {i + 1}" for i in range(len(images))] if titles is None else titles
    check_images(images, pixels, targets, classes, titles, masks)
    named = {"student": student} if teacher is None else {"student": student, "teacher": teacher}
    known, images, k = readings or {}, images.detach(), len(classes)
    reference = images if reference is None else reference
    models = tuple(_model_maps(name, model, images, k, reference, known.get(name)) for name, model in named.items())
    if len(models[0].taps) != len(models[-1].taps):
        taps = " and ".join(", ".join(m.taps) for m in models)
        raise UserError(f"student and teacher need equally many taps, got {taps}")
    found = None if early is None else tuple(map(int, early))
    return StepperData(pixels, images, tuple(classes), tuple(map(int, targets)), tuple(map(str, titles)), models, masks,
                       found, dict(provenance or {}))  # fmt: skip


def check_images(
    images: Tensor, pixels: np.ndarray, targets: Sequence[int], classes: Sequence[str], titles: Sequence[str],
    masks: np.ndarray | None,
) -> None:  # fmt: skip
    """Whether images (N, 3, S, S) and what is known of them belong together, see `stepper_data`.

    Raises:
        UserError: If shapes or counts do not match.
    """
    n, k, shape = len(images), len(classes), tuple(images.shape)
    if n == 0 or len(shape) != 4 or pixels.shape != (n, *shape[2:], 3) or pixels.dtype != np.uint8:
        raise UserError("images (N, 3, S, S) need pixels (N, S, S, 3) uint8, N at least 1; "
                        f"got {shape} and {pixels.shape} {pixels.dtype}")  # fmt: skip
    if len(targets) != n or len(titles) != n or not all(0 <= t < k for t in targets):
        raise UserError(f"{n} images of {k} classes need {n} targets from 0 to {k - 1} and {n} titles; "
                        f"got targets {[int(t) for t in targets]} and {len(titles)} titles")  # fmt: skip
    if masks is not None and masks.shape != pixels.shape[:3]:
        raise UserError(f"masks must be {pixels.shape[:3]}, one per image, got {masks.shape}")


def _model_maps(name: str, model: nn.Module, images: Tensor, classes: int, reference: Tensor,
                readings: pd.DataFrame | None) -> ModelMaps:  # fmt: skip
    parts = [_chunk(name, model, part, classes) for part in images.split(CHUNK)]
    logits = np.concatenate([part[0] for part in parts])
    taps = tuple(parts[0][1])
    maps, contributions, means = (
        tuple(np.concatenate([part[field][tap] for part in parts]) for tap in taps) for field in (1, 2, 3)
    )
    for tap, values in zip(taps, maps, strict=True):
        if not np.isfinite(values).all():
            raise UserError(f"the {name}'s maps at {tap} are not finite: check its weights and the input range")
    if readings is not None and tuple(readings.index) != taps:
        raise UserError(f"readings of the {name} need one row per tap: {', '.join(taps)}; "
                        f"got {', '.join(map(str, readings.index))}")  # fmt: skip
    bias, refusal = _bias(model, images)
    reference = channel_means(model, reference)
    return ModelMaps(name, model, taps, maps, contributions, means, tuple(reference[tap] for tap in taps), logits, bias,
                     refusal, _fields(model, images.shape[-1]),
                     pd.DataFrame(index=taps) if readings is None else readings)  # fmt: skip


def _chunk(name: str, model: nn.Module, images: Tensor, classes: int) -> tuple[np.ndarray, dict, dict, dict]:
    """Logits (N, K) float64; tap → maps (N, R, h, w), contributions (N, K, C), means (N, C)."""
    maps, channels, means = defaultdict(dict), defaultdict(list), {}
    inputs = images.clone().requires_grad_()  # so that a frozen model has gradients too
    for target in range(classes):
        logits, pairs = gradients_at_taps(model, inputs, torch.full((len(images),), target))
        if logits.shape[1] != classes:
            raise UserError(f"the {name} has {logits.shape[1]} outputs, but {classes} class names were given")
        for tap, (a, g) in pairs.items():  # (N, C, h, w)
            if a.ndim != 4:
                raise UserError(f"tap {tap!r} of the {name} is no map: it must be (N, C, h, w), is {tuple(a.shape)}")
            means[tap] = a.mean(dim=(2, 3)).cpu().numpy()
            channels[tap].append((g * a).sum(dim=(2, 3)))
            for kind, about in KINDS.items():
                if about.per_class or target == 0:
                    made = a.mean(dim=1) if kind == "average" else CAMS[kind](a, g)
                    maps[tap][kind, target] = made.float()
    order = [(kind, k) for kind, about in KINDS.items() for k in range(classes if about.per_class else 1)]
    stacked = {tap: torch.stack([found[key] for key in order], 1).cpu().numpy() for tap, found in maps.items()}
    contributions = {tap: torch.stack(c, 1).float().cpu().numpy() for tap, c in channels.items()}
    return logits.double().cpu().numpy(), stacked, contributions, means


def _bias(model: nn.Module, images: Tensor) -> tuple[np.ndarray | None, str]:
    """What biases add after each tap, (L, N, K), or why the ledger does not say."""
    try:
        found = ledgers(model, images)
    except UserError as error:
        return None, str(error)
    return np.stack([[ledger.accounts[tap].bias for tap in ledger.accounts] for ledger in found], -1), ""


def _fields(model: nn.Module, size: int) -> np.ndarray:
    try:
        found = receptive_fields(model, size).to_numpy(np.float64)
        return np.where(np.isinf(found), 1e9, found)  # JSON has no infinity
    except UserError:  # no closed form: the widget says so
        return np.full((len(model.taps), 3), np.nan)
