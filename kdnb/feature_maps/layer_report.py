"""One image or one class, layer by layer: a table, and sentences made from its numbers (04)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from kdnb.core.errors import UserError, did_you_mean
from kdnb.core.number_text import counted, number, plus
from kdnb.core.statistics import softmax
from kdnb.feature_maps.ablation import probabilities_without
from kdnb.feature_maps.answer import decided_sentence
from kdnb.feature_maps.cam import hirescam
from kdnb.feature_maps.layer_analysis import LayerAnalysis
from kdnb.feature_maps.ledger import decision_ledger
from kdnb.feature_maps.maps import average_map, to_size
from kdnb.feature_maps.mask_metrics import energy_in_mask
from kdnb.feature_maps.probes import early_decisions
from kdnb.feature_maps.receptive_field import receptive_fields
from kdnb.training.taps import gradients_at_taps, logits_and_taps

__all__ = ["ClassChannels", "ImageReport", "class_channels", "class_report", "image_report"]

STRONGEST = 5  # channels ablated together in a report
RANDOM_CUTS = 10  # as many random channels, drawn this often
LEDGER_COLUMNS = ("supporting", "opposing", "bias", "logit")


@dataclass(frozen=True)
class ImageReport:
    """What each layer shows of an image: how decodable its class is, and what carries the logit."""

    table: pd.DataFrame  #: one row per tap of the student
    sentences: tuple[str, ...]  #: the same in words: a summary, then one paragraph per layer


@dataclass(frozen=True)
class ClassChannels:
    """The strongest channel of each class at every tap: its map on an image of that class."""

    classes: tuple[str, ...]  #: N names
    maps: dict[str, np.ndarray]  #: tap → (N, h, w) activations of the channel
    captions: dict[str, tuple[str, ...]]  #: tap → N texts: which channel, and what it adds


def image_report(
    analysis: LayerAnalysis,
    image: Tensor,
    *,
    target: int | None = None,
    mask: np.ndarray | None = None,
    device: torch.device | None = None,
) -> ImageReport:
    """The report of one image (1, 3, S, S), normalised, by the student of an analysis.

    Args:
        analysis: Measured tables of the student's layers, its probes and channel means.
        image: (1, 3, S, S) float32.
        target: The true class number, where known.
        mask: (S, S) bool, what defines the class, where that is known; one that marks nothing, or
            everything, tells of no place and is as none.
        device: Where the networks run; the CPU if omitted.
    """
    device = device or torch.device("cpu")
    student, teacher = analysis.networks(device)
    image = image.to(device)
    logits, _ = logits_and_taps(student, image)
    answer = int(logits.argmax(1))
    if mask is not None and (mask.all() or not mask.any()):
        mask = None
    table = _layer_table(analysis, student, image, answer, mask)
    decoded = analysis.decoded(student, image).argmax(2)  # (L, 1)
    early = int(early_decisions(decoded, np.array([answer]))[0])
    answers = {"student": _probabilities(student, image), "teacher": _probabilities(teacher, image)}
    summary = _summary(analysis.facts["classes"], answers, target, early, layers=len(table))
    name = analysis.facts["classes"][answer]
    paragraphs = []
    for layer, row in enumerate(table.to_dict("records"), start=1):
        inside = "" if mask is None else _inside_said(row["inside"], mask.mean(), name)
        paragraphs.append(_paragraph(row, layer, name) + inside)
    return ImageReport(table=table, sentences=(summary, *paragraphs))


@torch.no_grad()
def _probabilities(model: nn.Module, image: Tensor) -> np.ndarray:
    """(K,) float64: the network's answer to one image (1, 3, S, S)."""
    return softmax(model(image).double().cpu().numpy())[0]


