"""The notebooks of a study as steps: their order, what each is given, how long it may take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdnb.batch.estimates import notebook_estimate, spoken
from kdnb.batch.papermill_runs import planned_notebook
from kdnb.core.notebook_files import notebooks, parameters_of
from kdnb.core.runs import Run

__all__ = ["Step", "Wave", "estimate", "study_waves"]

# The numbers of the notebooks in waves of lanes: the lanes of a wave run side by side, a lane's
# notebooks in order, and a wave begins when the one before has ended. 02 trains the teacher, with
# all cores. 03 trains the student, for which 05 waits: 00 and 01 fill that time. 06 measures times,
# so that nothing runs beside it.
NUMBERS = (
    (("02",),),
    (("03", "04"), ("00", "01", "05")),
    (("06",),),
    (("07",),),
)


@dataclass(frozen=True)
class Step:
    """A notebook of one study and what it is executed with."""

    place: str  #: such as "3 of 8"
    notebook: Path
    parameters: dict[str, Any]  #: those that it declares
    root: Path  #: of all runs
    upstream: list[str]  #: what it is computed from
    results: str  #: name of the study's folder
    run: Run  #: where it lies once it is made

    @property
    def name(self) -> str:
        """Its place among all notebooks and its own name."""
        return f"{self.place}  {self.notebook.stem}"


Wave = list[list[Step]]


def study_waves(
    values: Mapping[str, Any], root: Path, source: Sequence[str], results: str
) -> list[Wave]:
    """All notebooks as steps, in waves of lanes.

    What a notebook is computed from is the source, all earlier waves, and its lane before it: a
    change of one makes stale what builds on it, and nothing else.

    Args:
        values: Parameters, for the notebooks that declare them.
        root: The folder of all runs.
        source: Ids (or hashes) of what the whole study is computed from.
        results: Name of the study's folder.
    """
    files_in_waves = _files_in_waves(notebooks())
    in_order = [notebook for wave in files_in_waves for lane in wave for notebook in lane]
    waves = []
    earlier = list(source)
    for lanes in files_in_waves:
        wave = []
        for files in lanes:
            lane: list[Step] = []
            for notebook in files:
                parameters = _declared(notebook, values)
                upstream = earlier + [step.run.id for step in lane]
                step = Step(
                    place=f"{in_order.index(notebook) + 1} of {len(in_order)}",
                    notebook=notebook,
                    parameters=parameters,
                    root=root,
                    upstream=upstream,
                    results=results,
                    run=planned_notebook(notebook, parameters, root, upstream),
                )
                lane.append(step)
            wave.append(lane)
        waves.append(wave)
        earlier = earlier + [step.run.id for lane in wave for step in lane]
    return waves


def _files_in_waves(every: Sequence[Path]) -> list[list[list[Path]]]:
    """Notebook files in waves of lanes; one of another number comes last, by itself."""
    waves = []
    for numbers_of_lanes in NUMBERS:
        wave = []
        for numbers in numbers_of_lanes:
            wave.append([notebook for notebook in every if notebook.name[:2] in numbers])
        waves.append(wave)
    placed = [notebook for wave in waves for lane in wave for notebook in lane]
    waves += [[[notebook]] for notebook in every if notebook not in placed]
    return [wave for wave in waves if any(wave)]  # a notebook may have been taken away


def _declared(notebook: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """Of some parameters those that a notebook declares."""
    names = parameters_of(notebook)
    return {name: value for name, value in values.items() if name in names}


def estimate(step: Step, waves: Sequence[Wave], side_by_side: bool) -> str:
    """How long a step and all that is left may take, by past runs, and which step is next."""
    own = _past_seconds(step)
    if own is None:
        said = "no past run on this machine to estimate from"
    else:
        said = f"about {spoken(own)}"
        left = _seconds_left(waves, side_by_side)
        if left is not None:
            said += f", all that is left {spoken(left)}"
        said += " (median of past runs here)"
    following = _following(step, waves)
    return said + (f"; next {following.notebook.stem}" if following else "; the last one")


def _following(step: Step, waves: Sequence[Wave]) -> Step | None:
    """The next step of the lane, else the first one of the next wave."""
    for number, wave in enumerate(waves):
        for lane in wave:
            if step not in lane:
                continue
            later = lane[lane.index(step) + 1 :]
            if not later and number + 1 < len(waves):
                later = [other for lane_after in waves[number + 1] for other in lane_after]
            return later[0] if later else None
    return None


def _past_seconds(step: Step) -> float | None:
    """Median of a notebook's past runs, s."""
    found = notebook_estimate(step.notebook.stem, step.parameters, step.root)
    return None if found is None else found.seconds


def _seconds_left(waves: Sequence[Wave], side_by_side: bool) -> float | None:
    """What all steps that are not done may take, s; None if one of them never ran here."""
    total = 0.0
    for wave in waves:
        of_lanes = []
        for lane in wave:
            left = [_past_seconds(step) for step in lane if not step.run.finished]
            if None in left:
                return None
            of_lanes.append(sum(left))
        total += max(of_lanes) if side_by_side else sum(of_lanes)
    return total
