"""One image or one class, read layer by layer: a table, and sentences made from its numbers (notebook 04)."""

import html
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from kdnb.data import to_tensor
from kdnb.data.decode import decode
from kdnb.errors import UserError
from kdnb.feature_maps import early_decisions, probabilities_without
from kdnb.reading.measured import Reading
from kdnb.runs import environment
from kdnb.settings import Settings
from kdnb.widgets import StepperData, StepperState, panel, stepper_data, to_html
from kdnb.widgets.render import Bars, number, plus, ranked

__all__ = ["ImageReport", "explain_image", "known_stepper", "read_class", "read_image"]

STRONGEST = 5  # channels ablated together in a report


@dataclass(frozen=True)
class ImageReport:
    """What each layer shows of an image: how decodable the class is, what carries the logit, what ablation does."""

    table: pd.DataFrame  #: one row per tap of the student
    sentences: tuple[str, ...]  #: the same in words: a summary, then one paragraph per layer
    data: StepperData  #: what the layer stepper needs to show the same image

    @property
    def state(self) -> StepperState:
        """The stepper's view of it: signed evidence for the student's answer."""
        return StepperState(kind="evidence", target=int(self.data.models[0].logits[0].argmax()))


def read_image(
    reading: Reading, image: Tensor, pixels: np.ndarray, title: str, *, target: int | None = None,
    device: torch.device | None = None,
) -> ImageReport:  # fmt: skip
    """The report of one image (1, 3, S, S), normalised, by the student of a reading.

    ``pixels`` (1, S, S, 3) uint8 are the same image; ``target`` is its true class number, where known.
    """
    device = device or torch.device("cpu")
    student, teacher = reading.networks(device)
    image = image.to(device)
    data = known_stepper(reading, student, teacher, image, pixels, [-1 if target is None else target], [title])
    answer, layers = int(data.models[0].logits[0].argmax()), range(1, len(data.models[0].taps) + 1)
    table = pd.DataFrame([_row(data, reading, student, image, layer, answer) for layer in layers])
    return ImageReport(table, _sentences(table, data, answer, target), data)


def _row(data: StepperData, reading: Reading, student: nn.Module, image: Tensor, layer: int, answer: int) -> dict:
    """What one layer shows of the image: a row of the report's table."""
    model, tap, classes = data.models[0], data.models[0].taps[layer - 1], data.classes
    shown = panel(data, StepperState(layer=layer, target=answer)).panes[0]
    order = ranked(model.contributions[layer - 1][0, answer])[:STRONGEST].tolist()
    decoded = reading.decoded(student, image)[layer - 1, 0]
    bar = shown.bars[layer - 1]._asdict() if shown.bars else dict.fromkeys(Bars._fields, np.nan)
    peak = [p + 1 for p in shown.peak] if shown.peak else [np.nan, np.nan]
    drop, random_drop = _drops(student, image, tap, reading.means()[tap].to(image.device), order, answer)
    return {
        "tap": tap, "cells": f"{shown.raw.shape[0]} × {shown.raw.shape[1]}", "field": model.fields[layer - 1, 0],
        "peak_row": peak[0], "peak_column": peak[1], "probe_says": classes[decoded.argmax()],
        "probe_probability": decoded.max(), "probe_accuracy": model.readings.loc[tap, "probe"],
        "untrained_accuracy": model.readings.loc[tap, "untrained"], **bar, "strongest": " ".join(map(str, order)),
        "drop": drop, "random_drop": random_drop,
    }  # fmt: skip


def known_stepper(
    reading: Reading, student: nn.Module, teacher: nn.Module, images: Tensor, pixels: np.ndarray,
    targets: Sequence[int], titles: Sequence[str], *, masks: np.ndarray | None = None,
) -> StepperData:  # fmt: skip
    """The stepper's data with what the reading knows: probes and CKA of each layer, early decisions, where it is from.

    Ablated channels take their mean over the student's training images; the teacher's, over the given images.
    See :func:`kdnb.widgets.stepper_data` for the arguments.
    """
    data = stepper_data(student, teacher, images, pixels, targets, reading.facts["classes"], titles, masks=masks)
    means = reading.means()
    reference = tuple(means[tap].to(images.device) for tap in data.models[0].taps)
    known = {"student": {"reference": reference}, "teacher": {}}
    models = tuple(replace(m, readings=_readings(reading, m.name), **known[m.name]) for m in data.models)
    early = early_decisions(reading.decoded(student, images).argmax(2), data.models[0].logits.argmax(1))
    about = {"student": reading.facts["student"], "teacher": reading.facts["teacher"],
             "settings": reading.facts["settings"], "kdnb": environment()["kdnb"]}  # fmt: skip
    return replace(data, models=models, early=tuple(map(int, early)), provenance=about)


def _readings(reading: Reading, model: str) -> pd.DataFrame:
    """What the stepper shows beside a layer: probe accuracy, that of an untrained network, CKA with the other model."""
    probes, cka = reading.table("probes"), reading.table("cka").query("model == 'teacher'")
    table = probes[probes["model"] == {"student": "KD student"}.get(model, model)].set_index("tap")
    taps = [probes.loc[probes["model"] == m, "tap"] for m in ("KD student", "teacher")]
    paired = cka.set_index(["tap", "other_tap"])["cka"][list(zip(*taps, strict=True))].tolist()
    return pd.DataFrame({"probe": table["accuracy"], "untrained": table["untrained"], "CKA": paired}, index=table.index)


