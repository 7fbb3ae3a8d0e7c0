"""The commands ``kdnb course build · grade · times``."""

from pathlib import Path
from typing import Annotated

import typer

from kdnb.runs import atomic_path
from kdnb.settings import project_root

__all__ = ["course_app"]

course_app = typer.Typer(help="Course material: student and instructor copies, grades.", no_args_is_help=True)


@course_app.command()
def build(
    out: Annotated[str, typer.Option(help="folder to write to; empty: build/course of the project")] = "",
    executed: Annotated[str, typer.Option(help="folder of a finished study: expected output for the instructor")] = "",
) -> None:
    """Write student copies (without solutions) and instructor copies (with solutions and notes)."""
    from kdnb.batch import notebooks
    from kdnb.course.building import build as make

    folder = Path(out) if out else project_root() / "build" / "course"
    written = make(notebooks(), folder, Path(executed) if executed else None)
    print(f"{len(written)} notebooks in {folder}/student and {folder}/instructor")
    if not executed:
        print("the instructor's copies hold no output: for that, add --executed runs/study/<a finished study>")


@course_app.command()
def grade(
    folder: Annotated[Path, typer.Argument(help="submitted notebooks, in folders or not, under any name")],
    out: Annotated[str, typer.Option(help="the CSV to write")] = "grades.csv",
) -> None:
    """Write one row per submitted notebook and exercise: passed or not, and what is doubtful."""
    from kdnb.batch import notebooks
    from kdnb.course.grading import grade as graded

    rows = graded(folder, notebooks())
    with atomic_path(out) as temporary:
        rows.to_csv(temporary, index=False, lineterminator="\n")
    counts = ", ".join(f"{count} {outcome}" for outcome, count in rows["outcome"].value_counts().items())
    print(f"{rows['file'].nunique()} notebooks: {counts}; {out}")
    print("Outcomes are read from the saved files, which can be edited: see the column 'note', and rerun what matters.")


@course_app.command()
def times(folder: Annotated[Path, typer.Argument(help="folder of a finished study, runs/study/…")]) -> None:
    """Take the run times in notebooks/times.toml from a study that this machine has just made."""
    from kdnb.batch import notebooks
    from kdnb.course.building import write_times

    print(write_times(folder, notebooks()))
