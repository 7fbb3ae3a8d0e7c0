"""The book: a searchable site from executed notebooks, documents and docstrings (``make book``).

It needs no network. The pages keep their places in the project, so that a link that works there
works in the book too.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from kdnb.cli.options import Data, Dataset, ProfileName, RunsDir, Seed, Split, study_values
from kdnb.core.errors import UserError
from kdnb.core.notebook_files import INJECTED, Notebook, code_cells, notebooks, source_of, tags_of
from kdnb.core.runs import read_json
from kdnb.core.settings import Settings, project_root
from tools import run_command
from tools.studies import environment_of, finished_study, is_finished

__all__ = ["build_book", "executed_study"]

SOURCES = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "data/README.md",
    "docs",
    "figures/audit",
    "figures/difficulty",
    "figures/results",
    "figures/teachers",
)
LAUNCH = re.compile(r"<!-- launch.*?<!-- /launch -->\n?", re.DOTALL)  # pictures from the network
COMMAND = "from jupyter_book.cli.main import main; main()"
FEATURE_MAPS = "04_feature_maps.ipynb"
STEPPED = 4  # images of the stepper's page: each takes its place in the file
STEPPER = """\
# Step through the layers

The layer stepper of notebook 04 as a page of its own. It needs no kernel and no network.

{said}
"""
STEPPER_LINK = """\
<a href="../../stepper.html">Open the layer stepper</a>: arrow keys change the layer and the \
image, letters choose the map. Cut a channel, cover a patch, and watch probabilities and logits.
"""
NO_STEPPER = "This book was made without notebook 04, so the stepper's page is not in it."
STATUS = """\
# Status

When each notebook of this book ran, for how long, and with what. What was made before is reused: \
a later run takes fewer seconds.

## Notebooks

{notebooks}

## Versions and machine

{versions}
"""


def executed_study(settings: Settings) -> Path:
    """The folder of these settings' executed notebooks; the study runs where it is not finished."""
    from kdnb.study.study import Study  # torch loads for seconds
    from kdnb.study.whole_study import run_notebooks

    folder = Study(settings).results.folder
    if is_finished(folder, [notebook.name for notebook in notebooks()]):
        return folder
    report, _ = run_notebooks(settings, {})
    return report.parent


def build_book(executed: Path, out: Path) -> Path:
    """Build the book of a folder's executed notebooks; every warning is an error.

    The book that is in ``out`` is replaced once the new one is whole.

    Returns:
        The book's first page.

    Raises:
        UserError: If jupyter-book is not installed, a page has a fault, or ``out`` holds something
            that is no book.
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
        origin = project_root() / name
        copy = source / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if origin.is_dir():
            shutil.copytree(origin, copy)
        else:
            shutil.copy(origin, copy)
    readme = source / "README.md"
    readme.write_text(LAUNCH.sub("", readme.read_text("utf-8")), "utf-8")
    (source / "notebooks").mkdir()
    copies = []
    for notebook in notebooks():
        copy = executed / notebook.name
        if copy.is_file():
            copies.append(copy)
            page = source / "notebooks" / copy.name
            page.write_text(_page(read_json(copy), executed), "utf-8")
    (source / "docs/book/status.md").write_text(_status(copies, executed), "utf-8")
    extra = source / "docs/book/extra"
    extra.mkdir()
    made = stepper_page(executed / FEATURE_MAPS, extra / "stepper.html")
    said = STEPPER.format(said=STEPPER_LINK if made else NO_STEPPER)
    (source / "docs/book/stepper.md").write_text(said, "utf-8")


def stepper_page(copy: Path, out: Path) -> bool:
    """Write the layer stepper of a study as a page, from notebook 04's executed ``copy``.

    It shows the networks that the notebook read and the first images that it explained.

    Returns:
        Whether there is such a copy, and so a page.
    """
    if not copy.is_file():
        return False
    from kdnb.study.study import Study  # torch loads for seconds
    from kdnb.widgets.layer_maps import stepper_data
    from kdnb.widgets.page import to_html

    given = read_json(copy)["metadata"]["papermill"]["parameters"]
    known = {name: value for name, value in given.items() if name in Settings.model_fields}
    study = Study(Settings.checked(known))
    rows = study.explained[:STEPPED]
    data = stepper_data(
        study.student_model,
        study.teacher_model,
        study.images(rows),
        study.pixels(rows),
        study.targets(rows),
        study.image_set.classes,
        titles=study.image_set.table["image_id"].iloc[rows].tolist(),
        masks=study.masks(rows),
    )
    to_html(data, out)
    return True


def _page(notebook: Notebook, executed: Path) -> str:
    """An executed notebook as a page: no folder of this machine, papermill's cell folded."""
    for cell in notebook["cells"]:
        if INJECTED in tags_of(cell):
            tags_of(cell).append("hide-cell")
    text = json.dumps(notebook, indent=1)
    names = {str(executed.parents[1]): "runs", str(project_root()): "."}
    data = notebook["metadata"].get("papermill", {}).get("parameters", {}).get("data", "")
    if Path(data).is_absolute():
        names[data] = Path(data).name
    for folder, name in names.items():
        text = text.replace(json.dumps(folder)[1:-1], name)  # as JSON escapes it, unquoted
    return text


