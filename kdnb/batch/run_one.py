"""One run of a sweep: a notebook executed in a folder of its own, whoever asks for it.

``kdnb sweep run-one`` makes one; a sweep of many calls the same function.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
import uuid
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from kdnb.batch.papermill_runs import ProgressStream, code_digest, execute, load_papermill
from kdnb.batch.run_spec import SweepSpec
from kdnb.core.errors import DamagedRun, UserError
from kdnb.core.notebook_files import parameters_of
from kdnb.core.run_files import FAILED
from kdnb.core.runs import Run, get_or_make, write_json

__all__ = ["Outcome", "forget_failure", "run_one"]

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
LEAST_FREE = 2**20  # bytes: with less left, whatever a library says, the disk was full
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
LAST_LINES = 8  # of an error that are kept


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    ``done`` now, ``found`` done, ``failed`` with an error of its own, ``killed`` too often, or
    ``damaged`` since it was done. The next call tries a killed run again, and no other one.
    """

    id: str
    state: Literal["done", "found", "failed", "killed", "damaged"]
    seconds: float = 0.0
    message: str = ""  #: the error in one line, and where the executed notebook lies


class _Ended(Exception):
    """The run will not be done by this call."""

    def __init__(self, state: Literal["failed", "killed"], message: str) -> None:
        super().__init__(message)
        self.state = state
        self.message = message


def run_one(spec: SweepSpec, threads: int = 0, log: ProgressStream | None = None) -> Outcome:
    """Make one run, or find it: safe for the same run from any number of processes at once.

    ``<root>/sweep/<id>/`` then holds ``results/`` (the executed notebook, and what it wrote to the
    folder in the environment variable ``KDNB_STUDY``) and ``done.json``; or ``failed.json`` and
    ``failed.ipynb``.

    Args:
        spec: The run.
        threads: Threads that the kernel may use; 0 leaves it to the environment.
        log: Where the kernel's long work is told.

    Raises:
        UserError: If no run could work: the disk is full, or the code is another than the plan's.
    """
    run = spec.run
    if run.damage:
        return Outcome(id=run.id, state="damaged", message=run.damage)
    if run.ended:
        return Outcome(id=run.id, state="found")
    notebook = Path(spec.notebook)
    if code_digest(notebook) != spec.code:
        raise UserError(
            f"the code of '{notebook.name}' or of kdnb is not the plan's: plan and run again"
        )
    start = time.perf_counter()
    try:
        made = get_or_make(
            run.kind,
            spec.content,
            partial(_make, spec, threads, log),
            root=Path(spec.root),
            upstream=spec.upstream,
        )
    except _Ended as end:
        seconds = time.perf_counter() - start
        return Outcome(id=run.id, state=end.state, seconds=seconds, message=end.message)
    except DamagedRun as error:  # another process made it meanwhile
        return Outcome(id=run.id, state="damaged", message=str(error))
    except UserError:
        raise
    except Exception as error:  # whatever it is, it stops no other run
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            raise UserError(
                f"the disk of '{spec.root}' is full ({os.strerror(error.errno)}): "
                "free some space and run again, which goes on where it stopped"
            ) from None
        seconds = time.perf_counter() - start
        message = f"{type(error).__name__}: {error}"
        return Outcome(id=run.id, state="killed", seconds=seconds, message=message)
    return Outcome(id=run.id, state="found" if made.reused else "done", seconds=made.seconds)


def forget_failure(run: Run) -> bool:
    """Let a failed run be tried again; returns whether it had failed."""
    had_failed = (run.folder / FAILED).is_file()
    for name in (FAILED, "failed.ipynb"):
        (run.folder / name).unlink(missing_ok=True)
    return had_failed


def _make(spec: SweepSpec, threads: int, log: ProgressStream | None, run: Run) -> None:
    """Execute the notebook, again where its kernel died.

    Raises:
        _Ended: If it failed, or its kernel died each time.
    """
    if run.path(FAILED).is_file():  # another process tried it while this one waited
        raise _Ended("failed", run.json(FAILED)["message"])
    for left in run.folder.glob("attempt-*"):  # of a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    for number in range(1, spec.attempts + 1):
        try:
            _attempt(spec, threads, log, run)
            return
        except RuntimeError as error:  # nbclient's DeadKernelError; also a kernel that is mute
            if number == spec.attempts:
                reason = str(error).strip().partition("\n")[0]
                message = f"{reason} ({number} attempts): out of memory? The next call tries again"
                raise _Ended("killed", message) from None


def _attempt(spec: SweepSpec, threads: int, log: ProgressStream | None, run: Run) -> None:
    """Execute in a new folder, which becomes ``results`` in one step.

    So what a killed attempt still writes is nowhere.

    Raises:
        _Ended: If the notebook failed.
        OSError: If the disk is full.
        RuntimeError: If the kernel died or did not start.
    """
    load_papermill()
    from nbclient.exceptions import CellTimeoutError
    from papermill.exceptions import PapermillExecutionError

    notebook = Path(spec.notebook)
    folder = run.path(f"attempt-{uuid.uuid4().hex[:8]}")
    executed = folder / notebook.name
    parameters = dict(spec.parameters)
    if "runs_dir" in parameters_of(notebook):
        parameters["runs_dir"] = spec.root
    environment = {"KDNB_LIVE": "0", "KDNB_STUDY": str(folder)}
    if threads:
        environment |= dict.fromkeys(THREAD_VARIABLES, str(threads))
    folder.mkdir()
    try:
        execute(
            notebook,
            executed,
            parameters,
            environment=environment,
            log=log,
            start_timeout=spec.start_timeout,
            cell_timeout=spec.cell_timeout,
        )
        shutil.rmtree(run.path("results"), ignore_errors=True)
        os.replace(folder, run.path("results"))
    except PapermillExecutionError as error:
        told = f"{error.ename}: {error.evalue}"
        if _disk_is_full(told, folder):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
        _fail(run, executed, told, error.traceback)
    except CellTimeoutError:
        told = f"TimeoutError: a cell took more than {spec.cell_timeout} s"
        _fail(run, executed, told, traceback=[])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _disk_is_full(told: str, folder: Path) -> bool:
    """Whether an error of the notebook is the disk's."""
    if any(os.strerror(number) in told for number in DISK_FULL):
        return True
    return shutil.disk_usage(folder).free < LEAST_FREE


def _fail(run: Run, executed: Path, told: str, traceback: list[str]) -> None:
    """Keep the executed notebook and the error's last lines.

    Raises:
        _Ended: Always.
    """
    kept = run.path("failed.ipynb")
    os.replace(executed, kept)
    lines = COLOUR.sub("", "\n".join(traceback)).splitlines()
    filled = [line for line in lines if line.strip()]
    message = f"{' '.join(told.split())} (executed copy: {kept})"
    write_json(
        run.path(FAILED),
        {"message": message, "last_lines": filled[-LAST_LINES:], "failed": time.time()},
    )
    raise _Ended("failed", message)
