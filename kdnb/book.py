"""The book: a searchable site that needs no network, from executed notebooks, documents and docstrings (``kdnb book``).

The pages keep their places in the project, so that a link that works there works in the book too.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kdnb.batch import notebooks, run_notebooks
from kdnb.course.building import code_cells, source_of, tags_of
from kdnb.errors import UserError
from kdnb.runs import read_json
from kdnb.settings import Settings, project_root

__all__ = ["build_book", "executed_study"]

SOURCES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "data/README.md", "docs", "figures/audit", "figures/results")
LAUNCH = re.compile(r"<!-- launch.*?<!-- /launch -->\n?", re.DOTALL)  # pictures that would be loaded from the network
INJECTED = "injected-parameters"  # papermill's tag of the cell that it puts in
COMMAND = "from jupyter_book.cli.main import main; main()"


def executed_study(settings: Settings, explicit: Mapping[str, Any]) -> Path:
    """The folder with the executed notebooks of these settings; the study runs first where one is missing."""
    from kdnb.study import Study  # torch loads for seconds

    folder = Study(settings).results.folder
    if all((folder / notebook.name).is_file() for notebook in notebooks()):
        return folder
    return run_notebooks(settings, explicit)[0].parent


def build_book(executed: Path, out: Path) -> Path:
    """Build the book of a folder's executed notebooks, every warning an error; returns its first page.

    The book that is in ``out`` is replaced once the new one is whole.

    Raises:
        UserError: If jupyter-book is not installed, a page has a fault, or ``out`` holds something that is no book.
    """
    if find_spec("jupyter_book") is None:
        raise UserError("the book needs jupyter-book: pip install -e '.[book]' (make book does it)")
    if out.exists() and not (out / "searchindex.js").is_file():
        raise UserError(f"'{out}' is there and no book: name another folder, or remove it")
    with tempfile.TemporaryDirectory(prefix="kdnb-book-") as folder:
        _collect(Path(folder), executed)
        site = _build(Path(folder))
        shutil.rmtree(out, ignore_errors=True)
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(site, out)
    return out / "index.html"


def _collect(source: Path, executed: Path) -> None:
    """Put all pages into ``source``."""
    for name in SOURCES:
        origin, copy = project_root() / name, source / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(origin, copy) if origin.is_dir() else shutil.copy(origin, copy)
    readme = source / "README.md"
    readme.write_text(LAUNCH.sub("", readme.read_text("utf-8")), "utf-8")
    copies = [executed / notebook.name for notebook in notebooks() if (executed / notebook.name).is_file()]
    (source / "notebooks").mkdir()
    for copy in copies:
        (source / "notebooks" / copy.name).write_text(_page(read_json(copy), executed), "utf-8")
    (source / "docs/book/status.md").write_text(_status(copies, executed), "utf-8")


def _page(notebook: dict[str, Any], executed: Path) -> str:
    """An executed notebook as a page: what papermill put in is folded, and no folder of this machine is named."""
    for cell in notebook["cells"]:
        if INJECTED in tags_of(cell):
            tags_of(cell).append("hide-cell")
    text = json.dumps(notebook, indent=1)
    for folder, name in ((executed.parents[1], "runs"), (project_root(), ".")):
        text = text.replace(json.dumps(str(folder))[1:-1], name)  # as JSON escapes it, without its quotes
    return text


def _status(copies: list[Path], executed: Path) -> str:
    """The page that says when each notebook ran, for how long, and with what."""
    rows, machines = [], {}
    for copy in copies:
        notebook, original = read_json(copy), read_json(project_root() / "notebooks" / copy.name)
        ran = notebook["metadata"]["papermill"]
        env = read_json(executed.parents[1] / "notebook" / Path(ran["output_path"]).parent.name / "env.json")
        fresh = "yes" if _code(notebook) == _code(original) else "no"
        rows.append((f"[{copy.stem}](../../notebooks/{copy.name})", ran["end_time"][:16].replace("T", " "),
                     f"{ran['duration']:.0f}", ran["parameters"].get("profile", ""), env["commit"], fresh))  # fmt: skip
        told = {name: env[name] for name in ("python", "platform", "processor", "cores")} | env["packages"]
        machines |= {name: machines.get(name, []) + [str(value)] for name, value in told.items()}
    head = ("notebook", "finished (UTC)", "seconds", "profile", "commit", "code as it is now")
    versions = [(name, ", ".join(dict.fromkeys(values))) for name, values in machines.items()]
    return (
        "# Status\n\nWhen each notebook of this book ran, for how long, and with what. What was made before is reused:"
        " a later run takes fewer seconds.\n\n"
        f"## Notebooks\n\n{_table(head, rows)}\n\n## Versions and machine\n\n{_table(('what', 'found'), versions)}\n"
    )


def _code(notebook: Mapping[str, Any]) -> list[str]:
    return [source_of(cell) for cell in code_cells(notebook) if INJECTED not in tags_of(cell)]


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ("---",) * len(head), *rows))


def _build(source: Path) -> Path:
    """Call jupyter-book; returns the folder of the site."""
    config = [f"--config={source}/docs/book/_config.yml", f"--toc={source}/docs/book/_toc.yml"]
    command = [sys.executable, "-c", COMMAND, "build", str(source), *config, "-W", "--keep-going", "-q"]
    places = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": places})
    if done.returncode:
        told = [line for line in (done.stdout + done.stderr).splitlines() if re.search("WARNING|ERROR|Error", line)]
        raise UserError(f"the book has faults: {'; '.join(told[:10]) or done.stderr[-500:]}".replace(str(source), "."))
    return source / "_build/html"
