"""Exercises in a notebook: which cells they have, and what stands in for a solution.

``# BEGIN SOLUTION`` and ``# END SOLUTION`` enclose a solution in a code cell, as for nbgrader; a
code cell tagged ``check`` checks the answer of the exercise it names.
"""

import ast
import json
import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager

from kdnb.core.errors import UserError
from kdnb.core.notebook_files import Notebook, code_cells, load_json, notebooks, source_of, tags_of
from kdnb.core.runs import atomic_path
from tools import run_command

__all__ = [
    "NAMED",
    "exercises",
    "fold",
    "is_folded",
    "is_to_fold",
    "naming",
    "solution_of",
    "stub",
]

NAMED = re.compile(r"""\bexercise=["']([^"']+)["']""")
MARK = re.compile("# (BEGIN|END) SOLUTION")
SOLUTION = re.compile(
    r"^[ \t]*#+ BEGIN SOLUTION\n(.*?)^[ \t]*#+ END SOLUTION$", re.MULTILINE | re.DOTALL
)


def exercises(notebook: Notebook) -> dict[str, tuple[Notebook, Notebook]]:
    """Number of each exercise → its answer cell and its check cell.

    Raises:
        UserError: If a check names no exercise, has no answer cell before it, or is the second one
            of its exercise.
    """
    found = {}
    before = None
    for cell in code_cells(notebook):
        if "check" in tags_of(cell):
            number = _number(cell)
            if before is None:
                raise UserError(f"exercise {number}: no code cell stands before its check")
            if number in found:
                raise UserError(f"exercise {number} has two checks: give each a number of its own")
            found[number] = (before, cell)
        before = cell
    return found


def _number(check: Notebook) -> str:
    """The exercise that a check cell names."""
    source = source_of(check)
    named = NAMED.search(source)
    if named is None:
        raise UserError(f'a check must name its exercise, exercise="01.1", got {source[:80]!r}')
    return named[1]


@contextmanager
def naming(place: str) -> Iterator[None]:
    """Where a fault is a UserError, its message begins with the place, such as a notebook."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{place}: {error}") from None


def is_to_fold(cell: Notebook) -> bool:
    """Whether a cell tells an answer: a solution, its check, or a note for the instructor."""
    told = {"instructor", "check"} & set(tags_of(cell))
    return bool(told) or bool(MARK.search(source_of(cell)))


def is_folded(cell: Notebook) -> bool:
    """Whether JupyterLab shows the cell as a line that one click opens."""
    return bool(cell["metadata"].get("jupyter", {}).get("source_hidden"))


def fold(notebook: Notebook) -> int:
    """Fold, in place, what tells an answer, so that who explores is not shown it unasked.

    Returns:
        How many cells were not folded yet.
    """
    changed = 0
    for cell in notebook["cells"]:
        if is_to_fold(cell) and not is_folded(cell):
            cell["metadata"].setdefault("jupyter", {})["source_hidden"] = True
            changed += 1
    return changed


def solution_of(source: str) -> str | None:
    """The solution between the marks of a cell; None where it has no marks.

    Raises:
        UserError: If a mark has no partner, or the cell has two solutions.

    >>> solution_of("n = 2\\n# BEGIN SOLUTION\\ntotal = n + 1\\n# END SOLUTION")
    'total = n + 1\\n'
    """
    found = SOLUTION.findall(source)
    if MARK.search(SOLUTION.sub("", source)):
        lone = "'# BEGIN SOLUTION' without '# END SOLUTION' on a line of its own, or the reverse"
        raise UserError(f"{lone}: {source.strip().splitlines()[0]!r} …")
    if len(found) > 1:
        raise UserError(f"a cell holds one solution, got {len(found)}: {found[0].strip()!r}, …")
    return found[0] if found else None


def stub(solution: str) -> str:
    """What stands in for a solution: its last statement, with None for the value.

    Raises:
        UserError: If the solution is no Python, has no statement, or its last one neither assigns
            nor returns.

    >>> stub("    n = 3 * 4\\n    total = n + 1\\n"), stub("return x + 1")
    ('total = None  # your turn', 'return None  # your turn')
    >>> stub("low, high = 1, 2")
    'low = high = None  # your turn'
    """
    try:
        statements = ast.parse(textwrap.dedent(solution)).body
    except SyntaxError as error:
        place = f"line {error.lineno}: {error.msg}"
        raise UserError(f"a solution must be Python, got an error in its {place}") from None
    if not statements:
        raise UserError(f"a solution must hold a statement, got {solution.strip()!r}")
    last = statements[-1]
    if isinstance(last, ast.Return):
        return "return None  # your turn"
    if isinstance(last, ast.Assign):
        names = []
        for target in last.targets:
            names += _names(target)
        return f"{' = '.join(names)} = None  # your turn"
    wanted = "a solution must end in 'name = …' or 'return …'"
    raise UserError(f"{wanted}, got '{ast.unparse(last)}'")


def _names(target: ast.expr) -> list[str]:
    """Each name that an assignment gives a value; one None cannot be taken apart for several."""
    if isinstance(target, ast.Starred):
        return _names(target.value)
    if not isinstance(target, ast.Tuple | ast.List):
        return [ast.unparse(target)]
    names = []
    for part in target.elts:
        names += _names(part)
    return names


def main() -> None:
    """Fold the solutions in the committed notebooks."""
    for path in notebooks():
        notebook = load_json(path)
        if fold(notebook):
            text = json.dumps(notebook, indent=1, ensure_ascii=False)
            with atomic_path(path) as temporary:
                temporary.write_text(f"{text}\n", "utf-8")
            print(f"folded: {path.name}")


if __name__ == "__main__":
    run_command(main)
