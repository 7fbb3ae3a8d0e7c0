"""The commands ``kdnb runs list · show · remove · check``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from kdnb.cli.options import RunsDir
from kdnb.core.errors import DamagedRun, UserError
from kdnb.core.progress import track
from kdnb.core.provenance import changed_code
from kdnb.core.run_files import check_files, failed, is_recorded, unfinished
from kdnb.core.run_list import (
    MAIN_KINDS,
    Entry,
    builders,
    dependents,
    entries,
    entries_table,
    entries_text,
    folder_size,
    named_entries,
    readable_json,
    size_text,
)
from kdnb.core.run_removal import folders_of, remove_folders, require_unused
from kdnb.core.runs import all_runs, code_changed_since
from kdnb.core.settings import Settings

__all__ = ["runs_app"]

runs_app = typer.Typer(help="Look at what was computed, and remove it.")

All = Annotated[bool, typer.Option("--all", help="data, logits, grades and the like, too")]
Named = Annotated[list[str], typer.Argument(help="ids as `runs list` prints them, or beginnings")]
OneNamed = Annotated[str, typer.Argument(help="an id as `runs list` prints it, or its beginning")]
Yes = Annotated[bool, typer.Option("--yes", help="do not ask")]
Anyway = Annotated[bool, typer.Option("--anyway", help="also what other runs build on")]
Dependents = Annotated[bool, typer.Option("--dependents", help="and all that is built on them")]


@runs_app.callback(invoke_without_command=True)
def of_nothing(context: typer.Context, all_: All = False, runs_dir: RunsDir = "") -> None:
    """Look at what was computed, and remove it; without a command, the list."""
    command = context.invoked_subcommand
    if command is None:
        list_runs(all_, runs_dir)
    elif all_ or runs_dir:
        raise UserError(f"options stand behind the command: kdnb runs {command} … --runs-dir …")


@runs_app.command("list")
def list_runs(all_: All = False, runs_dir: RunsDir = "") -> None:
    """List studies, sweeps, teachers and students, the oldest first; of studies, the student."""
    root = _folder(runs_dir)
    found = entries(root)
    shown = [entry for entry in found if all_ or entry.kind in MAIN_KINDS]
    if shown:
        print(entries_text(shown))
    print(f"{len(shown)} of {len(found)} runs in '{root}': {_all_sizes(found)} together")
    begun = unfinished(root)
    if begun:
        size = size_text(sum(map(folder_size, begun)))
        print(f"{len(begun)} unfinished, {size}: asked for again, they go on ({begun[0]}, …)")
    failures = failed(root)
    if failures:
        print(
            f"{len(failures)} failed: `kdnb sweep retry PLAN` makes them again ({failures[0]}, …)"
        )


@runs_app.command()
def show(name: OneNamed, runs_dir: RunsDir = "") -> None:
    """Say what one run is, what it is built on, what builds on it, and what made it."""
    root = _folder(runs_dir)
    found = entries(root)
    [entry] = named_entries(found, [name])
    for column, value in entries_table([entry]).iloc[0].items():
        print(f"{column + ':':10} {value}")
    print(f"{'folder:':10} {entry.folder}")
    print(f"{'built on:':10} {_built_on(entry)}")
    built = ", ".join(other.name for other in builders(found, entry))
    print(f"{'used by:':10} {built or 'no run builds on it'}")
    for file in ("spec.json", "env.json"):
        path = entry.folder / file
        if path.is_file():
            content = readable_json(path)
            changed = changed_code(content.pop("code", {}))
            if changed:
                print(f"{'changed:':10} {', '.join(changed)} since it was made")
            print(f"{file}: {json.dumps(content, indent=1) if content else 'damaged'}")


def _built_on(entry: Entry) -> str:
    """What an entry is built on, as text; of damaged ones nobody knows."""
    told = entry.folder / ("manifest.json" if entry.kind == "study" else "spec.json")
    if not readable_json(told):
        return f"not known: {told.name} is missing or damaged"
    return ", ".join(sorted(entry.needs)) or "no other run"


@runs_app.command()
def remove(
    names: Named,
    yes: Yes = False,
    anyway: Anyway = False,
    dependents_: Dependents = False,
    runs_dir: RunsDir = "",
) -> None:
    """Delete runs, or studies with their executed notebooks; says what is freed, and asks."""
    root = _folder(runs_dir)
    found = entries(root)
    chosen = named_entries(found, names)
    if dependents_:
        chosen += dependents(found, chosen)
    if not anyway:
        require_unused(found, chosen)
    folders = folders_of(chosen)
    parts = [entry for entry in found if entry.folder in folders and entry not in chosen]
    going = [*chosen, *parts]
    print(entries_text(going))
    freed = _all_sizes(going)
    if not yes and not _confirmed(f"Delete these {len(going)}, {freed}? They cannot be had back"):
        print("nothing was removed")
        raise typer.Exit(1)
    remove_folders(folders)
    print(f"{len(going)} removed, {freed} freed; what a study needs is made again")


def _folder(runs_dir: str) -> Path:
    """The folder of all runs.

    Raises:
        UserError: If one is named that is not there: a slip, since it would look healthy and empty.
    """
    root = Settings.checked({"runs_dir": runs_dir}).runs
    if runs_dir and not root.is_dir():
        raise UserError(f"--runs-dir '{runs_dir}' is no folder")
    return root


def _all_sizes(found: list[Entry]) -> str:
    """The bytes of some entries together, as text."""
    return size_text(sum(entry.size for entry in found))


def _confirmed(question: str) -> bool:
    """Whether a person says yes.

    Raises:
        UserError: If nobody can be asked.
    """
    try:
        return typer.confirm(question)
    except typer.Abort:
        raise UserError("nobody answered: nothing was removed; --yes does not ask") from None


@runs_app.command()
def check(runs_dir: RunsDir = "") -> None:
    """Read every file of every finished run, and name the runs that are damaged.

    The tables of a study are copies, and are not among them.
    """
    runs = all_runs(_folder(runs_dir))
    unrecorded = 0
    damaged = []
    changed = []
    for run in track(runs, "checking runs"):
        try:
            check_files(run.folder, "whole")
            unrecorded += not is_recorded(run.folder)
            if code_changed_since(run):
                changed.append(f"{run.kind}/{run.id}")
        except DamagedRun as error:
            damaged.append(str(error))
    for line in damaged:
        print(line)
    told = f"{len(runs)} finished runs: {len(damaged)} damaged"
    if unrecorded:
        told += f", {unrecorded} of an older version, which keep no hashes to check"
    if changed:
        told += f", {len(changed)} made by other code ({changed[0]}, …)"
    print(told)
    raise typer.Exit(1 if damaged else 0)
