"""A notebook as a batch run, through papermill (``kdnb study`` and ``kdnb sweep``)."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from jupyter_client import AsyncKernelManager
from traitlets import Dict
from traitlets.config import Config

from kdnb.core.errors import UserError
from kdnb.core.notebook_files import code_cells, load_json, source_of
from kdnb.core.progress import MARK, say
from kdnb.core.runs import Run, digest, find_run, get_or_make, run_of

__all__ = [
    "ProgressStream",
    "code_digest",
    "execute",
    "find_notebook",
    "load_papermill",
    "planned_notebook",
    "run_notebook",
]

OUTPUT_TIMEOUT = 60  # s for a kernel's last output: nbclient's own 4 s lose runs on a busy machine
SOURCES = (".py", ".js", ".css", ".j2")  # file types of the package that a result depends on


class LaunchKernelManager(AsyncKernelManager):
    """Starts its kernel with ``launch``.

    Unlike a change of ``os.environ``, that holds for one of several kernels.
    """

    launch = Dict(help="arguments of the kernel's process, such as cwd and env").tag(config=True)

    async def start_kernel(self, **options: Any) -> None:
        """Start it with ``launch``, too."""
        await super().start_kernel(**options, **self.launch)


class ProgressStream:
    """Where a kernel prints to: only lines of long work (`kdnb.core.progress.tell`) are shown."""

    def __init__(self) -> None:
        """With nothing held back yet."""
        self._unfinished = ""

    def write(self, text: str) -> None:
        """Pass on what belongs to long work; the beginning of a line waits for its end."""
        *lines, self._unfinished = (self._unfinished + text).split("\n")
        for line in lines:
            if line.startswith(MARK):
                say(line.rstrip())

    def flush(self) -> None:
        """Nothing but the beginning of a line is held back."""


def code_digest(notebook: Path) -> str:
    """Digest of what a notebook's result depends on besides its parameters.

    These are its code cells and the package's sources.
    """
    cells = [source_of(cell) for cell in code_cells(load_json(notebook))]
    package = Path(__file__).resolve().parents[1]
    sources = []
    for path in sorted(package.rglob("*")):
        is_hidden = any(part.startswith(".") for part in path.relative_to(package).parts)
        if path.suffix in SOURCES and not is_hidden:  # JupyterLab keeps copies in hidden folders
            sources.append(path.read_text("utf-8"))
    return digest([cells, sources])


def load_papermill() -> ModuleType:
    """papermill, loaded without a grammar of international addresses.

    jsonschema builds that grammar for seconds, in every process, and no notebook has a use for it:
    while papermill loads, the package is reported missing, which jsonschema allows for.
    """
    absent = sys.modules.setdefault("rfc3987_syntax", None) is None
    try:
        return importlib.import_module("papermill")
    finally:
        if absent:
            del sys.modules["rfc3987_syntax"]


def execute(
    notebook: Path,
    out: Path,
    parameters: Mapping[str, Any],
    *,
    environment: Mapping[str, str | None] | None = None,
    log: ProgressStream | None = None,
    start_timeout: int = 120,
    cell_timeout: int = 0,
) -> None:
    """Execute a notebook by papermill, in a kernel that starts in the notebook's folder.

    Args:
        notebook: What to execute.
        out: The executed copy, written after every cell.
        parameters: Injected by papermill.
        environment: Added to the environment of the kernel; None takes a variable away.
        log: Where the kernel's printed lines go besides the copy.
        start_timeout: Seconds that the kernel may take to start.
        cell_timeout: Seconds that a cell may take; 0 for no limit.

    Raises:
        papermill.exceptions.PapermillExecutionError: If a cell raised.
        nbclient.exceptions.CellTimeoutError: If a cell took too long.
        RuntimeError: If the kernel died or did not start.
    """
    papermill = load_papermill()
    kernel_log = out.with_suffix(".log")  # what the kernel's process says: why it died, if it did
    variables = {**os.environ, **(environment or {})}
    kept = {name: value for name, value in variables.items() if value is not None}
    with (
        kernel_log.open("wb") as file,
        tempfile.TemporaryDirectory(prefix="kdnb-", ignore_cleanup_errors=True) as sockets,
    ):
        options: dict[str, Any] = {
            "launch": {"cwd": str(notebook.parent), "env": kept, "stderr": file.fileno()}
        }
        if os.name == "posix":
            # sockets of its own: parallel kernels on TCP ports lose runs (papermill#511)
            options["transport"] = "ipc"
            options["ip"] = f"{sockets}/k"
        try:
            papermill.execute_notebook(
                str(notebook),
                str(out),
                dict(parameters),
                progress_bar=False,
                stdout_file=log,
                kernel_name="python3",
                language="python",
                kernel_manager_class=LaunchKernelManager,
                config=Config({"LaunchKernelManager": options}),
                start_timeout=start_timeout,
                execution_timeout=cell_timeout or None,
                iopub_timeout=OUTPUT_TIMEOUT,
            )
        except RuntimeError as error:  # nbclient's: the kernel is gone
            said = _last_line(kernel_log)
            last_words = f" (its last words: {said})" if said else ""
            raise RuntimeError(f"{error}{last_words}") from None
    kernel_log.unlink()


def _last_line(log: Path) -> str:
    """The last line that a kernel's process has said; empty if it has said nothing."""
    lines = log.read_text("utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def run_notebook(
    notebook: Path,
    parameters: Mapping[str, Any],
    root: Path,
    upstream: list[str],
    results_name: str | None = None,
) -> Run:
    """The executed notebook as a run (kind ``notebook``): executed now without widgets, or found.

    Args:
        notebook: What to execute.
        parameters: Injected by papermill.
        root: The folder of all runs.
        upstream: Ids (or hashes) of what the run is computed from.
        results_name: Names the folder for tables and pictures, so that several notebooks write into
            one.

    Raises:
        UserError: If a cell failed; the message is the cell's last line and the path of the
            executed copy.
    """
    load_papermill()
    from papermill.exceptions import PapermillExecutionError

    def make(run: Run) -> None:
        out = run.path(notebook.name)
        try:
            execute(
                notebook,
                out,
                parameters,
                log=ProgressStream(),
                environment={"KDNB_LIVE": "0", "KDNB_STUDY": results_name},
            )
        except PapermillExecutionError as error:
            kept = root / "failed" / notebook.name
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(out, kept)
            raise UserError(
                f"{notebook.stem}: {error.ename}: {error.evalue} (executed copy: {kept})"
            ) from None
        except RuntimeError as error:  # nbclient's: the kernel is gone
            raise UserError(
                f"{notebook.stem}: {error}: perhaps out of memory, so take a smaller image_size or "
                "batch_size; the same command goes on"
            ) from None

    return get_or_make("notebook", _spec(notebook, parameters), make, root=root, upstream=upstream)


def find_notebook(
    notebook: Path, parameters: Mapping[str, Any], root: Path, upstream: list[str]
) -> Run | None:
    """The finished run that `run_notebook` would find, or None; nothing is executed."""
    return find_run("notebook", _spec(notebook, parameters), root=root, upstream=upstream)


def planned_notebook(
    notebook: Path, parameters: Mapping[str, Any], root: Path, upstream: list[str]
) -> Run:
    """The run that `run_notebook` would find or make, whether it is there or not."""
    return run_of("notebook", _spec(notebook, parameters), root=root, upstream=upstream)


def _spec(notebook: Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What an executed notebook depends on."""
    return {
        "notebook": notebook.stem,
        "parameters": dict(parameters),
        "code": code_digest(notebook),
    }
