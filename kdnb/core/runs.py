"""Run folders: get-or-make by content, with locks, atomic writes and provenance (all notebooks)."""

from __future__ import annotations

import functools
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

import kdnb
from kdnb.core.errors import DamagedRun, UserError
from kdnb.core.progress import say
from kdnb.core.provenance import changed_code, code_of, environment, threads
from kdnb.core.run_files import (
    DONE,
    check_file,
    check_files,
    damaged,
    digest,
    done_content,
    is_recorded,
    lock_of,
    read_done,
)

__all__ = [
    "Run",
    "Spec",
    "all_runs",
    "atomic_path",
    "code_changed_since",
    "digest",
    "ended_runs",
    "find_run",
    "finished_runs",
    "get_or_make",
    "read_json",
    "run_of",
    "write_json",
]

NAMED = 3  # changed files, in a message

_said_changes: set[tuple[str, tuple[str, ...]]] = set()  # kinds and files that were warned of


@dataclass(frozen=True)
class Spec:
    """What identifies a run, known before it is made; kdnb's version comes on top.

    Code that is edited within a version changes no id: `code_changed_since` tells of it.
    """

    kind: str  #: what it is, such as "teacher"
    parameters: Mapping[str, Any]  #: what the result depends on besides code, JSON-serialisable
    upstream: tuple[str, ...] = ()  #: ids (or hashes) of what the run is computed from