def _layer_table(
    analysis: LayerAnalysis,
    student: nn.Module,
    image: Tensor,
    answer: int,
    mask: np.ndarray | None,
) -> pd.DataFrame:
    """One row per tap: what the layer shows of the image when the student answers so."""
    _, pairs = gradients_at_taps(student, image, torch.tensor([answer]))
    decoded = analysis.decoded(student, image)[:, 0]  # (L, K)
    probes = analysis.table("probes").query("model == 'KD student'").set_index("tap")
    means = analysis.means()
    fields = _fields(student, image.shape[-1])
    ledger = _ledger_rows(student, image, answer)
    rows = []
    for layer, (tap, (activations, gradients)) in enumerate(pairs.items()):
        average = average_map(activations)[0].cpu().numpy()  # (h, w)
        peak_row, peak_column = _peak(average)
        contributions = (gradients * activations).sum(dim=(2, 3))[0].cpu().numpy()  # (C,)
        strongest = np.argsort(-contributions, kind="stable")[:STRONGEST].tolist()
        mean = means[tap].to(image.device)
        drop, random_drop = _drops(student, image, tap, mean, strongest, answer)
        row = {
            "tap": tap,
            "cells": f"{average.shape[0]} × {average.shape[1]}",
            "field": fields[tap],
            "peak_row": peak_row,
            "peak_column": peak_column,
            "probe_says": analysis.facts["classes"][decoded[layer].argmax()],
            "probe_probability": decoded[layer].max(),
            "probe_accuracy": probes.loc[tap, "accuracy"],
            "untrained_accuracy": probes.loc[tap, "untrained"],
            **ledger[tap],
            "inside": _inside(hirescam(activations, gradients), mask),
            "strongest": " ".join(map(str, strongest)),
            "drop": drop,
            "random_drop": random_drop,
        }
        rows.append(row)
    return pd.DataFrame(rows)


def _peak(values: np.ndarray) -> tuple[float, float]:
    """Row and column, from 1, of the largest value of a map (h, w); NaN where all are equal."""
    if values.min() == values.max():
        return float("nan"), float("nan")
    row, column = np.unravel_index(values.argmax(), values.shape)
    return int(row) + 1, int(column) + 1


def _inside(maps: Tensor, mask: np.ndarray | None) -> float:
    """Share of the positive part of a map (1, h, w) that lies inside a mask (S, S).

    NaN where there is no mask, or nothing in the map.
    """
    if mask is None:
        return float("nan")
    resized = to_size(maps, mask.shape).double().cpu().numpy()
    return float(energy_in_mask(resized, mask[None])[0])


def _inside_said(inside: float, area: float, name: str) -> str:
    """How much of a layer's evidence lies inside the outline, in words."""
    if isnan(inside):
        return f" Nothing speaks for {name} here, so nothing lies inside the outline."
    return (
        f" Of what speaks for {name} here, {inside:.0%} lies inside the outline, which covers "
        f"{area:.1%} of the image."
    )


def _fields(student: nn.Module, size: int) -> dict[str, float]:
    """Tap → side of its receptive field, px; NaN where there is no closed form."""
    try:
        return receptive_fields(student, size)["field"].to_dict()
    except UserError:  # an odd network: the report leaves it out
        return dict.fromkeys(student.taps, float("nan"))


def _ledger_rows(student: nn.Module, image: Tensor, answer: int) -> dict[str, dict[str, float]]:
    """Tap → what speaks for the answer, against it, the bias of later layers, and the logit.

    NaN where the ledger is not exact for the network.
    """
    try:
        ledger = decision_ledger(student, image, torch.tensor([answer]))
    except UserError:
        return {tap: dict.fromkeys(LEDGER_COLUMNS, float("nan")) for tap in student.taps}
    rows = {}
    for tap, account in ledger.accounts.items():
        rows[tap] = {
            "supporting": float(account.supporting[0]),
            "opposing": float(account.opposing[0]),
            "bias": float(account.bias[0]),
            "logit": float(ledger.logits[0]),
        }
    return rows


def _drops(
    student: nn.Module,
    image: Tensor,
    tap: str,
    mean: Tensor,
    strongest: Sequence[int],
    answer: int,
) -> tuple[float, float]:
    """How much the answer's probability falls without some channels, and without random ones.

    The second is a mean over `RANDOM_CUTS` draws of as many channels.
    """
    rng = np.random.default_rng(0)
    masks = torch.zeros(2 + RANDOM_CUTS, len(mean), dtype=torch.bool)  # the first replaces nothing
    masks[1, list(strongest)] = True
    for mask in masks[2:]:
        mask[rng.choice(len(mean), len(strongest), replace=False)] = True
    found = probabilities_without(student, image, tap, masks.to(image.device), mean=mean)
    of_answer = found[:, answer].double()
    return float(of_answer[0] - of_answer[1]), float(of_answer[0] - of_answer[2:].mean())


