"""Tables of a sweep: where each run stands, what the finished ones found, how long the rest takes.

``kdnb sweep status`` and ``kdnb sweep collect`` show them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from kdnb.batch.estimates import PAST, most_alike
from kdnb.batch.plan import Plan
from kdnb.batch.run_spec import SweepSpec
from kdnb.core.errors import DamagedRun, UserError
from kdnb.core.progress import say
from kdnb.core.run_files import FAILED, check_files, lock_of
from kdnb.core.runs import Run, finished_runs
from kdnb.core.tables import read_table

__all__ = ["SETTLED", "collect_tables", "estimate", "state_of", "status"]

SETTLED = ("done", "failed", "damaged")  # states of runs that no sweep makes on its own


def state_of(run: Run) -> str:
    """``done``, ``damaged``, ``failed``, ``running`` (a live process holds it) or ``waiting``."""
    if run.ended:
        return "damaged" if run.damage else "done"
    if run.path(FAILED).is_file():
        return "failed"
    lock = lock_of(run.folder)
    if not lock.is_file():
        return "waiting"
    try:
        with FileLock(lock, timeout=0):
            return "waiting"
    except Timeout:
        return "running"


def status(specs: Sequence[SweepSpec]) -> pd.DataFrame:
    """Where each run stands.

    Returns:
        One row per run: run, what varies in the plan, state, seconds, note (the error, and where
        its notebook lies, or what is damaged).
    """
    varied: dict[str, None] = {}  # in the order of the plan, each name once
    for spec in specs:
        varied.update(dict.fromkeys(spec.varied))
    rows = []
    for spec in specs:
        run = spec.run
        state = state_of(run)
        row = _front(spec, [name for name in varied if name in spec.parameters])
        row["state"] = state
        row["seconds"] = run.json("done.json")["seconds"] if state == "done" else None
        row["note"] = run.json(FAILED)["message"] if state == "failed" else run.damage
        rows.append(row)
    return pd.DataFrame(rows)


def collect_tables(plan: Plan, specs: Sequence[SweepSpec], table: str = "") -> pd.DataFrame:
    """A table of every finished run of a plan below each other, in its order.

    A damaged run is named and left out. So are, in a plan with parts, those that do not have the
    table that is asked for.

    Args:
        plan: The plan.
        specs: Its runs.
        table: One that the notebook writes, such as ``03_scores``; empty: the plan's, or the only
            one there is.

    Returns:
        Columns run and part, the plan's parameters, those of the table. A parameter that the table
        has too is ``plan_<name>``; a run or part of the table's own is ``table_<name>``.

    Raises:
        UserError: If no run is finished, or the table is not there.
    """
    parts = {part.name: part for part in plan.parts}
    frames = []
    others = []  # finished runs of parts whose notebook writes no such table
    for spec in specs:
        part = parts[spec.part]
        if not spec.run.ended:
            continue
        if len(parts) > 1 and table and table not in _tables_of(spec.run):
            others.append(spec)
            continue
        try:
            check_files(spec.run.folder, "sizes")
            found = read_table(_path(spec.run, table or part.table))
        except DamagedRun as error:
            say(str(error))
            continue
        found = found.rename(columns={name: f"table_{name}" for name in ("run", "part")})
        front = pd.DataFrame(_front(spec, part.named), index=found.index)
        front = front.rename(columns={name: f"plan_{name}" for name in found})
        frames.append(front.join(found))
    if others:
        there = sorted({name for spec in others for name in _tables_of(spec.run)})
        told = f"{len(others)} finished runs have no table {table!r}, they have {', '.join(there)}"
        if not frames:
            raise UserError(f"{told}: name one of these")
        say(f"{told}: left out")
    if not frames:
        raise UserError(f"no run of plan '{plan.name}' is finished: kdnb sweep run does that")
    return pd.concat(frames, ignore_index=True)


def _path(run: Run, table: str) -> Path:
    """Where a run's table lies; an empty name is the only one there is."""
    there = _tables_of(run)
    if not table and len(there) == 1:
        table = there[0]
    if table not in there:
        raise UserError(
            f"which table? got {table!r}, run {run.id} has {', '.join(there) or 'none'}: "
            "name one with --table or with table in the plan"
        )
    return run.path(f"results/{table}.csv")


def _tables_of(run: Run) -> list[str]:
    """The tables that a run wrote, by name."""
    return sorted(path.stem for path in (run.folder / "results").glob("*.csv"))


def _front(spec: SweepSpec, names: Sequence[str]) -> dict[str, Any]:
    """The first columns of a row: run, part of the plan (if it has parts), parameters."""
    row = {"run": spec.run.id}
    if spec.part:
        row["part"] = spec.part
    for name in names:
        value = spec.parameters[name]
        row[name] = json.dumps(value) if isinstance(value, list) else value
    return row


def estimate(specs: Sequence[SweepSpec], workers: int = 1) -> float | None:
    """Seconds that the runs may take, going by the past runs that share most parameters.

    None if no run of such a notebook is finished yet.
    """
    if not specs:
        return 0.0
    past = finished_runs(Path(specs[0].root), "sweep")[-PAST:]
    known = []
    for run in past:
        with suppress(DamagedRun):  # the past without it
            known.append((run.json("spec.json")["parameters"], run.seconds))
    guesses = pd.Series([_guess(spec, known) for spec in specs], dtype=float)
    if guesses.isna().all():
        return None
    guesses = guesses.fillna(guesses.median())
    return max(guesses.sum() / workers, guesses.max())


def _guess(spec: SweepSpec, known: Sequence[tuple[dict[str, Any], float]]) -> float | None:
    """Median seconds of the past runs that are most like this one; None where there are none.

    Args:
        spec: The run.
        known: `SweepSpec.content` and seconds of each past run.
    """
    wanted = spec.content
    past = []
    for content, seconds in known:
        if content["notebook"] == wanted["notebook"]:
            past.append((content["parameters"], seconds))
    found = most_alike(wanted["parameters"], past)
    return found.seconds if found else None
