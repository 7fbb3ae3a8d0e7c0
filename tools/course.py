"""The course: copies for students, for the instructor and for nbgrader (``make course``)."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from kdnb.core.notebook_files import Notebook, load_json, notebooks
from kdnb.core.runs import atomic_path
from kdnb.core.settings import Settings, project_root
from tools import run_command
from tools.exercises import exercises, naming
from tools.studies import changed_cells, finished_study, is_finished

__all__ = ["build", "build_slides", "newest_study"]

CONFIG = '''"""A course directory of nbgrader, written by `make course`: call nbgrader here.

Before you teach, copy the folder to a place of its own: `make clean` removes what was built.
"""

import os
import sys

sys.path.insert(0, {root!r})  # the project, where the stubs come from
from tools.copies import release_steps

# nbgrader calls alembic by its name, which lies beside Python in an environment
os.environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]
os.environ["KDNB_LIVE"] = "0"  # while grading, no live widgets: they add megabytes to a notebook

c = get_config()  # noqa: F821 - nbgrader gives it
c.CourseDirectory.course_id = "kdnb"
c.GenerateAssignment.preprocessors = release_steps()
c.Execute.timeout = 1800  # seconds that a cell may take: the first submission trains the networks
c.Execute.iopub_timeout = 60  # seconds that a cell's last output may take on a busy machine
'''


def build(
    committed: list[Path], out: Path, executed: Mapping[str, Notebook] | None = None
) -> list[Path]:
    """Write ``out/student``, ``out/instructor`` and ``out/nbgrader`` from the committed notebooks.

    The same input gives the same bytes. ``out/nbgrader`` is a course directory with one assignment
    for each notebook that has exercises; what nbgrader keeps there is left alone.

    Args:
        committed: The study's notebooks; run times come from ``times.toml`` beside them.
        out: The folder to write to.
        executed: The executed notebooks by their names, from `finished_study`, for the output that
            the instructor expects.

    Returns:
        Paths of the notebooks that were written.

    Raises:
        UserError: If a notebook cannot be read, or an exercise has a fault; nothing is written
            then.
    """
    from tools.copies import instructor_copy, nbgrader_copy, student_copy  # loads for seconds

    file = committed[0].parent / "times.toml"
    times = tomllib.loads(file.read_text("utf-8")) if file.is_file() else {}
    copies = {}
    for path in committed:
        stem = path.stem
        notebook = load_json(path)
        ran = executed[path.name] if executed else {"cells": []}
        copies[out / "student" / path.name] = student_copy(notebook, stem, times)
        copies[out / "instructor" / path.name] = instructor_copy(notebook, stem, times, ran)
        if exercises(notebook):
            source = out / "nbgrader" / "source" / stem / path.name
            copies[source] = nbgrader_copy(notebook, stem, times)
    for target, copy in copies.items():
        _write(target, _text(copy))
    _write(out / "nbgrader" / "nbgrader_config.py", CONFIG.format(root=str(project_root())))
    return list(copies)


def build_slides(
    committed: list[Path], out: Path, executed: Mapping[str, Notebook] | None = None
) -> list[Path]:
    """Write ``out/slides``: one page for each session, with pictures where it was executed.

    Args:
        committed: The study's notebooks; a session is one with exercises.
        out: The folder to write to.
        executed: The executed notebooks by their names, from `finished_study`, for the pictures.

    Returns:
        Paths of the pages.

    Raises:
        UserError: If a notebook cannot be read, or an exercise has a fault.
    """
    from tools.copies import instructor_copy  # loads for seconds
    from tools.slides import copy_reveal, slides_of

    folder = out / "slides"
    copy_reveal(folder)
    written = []
    for path in committed:
        notebook = load_json(path)
        with naming(path.stem):
            has_exercises = bool(exercises(notebook))
        if not has_exercises:
            continue
        ran = executed[path.name] if executed else {"cells": []}
        whole = instructor_copy(notebook, path.stem, {}, ran)
        _write(folder / f"{path.stem}.html", slides_of(whole, path.stem))
        written.append(folder / f"{path.stem}.html")
    return written


def newest_study(runs: Path) -> Path | None:
    """The folder of the newest finished study with all notebooks, or None."""
    names = [path.name for path in notebooks()]
    folders = [folder for folder in (runs / "study").glob("*/") if (folder / names[-1]).is_file()]
    folders.sort(key=lambda folder: (folder / names[-1]).stat().st_mtime, reverse=True)
    return next((folder for folder in folders if is_finished(folder, names)), None)


def _text(notebook: Notebook) -> str:
    """A notebook file's text, with the sources as lists of lines, as Jupyter writes them."""
    cells = []
    for cell in notebook["cells"]:
        cells.append({**cell, "source": cell["source"].splitlines(keepends=True)})
    whole = {**notebook, "cells": cells}
    return json.dumps(whole, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _write(target: Path, text: str) -> None:
    with atomic_path(target) as temporary:
        temporary.write_text(text, "utf-8")


def main(
    executed: Annotated[
        str,
        typer.Option(
            help="folder of a finished study, for expected output and slides; "
            "empty: the newest in runs/; none: without"
        ),
    ] = "",
    out: Annotated[str, typer.Option(help="folder to write to; empty: build/course")] = "",
) -> None:
    """Write copies for students and the instructor, slides, and a course directory for nbgrader."""
    folder = Path(out) if out else project_root() / "build" / "course"
    ran = Path(executed) if executed else newest_study(Settings.checked({}).runs)
    if executed == "none":
        ran = None
    committed = notebooks()
    copies = finished_study(ran, [path.name for path in committed]) if ran else {}
    written = build(committed, folder, copies)
    slides = build_slides(committed, folder, copies)
    assignments = [path for path in written if path.parents[1].name == "source"]
    print(f"{len(written)} notebooks in {folder}/student, {folder}/instructor and nbgrader/source")
    print(f"{folder}/nbgrader: a course directory of nbgrader with {len(assignments)} assignments")
    print(f"{folder}/slides: {len(slides)} pages, which open without a network")
    if ran is None:
        print("no output and no pictures: run `make study` first, or EXECUTED=runs/study/<a study>")
        return
    print(f"output and pictures are those of {ran}")
    changed = sum(len(changed_cells(load_json(path), copies[path.name])) for path in committed)
    if changed:
        print(f"no output: {changed} code cells, whose code has changed since; run `make study`")


if __name__ == "__main__":
    run_command(main)
