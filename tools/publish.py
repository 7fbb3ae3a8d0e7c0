"""A finished study's tables and pictures copied into figures/ (``make publish``)."""

from __future__ import annotations

from typing import Annotated

import typer

from kdnb.core.report import publish
from kdnb.core.settings import Settings, project_root
from kdnb.study import Study
from tools import run_command

__all__ = ["main"]


def main(
    dataset: Annotated[str, typer.Option(help="the data set of the study")] = "phantom_brain",
    data: Annotated[str, typer.Option(help="its archive, folder or CSV, if it was given")] = "",
    profile: Annotated[str, typer.Option(help="smoke, quick, standard or paper")] = "quick",
    seed: Annotated[int, typer.Option(help="seed of the study")] = 0,
    split: Annotated[str, typer.Option(help="its split; empty: the set's default")] = "",
    runs_dir: Annotated[str, typer.Option(help="folder of all runs; empty: runs/")] = "",
) -> None:
    """Copy what a study left; of real data no picture that shows pixels."""
    settings = Settings.checked(
        {
            "dataset": dataset,
            "data": data,
            "profile": profile,
            "seed": seed,
            "split": split,
            "runs_dir": runs_dir,
        }
    )
    folder = project_root() / "figures"
    published = publish(Study(settings).results, folder)
    print(f"{len(published)} files in {folder}")


if __name__ == "__main__":
    run_command(main)
