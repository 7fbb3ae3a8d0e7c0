"""The files of a run: recorded with their hashes when it ends, checked when they are read (01-07).

``done.json`` keeps size and SHA-256 of every file, and a digest of itself. Names that begin with a
dot are passing through (a temporary file, a lock) and belong to no run.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from kdnb.core.errors import DamagedRun
from kdnb.core.progress import say

__all__ = [
    "DONE",
    "FAILED",
    "LARGE",
    "Depth",
    "check_file",
    "check_files",
    "damaged",
    "digest",
    "done_content",
    "failed",
    "is_recorded",
    "lock_of",
    "read_done",
    "unfinished",
]

DONE = "done.json"  # written last: a folder without it is no finished run
FAILED = "failed.json"  # of a sweep's run that ended with an error of its own
RUN_ID = re.compile(r"[0-9a-f]{16}")
LARGE = 64 * 2**20  # bytes; a larger array is mapped, not read, so its size alone is checked

# what is compared: sizes alone (lists of many runs), what loading asks for, or every byte
Depth = Literal["sizes", "loading", "whole"]


def unfinished(root: Path) -> list[Path]:
    """Folders of runs that were begun and not ended: they go on when they are asked for again."""
    return sorted(folder for folder in _not_ended(root) if not (folder / FAILED).is_file())


def failed(root: Path) -> list[Path]:
    """Folders of a sweep's runs that failed by an error of their own: they wait for a retry."""
    return sorted(folder for folder in _not_ended(root) if (folder / FAILED).is_file())


def _not_ended(root: Path) -> list[Path]:
    begun = [folder for folder in Path(root).glob("*/*/") if RUN_ID.fullmatch(folder.name)]
    return [folder for folder in begun if not (folder / DONE).is_file()]


def lock_of(folder: Path) -> Path:
    """The file that a process locks while it fills a run's or a study's folder.

    >>> lock_of(Path("runs/study/eye-3.1")).name
    'eye-3.1.lock'
    """
    return folder.with_name(f"{folder.name}.lock")


def digest(obj: Any) -> str:
    """16 hexadecimal characters of SHA-256 over the canonical JSON of ``obj``; its keys are sorted.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    text = json.dumps(obj, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def done_content(folder: Path, seconds: float, finished: str) -> dict[str, Any]:
    """What ``done.json`` of a run says: id, seconds, finished, files, and the digest of these."""
    files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != DONE and not _is_passing(name):
            files[name] = {"size": path.stat().st_size, "sha256": _sha256(path)}
    told = {"id": folder.name, "seconds": seconds, "finished": finished, "files": files}
    return {**told, "digest": digest(told)}


def read_done(folder: Path) -> dict[str, Any]:
    """The checked content of a run's ``done.json``; "files" is missing in runs of older versions.

    Raises:
        DamagedRun: If it is not what `done_content` made for this very folder.
    """
    path = folder / DONE
    try:
        return _read_done(path, *_state(path))
    except OSError as error:
        raise damaged(folder, f"{DONE} cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise damaged(folder, str(error)) from None


@functools.lru_cache(maxsize=10_000)
def _read_done(path: Path, *state: int) -> dict[str, Any]:
    """The same, once for one ``state`` of the file.

    Raises:
        OSError: If it cannot be read.
        ValueError: It says what is wrong.
    """
    del state  # only tells the cache that the file is another one
    try:
        done = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        size = path.stat().st_size
        raise ValueError(f"{DONE} is empty" if not size else f"{DONE} is no JSON") from None
    if not isinstance(done, dict) or not isinstance(done.get("seconds"), int | float):
        raise ValueError(f"{DONE} does not say how long the run took")
    if done.get("id") != path.parent.name:
        raise ValueError(f"{DONE} is that of run {done.get('id')!r}")
    if "files" in done or "digest" in done:
        told = {name: value for name, value in done.items() if name != "digest"}
        if digest(told) != done.get("digest") or not isinstance(done.get("files"), dict):
            raise ValueError(f"{DONE} was changed after it was written")
    return done


def is_recorded(folder: Path) -> bool:
    """Whether the run keeps the hashes of its files: runs of older versions do not.

    Raises:
        DamagedRun: If its ``done.json`` cannot be used.
    """
    return "files" in read_done(folder)


def check_files(folder: Path, depth: Depth) -> None:
    """Compare the files of a finished run with what was recorded when it ended.

    Raises:
        DamagedRun: Naming the run, its first damaged file, and the folder to delete.
    """
    for name, known in _files(folder, is_loading=depth == "loading").items():
        _check(folder, name, known, depth)


def check_file(folder: Path, name: str) -> None:
    """Check one file that is about to be read; of a run that is still being made, nothing.

    Raises:
        DamagedRun: If it is not the one that was recorded.
    """
    name = PurePosixPath(name).as_posix()
    if name == DONE or _is_passing(name) or not os.path.isfile(folder / DONE):
        return
    files = _files(folder, is_loading=True)
    if name in files:
        _check(folder, name, files[name], "loading")
    elif "files" in read_done(folder) and os.path.isfile(folder / name):
        raise damaged(folder, f"{name} is none of the files that it was made with")


def _files(folder: Path, *, is_loading: bool) -> Mapping[str, Any]:
    """The recorded files; none of a run of an older version, which is said when one is loaded."""
    done = read_done(folder)
    if "files" not in done and is_loading:
        _say_unchecked(folder.parents[1])
    return done.get("files", {})


@functools.cache
def _say_unchecked(root: Path) -> None:
    """Say it once for one folder of runs."""
    say(f"note: runs in '{root}' of an older version keep no hashes: their files are not checked")


def _check(folder: Path, name: str, known: Mapping[str, Any], depth: Depth) -> None:
    """Compare one file with what is known of it."""
    path = folder / name
    try:
        size = path.stat().st_size
        if size != known["size"]:
            raise damaged(folder, f"{name} has {size:,} bytes in place of {known['size']:,}")
        is_mapped = name.endswith(".npy") and size > LARGE
        if depth == "sizes" or (depth == "loading" and is_mapped):
            return
        found = _sha256(path)
    except FileNotFoundError:
        raise damaged(folder, f"{name} is missing") from None
    except OSError as error:
        raise damaged(folder, f"{name} cannot be read ({error.strerror})") from None
    if found != known["sha256"]:
        told = f"{name} has the SHA-256 {found[:12]}… in place of {known['sha256'][:12]}…"
        raise damaged(folder, told)


def damaged(folder: Path, fault: str) -> DamagedRun:
    """The error in one line.

    Args:
        folder: Of the run.
        fault: What is wrong with it.
    """
    return DamagedRun(
        f"run {folder.parent.name}/{folder.name} is damaged: {fault}. "
        f"Delete the folder '{folder}', and it is made again"
    )


def _is_passing(name: str) -> bool:
    """Whether a file passes through: it may come and go, and is no part of the run."""
    return any(part.startswith(".") for part in PurePosixPath(name).parts)


def _state(path: Path) -> tuple[int, ...]:
    """What changes when a file is written: size, times in ns, and its number on the disk."""
    stat = os.stat(path)
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def _sha256(path: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal characters; read once in a process unless it changes."""
    return _hashed(path, *_state(path))


@functools.lru_cache(maxsize=10_000)
def _hashed(path: Path, *state: int) -> str:
    del state  # only tells the cache that the file is another one
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
