"""The options that name a study, shared by ``kdnb``, ``make book`` and ``make publish``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

__all__ = ["Data", "Dataset", "Label", "ProfileName", "RunsDir", "Seed", "Split", "study_values"]

Dataset = Annotated[str, typer.Option(help="phantom_brain, brain_tumor, … or custom")]
Data = Annotated[
    str, typer.Option(help="path of an archive, a folder or a CSV; empty: the default place")
]
ProfileName = Annotated[str, typer.Option(help="smoke, quick, standard or paper")]
Seed = Annotated[int, typer.Option(help="seed of everything random")]
Split = Annotated[
    str,
    typer.Option(
        help="grouped, random, published, deduplicated or patients; "
        "empty: the data set's own default, grouped or patients"
    ),
]
Label = Annotated[
    str, typer.Option(help="ends the folder's name, so that you know it again in `kdnb runs`")
]
RunsDir = Annotated[
    str, typer.Option(help="folder for everything computed; empty: runs/ of the project")
]


def study_values(
    dataset: str, data: str, profile: str, seed: int, split: str, runs_dir: str
) -> dict[str, Any]:
    """The options that name a study as values for ``Settings.checked``.

    >>> study_values("phantom_brain", "", "smoke", 0, "grouped", "")["profile"]
    'smoke'
    """
    return {
        "dataset": dataset,
        "data": data,
        "profile": profile,
        "seed": seed,
        "split": split,
        "runs_dir": runs_dir,
    }
