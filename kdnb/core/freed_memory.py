"""Keeping freed memory of tensors for the next ones, on Linux (every notebook)."""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_freed_memory"]

MALLOC_OPTIONS = {-1: 2**29, -3: 2**28}  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, in bytes


def keep_freed_memory() -> None:
    """Let the C library of Linux keep up to 512 MiB of what tensors gave back, for the next ones.

    By itself it returns large blocks at once, so that every forward pass on a CPU asks for them
    anew, page by page (mallopt(3)). ``benchmarks/memory.py`` measures what this costs.
    """
    if sys.platform != "linux":
        return
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc has it
    if set_option is not None:
        for option, size in MALLOC_OPTIONS.items():
            set_option(option, size)
