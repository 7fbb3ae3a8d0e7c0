"""The number format of training: bfloat16 where the hardware computes in it, or float32 (02, 03).

A stated rule decides, not a measurement: a busy machine must not change what is trained. How much
faster bfloat16 is on a machine, ``benchmarks/precision.py`` measures.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

from kdnb.core.profiles import LITE0_NAMES
from kdnb.core.settings import Settings

__all__ = ["autocast", "emulation_warning", "resolve_precision"]

# Networks of depthwise convolutions, which a processor steps through faster in float32:
# benchmarks/precision.py --teacher timm:tf_efficientnet_lite0
FASTER_IN_FLOAT32 = LITE0_NAMES

INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "bf16")  # of Intel, of Intel and AMD, of Arm


def autocast(precision: str, device: torch.device) -> AbstractContextManager:
    """The context of a forward pass: bfloat16 where it is safe, or nothing."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def resolve_precision(settings: Settings, device: torch.device, network: str = "") -> str:
    """The number format that the settings name, or for ``"auto"`` the one of the hardware.

    ``"auto"`` is bfloat16 on a CUDA card that computes in it natively (compute capability 8.0 and
    later) and on a processor with instructions for it (AMX-BF16, AVX512-BF16 or Arm's BF16) that
    torch uses through oneDNN; everywhere else, and for `FASTER_IN_FLOAT32` on a processor, it is
    float32. Equal hardware chooses equally, also when it is busy. A run's schedule records what was
    chosen.

    Args:
        settings: Their ``precision`` is one of ``"auto"``, ``"float32"`` and ``"bfloat16"``.
        device: Where the training runs.
        network: The teacher that is trained, or empty for a student.

    Returns:
        ``"float32"`` or ``"bfloat16"``.
    """
    if settings.precision != "auto":
        return settings.precision
    if device.type == "cpu" and network in FASTER_IN_FLOAT32:
        return "float32"
    return "bfloat16" if _has_bfloat16(device) else "float32"


def emulation_warning(precision: str, device: torch.device) -> str:
    """One line if training in this format will crawl, since the hardware emulates it; else empty.

    How much slower it is, ``benchmarks/precision.py`` measures.
    """
    if precision != "bfloat16" or _has_bfloat16(device):
        return ""
    name = "processor" if device.type == "cpu" else "card"
    return (
        f"precision = 'bfloat16' was asked for, but this {name} has no instructions for it: "
        "training may take ten times as long as with precision = 'float32', "
        "whose numbers differ slightly"
    )


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        found = torch.cpu.get_capabilities()
        named = any(found.get(name, False) for name in INSTRUCTIONS)
        return named and torch.backends.mkldnn.is_available()
    return False
