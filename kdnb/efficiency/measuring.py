"""All tables of what a teacher and a student cost on this machine, in one call (notebook 06)."""

from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor, nn

from kdnb.efficiency.counting import cost_table
from kdnb.efficiency.explaining import (
    SLOW,
    end_to_end,
    explanation_methods,
    explanation_times,
    explanation_work,
)
from kdnb.efficiency.export import export_onnx, onnx_available, onnx_latency
from kdnb.efficiency.memory import memory_table
from kdnb.efficiency.timing import Protocol, latency

__all__ = ["measure_all"]


def measure_all(
    teacher: nn.Module,
    student: nn.Module,
    pixels: np.ndarray,
    image: Tensor,
    target: Tensor,
    against: tuple[Tensor, int],
    protocol: Protocol,
    *,
    slow: bool,
    onnx: Path,
) -> dict[str, pd.DataFrame]:
    """Measure work, memory and times of answers and explanations.

    Args:
        teacher: In eval mode.
        student: In eval mode.
        pixels: (1, S, S, 3) uint8, the image that is explained.
        image: (1, 3, S, S) float32, the same image, normalised.
        target: (1,) int64, the class that is explained.
        against: Background images of SHAP (M, 3, S, S), and samples or evaluations of a SHAP call.
        protocol: How long each ratio of times is measured.
        slow: Whether to time the slow explanations, too.
        onnx: The file to write the student to, where the packages for it are installed.

    Returns:
        Tables "models", "memory", "latency", "explanations", "end_to_end", and "onnx" where it
        could be written.
    """
    size = image.shape[-1]
    methods = explanation_methods(image, target, *against)
    if not slow:
        methods = {name: method for name, method in methods.items() if name not in SLOW}
    whole = end_to_end(pixels, *against)
    tables = {
        "models": cost_table({"teacher": teacher, "student": student}, size),
        "memory": memory_table({"teacher": teacher, "student": student}, image),
        "latency": latency(teacher, student, image, protocol),
    }
    times = explanation_times(teacher, student, methods, image, protocol)
    tables["explanations"] = times.join(explanation_work(teacher, student, methods, image))
    tables["end_to_end"] = explanation_times(teacher, student, whole, image, protocol)
    if onnx_available():
        export_onnx(student, onnx, size)
        tables["onnx"] = onnx_latency(student, onnx, image, protocol)
    return tables
