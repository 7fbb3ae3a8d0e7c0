"""Working copies of the notebooks, to explore without changing the repository (``make lab``)."""

import hashlib
import shutil
from pathlib import Path

from kdnb.core.notebook_files import notebooks
from kdnb.core.runs import read_json, write_json
from kdnb.core.settings import project_root
from tools import run_command

__all__ = ["FOLDER", "make_copies"]

FOLDER = "my_notebooks"  # beside notebooks/, so that relative links hold; git ignores it
GIVEN = ".given.json"  # hash of each notebook as it was copied


def make_copies(committed: list[Path], folder: Path) -> list[str]:
    """Copy the notebooks that are not there yet; one that was edited is never overwritten.

    A copy that nobody touched follows its notebook.

    Args:
        committed: The study's notebooks.
        folder: For the copies; made if need be.

    Returns:
        What a person must know, in lines: which of the edited copies are of an older notebook, and
        whether the record of what was copied is lost.
    """
    record = folder / GIVEN
    given = _given(record)
    lines = []
    if given is None:
        lines.append(
            f"{GIVEN} cannot be read, so all copies that are there count as edited and are kept: "
            "rename one to get the notebook as it is now"
        )
        given = {}
    for path in committed:
        copy = folder / path.name
        current = _hash(path)
        if copy.is_file() and _hash(copy) != given.get(path.name):
            if given.get(path.name) not in (current, None):
                lines.append(
                    f"{path.name} is newer than your copy, which was edited and is kept: "
                    "rename it to get the new one"
                )
            continue
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        given[path.name] = current
    write_json(record, given)
    return lines


def _given(record: Path) -> dict[str, str] | None:
    """Hash of each notebook as it was copied; None where the record is no such thing."""
    if not record.is_file():
        return {}
    try:
        given = read_json(record)
    except (ValueError, RecursionError):
        return None
    return given if isinstance(given, dict) else None


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    """Make the working copies, and say where they are."""
    folder = project_root() / FOLDER
    for line in make_copies(notebooks(), folder):
        print(f"note: {line}")
    print(f"your copies: {folder} (git ignores them; edits are never overwritten)")


if __name__ == "__main__":
    run_command(main)
