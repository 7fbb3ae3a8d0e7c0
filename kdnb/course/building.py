"""Student and instructor notebooks from the committed ones, which hold the solutions between marks.

``# BEGIN SOLUTION`` and ``# END SOLUTION`` enclose a solution in a code cell; a code cell tagged ``check`` checks the
answer of the exercise it names; a Markdown cell tagged ``instructor`` is a note for the teacher.
"""

import ast
import csv
import json
import re
import textwrap
import tomllib
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from kdnb.errors import UserError
from kdnb.runs import atomic_path

__all__ = ["build", "exercises", "instructor_copy", "load_json", "source_of", "student_copy", "tags_of", "write_times"]

SOLUTION = re.compile(r"^([ \t]*)# BEGIN SOLUTION\n(.*?)^[ \t]*# END SOLUTION$", re.M | re.S)
MARK = re.compile("# (BEGIN|END) SOLUTION")
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
        raise UserError(f"'{path.name}' cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"'{path.name}' is broken JSON: {error}") from None
    if not isinstance(found, dict) or not isinstance(found.get("cells"), list):
        raise UserError(f"'{path.name}' is no notebook of format 4: it has no list of cells")
    return found


def source_of(cell: Any) -> str:
    """A cell's text; notebooks hold it as one string or as lines."""
    text = cell.get("source", "") if isinstance(cell, dict) else ""
    return text if isinstance(text, str) else "".join(map(str, text))


def code_cells(notebook: Notebook) -> list[Notebook]:
    """The code cells of a notebook."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def tags_of(cell: Notebook) -> list[str]:
    """A cell's tags."""
    return cell["metadata"].get("tags", [])


def exercises(notebook: Notebook) -> dict[str, tuple[Notebook, Notebook]]:
    """Number of each exercise → its answer cell and its check cell."""
    pairs = pairwise(code_cells(notebook))
    return {NAMED.search(source_of(cell))[1]: (before, cell) for before, cell in pairs if "check" in tags_of(cell)}


def stub(solution: str) -> str:
    """What stands in for a solution: its last statement, with None for the value.

    >>> stub("    n = 3 * 4\\n    total = n + 1\\n"), stub("return x + 1")
    ('total = None  # your turn', 'return None  # your turn')
    """
    last = ast.parse(textwrap.dedent(solution)).body[-1]
    if not isinstance(last, ast.Assign | ast.Return):
        raise UserError(f"a solution must end in 'name = …' or 'return …', got '{ast.unparse(last)}'")
    return f"{'return' if isinstance(last, ast.Return) else ast.unparse(last.targets[0]) + ' ='} None  # your turn"


def student_copy(notebook: Notebook, stem: str, times: Mapping[str, Any]) -> Notebook:
    """Without solutions and notes; the checks are folded and cannot be edited by accident."""
    cells = [_student_cell(cell) for cell in notebook["cells"] if "instructor" not in tags_of(cell)]
    if any(MARK.search(source_of(cell)) for cell in cells):
        raise UserError(f"{stem}: '# BEGIN SOLUTION' without '# END SOLUTION' on a line of its own, or the reverse")
    return _course_copy(notebook, cells, stem, times, "student")


def _student_cell(cell: Notebook) -> Notebook:
    text, metadata = source_of(cell), dict(cell["metadata"])
    if "check" in tags_of(cell):
        metadata |= {"deletable": False, "editable": False, "jupyter": {"source_hidden": True}}
    return cell | {"metadata": metadata, "source": SOLUTION.sub(lambda found: found[1] + stub(found[2]), text)}


def instructor_copy(notebook: Notebook, stem: str, times: Mapping[str, Any], executed: Notebook) -> Notebook:
    """With solutions, notes, and the outputs that an executed copy has for the same cells."""
    known = {(c.get("id"), source_of(c)): c.get("outputs", []) for c in executed["cells"]}
    cells = [dict(cell) for cell in notebook["cells"]]
    for cell in cells:
        if cell["cell_type"] == "code":
            cell["outputs"] = known.get((cell["id"], source_of(cell)), [])
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
                     f"{times['processor']}, threads: {times['threads']}.")  # fmt: skip
    return " ".join(parts)


def build(notebooks: list[Path], out: Path, executed: Path | None = None) -> list[Path]:
    """Write ``out/student`` and ``out/instructor`` from the committed notebooks; the same input gives the same bytes.

    Run times come from ``times.toml`` beside them, expected output from the copies in ``executed``, if there are any.
    """
    file, copies = notebooks[0].parent / "times.toml", {}
    times = tomllib.loads(file.read_text("utf-8")) if file.is_file() else {}
    for path in notebooks:
        notebook, ran = load_json(path), load_json(executed / path.name) if executed else {"cells": []}
        copies[out / "student" / path.name] = student_copy(notebook, path.stem, times)
        copies[out / "instructor" / path.name] = instructor_copy(notebook, path.stem, times, ran)
    for target, copy in copies.items():
        with atomic_path(target) as temporary:
            temporary.write_text(json.dumps(copy, indent=1, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")
    return list(copies)


def write_times(folder: Path, notebooks: list[Path]) -> Path:
    """Write ``times.toml`` beside the notebooks from what papermill recorded in their executed copies.

    Raises:
        UserError: If a copy is missing, or holds no finished papermill run.
    """
    try:
        records = {path.stem: load_json(folder / path.name)["metadata"]["papermill"] for path in notebooks}
        seconds = {stem: float(r["duration"]) for stem, r in records.items() if not r["exception"]}
        profile = records[notebooks[-1].stem]["parameters"].get("profile", "quick")
        machine = dict(csv.reader((folder / "06_machine.csv").read_text("utf-8").splitlines()))
    except (AttributeError, KeyError, OSError, TypeError, UserError):
        seconds = {}
    if len(seconds) < len(notebooks):
        raise UserError(f"'{folder}' holds no finished study: run `make study` first, and give its folder")
    lines = ["# Seconds that each notebook took in a study from nothing, in order: what an earlier one made is found.",
             "# Written by `kdnb course times FOLDER` from papermill's record in the executed copies; not by hand.",
             f'profile = "{profile}"', f'processor = "{machine["processor"]}"', f"threads = {machine['threads']}", "",
             "[seconds]", *(f'"{stem}" = {value:.1f}' for stem, value in seconds.items())]  # fmt: skip
    target = notebooks[0].parent / "times.toml"
    target.write_text("\n".join(lines) + "\n", "utf-8")
    return target
