"""The project's own files: pins kept equal, rooms on strict levels, plain layout, sizes."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from tools.house import LEVELS, imports, level_of, table

ROOT = Path(__file__).resolve().parents[1]
LINES = (ROOT / "requirements.txt").read_text().splitlines()
PINS = [line for line in LINES if line and not line.startswith("#")]
MODULES = sorted((ROOT / "kdnb").rglob("*.py"))
CODE = [
    path
    for folder in ("kdnb", "tools", "tests", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
LOOK_AWAY = "# fmt: "  # what tells the formatter to leave code as it is


def name(path):
    return path.relative_to(ROOT).as_posix()


def test_environment_equals_requirements():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert next(d["pip"] for d in environment["dependencies"] if isinstance(d, dict)) == PINS
    assert all(re.fullmatch(r"[\w-]+==[\w.]+", pin) for pin in PINS)


def test_pins_satisfy_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = dict(pin.split("==") for pin in PINS)
    for text in project["dependencies"] + project["optional-dependencies"]["test"]:
        requirement = Requirement(text)
        assert pinned[requirement.name] in requirement.specifier, text


def test_slides_have_what_writes_their_formulas():
    """`make course` alone installs it, in the version that the book has."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    pins = {line for name in ("book", "course") for line in extras[name] if "latex2mathml" in line}
    assert len(pins) == 1
    assert pins <= set(extras["book"]) & set(extras["course"])


def test_every_room_has_a_level_and_nothing_else_is_there():
    rooms = {
        path.name
        for path in (ROOT / "kdnb").iterdir()
        if path.is_dir() and path.name != "__pycache__"
    }
    assert rooms == {room for level in LEVELS for room in level}
    assert [path.name for path in (ROOT / "kdnb").glob("*.py")] == ["__init__.py"]
    assert len(rooms) <= 14 and len(LEVELS) <= 7
    page = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    assert f"<!-- house -->\n{table(ROOT / 'kdnb')}<!-- /house -->" in page, "make house"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_imports_go_to_a_lower_level_and_never_sideways(path):
    own = path.relative_to(ROOT / "kdnb").parts[0]
    if own == "__init__.py":
        return
    others = {module.split(".")[1] for module in imports(path.read_text())} - {own, "__version__"}
    assert not [room for room in others if level_of(room) >= level_of(own)]


def test_no_module_imports_itself_through_others():
    """The graph of the package's modules has no circle: each can be read after what it imports."""
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in MODULES}
    waiting = {}
    for module, path in names.items():
        package = module.rpartition(".")[0]
        if path.name != "__init__.py":
            waiting[module] = {other for other in imports(path.read_text()) if other in names} - {
                package
            }
    while ready := [module for module, needed in waiting.items() if not needed & set(waiting)]:
        for module in ready:
            del waiting[module]
    assert not waiting


def test_the_package_never_imports_the_tools():
    assert not [
        path for path in MODULES if re.search(r"^\s*(from|import) tools\b", path.read_text(), re.M)
    ]


def functions(tree):
    return [
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def own_lines(function):
    """Lines of a function without its docstring."""
    first = function.body[0]
    documented = first.end_lineno - first.lineno + 1 if ast.get_docstring(function) else 0
    return function.end_lineno - function.lineno + 1 - documented


def test_modules_and_functions_are_short():
    sources = {
        name(path): path.read_text() for path in MODULES + sorted((ROOT / "tools").rglob("*.py"))
    }
    assert not [path for path, source in sources.items() if source.count("\n") > 400]
    found = [
        (path, f.name)
        for path, text in sources.items()
        for f in functions(ast.parse(text))
        if own_lines(f) > 50
    ]
    assert not found


def test_own_lines_leave_the_docstring_out():
    function = functions(ast.parse('def f():\n    """One.\n\n    Two.\n    """\n    return 1\n'))[0]
    assert own_lines(function) == 2


def test_the_formatter_decides_the_layout():
    folders = ["kdnb", "tools", "tests", "benchmarks", "notebooks"]
    command = [sys.executable, "-m", "ruff", "format", "--check", "--line-length", "100", *folders]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    blind = [
        path for path in CODE + notebooks if re.search(f"{LOOK_AWAY}(skip|off)", path.read_text())
    ]
    assert not blind


def test_citation_and_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["references"][0]["doi"] == "10.1609/aaai.v39i17.33941"
    assert "MIT License" in (ROOT / "LICENSE").read_text()
