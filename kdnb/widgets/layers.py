"""What the layer stepper knows of some images: maps, channels, biases, answers of one or two networks (notebook 04)."""

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
from kdnb.models import evaluating

__all__ = ["FILTERS", "KINDS", "Kind", "ModelMaps", "StepperData", "check_images", "filters", "probabilities_of",
           "stepper_data"]  # fmt: skip

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
    """One network and what it makes of N images at its L taps; ``maps`` to ``reference`` have one entry per tap.

    The R maps of a tap are those of ``KINDS`` and, where a kind depends on the class, of the K classes.
    """

    name: str  #: "student" or "teacher"
    network: nn.Module  #: for what is asked later
    taps: tuple[str, ...]  #: in order of depth
    maps: tuple[np.ndarray, ...]  #: (N, R, h, w) float32
    contributions: tuple[np.ndarray, ...]  #: (N, K, C) float32: a channel's gradient × activation, summed over cells
    means: tuple[np.ndarray, ...]  #: (N, C) float32 mean activation of each channel
    reference: tuple[Tensor, ...]  #: (C,) the mean that stands for an ablated channel
    logits: np.ndarray  #: (N, K) float64
    bias: np.ndarray | None  #: (L, N, K) float64 that biases after a tap add to a logit; None: the ledger is not exact
    refusal: str  #: why there is no ledger, or ""
    fields: np.ndarray  #: (L, 3) receptive field: side, jump, start of cell 0, px; NaN where there is no closed form
    readings: pd.DataFrame  #: one row per tap of numbers to show beside it (probe accuracy, CKA, …); may have no column

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
    targets: tuple[int, ...]  #: -1 where nobody knows
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


def probabilities_of(network: nn.Module, images: Tensor) -> np.ndarray:
    """(N, K) float64: the network's answers to images (N, 3, S, S)."""
    with evaluating(network), torch.inference_mode():
        return softmax(network(images).double().cpu().numpy())


def filters(data: StepperData) -> dict[str, list[int]]:
    """Which images each of ``FILTERS`` leaves: the student wrong, unlike the teacher, or unsure."""
    answers, sure = [m.probabilities.argmax(1) for m in data.models], data.models[0].probabilities.max(1)
    truth = np.array(data.targets)
    wrong = (answers[0] != truth) & (truth >= 0)
    kept = (np.full(len(sure), True), wrong, answers[0] != answers[-1], sure < UNSURE)
    return {name: np.flatnonzero(k).tolist() for name, k in zip(FILTERS, kept, strict=True)}


def stepper_data(
    student: nn.Module, teacher: nn.Module | None, images: Tensor, pixels: np.ndarray, targets: Sequence[int],
    classes: Sequence[str], titles: Sequence[str] | None = None, *, masks: np.ndarray | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> StepperData:  # fmt: skip
    """All that is computed before the first step; what depends on a click is asked later.

    Args:
        student: Module with ``taps``.
        teacher: Module with as many taps, paired with the student's by depth; or None.
        images: (N, 3, S, S) normalised.
        pixels: (N, S, S, 3) uint8, the same images to look at.
        targets: (N,) true class numbers; -1 where nobody knows.
        classes: K class names.
        titles: N names of the images; numbered if omitted.
        masks: (N, S, S) bool, what defines the class.
        provenance: What goes into exports besides the state.

    Raises:
        UserError: If shapes or counts do not match, a tap is missing or is no map, or a map is not finite.
    """
    titles = [f"image {i + 1}" for i in range(len(images))] if titles is None else titles
    check_images(images, pixels, targets, classes, titles, masks, lowest=-1)
    named = {"student": student} if teacher is None else {"student": student, "teacher": teacher}
    images = images.detach()
    models = tuple(_model_maps(name, model, images, len(classes)) for name, model in named.items())
    if len(models[0].taps) != len(models[-1].taps):
        taps = " and ".join(", ".join(m.taps) for m in models)
        raise UserError(f"student and teacher need equally many taps, got {taps}")
    return StepperData(pixels, images, tuple(classes), tuple(map(int, targets)), tuple(map(str, titles)), models, masks,
                       provenance=dict(provenance or {}))  # fmt: skip


def check_images(
    images: Tensor, pixels: np.ndarray, targets: Sequence[int], classes: Sequence[str], titles: Sequence[str],
    masks: np.ndarray | None, *, lowest: int = 0,
) -> None:  # fmt: skip
    """Whether images (N, 3, S, S) and what is known of them belong together, see `stepper_data`.

    Targets are class numbers from ``lowest``: -1 if they may be unknown.

    Raises:
        UserError: If shapes or counts do not match.
    """
    n, k, shape = len(images), len(classes), tuple(images.shape)
    if n == 0 or len(shape) != 4 or pixels.shape != (n, *shape[2:], 3) or pixels.dtype != np.uint8:
        raise UserError("images (N, 3, S, S) need pixels (N, S, S, 3) uint8, N at least 1; "
                        f"got {shape} and {pixels.shape} {pixels.dtype}")  # fmt: skip
    if len(targets) != n or len(titles) != n or not all(lowest <= t < k for t in targets):
        unknown = " (-1 if unknown)" if lowest else ""
        raise UserError(f"{n} images of {k} classes need {n} targets from 0 to {k - 1}{unknown} and {n} titles; "
                        f"got targets {[int(t) for t in targets]} and {len(titles)} titles")  # fmt: skip
    if masks is not None and masks.shape != pixels.shape[:3]:
        raise UserError(f"masks must be {pixels.shape[:3]}, one per image, got {masks.shape}")


def _model_maps(name: str, model: nn.Module, images: Tensor, classes: int) -> ModelMaps:
    logits, *found = zip(*(_chunk(name, model, part, classes) for part in images.split(CHUNK)), strict=True)
    taps = tuple(found[0][0])
    maps, contributions, means = (tuple(np.concatenate([part[tap] for part in kind]) for tap in taps) for kind in found)
    for tap, values in zip(taps, maps, strict=True):
        if not np.isfinite(values).all():
            raise UserError(f"the {name}'s maps at {tap} are not finite: check its weights and the input range")
    reference = channel_means(model, images)
    return ModelMaps(name, model, taps, maps, contributions, means, tuple(reference[tap] for tap in taps),
                     np.concatenate(logits), *_bias(model, images), _fields(model, images.shape[-1]),
                     pd.DataFrame(index=taps))  # fmt: skip


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
                    maps[tap][kind, target] = (a.mean(dim=1) if kind == "average" else CAMS[kind](a, g)).float()
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
