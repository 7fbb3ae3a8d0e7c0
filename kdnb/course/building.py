"""Student and instructor notebooks from the committed ones, which hold the solutions between marks.

``# BEGIN SOLUTION`` and ``# END SOLUTION`` enclose a solution in a code cell; a code cell tagged ``check`` checks the
answer of the exercise it names; a Markdown cell tagged ``instructor`` is a note for the teacher.
"""

from __future__ import annotations

import ast
import json
import re
import textwrap
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdnb.errors import UserError
from kdnb.runs import atomic_path, environment

__all__ = ["build", "exercises", "instructor_copy", "load_json", "source_of", "student_copy", "tags_of", "write_times"]

SOLUTION = re.compile(r"^([ \t]*)# BEGIN SOLUTION\n(.*?)^[ \t]*# END SOLUTION$", re.M | re.S)
NAMED = re.compile(r"""\bexercise=["']([^"']+)["']""")
MINUTES = re.compile(r"^### Exercise .*about (\d+) minutes", re.M)
WORDS_PER_MINUTE = 100  # reading to understand, with code and tables beside the words
Notebook = dict[str, Any]


def load_json(path: Path) -> Notebook:
    """A notebook file as it is, without nbformat, which takes seconds to load.

    Raises:
        UserError: If it is no notebook of format 4; says why.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"broken JSON: {error}") from None
    if not isinstance(found, dict) or not isinstance(found.get("cells"), list):
        raise UserError("no notebook of format 4: it has no list of cells")
    return found


def source_of(cell: Any) -> str:
    """A cell's text; notebooks hold it as one string or as lines."""
    text = cell.get("source", "") if isinstance(cell, dict) else ""
    return text if isinstance(text, str) else "".join(map(str, text))


def tags_of(cell: Notebook) -> list[str]:
    """A cell's tags."""
    return cell["metadata"].get("tags", [])


def exercises(notebook: Notebook) -> dict[str, tuple[Notebook, Notebook]]:
    """Number of each exercise → its answer cell and its check cell."""
    code, found = [c for c in notebook["cells"] if c["cell_type"] == "code"], {}
    for before, cell in zip(code, code[1:], strict=False):
        if "check" in tags_of(cell):
            found[NAMED.search(source_of(cell))[1]] = before, cell
    return found


def stub(solution: str) -> str:
    """What stands in for a solution: its last statement, with None for the value.

    >>> stub("    n = 3 * 4\\n    total = n + 1\\n"), stub("return x + 1")
    ('total = None  # your turn', 'return None  # your turn')
    """
    last = ast.parse(textwrap.dedent(solution)).body[-1]
    start = "return" if isinstance(last, ast.Return) else f"{ast.unparse(last.targets[0])} ="
    return f"{start} None  # your turn"


def student_copy(notebook: Notebook, stem: str, times: Mapping[str, Any]) -> Notebook:
    """Without solutions and notes; the checks are folded and cannot be edited by accident."""
    cells = [_student_cell(cell) for cell in notebook["cells"] if "instructor" not in tags_of(cell)]
    if any("SOLUTION" in source_of(cell) for cell in cells):
        raise UserError(f"{stem}: '# BEGIN SOLUTION' without '# END SOLUTION' on a line of its own, or the reverse")
    return _course_copy(notebook, cells, stem, times, "student")


def _student_cell(cell: Notebook) -> Notebook:
    text, metadata = source_of(cell), dict(cell["metadata"])
    if "check" in tags_of(cell):
        metadata |= {"deletable": False, "editable": False, "jupyter": {"source_hidden": True}}
    return cell | {"metadata": metadata, "source": SOLUTION.sub(lambda found: found[1] + stub(found[2]), text)}


def instructor_copy(
    notebook: Notebook, stem: str, times: Mapping[str, Any], executed: Notebook | None = None
) -> Notebook:
    """With solutions, notes, and the outputs that an executed copy has for the same cells."""
    known = {(c.get("id"), source_of(c)): c.get("outputs", []) for c in executed["cells"]} if executed else {}
    cells = [
        cell | ({"outputs": known.get((cell["id"], source_of(cell)), [])} if cell["cell_type"] == "code" else {})
        for cell in notebook["cells"]
    ]
    outputs = [o for cell in cells for o in cell.get("outputs", []) if "execution_count" in o]
    for place, output in enumerate(outputs, 1):  # or two runs of the same study would give two builds
        output["execution_count"] = place
    return _course_copy(notebook, cells, stem, times, "instructor")


