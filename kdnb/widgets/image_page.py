"""The layer stepper with what the analysis of the layers knows, and the page of one image (04)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor, nn

from kdnb.core.errors import UserError
from kdnb.core.model_names import KD_STUDENT, TEACHER
from kdnb.core.progress import say
from kdnb.core.provenance import environment
from kdnb.core.settings import Settings
from kdnb.data.decode import decode, describe
from kdnb.data.masks import decode_mask, fits
from kdnb.data.sources import read_file
from kdnb.data.transforms import to_tensor
from kdnb.feature_maps.layer_analysis import LayerAnalysis
from kdnb.feature_maps.layer_report import ImageReport, image_report
from kdnb.feature_maps.probes import early_decisions
from kdnb.widgets.image_page_body import channel_pictures, image_picture, page_body
from kdnb.widgets.image_worth import NOT_CLINICAL, find_images, seen_before, student_worth
from kdnb.widgets.layer_maps import StepperData, stepper_data
from kdnb.widgets.page import to_html
from kdnb.widgets.stepper_numbers import StepperState

__all__ = ["write_image_page", "analysed_stepper_data"]


def analysed_stepper_data(
    analysis: LayerAnalysis,
    student: nn.Module,
    teacher: nn.Module,
    images: Tensor,
    pixels: np.ndarray,
    targets: Sequence[int],
    titles: Sequence[str],
    *,
    masks: np.ndarray | None = None,
) -> StepperData:
    """The stepper's data with what the analysis knows of each layer.

    That is the accuracy of probes, CKA of both networks, early decisions, and where all is from.
    Ablated channels take their mean over the student's training images; the teacher's, over the
    given images. See :func:`kdnb.widgets.layer_maps.stepper_data` for the arguments.
    """
    data = stepper_data(
        student, teacher, images, pixels, targets, analysis.facts["classes"], titles, masks=masks
    )
    of_student, of_teacher = data.models
    means = analysis.means()
    of_student = replace(
        of_student,
        reference=tuple(means[tap].to(images.device) for tap in of_student.taps),
        readings=_readings(analysis, KD_STUDENT),
    )
    of_teacher = replace(of_teacher, readings=_readings(analysis, "teacher"))
    decoded = analysis.decoded(student, images).argmax(2)  # (L, N)
    early = early_decisions(decoded, of_student.logits.argmax(1))
    provenance = {
        "student": analysis.facts["student"],
        "teacher": analysis.facts["teacher"],
        "settings": analysis.facts["settings"],
        "kdnb": environment()["kdnb"],
    }
    return replace(
        data,
        models=(of_student, of_teacher),
        early=tuple(int(layer) for layer in early),
        provenance=provenance,
    )


def _readings(analysis: LayerAnalysis, model: str) -> pd.DataFrame:
    """What the stepper shows beside a layer.

    The accuracy of a probe, on an untrained network too, and CKA with the other network's layer of
    like depth.
    """
    probes = analysis.table("probes")
    cka = analysis.table("cka").query("model == 'teacher'").set_index(["tap", "other_tap"])["cka"]
    taps = {
        name: probes.loc[probes["model"] == name, "tap"].tolist() for name in (KD_STUDENT, TEACHER)
    }
    own = probes[probes["model"] == model].set_index("tap")
    paired = [cka[pair] for pair in zip(taps[KD_STUDENT], taps[TEACHER], strict=True)]
    columns = {"probe": own["accuracy"], "untrained": own["untrained"], "CKA": paired}
    return pd.DataFrame(columns, index=own.index)


def write_image_page(
    analysis: LayerAnalysis,
    path: str | Path,
    out: str | Path,
    settings: Settings,
    mask_path: str | Path = "",
) -> ImageReport:
    """Write the report of one image file as a self-contained page with the layer stepper inside.

    Args:
        analysis: Of the student that reads the image.
        path: The image file.
        out: The page.
        settings: Name the folder of the runs.
        mask_path: A file with one channel, what defines the class; empty for none.

    Returns:
        The report, its sentences after those that say what it is worth.

    Raises:
        UserError: If the image or the mask cannot be read, or the page cannot be written.
    """
    try:
        content = read_file(Path(), str(path))  # never a pipe or a device, which may not end
        pixels, shape = _pixels(content, analysis.facts)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"'{path}' cannot be read as an image ({reason})") from None
    mask = _mask(mask_path, analysis.facts["image_size"], shape) if mask_path else None
    device = settings.activate()
    image = to_tensor(pixels).to(device)
    report = image_report(analysis, image, mask=mask, device=device)
    student, teacher = analysis.networks(device)
    images = find_images(analysis, settings)
    worth = [
        student_worth(analysis, images),
        seen_before(images, content, analysis.facts.get("ranges", {})),
    ]
    title = Path(path).name
    masks = None if mask is None else mask[None]
    data = analysed_stepper_data(
        analysis, student, teacher, image, pixels, [-1], [title], masks=masks
    )
    answer = int(data.models[0].logits[0].argmax())
    pictures = channel_pictures(student, image, report.table)
    body = page_body(report, worth, image_picture(pixels[0]), pictures, NOT_CLINICAL)
    state = StepperState(kind="evidence", target=answer)
    to_html(data, out, state, title=f"{title}, layer by layer", body=body)
    return replace(report, sentences=(NOT_CLINICAL, *worth, *report.sentences))


def _mask(path: str | Path, size: int, shape: tuple[int, int]) -> np.ndarray:
    """The mask (size, size) bool in a file, for an image of ``shape``: height, width, px.

    Raises:
        UserError: If it cannot be used; says why.
    """
    try:
        mask, width, height = decode_mask(read_file(Path(), str(path)), size)
        if not fits((height, width), shape):
            wide = f"{shape[1]} x {shape[0]}"
            raise ValueError(f"it has {width} x {height} px, the image {wide}: save it like that")
        if not mask.any():
            raise ValueError(f"it marks too little to be seen at {size} px")
        if mask.all():
            raise ValueError("it marks the whole image, which tells of no place")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"'{path}' cannot be used as a mask ({reason})") from None
    return mask


def _pixels(data: bytes, facts: Mapping[str, Any]) -> tuple[np.ndarray, tuple[int, int]]:
    """The pixels (1, S, S, 3) of an image file, in the range of the student's images.

    Returns:
        The pixels, and height and width of the image in the file.

    Raises:
        ValueError: If it cannot be read, or no such range is known; it says why.
    """
    ranges = facts.get("ranges", {})
    sample = describe(data)
    if sample.kind and sample.kind not in ranges:
        known = ", ".join(ranges) or "8 bits"
        raise ValueError(
            f"its pixels are {sample.kind}, those that the student learned from were {known}: "
            "save it like them"
        )
    if sample.kind:
        low, high = ranges[sample.kind]
        if sample.low < low or sample.high > high:
            say(
                f"note: values from {sample.low:,.6g} to {sample.high:,.6g} are clipped to "
                f"{low:,.6g} and {high:,.6g}, the range of the images that the student learned from"
            )
    if sample.pages > 1:
        say(f"note: the file holds {sample.pages:,} pages, of which only the first is read")
    squares, width, height = decode(data, [facts["image_size"]], ranges)
    return np.array(squares), (height, width)
