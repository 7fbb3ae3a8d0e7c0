"""A check-up of this computer: one line per finding, and how to mend what is wrong (``kdnb doctor``)."""

import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from kdnb.errors import UserError
from kdnb.runs import environment
from kdnb.settings import project_root

__all__ = ["SUBJECTS", "Finding", "examine"]
SUBJECTS = ("python", "packages", "torch", "threads", "gpu", "runs", "data", "browser", "git", "kernel")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
GB = 1e9
INSTALL = "make install, or pip install -r requirements.txt"


@dataclass(frozen=True)
class Finding:
    """One line of the check-up; the subjects are the headings of docs/troubleshooting.md."""

    state: str  # ok, warning or error
    subject: str  # one of SUBJECTS
    told: str
    mend: str = ""

    def __str__(self) -> str:
        """
        >>> print(Finding("warning", "git", "not found", "install git"))
        warning  git       not found; to mend: install git
        """
        return f"{self.state:8} {self.subject:9} {self.told}" + (f"; to mend: {self.mend}" if self.mend else "")


def examine(runs: Path) -> list[Finding]:
    """All findings, with ``runs`` as the folder for everything computed; a check that itself breaks is one too."""
    found, known = [], {"python": _python, "packages": _packages, "torch": _torch, "runs": lambda: _runs(runs),
                        "data": _data, "browser": _tools, "kernel": _kernel}  # fmt: skip
    for subject, check in known.items():
        try:
            found += [Finding(*told) for told in check()]
        except Exception as error:  # whatever is broken here: a broken installation has many faces
            told = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            found.append(Finding("error", subject, told, INSTALL))
    return found


def _python() -> Iterator[tuple[str, ...]]:
    accepted, here = metadata.metadata("kdnb")["Requires-Python"], platform.python_version()
    old = ("error", "python", f"{here}, accepted is {accepted}", "rm -r .venv; make install PYTHON=python3.11")
    yield ("ok", "python", here) if here in SpecifierSet(accepted) else old


def _packages() -> Iterator[tuple[str, ...]]:
    here = {d.name.lower().replace("_", "-"): d.version.partition("+")[0] for d in metadata.distributions()}
    wanted = [r for r in map(Requirement, metadata.requires("kdnb") or []) if not r.marker or r.marker.evaluate()]
    for r in wanted:
        if here.get(r.name, "") not in r.specifier:
            yield "error", "packages", f"{r.name} is {here.get(r.name, 'missing')}, accepted is {r.specifier}", INSTALL
    listed = project_root() / "requirements.txt"
    lines = listed.read_text("utf-8").splitlines() if listed.is_file() else []
    pins = dict(line.split("==") for line in lines if "==" in line)
    other = [f"{name} {here[name]} (pinned {pin})" for name, pin in pins.items() if here.get(name, pin) != pin]
    yield ("warning", "packages", ", ".join(other), INSTALL) if other else ("ok", "packages", f"{len(wanted)} fit")


def _torch() -> Iterator[tuple[str, ...]]:
    needed = next(r for r in map(Requirement, metadata.requires("torchvision") or []) if r.name == "torch")
    if metadata.version("torch").partition("+")[0] not in needed.specifier:
        told = f"torchvision {metadata.version('torchvision')} needs {needed}, here is {metadata.version('torch')}"
        yield "error", "torch", told, INSTALL
        return
    import torch
    from torchvision.ops import nms

    nms(torch.zeros(1, 4), torch.zeros(1), 0.5)  # compiled code: fails where the two were built apart
    yield "ok", "torch", f"torch {torch.__version__}, torchvision {metadata.version('torchvision')}"
    asked, cores = os.environ.get("OMP_NUM_THREADS", ""), os.cpu_count() or 1
    odd = ("warning", "threads", f"OMP_NUM_THREADS is '{asked}' on {cores} cores", f"set it to 1 to {cores}")
    fits = not asked or (asked.isdecimal() and 1 <= int(asked) <= cores)
    yield ("ok", "threads", f"{torch.get_num_threads()} on {cores} cores") if fits else odd
    if not torch.cuda.is_available() and shutil.which("nvidia-smi"):
        yield "warning", "gpu", "there is one that torch cannot use", "update its driver, or install torch for CUDA"
    else:
        yield "ok", "gpu", torch.cuda.get_device_name() if torch.cuda.is_available() else "none that CUDA knows"


def _runs(runs: Path) -> Iterator[tuple[str, ...]]:
    place = next(path for path in (runs, *runs.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=place):
            free = shutil.disk_usage(place).free
    except OSError as error:
        yield "error", "runs", f"'{runs}' cannot be written ({error.strerror})", "choose another one with --runs-dir"
        return
    state, mend = ("ok", "") if free > 5 * GB else ("warning" if free > GB else "error", "make room, at least 5 GB")
    yield state, "runs", f"'{runs}', {free / GB:.0f} GB free", mend


def _data() -> Iterator[tuple[str, ...]]:
    from kdnb.data.registry import locate, registered, seen
    from kdnb.data.sources import file_hash

    if (home := os.environ.get("KDNB_DATA")) and not any(map(Path.is_dir, seen(home))):
        yield "error", "data", f"KDNB_DATA is '{home}', which is no folder", "name the folder of the archives"
    for name, known in registered().items():
        try:
            path = locate(name, known, "")
        except UserError:
            yield "ok", "data", f"{name}: not here, and only needed for dataset={name}"
            continue
        if path.is_file() and known["checksums"] and file_hash(path) not in known["checksums"]:
            yield "warning", "data", f"{name}: '{path}' is not the file that was checked", "get the archive again"
        else:
            yield "ok", "data", f"{name}: '{path}'" + (", checksum fits" if path.is_file() else ", a folder")


def _tools() -> Iterator[tuple[str, ...]]:
    browser, commit = next(filter(None, map(shutil.which, BROWSERS)), ""), environment()["commit"]
    missing = ("warning", "browser", "no Chromium: browser tests are skipped", "install chromium")
    yield ("ok", "browser", browser) if browser else missing
    lost = ("warning", "git", "no commit: results will not name their code", "install git, and work in a clone")
    yield ("ok", "git", f"commit {commit}") if commit != "unknown" else lost


def _kernel() -> Iterator[tuple[str, ...]]:
    from jupyter_client.kernelspec import KernelSpecManager

    starts = KernelSpecManager().get_kernel_spec("python3").argv[0]
    mend = f"{sys.executable} -m ipykernel install --sys-prefix"
    fits = re.fullmatch(r"python[\d.]*", starts) or Path(starts).parent == Path(sys.executable).parent
    yield ("ok", "kernel", starts) if fits else ("warning", "kernel", f"{starts}, not {sys.executable}", mend)
