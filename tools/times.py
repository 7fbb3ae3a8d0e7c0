"""Run times of the notebooks, taken from a study that this machine has made (``make times``)."""

import json
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from kdnb.core.errors import UserError
from kdnb.core.notebook_files import notebooks
from kdnb.core.runs import atomic_path
from tools import run_command
from tools.studies import finished_study

__all__ = ["write_times"]

MACHINE = "06_machine.csv"  # of a study's folder
HEAD = """\
# Seconds of each notebook in a study from nothing, where some share the cores with another one.
# Written by `make times FOLDER=…` from papermill's record in the executed copies; not by hand.
"""


def write_times(folder: Path, committed: list[Path]) -> Path:
    """Write ``times.toml`` beside the notebooks, from papermill's record in their executed copies.

    Returns:
        The path of the file.

    Raises:
        UserError: If the folder holds no finished study.
    """
    copies = finished_study(folder, [path.name for path in committed])
    records = {path.stem: copies[path.name]["metadata"]["papermill"] for path in committed}
    processor, threads = _machine(folder / MACHINE)
    profile = records[committed[-1].stem]["parameters"].get("profile", "quick")
    text = HEAD
    text += f"profile = {_quoted(profile)}\n"
    text += f"processor = {_quoted(processor)}\n"
    text += f"threads = {threads}\n\n[seconds]\n"
    for stem, record in records.items():
        text += f"{_quoted(stem)} = {record['duration']:.1f}\n"
    target = committed[0].parent / "times.toml"
    with atomic_path(target) as temporary:
        temporary.write_text(text, "utf-8")
    return target


def _machine(path: Path) -> tuple[str, int]:
    """Processor and number of threads, from the table that notebook 06 has saved."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, index_col="measured on")
        machine = table["value"]
        return str(machine["processor"]), int(machine["threads"])
    except (KeyError, OSError, TypeError, ValueError):
        raise UserError(
            f"'{path.parent}' does not tell its machine in '{path.name}': "
            "run `make study` again, and give its folder, runs/study/…"
        ) from None


def _quoted(text: str) -> str:
    """A string as TOML writes it, which is here as JSON does."""
    return json.dumps(text, ensure_ascii=False)


def main(
    folder: Annotated[str, typer.Argument(help="folder of a finished study, runs/study/…")],
) -> None:
    """Take the run times in notebooks/times.toml from a study that this machine has just made."""
    if not folder:
        raise UserError("no folder of a finished study: make times FOLDER=runs/study/…")
    print(write_times(Path(folder), notebooks()))


if __name__ == "__main__":
    run_command(main)