@dataclass(frozen=True)
class Run:
    """One computed thing in one folder; it counts only once ``done.json`` is there.

    A file of a run that ended is compared with its recorded hash before it is read.
    """

    kind: str  #: what it is, such as "teacher"; also the name of the parent folder
    id: str  #: 16 hexadecimal characters over parameters, version, data and upstream runs
    folder: Path  #: where its files lie
    reused: bool = False  #: whether it was there already
    seconds: float = 0.0  #: how long making it took; after an interruption, its last attempt

    @property
    def finished(self) -> bool:
        """Whether it was made to its end, and its files are there in the sizes that they had."""
        return self.ended and not self.damage

    @property
    def ended(self) -> bool:
        """Whether its ``done.json`` is there, damaged or not."""
        return os.path.isfile(self.folder / DONE)  # False where the folder may not be entered

    @property
    def damage(self) -> str:
        """What is wrong with a run that ended, in one line; empty if nothing is, by sizes alone."""
        try:
            if self.ended:
                check_files(self.folder, "sizes")
        except DamagedRun as error:
            return str(error)
        return ""

    def path(self, name: str) -> Path:
        """Path of one of the run's files, such as ``results/03_scores.csv``.

        Raises:
            DamagedRun: If the run ended, and the file is not the one that it ended with.
        """
        check_file(self.folder, name)
        return self.folder / name

    def json(self, name: str) -> Any:
        """Content of one of the run's JSON files.

        Raises:
            DamagedRun: If it is not the one that the run ended with, or no JSON.
        """
        path = self.path(name)
        try:
            return read_json(path)
        except (ValueError, RecursionError):
            raise damaged(self.folder, f"{name} is no JSON") from None

    def __str__(self) -> str:
        origin = "reused" if self.reused else f"made in {self.seconds:.1f} s"
        return f"{self.kind} {self.id} ({origin})"


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

    Nothing is made, whichever process asks; a run that another process finished is found. One that
    was computed with other code of this version is found, and said once.

    Raises:
        DamagedRun: If its files are not the ones that it was made with. It is not made again on its
            own: whoever wants that deletes the folder.
    """
    run = run_of(kind, parameters, root=root, upstream=upstream)
    if not run.ended:
        return None
    check_files(run.folder, "loading")
    changed = code_changed_since(run)
    if changed and (run.kind, changed) not in _said_changes:
        _said_changes.add((run.kind, changed))
        _say_changed(run, changed)
    return _finished(run)


def code_changed_since(run: Run) -> tuple[str, ...]:
    """The package's files that are not as they were when a run was made, such as "data/splits.py".

    Empty where nothing changed, or the run keeps no such list.
    """
    if not is_recorded(run.folder) or not (run.folder / "env.json").is_file():
        return ()
    return tuple(changed_code(run.json("env.json").get("code", {})))


def _say_changed(run: Run, changed: tuple[str, ...]) -> None:
    """Warn of a run that would perhaps come out otherwise today."""
    name = f"{run.kind}/{run.id}"
    more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
    have = "have" if len(changed) > 1 else "has"
    say(
        f"! {name} was made by other code: {', '.join(changed[:NAMED])}{more} {have} changed "
        f"since (a comment counts). To make it anew: kdnb runs remove {name} --dependents"
    )


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

    Commit and code are recorded as they are when the making starts; of one that goes on after a
    stop, as they are when it goes on.

    Two processes that ask for the same run share one making: the second waits for the first one's
    file lock, which the operating system frees when a process dies. ``done.json`` is written last;
    what an interrupted making left behind (a checkpoint, say) stays for the next attempt, except
    after a :class:`UserError`, which leaves nothing.

    Args:
        kind: Name of the kind of run.
        parameters: Everything the result depends on, besides kdnb's code and ``upstream``;
            JSON-serialisable.
        make: Writes the run's files into ``run.folder``.
        root: The folder of all runs.
        upstream: Ids (or hashes) of what the run is computed from.

    Raises:
        UserError: If the folder cannot be written.
        DamagedRun: If the run is there, but its files are not the ones that it was made with.
    """
    found = find_run(kind, parameters, root=root, upstream=upstream)
    if found is not None:
        return found
    run = run_of(kind, parameters, root=root, upstream=upstream)
    _require_writable(run.folder.parent)
    with FileLock(lock_of(run.folder)):
        found = find_run(kind, parameters, root=root, upstream=upstream)
        if found is not None:  # another process made it while this one waited
            return found
        run.folder.mkdir(parents=True, exist_ok=True)
        # before it is made: files may be edited meanwhile, and what was loaded computes
        made_by = {**environment(), "argv": sys.argv[:1], "code": code_of(make)}
        start = time.perf_counter()
        try:
            make(run)
        except DamagedRun:
            # what it is made from is damaged; a checkpoint waits until that is there
            with suppress(OSError):
                run.folder.rmdir()  # unless something is in it
            raise
        except UserError:
            shutil.rmtree(run.folder, ignore_errors=True)
            raise
        write_json(run.path("spec.json"), {**_spec(kind, parameters, upstream), "id": run.id})
        write_json(run.path("env.json"), {**made_by, "threads": threads()})
        seconds = time.perf_counter() - start
        finished = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        write_json(run.folder / DONE, done_content(run.folder, seconds, finished))
    return replace(run, seconds=seconds)


def _finished(run: Run) -> Run:
    """The run as found, with the time that making it took."""
    return replace(run, reused=True, seconds=read_done(run.folder)["seconds"])


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
    """All finished runs of a kind, oldest first; damaged ones are named and left out."""
    runs = []
    for run in ended_runs(root, kind):
        if run.damage:
            _say_damage(run.damage)
        else:
            runs.append(_finished(run))
    return runs


def all_runs(root: Path) -> list[Run]:
    """All runs of every kind that ended, damaged or not, by kind and age."""
    kinds = sorted({path.parent.parent.name for path in Path(root).glob(f"*/*/{DONE}")})
    return [run for kind in kinds for run in ended_runs(root, kind)]


def ended_runs(root: Path, kind: str) -> list[Run]:
    """The runs of a kind that have a ``done.json``, damaged or not, oldest first."""
    age_of = {}
    for path in (Path(root) / kind).glob(f"*/{DONE}"):
        with suppress(FileNotFoundError):  # somebody removes it at this moment
            age_of[path.parent] = path.stat().st_mtime
    return [
        Run(kind=kind, id=folder.name, folder=folder)
        for folder in sorted(age_of, key=lambda folder: age_of[folder])
    ]


@functools.cache
def _say_damage(line: str) -> None:
    """Say it once in a process."""
    say(line)
