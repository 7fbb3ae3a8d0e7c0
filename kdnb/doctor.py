"""A check-up of this computer: one line per finding, and how to mend what is wrong (``kdnb doctor``).

Each subject is a heading of docs/troubleshooting.md too.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from kdnb.errors import UserError
from kdnb.runs import environment
from kdnb.settings import project_root

__all__ = ["CHECKS", "Finding", "examine"]

GB = 1e9
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
INSTALL = "make install, or pip install -r requirements.txt"
Told = Iterator[tuple[str, str, str]]  # state, what was found, what to do


@dataclass(frozen=True)
class Finding:
    """One line of the check-up; ``state`` is ok, warning or error."""

    state: str
    subject: str
    told: str
    mend: str = ""

    def __str__(self) -> str:
        """
        >>> print(Finding("warning", "git", "not found", "install git"))
        warning  git       not found; to mend: install git
        """
        return f"{self.state:8} {self.subject:9} {self.told}" + (f"; to mend: {self.mend}" if self.mend else "")


def examine(runs: Path) -> list[Finding]:
    """All findings; a check that itself breaks is a finding too.

    Args:
        runs: The folder that is to hold everything computed.
    """
    found = []
    for subject, check in CHECKS.items():
        try:
            found += [Finding(state, subject, told, mend) for state, told, mend in check(runs)]
        except Exception as error:  # whatever is broken here: a broken installation has many faces
            told = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            found.append(Finding("error", subject, told, INSTALL))
    return found


def _python(_runs: Path) -> Told:
    accepted, here = metadata.metadata("kdnb")["Requires-Python"], platform.python_version()
    if here in SpecifierSet(accepted):
        yield "ok", here, ""
    else:
        yield "error", f"{here}, accepted is {accepted}", f"make install PYTHON=python3.11 (now {sys.executable})"


def _packages(_runs: Path) -> Told:
    wanted = [r for r in map(Requirement, metadata.requires("kdnb") or []) if not r.marker or r.marker.evaluate()]
    present = {r.name: _version(r.name) for r in wanted}
    for requirement in wanted:
        version = present[requirement.name]
        if not version or version not in requirement.specifier:
            yield "error", f"{requirement.name} is {version or 'missing'}, accepted is {requirement.specifier}", INSTALL
    path = project_root() / "requirements.txt"
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    pins = dict(line.split("==") for line in lines if "==" in line)
    other = [f"{name} {present[name]} (pinned {pins[name]})" for name in pins
             if present.get(name) and present[name].partition("+")[0] != pins[name]]  # fmt: skip
    if other:
        yield "warning", f"not as pinned: {', '.join(other)}", INSTALL
    yield "ok", f"{len(present)} looked at", ""


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _torch(_runs: Path) -> Told:
    here = metadata.version("torch").partition("+")[0]
    needed = [r for r in map(Requirement, metadata.requires("torchvision") or []) if r.name == "torch"]
    if any(here not in r.specifier for r in needed):
        yield "error", f"torchvision {_version('torchvision')} needs {needed[0]}, torch is {here}", INSTALL
        return
    import torch
    from torchvision.ops import nms

    nms(torch.zeros(1, 4), torch.zeros(1), 0.5)  # compiled code: fails where the two were built apart
    yield "ok", f"torch {torch.__version__}, torchvision {_version('torchvision')}", ""


def _runs(runs: Path) -> Told:
    place = next(path for path in (runs, *runs.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=place):
            free = shutil.disk_usage(place).free
    except OSError as error:
        yield "error", f"'{runs}' cannot be written ({error.strerror})", "choose another folder: RUNS=… or --runs-dir"
        return
    state = "error" if free < GB else "warning" if free < 5 * GB else "ok"
    yield state, f"'{runs}', {free / GB:.0f} GB free", "" if state == "ok" else "free some disk, or choose another one"


def _data(_runs: Path) -> Told:
    from kdnb.data.registry import locate, registered
    from kdnb.data.sources import file_hash

    home, lacking = os.environ.get("KDNB_DATA", ""), []
    if home and not Path(home).expanduser().is_dir():
        yield "error", f"KDNB_DATA is '{home}', which is no folder", "name the folder with the archives, or unset it"
    for name, known in registered().items():
        try:
            path = locate(name, known, "")
        except UserError:
            lacking.append(name)
            continue
        checked = path.is_file() and known["checksums"]
        if checked and file_hash(path) not in known["checksums"]:
            yield "warning", f"{name}: '{path}' is not the file this study was checked on", "get the archive again"
        else:
            yield "ok", f"{name}: '{path}'" + (", checksum fits" if checked else ", no checksum to compare"), ""
    if lacking:
        yield "ok", f"not here: {', '.join(lacking)} (phantoms need no data; the others: data/README.md)", ""


def _threads(_runs: Path) -> Told:
    import torch

    asked, cores = os.environ.get("OMP_NUM_THREADS", ""), os.cpu_count() or 1
    if asked and (not asked.isdecimal() or int(asked) > cores):
        yield "warning", f"OMP_NUM_THREADS is '{asked}' on {cores} cores", f"unset it, or set it to {cores} at most"
    else:
        yield "ok", f"{torch.get_num_threads()} threads on {cores} cores", ""


def _gpu(_runs: Path) -> Told:
    import torch

    if torch.cuda.is_available():
        yield "ok", torch.cuda.get_device_name(), ""
    elif shutil.which("nvidia-smi"):
        yield "warning", "there is one that torch cannot use", "update its driver, or install torch's CUDA build"
    else:
        named = "Apple's" if torch.backends.mps.is_available() else "none: take profile smoke or quick"
        yield "ok", named, ""


def _kernel(_runs: Path) -> Told:
    from jupyter_client.kernelspec import KernelSpecManager

    started = KernelSpecManager().get_kernel_spec("python3").argv[0]
    if re.fullmatch(r"python[\d.]*", started) or Path(started).parent == Path(sys.executable).parent:
        yield "ok", "python3 starts this Python", ""
    else:
        mend = f"{sys.executable} -m ipykernel install --sys-prefix"
        yield "warning", f"python3 starts '{started}', not '{sys.executable}'", mend


def _browser(_runs: Path) -> Told:
    found = next(filter(None, map(shutil.which, BROWSERS)), "")
    yield ("ok", found, "") if found else ("warning", "no Chromium: browser tests are skipped", "install chromium")


def _git(_runs: Path) -> Told:
    commit = environment()["commit"]
    known = commit != "unknown"
    yield "ok" if known else "warning", f"commit {commit}", "" if known else "install git, and work in a clone"


CHECKS: dict[str, Callable[[Path], Told]] = {
    "python": _python, "packages": _packages, "torch": _torch, "runs": _runs, "data": _data, "threads": _threads,
    "gpu": _gpu, "kernel": _kernel, "browser": _browser, "git": _git,
}  # fmt: skip
