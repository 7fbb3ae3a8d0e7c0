"""Commands of the project's tools: what they share, and that the package does without them."""

import ast
import sys
from pathlib import Path

import pytest

from kdnb.core.errors import UserError
from tools import run_command

ROOT = Path(__file__).parents[2]


def test_a_mistake_is_one_line_and_code_2(monkeypatch, capsys):
    def command(word: str) -> None:
        raise UserError(f"no such word, got '{word}'")

    monkeypatch.setattr(sys, "argv", ["/somewhere/tools/words.py", "x"])
    with pytest.raises(SystemExit) as caught:
        run_command(command)
    assert caught.value.code == 2
    assert capsys.readouterr().err == "words: no such word, got 'x'\n"


def test_a_file_that_cannot_be_used_is_one_line_too(monkeypatch, capsys, tmp_path):
    def command() -> None:
        (tmp_path / "gone" / "grades.csv").write_text("")

    monkeypatch.setattr(sys, "argv", ["/somewhere/tools/grades.py"])
    with pytest.raises(SystemExit) as caught:
        run_command(command)
    assert caught.value.code == 2
    path = tmp_path / "gone" / "grades.csv"
    assert (
        capsys.readouterr().err == f"grades: '{path}' cannot be used: No such file or directory\n"
    )


def imported(path):
    """Top-level names of all modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)


def test_the_package_does_without_the_tools():
    assert "kdnb" in set(imported(ROOT / "tools" / "course.py"))
    assert not [p for p in (ROOT / "kdnb").rglob("*.py") if "tools" in set(imported(p))]