def _course_copy(notebook: Notebook, cells: list[Notebook], stem: str, times: Mapping[str, Any], kind: str) -> Notebook:
    told = _times_sentence(notebook, stem, times)
    first = cells[0] | {"source": source_of(cells[0]).replace("**Time.** ", f"**Time.** {told} ", 1)}
    cells = [{**cell, "source": source_of(cell).splitlines(keepends=True)} for cell in (first, *cells[1:])]
    return notebook | {"cells": cells, "metadata": notebook["metadata"] | {"kdnb": {"copy": kind, "notebook": stem}}}


def _times_sentence(notebook: Notebook, stem: str, times: Mapping[str, Any]) -> str:
    """Reading time from words, exercise time from the headings, run time as measured."""
    text = "\n".join(source_of(c) for c in notebook["cells"] if c["cell_type"] == "markdown")
    parts = [f"Reading: about {max(5, round(len(text.split()) / WORDS_PER_MINUTE / 5) * 5)} minutes."]
    if minutes := sum(map(int, MINUTES.findall(text))):
        parts.append(f"Exercises: about {minutes} minutes.")
    if stem in times.get("seconds", {}):
        parts.append(f"A run at profile {times['profile']} took {times['seconds'][stem]:.0f} s on "
                     f"{times['cores']} cores ({times['processor']}).")  # fmt: skip
    return " ".join(parts)


def build(notebooks: list[Path], out: Path, executed: Path | None = None) -> list[Path]:
    """Write ``out/student`` and ``out/instructor``; the same input gives the same bytes.

    Args:
        notebooks: The committed notebooks; ``times.toml`` beside them holds their run times.
        out: Folder to write to.
        executed: Folder with executed copies, for the expected output; none: without output.
    """
    file, written = notebooks[0].parent / "times.toml", []
    times = tomllib.loads(file.read_text("utf-8")) if file.is_file() else {}
    for path in notebooks:
        notebook, ran = load_json(path), executed / path.name if executed else None
        copies = {
            "student": student_copy(notebook, path.stem, times),
            "instructor": instructor_copy(notebook, path.stem, times, load_json(ran) if ran else None),
        }
        for kind, copy in copies.items():
            target = out / kind / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(target) as temporary:
                temporary.write_text(json.dumps(copy, indent=1, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")
            written.append(target)
    return written


def write_times(folder: Path, notebooks: list[Path]) -> Path:
    """Write ``times.toml`` beside the notebooks from what papermill recorded in their executed copies.

    Raises:
        UserError: If a copy is missing, or holds no finished papermill run.
    """
    seconds, profiles = {}, set()
    for path in notebooks:
        try:
            record = load_json(folder / path.name)["metadata"]["papermill"]
        except (UserError, KeyError, TypeError):
            record = {}
        if not record.get("duration") or record.get("exception"):
            raise UserError(f"'{folder / path.name}' is no finished copy by papermill: run `make study` first")
        seconds[path.stem] = record["duration"]
        profiles.add(record["parameters"].get("profile", "quick"))
    if len(profiles) > 1:
        raise UserError(f"the copies in '{folder}' ran at several profiles: {', '.join(sorted(profiles))}")
    machine = environment()
    lines = ["# Seconds that each notebook took in a study from nothing, in order: what an earlier one made is found.",
             "# Written by `kdnb course times FOLDER` from papermill's record in the executed copies; not by hand.",
             f'profile = "{profiles.pop()}"', f'processor = "{machine["processor"]}"', f"cores = {machine['cores']}",
             "", "[seconds]", *(f'"{stem}" = {value:.1f}' for stem, value in seconds.items())]  # fmt: skip
    target = notebooks[0].parent / "times.toml"
    target.write_text("\n".join(lines) + "\n", "utf-8")
    return target
