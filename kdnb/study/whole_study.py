"""The whole study: all notebooks, through papermill (``kdnb study``).

A notebook waits for those that it builds on; two that build on the same ones run side by side.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from kdnb.batch.estimates import spoken
from kdnb.batch.papermill_runs import find_notebook, run_notebook
from kdnb.batch.side_by_side import run_lanes
from kdnb.core.errors import UserError, did_you_mean
from kdnb.core.notebook_files import notebooks, parameters_of
from kdnb.core.progress import say
from kdnb.core.report import write_report
from kdnb.core.results_folder import Results
from kdnb.core.run_files import lock_of
from kdnb.core.run_list import checked_label
from kdnb.core.runs import Run, atomic_path, digest, read_json, write_json
from kdnb.core.settings import TIMM, Settings
from kdnb.study.steps import Step, Wave, estimate, study_waves

if TYPE_CHECKING:
    import torch

    from kdnb.data.dataset import ImageSet

__all__ = ["run_notebooks"]

COMMON = ("dataset", "data", "split", "profile", "seed")


def run_notebooks(
    settings: Settings, explicit: Mapping[str, Any], label: str = ""
) -> tuple[Path, Any]:
    """Run all notebooks into one results folder; what is done already is reused.

    Args:
        settings: Of the study.
        explicit: Parameters beyond the common ones that the user set; every notebook that declares
            one takes it.
        label: Ends the name of the results folder; empty for the settings' own folder.

    Returns:
        The path of the report, and the summary table (``pandas.DataFrame``).

    Raises:
        UserError: If no notebook takes a parameter, the data cannot be used, or a notebook failed.
    """
    # torch loads for seconds, and a sweep's workers do without
    from kdnb.study.study import Study
    from kdnb.training.timm_models import check_name

    _require_taken(explicit)
    if settings.teacher.startswith(TIMM):
        check_name(settings.teacher)
    study = Study(settings)
    settings = study.settings  # with a split that has a name
    image_set = study.image_set  # bad data ends here, before any notebook runs
    results = _labelled(study.results, label)
    say(
        f"{settings.dataset}: {len(image_set.table)} images at {settings.image_size} px, "
        f"split '{settings.split}'"
    )
    for note in image_set.notes:
        say(f"note: {note}")
    say(f"{study.certainty}{': too little to tell models apart' if study.has_too_few else ''}")
    source = [image_set.hash, *_what_intervals_go_by(image_set), _token(results.folder)]
    waves = study_waves(_parameters(settings, explicit), settings.runs, source, results.folder.name)
    side_by_side = _has_room_for_two(study.device)
    done: list[tuple[Step, Run]] = []

    def begun(step: Step) -> None:
        say(f"{step.name}: {estimate(step, waves, side_by_side)}")

    def ended(step: Step, run: Run) -> None:
        done.append((step, run))
        say(f"{step.name}: {'reused' if run.reused else spoken(run.seconds)}")

    with _in_use(results.folder):
        try:
            for wave in waves:
                _make_wave(wave, side_by_side, begun, ended)
        except UserError as error:
            raise UserError(f"{error}{_so_far(results)}") from error
        for step, run in done:
            shutil.copy(run.path(step.notebook.name), results.folder)
        report = results.folder / "report.html"
        if _has_results(results) and not report.is_file():  # somebody has removed it
            write_report(results)
        return report, results.load("07_summary")


@contextmanager
def _in_use(folder: Path) -> Iterator[None]:
    """Hold a study's folder, so that nobody removes it meanwhile; others may fill it, too."""
    with ExitStack() as held:
        with suppress(Timeout):  # another process holds it already
            held.enter_context(FileLock(lock_of(folder), timeout=0))
        yield


def _so_far(results: Results) -> str:
    """Where the report of a study that is not done lies, as the end of a sentence."""
    if not _has_results(results):
        return ""
    return f"; the report of what is done: {write_report(results)}"


def _has_results(results: Results) -> bool:
    """Whether a notebook has saved anything."""
    return (results.folder / "manifest.json").is_file()


def _labelled(results: Results, label: str) -> Results:
    """The results in a folder whose name ends with a label."""
    if not label:
        return results
    folder = results.folder.with_name(f"{results.folder.name}-{checked_label(label)}")
    write_json(folder / "label.json", {"label": label})
    return replace(results, folder=folder)


def _has_room_for_two(device: torch.device) -> bool:
    """Whether two notebooks run side by side: on several cores, and not where they share a GPU."""
    return device.type == "cpu" and (os.cpu_count() or 1) > 1


def _execute(step: Step) -> Run:
    """Make a step's run, or find it; in a process of its own where others run beside it."""
    return run_notebook(step.notebook, step.parameters, step.root, step.upstream, step.results)


def _make_wave(
    wave: Wave,
    side_by_side: bool,
    begun: Callable[[Step], None],
    ended: Callable[[Step, Run], None],
) -> None:
    """Find the steps of a wave that are done, and make the others."""
    waiting = []
    for lane in wave:
        left = []
        for step in lane:
            run = find_notebook(step.notebook, step.parameters, step.root, step.upstream)
            if run is None:
                left.append(step)
            else:
                ended(step, run)
        if left:
            waiting.append(left)
    if not waiting:
        return
    if not side_by_side:
        waiting = [[step for lane in waiting for step in lane]]
    run_lanes(waiting, _execute, before=begun, after=ended)


def _require_taken(explicit: Mapping[str, Any]) -> None:
    """Every explicit parameter is one of some notebook."""
    taken: set[str] = set()
    for notebook in notebooks():
        taken.update(parameters_of(notebook))
    stray = sorted(set(explicit) - taken)
    if stray:
        near = did_you_mean(stray[0], taken)
        raise UserError(
            f"no notebook takes {', '.join(stray)}: accepted are {', '.join(sorted(taken))}{near}"
        )


def _parameters(settings: Settings, explicit: Mapping[str, Any]) -> dict[str, Any]:
    """What the notebooks are given, where they declare it; paths hold in every folder."""
    values = {name: getattr(settings, name) for name in COMMON}
    values.update(explicit)
    values["runs_dir"] = str(settings.runs)
    if values["data"]:
        from kdnb.data.registry import locate, registered

        known = registered().get(settings.dataset, {})
        values["data"] = str(locate(settings.dataset, known, values["data"]).absolute())
    return values


def _what_intervals_go_by(image_set: ImageSet) -> list[str]:
    """What decides intervals and no training: runs of numbers, once the originals are at hand."""
    if "number_run" not in image_set.table:
        return []
    from kdnb.data.leakage import interval_groups

    groups = interval_groups(image_set.table).tolist()
    return [digest([groups, image_set.group_widening])]


def _token(folder: Path) -> str:
    """Names this very folder: once it is deleted, notebooks that filled it run again."""
    path = folder / ".token"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".token.lock"):  # two studies that begin at once share one
        lost = _forget_lost_files(folder)
        if lost:
            say(f"'{lost[0]}' is gone from '{folder}': the notebooks run again")
        if lost or not path.is_file():
            with atomic_path(path) as temporary:
                temporary.write_text(uuid.uuid4().hex)
        return path.read_text()


def _forget_lost_files(folder: Path) -> list[str]:
    """Take from a study's manifest the files that somebody has removed; their names."""
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        return []
    with FileLock(folder / ".manifest.lock"):
        listed = read_json(manifest)
        kept = {name: facts for name, facts in listed.items() if (folder / name).is_file()}
        if kept != listed:
            write_json(manifest, kept)
    return [name for name in listed if name not in kept]
