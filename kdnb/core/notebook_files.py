"""Notebook files: which ones there are, their cells and their parameters (all notebooks)."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

from kdnb.core.errors import UserError
from kdnb.core.settings import project_root

__all__ = [
    "INJECTED",
    "Notebook",
    "code_cells",
    "load_json",
    "parse_notebook",
    "notebooks",
    "parameters_of",
    "source_of",
    "tags_of",
    "without_page_links",
]

Notebook = dict[str, Any]
PAGE_LINK = re.compile(r"\[([^\]]+)\]\(\.\./([^)]+)\)")  # to a file of the project
INJECTED = "injected-parameters"  # papermill's tag of the cell that it puts in


def notebooks() -> list[Path]:
    """The study's notebooks in order.

    Raises:
        UserError: If none is found; says where it looked.
    """
    folder = project_root() / "notebooks"
    found = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    if not found:
        raise UserError(
            f"no notebooks in '{folder}': run inside the project, or set KDNB_ROOT to it"
        )
    return found


def load_json(path: Path) -> Notebook:
    """A notebook file as it is, without nbformat, which takes seconds to load.

    Raises:
        UserError: If it is no notebook of format 4; says why.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"'{path.name}' cannot be read: {error.strerror}") from None
    return parse_notebook(data, path.name)


def parse_notebook(data: bytes, name: str) -> Notebook:
    """A notebook from the bytes of its file.

    Raises:
        UserError: If it is no notebook of format 4; says why.
    """
    try:
        found = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"'{name}' is broken JSON: {error}") from None
    if not isinstance(found, dict) or not isinstance(found.get("cells"), list):
        raise UserError(f"'{name}' is no notebook of format 4: it has no list of cells")
    return found


def source_of(cell: Any) -> str:
    """A cell's text; notebooks hold it as one string or as lines.

    >>> source_of({"source": ["x = 1\\n", "x"]})
    'x = 1\\nx'
    """
    text = cell.get("source", "") if isinstance(cell, dict) else ""
    return text if isinstance(text, str) else "".join(map(str, text))


def without_page_links(text: str) -> str:
    """Markdown that names the project's pages, for copies that lie where links do not reach them.

    >>> without_page_links("see [own data](../docs/own.md)")
    'see own data (`docs/own.md` of the project)'
    """
    return PAGE_LINK.sub(r"\1 (`\2` of the project)", text)


def code_cells(notebook: Notebook) -> list[Notebook]:
    """The code cells of a notebook."""
    return [cell for cell in notebook["cells"] if cell.get("cell_type") == "code"]


def tags_of(cell: Notebook) -> list[str]:
    """A cell's tags."""
    return cell.get("metadata", {}).get("tags", [])


def parameters_of(notebook: Path) -> dict[str, Any]:
    """Names and default values that a notebook's ``parameters`` cell declares.

    Raises:
        UserError: If a line of that cell is more than ``name = plain value``; names it.
    """
    declaring = [cell for cell in code_cells(load_json(notebook)) if "parameters" in tags_of(cell)]
    source = source_of(declaring[0]) if declaring else ""
    place = f"the parameters cell of '{notebook}'"
    try:
        body = ast.parse(source).body
    except SyntaxError as error:
        raise UserError(
            f"{place} is not plain Python, line {error.lineno}: {(error.text or '').strip()}"
        ) from None
    found = {}
    for node in body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue  # words about the parameters
        try:
            # with a type or without: name: float = 0.5
            [target] = [node.target] if isinstance(node, ast.AnnAssign) else node.targets
            found[target.id] = ast.literal_eval(node.value)
        except (AttributeError, ValueError):
            raise UserError(
                f"{place} must hold lines like 'name = 0.5', with one name and a plain value, "
                f"got: {ast.get_source_segment(source, node)}"
            ) from None
    return found
