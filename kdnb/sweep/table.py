"""Tables of a sweep: where each run stands, what the finished ones found, how long the rest takes (``kdnb sweep``)."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from kdnb.errors import UserError
from kdnb.runs import AS_IS, Run, finished_runs
from kdnb.sweep.plan import Plan
from kdnb.sweep.spec import Spec

__all__ = ["collect", "estimate", "state_of", "status"]

PAST = 300  # finished runs that an estimate looks at, the newest


def state_of(run: Run) -> str:
    """``done``, ``failed``, ``running`` (some live process holds it) or ``waiting``."""
    for name in ("done", "failed"):
        if run.path(f"{name}.json").is_file():
            return name
    lock = run.folder.with_suffix(".lock")
    if not lock.is_file():
        return "waiting"
    try:
        with FileLock(lock, timeout=0):
            return "waiting"
    except Timeout:
        return "running"


def status(specs: Sequence[Spec]) -> pd.DataFrame:
    """One row per run: run, what varies in the plan, state, seconds, note (the error and where its notebook lies)."""
    rows, varied = [], dict.fromkeys(name for spec in specs for name in spec.varied)
    for spec in specs:
        run, state = spec.run, state_of(spec.run)
        seconds = run.json("done.json")["seconds"] if state == "done" else None
        note = run.json("failed.json")["message"] if state == "failed" else ""
        front = _front(spec, [name for name in varied if name in spec.parameters])
        rows.append({**front, "state": state, "seconds": seconds, "note": note})
    return pd.DataFrame(rows)


def collect(plan: Plan, specs: Sequence[Spec], table: str = "") -> pd.DataFrame:
    """A table of every finished run of a plan below each other, in its order, with run and parameters in front.

    ``table`` is one that the notebook writes, such as ``03_scores``; empty: the plan's, or the only one there is.

    Returns:
        Columns run, the plan's parameters, those of the table; a parameter that the table has too is ``plan_<name>``.

    Raises:
        UserError: If no run is finished, or the table is not there.
    """
    frames, parts = [], {part.name: part for part in plan.parts}
    for spec in specs:
        part = parts[spec.part]
        others = len(parts) > 1 and table and part.table != table  # what the notebook of this part writes
        if not others and state_of(spec.run) == "done":
            found = pd.read_csv(_path(spec.run, table or part.table), **AS_IS)
            front = pd.DataFrame(_front(spec, part.named), index=found.index)
            frames.append(front.rename(columns={name: f"plan_{name}" for name in found}).join(found))
    if not frames:
        raise UserError(f"no run of plan '{plan.name}' is finished: kdnb sweep run does that")
    return pd.concat(frames, ignore_index=True)


def _path(run: Run, table: str) -> Path:
    there = sorted(path.stem for path in run.path("results").glob("*.csv"))
    if not table and len(there) == 1:
        table = there[0]
    if table not in there:
        raise UserError(f"which table? got {table!r}, run {run.id} has {', '.join(there) or 'none'}: name one with "
                        "--table or with table in the plan")  # fmt: skip
    return run.path("results") / f"{table}.csv"


def _front(spec: Spec, names: Sequence[str]) -> dict[str, Any]:
    """The first columns of a row: run, part of the plan (if it has parts), parameters."""
    values = {name: spec.parameters[name] for name in names}
    shown = {name: json.dumps(value) if isinstance(value, list) else value for name, value in values.items()}
    return {"run": spec.run.id, **({"part": spec.part} if spec.part else {}), **shown}


def estimate(specs: Sequence[Spec], workers: int = 1) -> float | None:
    """Seconds that the runs may take: each as the median of the past runs that share most parameters with it.

    None if no run of such a notebook is finished yet.
    """
    if not specs:
        return 0.0
    past = finished_runs(Path(specs[0].root), "sweep")[-PAST:]
    known = [(run.json("spec.json")["parameters"], run.seconds) for run in past]
    guesses = pd.Series([_guess(spec, known) for spec in specs], dtype=float)
    if guesses.isna().all():
        return None
    guesses = guesses.fillna(guesses.median())
    return max(guesses.sum() / workers, guesses.max())


def _guess(spec: Spec, known: Sequence[tuple[dict[str, Any], float]]) -> float | None:
    content = spec.content
    shared = [
        (sum(past["parameters"].get(name) == value for name, value in content["parameters"].items()), seconds)
        for past, seconds in known if past["notebook"] == content["notebook"]
    ]  # fmt: skip
    return median(seconds for score, seconds in shared if score == max(shared)[0]) if shared else None
