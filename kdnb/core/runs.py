"""Run folders: get-or-make by content, with locks, atomic writes and provenance (all notebooks)."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock

import kdnb
from kdnb.core.errors import UserError

__all__ = [
    "Run",
    "Spec",
    "atomic_path",
    "digest",
    "environment",
    "find_run",
    "finished_runs",
    "get_or_make",
    "read_json",
    "run_of",
    "write_json",
]

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


@dataclass(frozen=True)
class Spec:
    """What identifies a run, known before it is made; kdnb's version comes on top."""

    kind: str  #: what it is, such as "teacher"
    parameters: Mapping[str, Any]  #: everything that the result depends on, JSON-serialisable
    upstream: tuple[str, ...] = ()  #: ids (or hashes) of what the run is computed from


@dataclass(frozen=True)
class Run:
    """One computed thing in one folder; it counts only once ``done.json`` is there."""

    kind: str  #: what it is, such as "teacher"; also the name of the parent folder
    id: str  #: 16 hexadecimal characters over parameters, version, data and upstream runs
    folder: Path  #: where its files lie
    reused: bool = False  #: whether it was there already
    seconds: float = 0.0  #: how long making it took

    @property
    def finished(self) -> bool:
        """Whether its ``done.json`` is there."""
        return os.path.isfile(self.path("done.json"))  # False where the folder may not be entered

    def path(self, name: str) -> Path:
        """Path of one of the run's files."""
        return self.folder / name

    def json(self, name: str) -> Any:
        """Content of one of the run's JSON files."""
        return read_json(self.folder / name)

    def __str__(self) -> str:
        origin = "reused" if self.reused else f"made in {self.seconds:.1f} s"
        return f"{self.kind} {self.id} ({origin})"


def digest(obj: Any) -> str:
    """16 hexadecimal characters of SHA-256 over the canonical JSON of ``obj``; its keys are sorted.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    text = json.dumps(obj, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """A temporary sibling of ``path``: it replaces it, safe on the disk, or vanishes on error.

    The folder is made where it is missing.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # or a power cut could leave a name without content
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path | str, obj: Any) -> None:
    """Write ``obj`` as indented JSON, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(
            json.dumps(obj, indent=1, sort_keys=True, default=str) + "\n", encoding="utf-8"
        )


def read_json(path: Path | str) -> Any:
    """Read a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


@functools.cache
def environment() -> dict[str, Any]:
    """What computed a run: versions, machine, and the code's commit or ``"unknown"``."""
    here = Path(__file__).resolve().parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        output = subprocess.check_output(command, stderr=subprocess.DEVNULL, text=True, timeout=10)
        commit = output.strip()
    except (OSError, subprocess.SubprocessError):
        commit = "unknown"
    return {
        "kdnb": kdnb.__version__,
        "commit": commit,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "packages": {name: _version(name) for name in LISTED_PACKAGES},
    }


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


def run_of(
    kind: str, parameters: Mapping[str, Any], *, root: Path, upstream: Sequence[str] = ()
) -> Run:
    """The run that `get_or_make` would find or make with the same arguments; nothing is written."""
    run_id = digest(_spec(kind, parameters, upstream))
    return Run(kind=kind, id=run_id, folder=Path(root) / kind / run_id)


def find_run(
    kind: str, parameters: Mapping[str, Any], *, root: Path, upstream: Sequence[str] = ()
) -> Run | None:
    """The finished run that `get_or_make` would find with the same arguments, or None.

    Nothing is made, whichever process asks; a run that another process finished is found.
    """
    run = run_of(kind, parameters, root=root, upstream=upstream)
    return _finished(run) if run.finished else None


def _spec(kind: str, parameters: Mapping[str, Any], upstream: Sequence[str]) -> dict[str, Any]:
    """What a run's id is the digest of."""
    return {
        "kind": kind,
        "parameters": dict(parameters),
        "kdnb": kdnb.__version__,
        "upstream": list(upstream),
    }


def get_or_make(
    kind: str,
    parameters: Mapping[str, Any],
    make: Callable[[Run], None],
    *,
    root: Path,
    upstream: Sequence[str] = (),
) -> Run:
    """The finished run of these parameters: found, or made by ``make(run)`` once across processes.

    Two processes that ask for the same run share one making: the second waits for the first one's
    file lock, which the operating system frees when a process dies. ``done.json`` is written last;
    what an interrupted making left behind (a checkpoint, say) stays for the next attempt, except
    after a :class:`UserError`, which leaves nothing.

    Args:
        kind: Name of the kind of run.
        parameters: Everything the result depends on, besides kdnb's version and ``upstream``;
            JSON-serialisable.
        make: Writes the run's files into ``run.folder``.
        root: The folder of all runs.
        upstream: Ids (or hashes) of what the run is computed from.

    Raises:
        UserError: If the folder cannot be written.
    """
    found = find_run(kind, parameters, root=root, upstream=upstream)
    if found is not None:
        return found
    run = run_of(kind, parameters, root=root, upstream=upstream)
    _require_writable(run.folder.parent)
    with FileLock(run.folder.with_suffix(".lock")):
        found = find_run(kind, parameters, root=root, upstream=upstream)
        if found is not None:  # another process made it while this one waited
            return found
        run.folder.mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        try:
            make(run)
        except UserError:
            shutil.rmtree(run.folder, ignore_errors=True)
            raise
        write_json(run.path("spec.json"), {**_spec(kind, parameters, upstream), "id": run.id})
        write_json(run.path("env.json"), {**environment(), "argv": sys.argv[:1]})
        seconds = time.perf_counter() - start
        finished = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        done = {"id": run.id, "seconds": seconds, "finished": finished}
        write_json(run.path("done.json"), done)
    return replace(run, seconds=seconds)


def _finished(run: Run) -> Run:
    """The run as found, with the time that making it took."""
    return replace(run, reused=True, seconds=run.json("done.json")["seconds"])


def _require_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"the output folder '{folder}' cannot be written ({error.strerror}): "
            "choose another one with runs_dir (RUNS=… with make)"
        ) from None


def finished_runs(root: Path, kind: str) -> list[Run]:
    """All finished runs of a kind, oldest first."""
    done = sorted((Path(root) / kind).glob("*/done.json"), key=lambda path: path.stat().st_mtime)
    runs = []
    for path in done:
        run = Run(kind=kind, id=path.parent.name, folder=path.parent)
        runs.append(_finished(run))
    return runs