def _summary(
    classes: Sequence[str],
    answers: dict[str, np.ndarray],
    target: int | None,
    early: int,
    layers: int,
) -> str:
    """What student and teacher say, whether that is right, and from which layer on it is read."""
    best = int(answers["student"].argmax())
    said = f"The student says {classes[best]}, with probability {answers['student'][best]:.2f}."
    if target is not None:
        right = " That is right."
        said += right if target == best else f" The true class is {classes[target]}."
    theirs = int(answers["teacher"].argmax())
    said += f" The teacher says {classes[theirs]} ({answers['teacher'][theirs]:.2f})."
    if early <= layers:
        return said + f" From layer {early} on every linear probe reads the student's answer."
    return said + " Even at the last layer the linear probe reads another class."


def _paragraph(row: dict, layer: int, name: str) -> str:
    """One layer in words; what is not known is left out."""
    said = f"Layer {layer} ({row['tap']}, {row['cells']} cells"
    said += "). " if isnan(row["field"]) else f", each sees {row['field']:.0f} px). "
    peak = "flat"
    if not isnan(row["peak_row"]):
        peak = f"brightest at row {row['peak_row']:.0f}, column {row['peak_column']:.0f}"
    said += f"The average map is {peak}. A linear probe reads {row['probe_says']} here "
    said += f"({row['probe_probability']:.2f}); "
    said += f"on test images it is right in {row['probe_accuracy']:.0%}"
    if not isnan(row["untrained_accuracy"]):
        said += f", on an untrained network in {row['untrained_accuracy']:.0%}"
    said += "."
    if not isnan(row["bias"]):
        said += (
            f" The logit {plus(row['logit'])} is {plus(row['supporting'])} for {name}, "
            f"{number(row['opposing'])} against it, and {plus(row['bias'])} of bias that later "
            "layers add."
        )
    many = len(row["strongest"].split())
    said += f" Without its {many} strongest channels ({row['strongest']}) p({name}) changes by "
    said += f"{plus(-row['drop'])}, without {many} random ones by {plus(-row['random_drop'])}."
    return said


def class_report(analysis: LayerAnalysis, name: str) -> tuple[pd.DataFrame, str]:
    """A class over the test images: the strongest channels at every tap, and when it is decided.

    Returns:
        The table of channels, and sentences.

    Raises:
        UserError: If there is no such class.
    """
    classes = analysis.facts["classes"]
    if name not in classes:
        near = did_you_mean(name, classes)
        raise UserError(f"class must be one of {', '.join(classes)}, got '{name}'{near}")
    channels = analysis.table("channels").query("`class` == @name").reset_index(drop=True)
    early = analysis.early.query("`class` == @name")
    if early.empty:
        return channels, f"{name}: no test images"
    right = (early["class"] == early["predicted"]).mean()
    layers = channels["tap"].nunique()
    decided = decided_sentence(early["layer"].to_numpy(), layers, "them")
    said = [
        f"{name}: {counted(len(early), 'test image')}, the student is right on {right:.0%}. "
        f"{decided}"
    ]
    for tap, part in channels.groupby("tap", sort=False):
        first = part.iloc[0]
        gain = plus(first["contribution"])
        said.append(
            f"At {tap} channel {first['channel']} adds most to its logit ({gain} on average)."
        )
    return channels, " ".join(said)


def class_channels(
    analysis: LayerAnalysis, student: nn.Module, images: Tensor, names: Sequence[str]
) -> ClassChannels:
    """What the channels that `class_report` names look like.

    Args:
        analysis: Its table of channels says which are strongest.
        student: The student of the analysis.
        images: (N, 3, S, S), one of each class.
        names: N classes of the images.
    """
    table = analysis.table("channels").query("rank == 1").set_index(["class", "tap"])
    with torch.inference_mode():
        _, activations = logits_and_taps(student, images)
    maps = {}
    captions = {}
    for tap, of_tap in activations.items():
        strongest = [int(table.loc[(name, tap), "channel"]) for name in names]
        adds = [table.loc[(name, tap), "contribution"] for name in names]
        shown = [of_tap[place, channel] for place, channel in enumerate(strongest)]
        maps[tap] = torch.stack(shown).float().cpu().numpy()
        captions[tap] = tuple(
            f"channel {channel}: {plus(gain)}"
            for channel, gain in zip(strongest, adds, strict=True)
        )
    return ClassChannels(classes=tuple(names), maps=maps, captions=captions)
