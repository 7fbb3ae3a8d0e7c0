"""Exercises in a notebook: which cells they have, and what stands in for a solution.

``# BEGIN SOLUTION`` and ``# END SOLUTION`` enclose a solution in a code cell, as for nbgrader; a
code cell tagged ``check`` checks the answer of the exercise it names.
"""

import ast
import re
import textwrap
from itertools import pairwise

from kdnb.core.errors import UserError
from kdnb.core.notebook_files import Notebook, code_cells, source_of, tags_of

__all__ = ["NAMED", "exercises", "solution_of", "stub"]

NAMED = re.compile(r"""\bexercise=["']([^"']+)["']""")
MARK = re.compile("# (BEGIN|END) SOLUTION")
SOLUTION = re.compile(
    r"^[ \t]*#+ BEGIN SOLUTION\n(.*?)^[ \t]*#+ END SOLUTION$", re.MULTILINE | re.DOTALL
)


def exercises(notebook: Notebook) -> dict[str, tuple[Notebook, Notebook]]:
    """Number of each exercise → its answer cell and its check cell."""
    found = {}
    for before, cell in pairwise(code_cells(notebook)):
        if "check" in tags_of(cell):
            number = NAMED.search(source_of(cell))[1]
            found[number] = (before, cell)
    return found


def solution_of(source: str) -> str:
    """The solution between the marks of a cell; empty where it has no marks.

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
    return found[0] if found else ""


def stub(solution: str) -> str:
    """What stands in for a solution: its last statement, with None for the value.

    Raises:
        UserError: If the last statement neither assigns nor returns.

    >>> stub("    n = 3 * 4\\n    total = n + 1\\n"), stub("return x + 1")
    ('total = None  # your turn', 'return None  # your turn')
    """
    last = ast.parse(textwrap.dedent(solution)).body[-1]
    if isinstance(last, ast.Return):
        return "return None  # your turn"
    if isinstance(last, ast.Assign):
        return f"{ast.unparse(last.targets[0])} = None  # your turn"
    wanted = "a solution must end in 'name = …' or 'return …'"
    raise UserError(f"{wanted}, got '{ast.unparse(last)}'")
