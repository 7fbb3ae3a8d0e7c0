"""The house as a table: rooms and levels of the package (``make house``).

Writes it between the marks of CONTRIBUTING.md. `LEVELS` is also what the test of imports goes by.
"""

from __future__ import annotations

import ast
from pathlib import Path

from kdnb.results.build import put_between

__all__ = ["LEVELS", "imports", "level_of", "main", "table"]

LEVELS = (  # an import goes to a lower level, never sideways; the first is the lowest
    ("core", "course"),
    ("data",),
    ("training", "batch"),
    ("distillation", "feature_maps"),
    ("xai", "study"),
    ("efficiency", "widgets", "results"),
    ("cli",),
)
ROOT = Path(__file__).resolve().parents[1]


def level_of(room: str) -> int:
    """The level of a room, 1 for the lowest.

    >>> level_of("data")
    2
    """
    return next(number for number, rooms in enumerate(LEVELS, start=1) if room in rooms)


def imports(source: str) -> list[str]:
    """The modules of the package that a module imports anywhere, also inside a function.

    >>> imports("from kdnb.data import load\\nfrom kdnb import phantoms\\nimport numpy")
    ['kdnb.data', 'kdnb.phantoms']
    """
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "kdnb":
            found += [f"kdnb.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("kdnb."):
            found.append(node.module)
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.startswith("kdnb.")]
    return found


def table(package: Path) -> str:
    """Markdown table of the rooms, from the highest level down.

    What a room holds is the first line of its docstring.
    """
    lines = ["| level | room | what it holds |", "|---|---|---|"]
    for number in range(len(LEVELS), 0, -1):
        for room in LEVELS[number - 1]:
            source = (package / room / "__init__.py").read_text("utf-8")
            holds = ast.get_docstring(ast.parse(source)).splitlines()[0]
            lines.append(f"| {number} | `{room}` | {holds} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the table into CONTRIBUTING.md and print it."""
    page = ROOT / "CONTRIBUTING.md"
    made = table(ROOT / "kdnb")
    put_between(page, "house", made)
    print(made, end="")


if __name__ == "__main__":
    main()
