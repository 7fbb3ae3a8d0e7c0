"""Write the launch badges of a published copy: ``make badges REPO=https://github.com/owner/name``.

The address is kept in CITATION.cff alone; README and the Colab notebook are made from it. It may be
called again.
"""

import json
import re
import subprocess
from pathlib import Path
from typing import Annotated, Any

import typer

from kdnb.core.errors import UserError
from kdnb.core.runs import atomic_path
from kdnb.core.settings import project_root
from tools import run_command

__all__ = ["write_badges"]

BLOCK = re.compile(r"<!-- launch -->.*?<!-- /launch -->", re.DOTALL)
GITHUB = re.compile(r"(?:https://github\.com/|git@github\.com:)([\w.-]+/[\w.-]+?)(?:\.git)?/?")
TOLD = """\
# kdnb in Colab

Clones the project, installs it beside what Colab has, and runs the whole study."""


def write_badges(root: Path, given: str = "") -> list[Path]:
    """Write CITATION.cff, the README's block and the Colab notebook; returns the three.

    Args:
        root: The project.
        given: Address on GitHub; empty for the one in CITATION.cff, else that of the git remote.

    Raises:
        UserError: If there is no address on GitHub; nothing is written then.
    """
    name = _address(root, given)
    citation = root / "CITATION.cff"
    text = citation.read_text("utf-8")
    text = re.sub(r"^repository-code: .*\n", "", text, flags=re.MULTILINE)
    line = f'license: MIT\nrepository-code: "https://github.com/{name}"\n'
    _write(citation, text.replace("license: MIT\n", line, 1))
    readme = root / "README.md"
    _write(readme, BLOCK.sub(lambda _: _badges(name), readme.read_text("utf-8")))
    notebook = root / "notebooks" / "colab" / "start.ipynb"
    _write(notebook, json.dumps(_colab(name), indent=1) + "\n")
    return [citation, readme, notebook]


def _write(path: Path, text: str) -> None:
    """Replace a file whole, or leave it as it is."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, "utf-8")


def _address(root: Path, given: str) -> str:
    """``owner/name`` on GitHub, from what is given, CITATION.cff or the git remote."""
    found = given
    if not found:
        text = (root / "CITATION.cff").read_text("utf-8")
        written = re.search(r'^repository-code: "(.*)"$', text, re.MULTILINE)
        found = written.group(1) if written else ""
    if not found:
        command = ["git", "-C", str(root), "remote", "get-url", "origin"]
        found = subprocess.run(command, capture_output=True, text=True).stdout.strip()
    match = GITHUB.fullmatch(found)
    if not match:
        example = "make badges REPO=https://github.com/owner/name"
        raise UserError(f"no address on GitHub, got '{found}': {example}")
    return match.group(1)


def _badges(name: str) -> str:
    """The block of the README; every picture has words."""
    binder = f"https://mybinder.org/v2/gh/{name}/HEAD"
    colab = f"https://colab.research.google.com/github/{name}/blob/HEAD"
    links = [
        _link(
            "Open in GitHub Codespaces",
            "https://github.com/codespaces/badge.svg",
            f"https://codespaces.new/{name}",
        ),
        _link(
            "Launch on Binder",
            "https://mybinder.org/badge_logo.svg",
            f"{binder}?urlpath=lab/tree/notebooks/00_start_here.ipynb",
        ),
        _link(
            "Open in Colab",
            "https://colab.research.google.com/assets/colab-badge.svg",
            f"{colab}/notebooks/colab/start.ipynb",
        ),
    ]
    return "\n".join(["<!-- launch -->", *links, "<!-- /launch -->"])


def _link(words: str, picture: str, target: str) -> str:
    return f"[![{words}]({picture})]({target})"


def _colab(name: str) -> dict[str, Any]:
    """A notebook that installs the project in Colab and runs the study."""
    folder = name.rpartition("/")[2]
    install = [
        f"!git clone --depth 1 https://github.com/{name}\n",
        f"%cd {folder}\n",
        "!pip install -q -e .",
    ]
    cells = [{"cell_type": "markdown", "id": "colab-0", "metadata": {}, "source": [TOLD]}]
    for number, source in enumerate([install, ["!python -m tools.doctor"], ["!kdnb study"]], 1):
        cell = {"cell_type": "code", "id": f"colab-{number}", "metadata": {}, "source": source}
        cells.append(cell | {"execution_count": None, "outputs": []})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def main(
    repo: Annotated[
        str, typer.Argument(help="address on GitHub; empty: the one that is known already")
    ] = "",
) -> None:
    """Write the launch badges of a published copy."""
    root = project_root()
    written = write_badges(root, repo)
    print(", ".join(str(path.relative_to(root)) for path in written))


if __name__ == "__main__":
    run_command(main)
