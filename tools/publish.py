"""A finished study's tables and pictures copied into figures/ (``make publish``)."""

from __future__ import annotations

from kdnb.cli.options import Data, Dataset, ProfileName, RunsDir, Seed, Split, study_values
from kdnb.core.report import publish
from kdnb.core.settings import Settings, project_root
from kdnb.study import Study
from tools import run_command

__all__ = ["main"]


def main(
    dataset: Dataset = "phantom_brain",
    data: Data = "",
    profile: ProfileName = "quick",
    seed: Seed = 0,
    split: Split = "",
    runs_dir: RunsDir = "",
) -> None:
    """Copy what a study left; of real data no picture that shows pixels."""
    settings = Settings.checked(study_values(dataset, data, profile, seed, split, runs_dir))
    folder = project_root() / "figures"
    published = publish(Study(settings).results, folder)
    print(f"{len(published)} files in {folder}")


if __name__ == "__main__":
    run_command(main)
