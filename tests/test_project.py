"""The project's own files: pins kept equal, layers point down, size limits."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PINS = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line and not line.startswith("#")]
FLOORS = [
    {"errors", "settings", "runs", "phantoms", "progress", "notebook_files", "course"},
    {"data", "leakage", "models", "metrics"},
    {"training", "precision", "distillation", "feature_maps", "explanations", "faithfulness", "efficiency"},
    {"figures", "widgets", "study", "trust", "report", "audit", "reading"},
    {"batch", "sweep", "results", "cli"},
]
MODULES = sorted((ROOT / "kdnb").rglob("*.py"))


def test_environment_equals_requirements():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert next(d["pip"] for d in environment["dependencies"] if isinstance(d, dict)) == PINS
    assert all(re.fullmatch(r"[\w-]+==[\w.]+", pin) for pin in PINS)


def test_pins_satisfy_the_package():
    import tomllib

    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = dict(pin.split("==") for pin in PINS)
    for text in project["dependencies"] + project["optional-dependencies"]["test"]:
        requirement = Requirement(text)
        assert pinned[requirement.name] in requirement.specifier, text


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "kdnb":
            names = [node.module.split(".")[1]] if "." in node.module else [a.name for a in node.names]
            yield from names


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path):
    own = path.relative_to(ROOT / "kdnb").parts[0].removesuffix(".py")
    if own == "__init__":
        return
    floor = next(i for i, names in enumerate(FLOORS) if own in names)
    allowed = set().union(*FLOORS[: floor + 1])
    assert not [name for name in imports(path) if name not in allowed]


def test_sizes():
    assert not [path for path in MODULES if path.read_text().count("\n") > 400]


def test_citation_and_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["references"][0]["doi"] == "10.1609/aaai.v39i17.33941"
    assert "MIT License" in (ROOT / "LICENSE").read_text()
