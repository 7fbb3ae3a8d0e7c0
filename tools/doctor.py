"""A check-up of this computer: what was found, and how to mend what is wrong (``make doctor``).

At its head only Python itself is imported, and what needs nothing else: a check imports what it
needs, so that a missing package is a finding.
"""

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

from kdnb.core.errors import UserError
from tools import run_command

__all__ = ["SUBJECTS", "Finding", "examine"]

SUBJECTS = (
    "python",
    "packages",
    "torch",
    "threads",
    "gpu",
    "runs",
    "data",
    "browser",
    "git",
    "kernel",
)
TESTED = ("3.11", "3.12", "3.13", "3.14")  # what all pins say that they run on
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
GB = 1e9
MISSING = "missing"  # in place of a version
INSTALL = "make install, or pip install -r requirements.txt"


@dataclass(frozen=True)
class Finding:
    """One line of the check-up; the subjects are the headings of docs/troubleshooting.md."""

    state: str  # ok, warning or error
    subject: str  # one of SUBJECTS
    told: str
    mend: str = ""

    def __str__(self) -> str:
        """The line.

        >>> print(Finding("warning", "git", "not found", "install git"))
        warning  git       not found; to mend: install git
        """
        line = f"{self.state:8} {self.subject:9} {self.told}"
        return f"{line}; to mend: {self.mend}" if self.mend else line


def examine(runs: Path) -> list[Finding]:
    """All findings; a check that itself breaks is one too.

    Args:
        runs: The folder for everything computed.
    """
    checks = {
        "python": _python,
        "packages": _packages,
        "torch": _torch,
        "threads": _threads,
        "gpu": _gpu,
        "runs": lambda: _runs(runs),
        "data": _data,
        "browser": _browser,
        "git": _git,
        "kernel": _kernel,
    }
    found = []
    for subject, check in checks.items():
        try:
            found += list(check())
        except Exception as error:  # a broken installation has many faces
            found.append(_broken(subject, error))
    return found


def _broken(subject: str, error: Exception) -> Finding:
    """The finding that a check, or what it imports, has broken."""
    told = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    if isinstance(error, ModuleNotFoundError) and error.name:
        told = f"{error.name} is missing"
    return Finding("error", subject, told, INSTALL)


def _python() -> Iterator[Finding]:
    from packaging.specifiers import SpecifierSet

    accepted = metadata.metadata("kdnb")["Requires-Python"]
    here = platform.python_version()
    fitting = f"{TESTED[0]} to {TESTED[-1]} fit"
    if here not in SpecifierSet(accepted):
        at_hand = [f"python{version}" for version in TESTED if shutil.which(f"python{version}")]
        mend = f"rm -r .venv; make install PYTHON={at_hand[0] if at_hand else 'python3.11'}"
        yield Finding("error", "python", f"{here}, accepted is {accepted} ({fitting})", mend)
    elif here.rpartition(".")[0] not in TESTED:
        mend = f"make install with one of python{', python'.join(TESTED)}"
        yield Finding("warning", "python", f"{here}, which nobody tried; {fitting}", mend)
    else:
        yield Finding("ok", "python", f"{here}; {fitting}")


def _packages() -> Iterator[Finding]:
    from packaging.requirements import Requirement

    fitting = 0
    for requirement in map(Requirement, metadata.requires("kdnb") or []):
        if requirement.marker and not requirement.marker.evaluate():
            continue
        version = _version(requirement.name)
        if version != MISSING and version in requirement.specifier:
            fitting += 1
            continue
        told = f"{requirement.name} is {version}, accepted is {requirement.specifier}"
        yield Finding("error", "packages", told, INSTALL)
    other = []
    for name, pin in _pins().items():
        version = _version(name)
        if version not in (pin, MISSING):
            other.append(f"{name} {version} (pinned {pin})")
    if other:
        yield Finding("warning", "packages", ", ".join(other), INSTALL)
    else:
        yield Finding("ok", "packages", f"{fitting} fit")


def _version(package: str) -> str:
    """The version that Python imports, without what names a build; `MISSING` where there is none.

    A folder of metadata may be left over from a package that is gone, and tell no version: a
    KeyError, or where a package has loaded importlib_metadata, a FileNotFoundError.
    """
    try:
        version = metadata.version(package)
    except (metadata.PackageNotFoundError, FileNotFoundError, KeyError):
        return MISSING
    return version.partition("+")[0] if version else MISSING


def _pins() -> dict[str, str]:
    """Package → version, from the requirements."""
    from kdnb.core.settings import project_root

    listed = project_root() / "requirements.txt"
    lines = listed.read_text("utf-8").splitlines() if listed.is_file() else []
    return dict(line.split("==") for line in lines if "==" in line)