def _drops(student: nn.Module, image: Tensor, tap: str, mean: Tensor, order: Sequence[int], answer: int) -> list[float]:
    """How much the answer's probability falls without some channels, and without as many random ones (mean of ten)."""
    rng, masks = np.random.default_rng(0), torch.zeros(12, len(mean), dtype=torch.bool)  # the first replaces nothing
    masks[1, list(order)] = True
    for mask in masks[2:]:
        mask[rng.choice(len(mean), len(order), replace=False)] = True
    found = probabilities_without(student, image, tap, masks.to(image.device), mean=mean)[:, answer].double()
    return [float(found[0] - found[1]), float(found[0] - found[2:].mean())]


def _sentences(table: pd.DataFrame, data: StepperData, answer: int, target: int | None) -> tuple[str, ...]:
    name, early = data.classes[answer], data.early[0]
    said = f"The student says {name}, with probability {data.models[0].probabilities[0, answer]:.2f}."
    if target is not None:
        said += " That is right." if target == answer else f" The true class is {data.classes[target]}."
    for teacher in data.models[1:]:
        best = int(teacher.logits[0].argmax())
        said += f" The teacher says {data.classes[best]} ({teacher.probabilities[0, best]:.2f})."
    said += (f" From layer {early} on every linear probe reads the student's answer." if early <= len(table)
             else " Even at the last layer the linear probe reads another class.")  # fmt: skip
    return (said, *(_layer(row, n, name) for n, row in enumerate(table.to_dict("records"), start=1)))


def _layer(row: dict, n: int, name: str) -> str:
    """One layer in words; what is not known is left out."""
    known = {key for key, value in row.items() if value == value}  # NaN is not equal to itself
    said = f"Layer {n} ({row['tap']}, {row['cells']} cells"
    said += f", each sees {row['field']:.0f} px). " if "field" in known else "). "
    peak = f"brightest at row {row['peak_row']:.0f}, column {row['peak_column']:.0f}" if "peak_row" in known else "flat"
    said += f"The average map is {peak}. A linear probe reads {row['probe_says']} here "
    said += f"({row['probe_probability']:.2f}); on test images it is right in {row['probe_accuracy']:.0%}"
    said += f", on an untrained network in {row['untrained_accuracy']:.0%}." if "untrained_accuracy" in known else "."
    if "bias" in known:
        said += (f" The logit {plus(row['logit'])} is {plus(row['supporting'])} for {name}, {number(row['opposing'])} "
                 f"against it, and {plus(row['bias'])} of bias that later layers add.")  # fmt: skip
    many = len(row["strongest"].split())
    said += f" Without its {many} strongest channels ({row['strongest']}) p({name}) changes by "
    return said + f"{plus(-row['drop'])}, without {many} random ones by {plus(-row['random_drop'])}."


def read_class(reading: Reading, name: str) -> tuple[pd.DataFrame, str]:
    """A class over the test images: its strongest channels at every tap as a table, and in words when it is decided.

    Raises:
        UserError: If there is no such class.
    """
    if name not in reading.facts["classes"]:
        raise UserError(f"class must be one of {', '.join(reading.facts['classes'])}, got '{name}'")
    channels = reading.table("channels").query("`class` == @name")
    early = reading.early.query("`class` == @name")
    if early.empty:
        return channels.reset_index(drop=True), f"{name}: no test images"
    right = (early["class"] == early["predicted"]).mean()
    half = early["layer"].quantile(0.5, interpolation="higher")
    decided = f"Half of them are decided at layer {half:g} or before."
    if half > channels["tap"].nunique():
        decided = "On most of them even the last probe names another class."
    said = [f"{name}: {len(early)} test images, the student is right on {right:.0%}. {decided}"]
    for tap, part in channels.groupby("tap", sort=False):
        channel, gain = part.iloc[0][["channel", "contribution"]]
        said.append(f"At {tap} channel {channel} adds most to its logit ({plus(gain)} on average).")
    return channels.reset_index(drop=True), " ".join(said)


def explain_image(reading: Reading, path: str | Path, out: str | Path, settings: Settings) -> ImageReport:
    """Write the report of one image file as a self-contained page with the layer stepper inside.

    Raises:
        UserError: If the image cannot be read or the page cannot be written.
    """
    size = reading.facts["image_size"]
    try:
        squares, _, _ = decode(Path(path).read_bytes(), [size])
    except (OSError, ValueError) as error:
        raise UserError(f"'{path}' cannot be read as an image ({getattr(error, 'strerror', None) or error})") from None
    pixels = np.array(squares)
    report = read_image(reading, to_tensor(pixels), pixels, Path(path).name, device=settings.activate())
    body = "".join(f"<p>{html.escape(s)}</p>" for s in report.sentences)
    body += report.table.round(3).to_html(index=False, border=0)
    to_html(report.data, out, report.state, title=f"{Path(path).name}, layer by layer", body=body)
    return report
