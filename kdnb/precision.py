"""The number format of training: float32, or bfloat16 where it is measured to be faster on this machine (02, 03)."""

from __future__ import annotations

from contextlib import AbstractContextManager

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from kdnb.efficiency import interleaved
from kdnb.models import make_teacher
from kdnb.progress import say
from kdnb.runs import Run, Spec, environment, find_run, get_or_make, write_json
from kdnb.settings import Settings

__all__ = ["autocast", "known_precision", "resolve_precision"]

WORTH = 1.1  # times faster than float32: less is not worth another rounding


def autocast(precision: str, device: torch.device) -> AbstractContextManager:
    """The context of a forward pass: bfloat16 where it is safe, or nothing."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def resolve_precision(settings: Settings, device: torch.device) -> str:
    """``"float32"`` or ``"bfloat16"``: what the settings name, or for ``"auto"`` what a measurement chose.

    The measurement is made once per machine, teacher, size of images and of batches, and only where the hardware has
    instructions for bfloat16; a run's schedule records what was chosen. Threads do not part runs, so not here either.
    """
    known = known_precision(settings, device)
    if known is not None:
        return known

    def make(run: Run) -> None:
        ratio = _speed_up(settings, device)
        chosen = "bfloat16" if ratio >= WORTH else "float32"
        write_json(run.path("precision.json"), {"chosen": chosen, "float32 / bfloat16": ratio})
        say(f"  precision: {chosen} (a training step in float32 takes {ratio:.2f} times as long as in bfloat16)")

    spec = _measurement(settings, device)
    run = get_or_make(spec.kind, spec.parameters, make, root=settings.runs)
    return run.json("precision.json")["chosen"]


def known_precision(settings: Settings, device: torch.device) -> str | None:
    """What `resolve_precision` says, or None where it would have to measure first."""
    if settings.precision != "auto":
        return settings.precision
    if not _has_bfloat16(device):
        return "float32"
    spec = _measurement(settings, device)
    run = find_run(spec.kind, spec.parameters, root=settings.runs)
    return None if run is None else run.json("precision.json")["chosen"]


def _measurement(settings: Settings, device: torch.device) -> Spec:
    parameters = {
        "teacher": settings.teacher,
        "size": settings.image_size,
        "batch": settings.batch_size,
        "processor": _processor(device),
        "torch": torch.__version__,
        "device": str(device),
    }
    return Spec("precision", parameters)


def _processor(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return environment()["processor"]


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return (
        device.type == "cpu"
        and torch.backends.mkldnn.is_available()
        and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    )


def _speed_up(settings: Settings, device: torch.device) -> float:
    """Median time of a teacher's training step in float32 over that in bfloat16."""
    model = make_teacher(2, name=settings.teacher).to(device).train()
    images = torch.randn(settings.batch_size, 3, settings.image_size, settings.image_size, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    targets = torch.arange(settings.batch_size, device=device) % 2

    def step(precision: str) -> None:
        with autocast(precision, device):
            logits = model(images)
        cross_entropy(logits.float(), targets).backward()

    times = interleaved(lambda: step("float32"), lambda: step("bfloat16"), repeats=8, warm_up=2)
    return float(np.median(times[0]) / np.median(times[1]))
