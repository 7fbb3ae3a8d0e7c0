"""What computed a run: versions, machine, commit, and the package's files (``env.json``).

A run is found by its data, its parameters and kdnb's version. That code was edited since, within
a version, is told by the hashes of the files that compute, as they were when the making started.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import kdnb

__all__ = ["changed_code", "code_of", "environment", "threads"]

LISTED_PACKAGES = (  # whose versions a run records
    "torch",
    "torchvision",
    "numpy",
    "pandas",
    "scikit-learn",
    "captum",
    "shap",
    "papermill",
)
PACKAGE = Path(__file__).resolve().parents[1]
ROOMS = ("data", "training", "distillation", "feature_maps", "xai")  # each stands on earlier ones
COMPUTING = (  # of core, on which all rooms stand
    "differences.py",
    "intervals.py",
    "p_values.py",
    "profiles.py",
    "settings.py",
    "statistics.py",
)
WORDS_AND_PICTURES = ("__init__.py", "answer.py", "plots.py", "trap_plots.py")


@functools.cache
def environment() -> dict[str, Any]:
    """What computed a run: versions, machine, and the code's commit, see `_commit`."""
    return {
        "kdnb": kdnb.__version__,
        "commit": _commit(PACKAGE.parent),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "packages": {name: _version(name) for name in LISTED_PACKAGES},
    }


def threads() -> int | None:
    """How many threads torch computes with; None where nothing has loaded it.

    With another number sums are taken in another order, so that last digits may differ.
    """
    torch = sys.modules.get("torch")
    return torch.get_num_threads() if torch is not None else None


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"


def _processor() -> str:
    """The processor's name; Linux tells it in a file of its own."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _commit(root: Path) -> str:
    """The commit of the code below ``root``, or "unknown" without git.

    It ends in "-dirty" where the package or the notebooks differ from the commit. Plans and other
    files may differ: what a run computes does not depend on them.
    """
    try:
        if Path(_git(root, "rev-parse", "--show-toplevel")).resolve() != root.resolve():
            return "unknown"  # installed below a repository of something else
        commit = _git(root, "describe", "--always", "--abbrev=12")
        changed = _git(root, "status", "--porcelain", "--", "kdnb", "notebooks")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return f"{commit}-dirty" if changed else commit


def _git(root: Path, *arguments: str) -> str:
    """What a git command prints."""
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    output = subprocess.check_output(command, stderr=subprocess.DEVNULL, text=True, timeout=10)
    return output.strip()


def code_of(make: Callable[..., Any]) -> dict[str, str]:
    """The files that may decide what ``make`` computes, with the beginnings of their SHA-256.

    These are the files of its room and of the rooms that it stands on, without those that write
    sentences or draw, and those of core that compute.

    Returns:
        Hashes by path in the package, such as "training/fit.py"; empty where ``make`` comes from
        elsewhere, as in batch runs, whose ids cover all code.
    """
    made_in = getattr(make, "func", make).__module__.split(".")
    if made_in[0] != "kdnb" or made_in[1] not in ROOMS:
        return {}
    hashes = {f"core/{name}": _hash(f"core/{name}") for name in COMPUTING}
    for room in ROOMS[: ROOMS.index(made_in[1]) + 1]:
        for path in sorted((PACKAGE / room).rglob("*.py")):
            name = path.relative_to(PACKAGE)
            is_hidden = any(part.startswith(".") for part in name.parts)  # copies of JupyterLab's
            if path.name not in WORDS_AND_PICTURES and not is_hidden:
                hashes[name.as_posix()] = _hash(name.as_posix())
    return hashes


def changed_code(recorded: Mapping[str, str]) -> list[str]:
    """The files that differ from what was recorded, or that are gone.

    A file that was not recorded is none of them: older runs list fewer files.
    """
    return [name for name, hashed in recorded.items() if _hash(name) != hashed]


@functools.cache
def _hash(name: str) -> str:
    """Beginning of the SHA-256 of a file of the package; empty if there is none."""
    try:
        return hashlib.sha256((PACKAGE / name).read_bytes()).hexdigest()[:12]
    except OSError:
        return ""
