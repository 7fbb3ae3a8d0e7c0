"""Student, instructor and nbgrader copies of one committed notebook, which holds the solutions.

nbgrader's preprocessors make them: the same ones that ``nbgrader generate_assignment`` runs. A
Markdown cell tagged ``instructor`` is a note for the teacher, in the instructor's copy alone.
"""

import re
from collections.abc import Mapping
from copy import deepcopy
from importlib.util import find_spec
from typing import Any

import nbformat

from kdnb.core.errors import UserError
from kdnb.core.notebook_files import (
    INJECTED,
    Notebook,
    source_of,
    tags_of,
    without_page_links,
)
from tools.exercises import exercises, naming, solution_of, stub

if find_spec("nbgrader") is None:
    raise UserError("course copies need nbgrader: pip install -e '.[course]' (make course does it)")

from nbgrader.preprocessors import ClearOutput, ClearSolutions, LockCells

__all__ = [
    "Stubs",
    "instructor_copy",
    "nbgrader_copy",
    "release_steps",
    "section_minutes",
    "student_copy",
]

MINUTES = re.compile(r"^(?:### Exercise .*|\*\*Try it: )about (\d+) minutes", re.MULTILINE)
WORDS_PER_MINUTE = 100  # reading to understand, with code and tables beside the words
CODE_MINUTES = 0.5  # to read a code cell and what it shows
THINK_MINUTES = 2  # of a question with a folded answer
SECTION = re.compile(r"^## .*$", re.MULTILINE)
EXECUTION = ("papermill", "widgets", "execution")  # metadata that tells of a run and its machine
POINTS = 1  # of each exercise


class Stubs(ClearSolutions):
    """nbgrader's ``ClearSolutions``, with a stub of its own in each cell.

    It is the last statement of the solution with None for its value, so that the check below says
    "Not tried yet" where nbgrader's one stub for all would stop the notebook.
    """

    def preprocess_cell(
        self, cell: nbformat.NotebookNode, resources: Any, cell_index: int
    ) -> tuple[nbformat.NotebookNode, Any]:
        """Choose the stub of this cell; nbgrader puts it in the solution's place."""
        solution = solution_of(cell.source)
        if solution is not None:
            self.code_stub = {resources["language"]: stub(solution)}
        return super().preprocess_cell(cell, resources, cell_index)


def release_steps() -> list[type]:
    """What ``nbgrader generate_assignment`` does to a notebook, with our stubs."""
    from nbgrader.converters import GenerateAssignment

    usual = GenerateAssignment.preprocessors.default()
    return [Stubs if step is ClearSolutions else step for step in usual]


def nbgrader_copy(notebook: Notebook, stem: str, times: Mapping[str, Any]) -> Notebook:
    """What nbgrader releases from: solutions and marked cells, no notes and no outputs.

    Raises:
        UserError: If an exercise has a fault; says which one, and in which notebook.
    """
    copy = _course_copy(notebook, stem, times, "nbgrader")
    copy.cells = [cell for cell in copy.cells if "instructor" not in tags_of(cell)]
    copy, _ = ClearOutput().preprocess(copy, {})
    return copy


def student_copy(notebook: Notebook, stem: str, times: Mapping[str, Any]) -> Notebook:
    """Without solutions, notes and outputs; the checks are folded and cannot be edited.

    Raises:
        UserError: If an exercise has a fault, or the marks of a solution do not fit; says in which
            notebook.
    """
    copy = nbgrader_copy(notebook, stem, times)
    copy.metadata.kdnb["copy"] = "student"
    try:
        for step in (LockCells(), Stubs()):
            copy, _ = step.preprocess(copy, {})
    except (UserError, RuntimeError) as error:  # RuntimeError is nbgrader's
        raise UserError(f"{stem}: {error}") from None
    return copy


def instructor_copy(
    notebook: Notebook, stem: str, times: Mapping[str, Any], executed: Notebook
) -> Notebook:
    """With solutions, notes, and the outputs that an executed copy has for the same cells.

    Raises:
        UserError: If an exercise has a fault; says which one, and in which notebook.
    """
    known = {}
    for cell in executed["cells"]:
        known[(cell.get("id"), source_of(cell))] = cell.get("outputs", [])
    copy = _course_copy(notebook, stem, times, "instructor")
    copy, _ = ClearOutput().preprocess(copy, {})
    shown = 0
    for cell in copy.cells:
        if cell.cell_type != "code":
            continue
        cell.outputs = deepcopy(known.get((cell.id, cell.source), []))
        for output in cell.outputs:
            if "execution_count" in output:
                shown += 1  # or two runs of the same study would give two builds
                output["execution_count"] = shown
    return copy


