"""What the exercises of a notebook need, run in this process.

No kernel, and nothing that they do not depend on.
"""

import ast

import kdnb.course
from kdnb.core.notebook_files import load_json, source_of, tags_of
from tools.exercises import exercises


def bound(tree):
    """Names that a cell defines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.FunctionDef):
            yield node.name
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name).split(".")[0]


def prepared(tree):
    """Names of the studies whose models a cell trains."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "train":
            yield node.value.id


def needed_cells(notebook):
    """Sources of the cells that answers and checks depend on, and of these, both in order."""
    own = {cell["id"] for pair in exercises(notebook).values() for cell in pair}
    names, before, within = set(), [], []
    for cell in reversed([c for c in notebook["cells"] if c["cell_type"] == "code"]):
        tree = ast.parse(source_of(cell))
        made = {*bound(tree), *prepared(tree)}
        if cell["id"] in own or names & made or "parameters" in tags_of(cell):
            names |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
            (within if cell["id"] in own else before).insert(0, source_of(cell))
    return before, within


def replay(path, settings, check, monkeypatch):
    """Run a notebook's exercises with ``check`` in place of the real one.

    As committed first, then as students get them.

    Yields "solutions", then "stubs", each after its cells have run.
    """
    from tools.copies import student_copy  # needs nbgrader

    notebook, space = load_json(path), {"In": [], "Out": {}, "display": print}
    before, within = needed_cells(notebook)
    monkeypatch.setattr(kdnb.course, "check", check)
    for number, source in enumerate(before):
        space["In"].append(source)
        exec(source, space)
        if number == 0:  # the parameters
            space |= {name: value for name, value in settings.items() if name in space}
    for kind, cells in (
        ("solutions", within),
        ("stubs", needed_cells(student_copy(notebook, path.stem, {}))[1]),
    ):
        own = dict(space)
        for source in cells:
            exec(source, own)
        yield kind