def _status(copies: list[Path], executed: Path) -> str:
    """The page that says when each notebook ran, for how long, and with what."""
    rows = []
    machines: dict[str, list[str]] = {}
    for copy in copies:
        notebook = read_json(copy)
        original = read_json(project_root() / "notebooks" / copy.name)
        ran = notebook["metadata"]["papermill"]
        env = environment_of(executed, copy.name, notebook)
        row = (
            f"[{copy.stem}](../../notebooks/{copy.name})",
            ran["end_time"][:16].replace("T", " "),
            f"{ran['duration']:.0f}",
            ran["parameters"].get("profile", ""),
            env["commit"],
            "yes" if _code(notebook) == _code(original) else "no",
        )
        rows.append(row)
        told = {name: env[name] for name in ("python", "platform", "processor", "cores")}
        for name, value in (told | env["packages"]).items():
            machines.setdefault(name, []).append(str(value))
    versions = [(name, ", ".join(dict.fromkeys(values))) for name, values in machines.items()]
    head = ("notebook", "finished (UTC)", "seconds", "profile", "commit", "code as it is now")
    return STATUS.format(notebooks=_table(head, rows), versions=_table(("what", "found"), versions))


def _code(notebook: Notebook) -> list[str]:
    return [source_of(cell) for cell in code_cells(notebook) if INJECTED not in tags_of(cell)]


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = []
    for row in (head, ("---",) * len(head), *rows):
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def _build(source: Path) -> Path:
    """Call jupyter-book; returns the folder of the site."""
    config = [f"--config={source}/docs/book/_config.yml", f"--toc={source}/docs/book/_toc.yml"]
    options = ["-W", "--keep-going", "-q"]
    command = [sys.executable, "-c", COMMAND, "build", str(source), *config, *options]
    places = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        lines = (done.stdout + done.stderr).splitlines()
        told = [line for line in lines if re.search("WARNING|ERROR|Error", line)]
        faults = "; ".join(told[:10]) or done.stderr[-500:]
        raise UserError(f"the book has faults: {faults}".replace(str(source), "."))
    return source / "_build/html"


def _executed_folder(folder: Path) -> Path:
    """A folder that the user names; its notebooks, all or some, must be those of a study."""
    folder = folder.resolve()
    names = [notebook.name for notebook in notebooks() if (folder / notebook.name).is_file()]
    if not names:
        raise UserError(
            f"'{folder}' holds no executed notebook: "
            "give the folder of a finished study, runs/study/…"
        )
    for name, copy in finished_study(folder, names).items():
        environment_of(folder, name, copy)  # the page of status shows it
    return folder


def main(
    executed: Annotated[
        str, typer.Option(help="folder of a finished study; empty: that of the settings")
    ] = "",
    dataset: Dataset = "phantom_brain",
    data: Data = "",
    profile: ProfileName = "quick",
    seed: Seed = 0,
    split: Split = "",
    runs_dir: RunsDir = "",
) -> None:
    """Build the book of a study's executed notebooks; where there are none, the study runs."""
    settings = Settings.checked(study_values(dataset, data, profile, seed, split, runs_dir))
    folder = _executed_folder(Path(executed)) if executed else executed_study(settings)
    print(f"book: {build_book(folder, settings.runs / 'book' / folder.name)}")


if __name__ == "__main__":
    run_command(main)