def _course_copy(
    notebook: Notebook, stem: str, times: Mapping[str, Any], kind: str
) -> nbformat.NotebookNode:
    """A copy that tells its times, with folded checks, and with nbgrader's marks on its cells."""
    copy = nbformat.from_dict(deepcopy(notebook))
    copy.cells = [cell for cell in copy.cells if INJECTED not in tags_of(cell)]
    _forget_execution(copy)
    for cell in copy.cells:
        cell.source = source_of(cell)
        if cell.cell_type == "markdown":
            cell.source = without_page_links(cell.source)
        cell.metadata.pop("jupyter", None)  # what is folded in the notebook that has the solutions
    with naming(stem):
        found = exercises(copy)
    for number, (answer, check) in found.items():
        with naming(f"{stem}, exercise {number}"):
            _require_solution(answer.source)
        name = number.replace(".", "-")  # nbgrader allows no dot
        answer.metadata.nbgrader = _mark(f"answer-{name}", solution=True)
        check.metadata.nbgrader = _mark(f"check-{name}", grade=True, locked=True, points=POINTS)
        check.metadata.jupyter = {"source_hidden": True}
    measured = f"**Time.** {_times_sentence(copy, stem, times)} "
    copy.cells[0].source = copy.cells[0].source.replace("**Time.** ", measured, 1)
    _write_minutes(copy)
    copy.metadata.kdnb = {"copy": kind, "notebook": stem}
    return copy


def _require_solution(source: str) -> None:
    """A UserError where an answer cell has no solution that a stub can stand in for."""
    solution = solution_of(source)
    if solution is None:
        wanted = "the cell before a check must hold a solution, from '# BEGIN SOLUTION' on"
        raise UserError(f"{wanted}, got {source[:80]!r}")
    stub(solution)


def _forget_execution(copy: nbformat.NotebookNode) -> None:
    """Take away what a run left in the metadata: paths, times, states of widgets."""
    for place in (copy, *copy.cells):
        for name in EXECUTION:
            place.metadata.pop(name, None)


def _write_minutes(copy: nbformat.NotebookNode) -> None:
    """Write below each heading of a section about how many minutes it takes."""
    minutes = section_minutes(copy)
    for cell in copy.cells:
        if cell.cell_type == "markdown":
            cell.source = SECTION.sub(lambda found: _timed(found[0], minutes), cell.source)


def _timed(heading: str, minutes: Mapping[str, int]) -> str:
    count = minutes[heading]
    return f"{heading}\n\n*About {count} minute{'' if count == 1 else 's'}.*"


def section_minutes(notebook: Notebook) -> dict[str, int]:
    """Heading of each section → about how many minutes it takes, 1 at least.

    From its words, its code cells, its questions with a folded answer, and what its exercises say.
    """
    text: dict[str, str] = {}
    codes: dict[str, int] = {}
    heading = ""
    for cell in notebook["cells"]:
        if cell["cell_type"] != "markdown":
            codes[heading] = codes.get(heading, 0) + 1
            continue
        for piece in re.split(r"(?m)^(?=## )", source_of(cell)):
            if piece.startswith("## "):
                heading = piece.splitlines()[0]
            text[heading] = text.get(heading, "") + "\n" + piece
    minutes = {}
    for heading, words in text.items():
        told = sum(map(int, MINUTES.findall(words)))
        if "### Exercise" not in words:  # which say their minutes, reading included
            told += THINK_MINUTES * words.count("<details>")
            told += len(words.split()) / WORDS_PER_MINUTE + CODE_MINUTES * codes.get(heading, 0)
        minutes[heading] = max(1, round(told))
    return minutes


def _mark(grade_id: str, **of_cell: Any) -> dict[str, Any]:
    """What nbgrader reads in a cell's metadata, schema 3."""
    kind = {"grade": False, "solution": False, "locked": False, "task": False, "schema_version": 3}
    return {**kind, **of_cell, "grade_id": grade_id}


def _times_sentence(notebook: Notebook, stem: str, times: Mapping[str, Any]) -> str:
    """Reading time from words, exercise time from the headings, run time as measured."""
    prose = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    text = "\n".join(prose)
    reading = round(len(text.split()) / WORDS_PER_MINUTE / 5) * 5
    parts = [f"Reading: about {max(5, reading)} minutes."]
    minutes = sum(map(int, MINUTES.findall(text)))
    if minutes:
        parts.append(f"Exercises: about {minutes} minutes.")
    if stem in times.get("seconds", {}):
        took = f"A run at profile {times['profile']} took {times['seconds'][stem]:.0f} s"
        parts.append(f"{took} on {times['processor']}, threads: {times['threads']}.")
    return " ".join(parts)
