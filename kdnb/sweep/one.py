"""One run of a sweep: a notebook executed in a folder of its own, whoever asks for it (``kdnb sweep run-one``)."""

import errno
import os
import re
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from kdnb.batch import Progress, code_digest, execute, load_papermill
from kdnb.errors import UserError
from kdnb.notebook_files import parameters_of
from kdnb.runs import Run, get_or_make, write_json
from kdnb.sweep.spec import Spec

__all__ = ["Outcome", "forget_failure", "one_gpu", "run_one", "visible_gpus"]

FULL = (errno.ENOSPC, errno.EDQUOT)
SPARE = 2**20  # bytes: with less left, whatever a library says, the disk was full
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True)
class Outcome:
    """How a run ended: ``done`` now, ``found`` done, ``failed`` with an error of its own, or ``killed`` too often.

    The next call tries a killed run again, and no failed one.
    """

    id: str
    state: Literal["done", "found", "failed", "killed"]
    seconds: float = 0.0
    message: str = ""  #: the error in one line, and where the executed notebook lies


class _Ended(Exception):
    """The run will not be done by this call: state and message of its outcome."""


def run_one(spec: Spec, threads: int = 0, log: Progress | None = None) -> Outcome:
    """Make one run, or find it: safe to call for the same run from any number of processes at once.

    ``<root>/sweep/<id>/`` then holds ``results/`` (the executed notebook, and what it wrote to the folder in the
    environment variable ``KDNB_STUDY``) and ``done.json``; or ``failed.json`` and ``failed.ipynb``.

    Args:
        spec: The run.
        threads: Threads that the kernel may use; 0 leaves it to the environment.
        log: Where the kernel's long work is told.

    Raises:
        UserError: If no run could work: the disk is full, or the code is another than the plan's.
    """
    run = spec.run
    if run.path("done.json").is_file():
        return Outcome(run.id, "found")
    if code_digest(Path(spec.notebook)) != spec.code:
        raise UserError(f"the code of '{Path(spec.notebook).name}' or of kdnb is not the plan's: plan and run again")
    start = time.perf_counter()
    try:
        made = get_or_make(run.kind, spec.content, partial(_make, spec, threads, log), root=Path(spec.root),
                           upstream=spec.upstream)  # fmt: skip
    except _Ended as error:
        state, message = error.args
        return Outcome(run.id, state, time.perf_counter() - start, message)
    except UserError:
        raise
    except Exception as error:  # whatever it is, it stops no other run
        if isinstance(error, OSError) and error.errno in FULL:
            raise UserError(f"the disk of '{spec.root}' is full ({os.strerror(error.errno)}): free some space and run "
                            "again, which goes on where it stopped") from None  # fmt: skip
        return Outcome(run.id, "killed", time.perf_counter() - start, f"{type(error).__name__}: {error}")
    return Outcome(run.id, "found" if made.reused else "done", made.seconds)


def forget_failure(run: Run) -> bool:
    """Let a failed run be tried again; returns whether it had failed."""
    there = run.path("failed.json").is_file()
    for name in ("failed.json", "failed.ipynb"):
        run.path(name).unlink(missing_ok=True)
    return there


def _make(spec: Spec, threads: int, log: Progress | None, run: Run) -> None:
    if run.path("failed.json").is_file():  # another process tried it while this one waited
        raise _Ended("failed", run.json("failed.json")["message"])
    for left in run.folder.glob("attempt-*"):  # of a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    for number in range(1, spec.attempts + 1):
        try:
            return _attempt(spec, threads, log, run)
        except RuntimeError as error:  # nbclient's DeadKernelError is one; so is a kernel that never answers
            if number == spec.attempts:
                reason = str(error).strip().partition("\n")[0]
                told = f"{reason} ({number} attempts): out of memory? The next call tries again"
                raise _Ended("killed", told) from None


def _attempt(spec: Spec, threads: int, log: Progress | None, run: Run) -> None:
    """Execute in a new folder, which becomes ``results`` in one step: what a killed attempt still writes is nowhere."""
    load_papermill()
    from nbclient.exceptions import CellTimeoutError
    from papermill.exceptions import PapermillExecutionError

    notebook, folder = Path(spec.notebook), run.path(f"attempt-{uuid.uuid4().hex[:8]}")
    parameters = spec.parameters | ({"runs_dir": spec.root} if "runs_dir" in parameters_of(notebook) else {})
    own = {"KDNB_LIVE": "0", "KDNB_STUDY": str(folder)}
    if threads:
        own |= dict.fromkeys(THREAD_VARIABLES, str(threads))
    folder.mkdir()
    try:
        with one_gpu(visible_gpus()) as gpu:
            execute(notebook, folder / notebook.name, parameters, environment=own | gpu, log=log,
                    start_timeout=spec.start_timeout, cell_timeout=spec.cell_timeout)  # fmt: skip
        shutil.rmtree(run.path("results"), ignore_errors=True)
        os.replace(folder, run.path("results"))
    except PapermillExecutionError as error:
        told = f"{error.ename}: {error.evalue}"
        if any(os.strerror(number) in told for number in FULL) or shutil.disk_usage(folder).free < SPARE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
        _fail(run, folder / notebook.name, told, error.traceback)
    except CellTimeoutError:
        _fail(run, folder / notebook.name, f"TimeoutError: a cell took more than {spec.cell_timeout} s", [])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fail(run: Run, executed: Path, told: str, traceback: list[str]) -> None:
    """Keep the executed notebook and the error's last lines."""
    kept = run.path("failed.ipynb")
    os.replace(executed, kept)
    lines = [line for part in traceback for line in COLOUR.sub("", part).splitlines() if line.strip()]
    message = f"{' '.join(told.split())} (executed copy: {kept})"
    write_json(run.path("failed.json"), {"message": message, "last_lines": lines[-8:], "failed": time.time()})
    raise _Ended("failed", message)


@contextmanager
def one_gpu(gpus: tuple[str, ...]) -> Iterator[Mapping[str, str]]:
    """Hold one of several GPUs of this machine while a run lasts; a free one as long as there is one.

    Locks of files, so that it works for any number of processes whoever started them; a dead process holds none.
    """
    if len(gpus) < 2:
        yield {}
        return
    chosen = gpus[os.getpid() % len(gpus)]  # where there are more runs than GPUs they share
    with ExitStack() as stack:
        for gpu in gpus:
            name = re.sub(r"\W", "-", gpu)
            with suppress(Timeout, OSError):  # held, or another user's file
                stack.enter_context(FileLock(Path(tempfile.gettempdir(), f"kdnb-gpu-{name}.lock"), timeout=0))
                chosen = gpu
                break
        yield {"CUDA_VISIBLE_DEVICES": chosen}


@cache
def visible_gpus() -> tuple[str, ...]:
    """Names of the NVIDIA GPUs that this process may use, found without loading torch."""
    if (named := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return tuple(filter(None, named.split(",")))
    command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        return tuple(subprocess.check_output(command, stderr=subprocess.DEVNULL, text=True, timeout=60).split())
    except (OSError, subprocess.SubprocessError):
        return ()
