"""How long a notebook may take, going by past runs (``kdnb study`` and ``kdnb sweep``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from kdnb.core.errors import DamagedRun
from kdnb.core.provenance import environment
from kdnb.core.runs import finished_runs

__all__ = ["PAST", "Estimate", "most_alike", "notebook_estimate", "spoken"]

PAST = 300  # finished runs that an estimate looks at, the newest
OF_MACHINE = ("processor", "cores")  # what must be equal for times to be comparable


class Estimate(NamedTuple):
    """A time that something may take."""

    seconds: float
    runs: int  #: how many past runs it is the median of


def most_alike(
    wanted: Mapping[str, Any], past: Iterable[tuple[Mapping[str, Any], float]]
) -> Estimate | None:
    """Median seconds of the past runs that share most parameters; None where there are none.

    >>> most_alike({"a": 1, "b": 2}, [({"a": 1}, 5.0), ({"a": 1, "b": 2}, 8.0)])
    Estimate(seconds=8.0, runs=1)
    """
    seconds_by_likeness: dict[int, list[float]] = {}
    for parameters, seconds in past:
        shared = sum(parameters.get(name) == value for name, value in wanted.items())
        seconds_by_likeness.setdefault(shared, []).append(seconds)
    if not seconds_by_likeness:
        return None
    best = seconds_by_likeness[max(seconds_by_likeness)]
    return Estimate(seconds=median(best), runs=len(best))


def notebook_estimate(stem: str, parameters: Mapping[str, Any], root: Path) -> Estimate | None:
    """What past runs of a notebook took on a machine like this one, at the same profile.

    Args:
        stem: The notebook's name.
        parameters: What papermill would inject.
        root: The folder of all runs.
    """
    here = environment()
    past = []
    for run in finished_runs(root, "notebook")[-PAST:]:
        with suppress(DamagedRun):  # the past without it
            spec = run.json("spec.json")["parameters"]
            there = run.json("env.json")
            same_machine = all(there.get(name) == here[name] for name in OF_MACHINE)
            known = spec["parameters"]
            same_profile = known.get("profile") == parameters.get("profile")
            if spec["notebook"] == stem and same_machine and same_profile:
                past.append((known, run.seconds))
    return most_alike(parameters, past)


def spoken(seconds: float) -> str:
    """A duration for a person.

    >>> spoken(42), spoken(600), spoken(9000)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
