"""The cells of a notebook that its exercises need, run in this process."""

from __future__ import annotations

import ast
from contextlib import suppress

from kdnb.course.building import exercises, load_json, source_of


def names(source, context):
    """Names that a cell's top level and its functions read (ast.Load) or set (ast.Store)."""
    nodes = list(ast.walk(ast.parse(source)))
    found = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, context)}
    if context is ast.Store:
        found |= {(a.asname or a.name).split(".")[0] for n in nodes if isinstance(n, ast.Import | ast.ImportFrom)
                  for a in n.names}  # fmt: skip
        found |= {n.name for n in nodes if isinstance(n, ast.FunctionDef)}
    return found


def slice_of(notebook):
    """The sources of all code cells that answers and checks depend on, in order, with the checks themselves."""
    wanted = {c["id"] for pair in exercises(notebook).values() for c in pair}
    needed, chosen = set(), []
    for cell in reversed([c for c in notebook["cells"] if c["cell_type"] == "code"]):
        source = source_of(cell)
        if cell["id"] in wanted or names(source, ast.Store) & needed:
            needed |= names(source, ast.Load)
            chosen.append((cell["id"], source))
    return chosen[::-1]


def replayed(path, settings, checked):
    """Run what the exercises of a notebook need, with ``checked`` in place of ``kdnb.course.check``."""
    return run(load_json(path), settings, checked)


def run(notebook, settings, checked):
    import kdnb.course

    space, original = {"In": [], "Out": {}, "display": print}, kdnb.course.check
    kdnb.course.check = checked
    try:
        for id_, source in slice_of(notebook):
            tree = ast.parse(source)
            exec(compile(tree, id_, "exec"), space)  # noqa: S102
            if "parameters" in source[:60]:
                space |= {name: value for name, value in settings.items() if name in space}
    finally:
        kdnb.course.check = original
    return space


__all__ = ["replayed", "run", "slice_of", "suppress"]