def _torch() -> Iterator[Finding]:
    from packaging.requirements import Requirement

    requirements = map(Requirement, metadata.requires("torchvision") or [])
    needed = next(requirement for requirement in requirements if requirement.name == "torch")
    here = metadata.version("torch")
    vision = metadata.version("torchvision")
    if here.partition("+")[0] not in needed.specifier:
        told = f"torchvision {vision} needs {needed}, here is {here}"
        yield Finding("error", "torch", told, INSTALL)
        return
    import torch
    from torchvision.ops import nms

    nms(torch.zeros(1, 4), torch.zeros(1), 0.5)  # compiled: fails where the two were built apart
    yield Finding("ok", "torch", f"torch {torch.__version__}, torchvision {vision}")


def _threads() -> Iterator[Finding]:
    import torch

    asked = os.environ.get("OMP_NUM_THREADS", "")
    cores = os.cpu_count() or 1
    if not asked or (asked.isdecimal() and 1 <= int(asked) <= cores):
        yield Finding("ok", "threads", f"{torch.get_num_threads()} on {cores} cores")
    else:
        told = f"OMP_NUM_THREADS is '{asked}' on {cores} cores"
        yield Finding("warning", "threads", told, f"set it to 1 to {cores}")


def _gpu() -> Iterator[Finding]:
    import torch

    if torch.cuda.is_available():
        yield Finding("ok", "gpu", torch.cuda.get_device_name())
    elif shutil.which("nvidia-smi"):
        mend = "update its driver, or install torch for CUDA"
        yield Finding("warning", "gpu", "there is one that torch cannot use", mend)
    else:
        yield Finding("ok", "gpu", "none that CUDA knows")


def _runs(runs: Path) -> Iterator[Finding]:
    place = next(path for path in (runs, *runs.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=place):
            free = shutil.disk_usage(place).free
    except OSError as error:
        told = f"'{runs}' cannot be written ({error.strerror})"
        yield Finding("error", "runs", told, "choose another one with --runs-dir")
        return
    told = f"'{runs}', {free / GB:.0f} GB free"
    if free > 5 * GB:
        yield Finding("ok", "runs", told)
    else:
        state = "warning" if free > GB else "error"
        yield Finding(state, "runs", told, "make room, at least 5 GB")


def _data() -> Iterator[Finding]:
    from kdnb.data.registry import locate, registered, seen
    from kdnb.data.sources import file_hash

    home = os.environ.get("KDNB_DATA")
    if home and not any(map(Path.is_dir, seen(home))):
        told = f"KDNB_DATA is '{home}', which is no folder"
        yield Finding("error", "data", told, "name the folder of the archives")
    for name, known in registered().items():
        try:
            path = locate(name, known, "")
        except UserError:
            told = f"{name}: not here, and only needed for dataset={name}"
            yield Finding("ok", "data", told)
            continue
        if not path.is_file():
            yield Finding("ok", "data", f"{name}: '{path}', a folder")
        elif known["checksums"] and file_hash(path) not in known["checksums"]:
            told = f"{name}: '{path}' is not the file that was checked"
            yield Finding("warning", "data", told, "get the archive again")
        else:
            yield Finding("ok", "data", f"{name}: '{path}', checksum fits")


def _browser() -> Iterator[Finding]:
    found = [path for path in map(shutil.which, BROWSERS) if path]
    if found:
        yield Finding("ok", "browser", found[0])
    else:
        told = "no Chromium: browser tests are skipped"
        yield Finding("warning", "browser", told, "install chromium")


def _git() -> Iterator[Finding]:
    from kdnb.core.provenance import environment

    commit = environment()["commit"]
    if commit == "unknown":
        told = "no commit: results will not name their code"
        yield Finding("warning", "git", told, "install git, and work in a clone")
    else:
        yield Finding("ok", "git", f"commit {commit}")


def _kernel() -> Iterator[Finding]:
    from jupyter_client.kernelspec import KernelSpecManager

    starts = KernelSpecManager().get_kernel_spec("python3").argv[0]
    by_name = re.fullmatch(r"python[\d.]*", starts)
    if by_name or Path(starts).parent == Path(sys.executable).parent:
        yield Finding("ok", "kernel", starts)
    else:
        mend = f"{sys.executable} -m ipykernel install --sys-prefix"
        yield Finding("warning", "kernel", f"{starts}, not {sys.executable}", mend)


def main(runs_dir: str = "") -> None:
    """Check this computer: one line per finding; exit code 1 if something cannot work.

    RUNS_DIR is the folder for everything computed.
    """
    from kdnb.core.settings import Settings

    findings = examine(Settings.checked({"runs_dir": runs_dir}).runs)
    print(*findings, sep="\n")
    if any(finding.state == "error" for finding in findings):
        sys.exit(1)


if __name__ == "__main__":
    try:
        run_command(main)
    except ImportError as missing:  # without it, no check can begin
        print(_broken("packages", missing))
        sys.exit(1)
