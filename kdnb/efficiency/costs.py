"""What teacher and student cost on this machine: measured once, kept as a run (06, 07)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from kdnb.core.protocols import TrainedStudy
from kdnb.core.provenance import environment
from kdnb.core.runs import Run
from kdnb.core.settings import Settings
from kdnb.efficiency.explanation_cost import (
    SLOW,
    end_to_end,
    explanation_methods,
    explanation_times,
    explanation_work,
)
from kdnb.efficiency.memory import memory_table
from kdnb.efficiency.onnx_export import export_onnx, onnx_available, onnx_latency
from kdnb.efficiency.paper_teacher import PAPER_TEACHER, measure_paper_teacher
from kdnb.efficiency.timing import WARM_UP, Protocol, latency
from kdnb.training.model_cost import cost_table
from kdnb.xai.attribution import Context

__all__ = ["cost_tables", "measure_all", "measure_costs", "timing_protocol"]

UNHURRIED = 10.0  # seconds per row of the tables from which slow explanations are timed, too


def measure_costs(study: TrainedStudy) -> Run:
    """Measure what teacher and KD student cost on this machine, or find it measured.

    The paper's teacher is measured too, where the study's is another.

    Raises:
        UserError: If they are not trained yet.
    """
    settings = study.settings
    slow = settings.timing_seconds >= UNHURRIED
    protocol = timing_protocol(settings)

    def make(run: Run) -> None:
        rows = study.sample(1)
        image = study.images(rows)
        target = study.targets(rows)
        context = Context(study.background, samples=settings.timed_samples)
        tables = measure_all(
            study.teacher_model,
            study.student_model,
            study.image_set.pixels[rows],
            image,
            target,
            context,
            protocol,
            slow=slow,
            onnx=run.path("student.onnx"),
            classes=study.image_set.classes,
            ranges=study.image_set.ranges,
        )
        if settings.teacher != PAPER_TEACHER:
            classes = len(study.image_set.classes)
            tables |= measure_paper_teacher(
                classes, study.student_model, image, target, context, protocol
            )
        for name, table in tables.items():
            table.to_csv(run.path(f"{name}.csv"))

    parameters = {
        "protocol": vars(protocol),
        "samples": settings.timed_samples,
        "slow": slow,
        "processor": environment()["processor"],
        "threads": torch.get_num_threads(),
        "device": _device_name(study.device),
        "torch": torch.__version__,
        "onnx": onnx_available(),
    }
    if settings.teacher != PAPER_TEACHER:
        parameters["beside"] = PAPER_TEACHER
    return study.downstream("costs", parameters, make)


def _device_name(device: torch.device) -> str:
    """The name of the card, where one computes; else the kind of the device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def cost_tables(run: Run) -> dict[str, pd.DataFrame]:
    """The tables of a run of `measure_costs`.

    ``models``, ``memory``, ``latency``, ``explanations``, ``end_to_end``; ``onnx`` only where its
    packages were installed; ``paper_models``, ``paper_latency`` and ``paper_explanations`` only
    where the study's teacher is not the paper's.
    """
    tables = {}
    for path in sorted(run.folder.glob("*.csv")):
        tables[path.stem] = pd.read_csv(run.path(path.name), index_col=0)
    return tables


def timing_protocol(settings: Settings) -> Protocol:
    """How long every ratio of times is measured under these settings."""
    return Protocol(
        repeats=settings.timing_repeats,
        seconds=settings.timing_seconds,
        warm_up=min(settings.timing_repeats, WARM_UP),
    )


def measure_all(
    teacher: nn.Module,
    student: nn.Module,
    pixels: np.ndarray,
    image: Tensor,
    target: Tensor,
    context: Context,
    protocol: Protocol,
    *,
    slow: bool,
    onnx: Path,
    classes: Sequence[str],
    ranges: Mapping[str, Sequence[float]],
) -> dict[str, pd.DataFrame]:
    """Measure work, memory and times of answers and explanations.

    Args:
        teacher: In eval mode.
        student: In eval mode.
        pixels: (1, S, S, 3) uint8, the image that is explained.
        image: (1, 3, S, S) float32, the same image, normalised.
        target: (1,) int64, the class that is explained.
        context: Background images of SHAP (M, 3, S, S), and samples of a SHAP call.
        protocol: How long each ratio of times is measured.
        slow: Whether to time the slow explanations, too.
        onnx: The file to write the student to, where the packages for it are installed.
        classes: K names, which the file tells.
        ranges: What is black and white in pixels of more than 8 bits, which the file tells, too.

    Returns:
        Tables "models", "memory", "latency", "explanations", "end_to_end", and "onnx" where it
        could be written.
    """
    size = image.shape[-1]
    methods = explanation_methods(image, target, context)
    if not slow:
        methods = {name: method for name, method in methods.items() if name not in SLOW}
    whole = end_to_end(pixels, context)
    tables = {
        "models": cost_table({"teacher": teacher, "student": student}, size),
        "memory": memory_table({"teacher": teacher, "student": student}, image),
        "latency": latency(teacher, student, image, protocol),
    }
    times = explanation_times(teacher, student, methods, image, protocol)
    tables["explanations"] = times.join(explanation_work(teacher, student, methods, image))
    tables["end_to_end"] = explanation_times(teacher, student, whole, image, protocol)
    if onnx_available():
        export_onnx(student, onnx, size, classes, ranges)
        tables["onnx"] = onnx_latency(student, onnx, image, protocol)
    return tables
