"""Run times of the notebooks, taken from a study that this machine has made (``make times``)."""

import csv
from pathlib import Path
from typing import Annotated

import typer

from kdnb.core.errors import UserError
from kdnb.core.notebook_files import load_json, notebooks
from tools import run_command

__all__ = ["write_times"]

HEAD = """\
# Seconds of each notebook in a study from nothing, where some share the cores with another one.
# Written by `make times FOLDER=…` from papermill's record in the executed copies; not by hand.
"""


def write_times(folder: Path, committed: list[Path]) -> Path:
    """Write ``times.toml`` beside the notebooks, from papermill's record in their executed copies.

    Raises:
        UserError: If a copy is missing, or holds no finished papermill run.
    """
    try:
        records = {}
        for path in committed:
            records[path.stem] = load_json(folder / path.name)["metadata"]["papermill"]
        seconds = {stem: float(r["duration"]) for stem, r in records.items() if not r["exception"]}
        profile = records[committed[-1].stem]["parameters"].get("profile", "quick")
        lines = (folder / "06_machine.csv").read_text("utf-8").splitlines()
        machine = dict(csv.reader(lines))
        processor = machine["processor"]
        threads = machine["threads"]
    except (AttributeError, KeyError, OSError, TypeError, UserError):
        seconds = {}
    if len(seconds) < len(committed):
        what = f"'{folder}' holds no finished study"
        raise UserError(f"{what}: run `make study` first, and give its folder")
    text = HEAD
    text += f'profile = "{profile}"\n'
    text += f'processor = "{processor}"\n'
    text += f"threads = {threads}\n\n[seconds]\n"
    for stem, value in seconds.items():
        text += f'"{stem}" = {value:.1f}\n'
    target = committed[0].parent / "times.toml"
    target.write_text(text, "utf-8")
    return target


def main(
    folder: Annotated[str, typer.Argument(help="folder of a finished study, runs/study/…")],
) -> None:
    """Take the run times in notebooks/times.toml from a study that this machine has just made."""
    if not folder:
        raise UserError("no folder of a finished study: make times FOLDER=runs/study/…")
    print(write_times(Path(folder), notebooks()))


if __name__ == "__main__":
    run_command(main)
