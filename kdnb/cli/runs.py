"""The command ``kdnb runs check``."""

from __future__ import annotations

import typer

from kdnb.cli.options import RunsDir
from kdnb.core.errors import DamagedRun
from kdnb.core.progress import track
from kdnb.core.run_files import check_files, is_recorded
from kdnb.core.runs import all_runs
from kdnb.core.settings import Settings

__all__ = ["runs_app"]

runs_app = typer.Typer(help="Look at what was computed.", no_args_is_help=True)


@runs_app.command()
def check(runs_dir: RunsDir = "") -> None:
    """Read every file of every finished run, and name the runs that are damaged."""
    runs = all_runs(Settings.checked({"runs_dir": runs_dir}).runs)
    unrecorded = 0
    damaged = []
    for run in track(runs, "checking runs"):
        try:
            check_files(run.folder, "whole")
            unrecorded += not is_recorded(run.folder)
        except DamagedRun as error:
            damaged.append(str(error))
    for line in damaged:
        print(line)
    told = f"{len(runs)} finished runs: {len(damaged)} damaged"
    if unrecorded:
        told += f", {unrecorded} of an older version, which keep no hashes to check"
    print(told)
    raise typer.Exit(1 if damaged else 0)
