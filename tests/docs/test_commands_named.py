"""Every command that a page names is there, with its options."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from kdnb.cli.commands import app

ROOT = Path(__file__).parents[2]
COMMAND = typer.main.get_command(app)
PAGES = [ROOT / "README.md", ROOT / "data" / "README.md", ROOT / "CONTRIBUTING.md"]
PAGES += sorted((ROOT / "docs").rglob("*.md"))


def named_commands():
    """(page, command line) of every ``kdnb …`` in code."""
    for page in PAGES:
        text = page.read_text("utf-8")
        fences = re.findall(r"```.*?```", text, re.DOTALL)
        code = re.findall(r"^ *(kdnb [a-z].*)$", "\n".join(fences), re.MULTILINE)
        code += re.findall(r"`(kdnb [a-z][^`\n]*)`", text)
        for line in dict.fromkeys(code):
            yield page.name, line.partition("  #")[0]


def resolved(line):
    """The command that a line calls, and the words that follow it."""
    words = shlex.split(line.replace("…", "X"))[1:]
    command = COMMAND
    while words and getattr(command, "commands", None):
        if words[0] not in command.commands:
            break
        command = command.commands[words.pop(0)]
    return command, words


@pytest.mark.parametrize(("page", "line"), list(named_commands()))
def test_a_command_that_a_page_names_is_there(page, line):
    command, words = resolved(line)
    assert command is not COMMAND, f"{page}: no such command: {line}"
    options = {name for option in command.params for name in option.opts}
    unknown = [word for word in words if re.match("--?[a-z]", word) and word not in options]
    assert not unknown, f"{page}: {line} names {unknown}, there are {sorted(options)}"


def test_a_command_that_is_not_there_is_found():
    assert resolved("kdnb teapot")[0] is COMMAND
    command, words = resolved("kdnb sweep run plan.toml --workers 2")
    assert command.name == "run" and words == ["plan.toml", "--workers", "2"]
