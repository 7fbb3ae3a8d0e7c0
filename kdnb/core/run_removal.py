"""Removing what was computed, safely (``kdnb runs remove``)."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from filelock import FileLock, Timeout

from kdnb.core.errors import UserError
from kdnb.core.run_files import DONE, lock_of
from kdnb.core.run_list import DATA_KINDS, Entry, builders

__all__ = ["folders_of", "remove_folders", "require_unused"]

NAMED = 5  # of what builds on a run, in a message


def require_unused(known: Sequence[Entry], chosen: Sequence[Entry]) -> None:
    """Refuse what others build on that are not removed with it.

    Raises:
        UserError: It names them.
    """
    going = {entry.name for entry in chosen}
    for entry in chosen:
        built = [other for other in builders(list(known), entry) if other.name not in going]
        if not built:
            continue
        names = ", ".join(other.name for other in built[:NAMED])
        more = f" and {len(built) - NAMED} more" if len(built) > NAMED else ""
        verb = "may be" if entry.kind in DATA_KINDS else "are" if len(built) > 1 else "is"
        raise UserError(
            f"{names}{more} {verb} built on {entry.name}: remove them with it (--dependents), or "
            "it alone (--anyway)"
        )


def folders_of(chosen: Sequence[Entry]) -> list[Path]:
    """The folders that go: those of the entries, and of the notebook runs of studies."""
    folders: dict[Path, None] = {}
    for entry in chosen:
        folders.update(dict.fromkeys((entry.folder, *entry.parts)))
    return list(folders)


def remove_folders(folders: Sequence[Path]) -> None:
    """Delete folders of runs and studies; one that a process fills is refused, before any goes.

    ``done.json`` goes first: what an interrupted removal leaves counts as unfinished.

    Raises:
        UserError: If one is in use, or cannot be deleted.
    """
    try:
        with ExitStack() as held:
            for folder in folders:
                held.enter_context(FileLock(lock_of(folder), timeout=0))
            for folder in folders:
                (folder / DONE).unlink(missing_ok=True)
                shutil.rmtree(folder)
    except Timeout as error:
        raise UserError(
            f"another process holds '{error.lock_file}': nothing was removed, wait until it ends"
        ) from None
    except OSError as error:
        raise UserError(f"'{error.filename}' cannot be removed ({error.strerror})") from None
