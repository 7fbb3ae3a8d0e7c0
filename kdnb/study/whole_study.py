"""The whole study: all notebooks in order, through papermill (``kdnb study``)."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdnb.batch.papermill_runs import run_notebook
from kdnb.core.errors import UserError
from kdnb.core.notebook_files import notebooks, parameters_of
from kdnb.core.progress import say, track
from kdnb.core.report import write_report
from kdnb.core.results_folder import Results
from kdnb.core.runs import Run, atomic_path
from kdnb.core.settings import Settings

__all__ = ["run_notebooks"]

COMMON = ("dataset", "data", "split", "profile", "seed")


def run_notebooks(settings: Settings, explicit: Mapping[str, Any]) -> tuple[Path, Any]:
    """Run all notebooks in order into one results folder; what is done already is reused.

    Args:
        settings: Of the study.
        explicit: Parameters beyond the common ones that the user set; every notebook that declares
            one takes it.

    Returns:
        The path of the report, and the summary table (``pandas.DataFrame``).

    Raises:
        UserError: If no notebook takes a parameter, the data cannot be used, or a notebook failed.
    """
    from kdnb.study.study import Study  # torch loads for seconds, and a sweep's workers do without

    _require_taken(explicit)
    study = Study(settings)
    settings = study.settings  # with a split that has a name
    image_set = study.image_set  # bad data ends here, before any notebook runs
    results = study.results
    say(
        f"{settings.dataset}: {len(image_set.table)} images at {settings.image_size} px, "
        f"split '{settings.split}'"
    )
    values = _parameters(settings, explicit)
    token = _token(results.folder)
    done: list[Run] = []
    for notebook in track(notebooks(), "study"):
        declared = parameters_of(notebook)
        chosen = {name: value for name, value in values.items() if name in declared}
        upstream = [image_set.hash, token, *(run.id for run in done)]
        try:
            run = run_notebook(notebook, chosen, settings.runs, upstream, results.folder.name)
        except UserError as error:
            raise UserError(f"{error}{_so_far(results)}") from error
        done.append(run)
        say(f"{notebook.stem}: {'reused' if run.reused else f'{run.seconds:.0f} s'}")
    for run, notebook in zip(done, notebooks(), strict=True):
        shutil.copy(run.path(notebook.name), results.folder)
    return results.folder / "report.html", results.load("07_summary")


def _so_far(results: Results) -> str:
    """Where the report of a study that is not done lies, as the end of a sentence."""
    if not (results.folder / "manifest.json").is_file():
        return ""
    return f"; the report of what is done: {write_report(results)}"


def _require_taken(explicit: Mapping[str, Any]) -> None:
    """Every explicit parameter is one of some notebook."""
    taken: set[str] = set()
    for notebook in notebooks():
        taken.update(parameters_of(notebook))
    stray = sorted(set(explicit) - taken)
    if stray:
        raise UserError(
            f"no notebook takes {', '.join(stray)}: accepted are {', '.join(sorted(taken))}"
        )


def _parameters(settings: Settings, explicit: Mapping[str, Any]) -> dict[str, Any]:
    """What the notebooks are given, where they declare it; paths hold in every folder."""
    values = {name: getattr(settings, name) for name in COMMON}
    values.update(explicit)
    values["runs_dir"] = str(settings.runs)
    if values["data"]:
        values["data"] = str(Path(values["data"]).expanduser().absolute())
    return values


def _token(folder: Path) -> str:
    """Names this very folder: once it is deleted, notebooks that filled it run again."""
    path = folder / ".token"
    if not path.is_file():
        with atomic_path(path) as temporary:
            temporary.write_text(uuid.uuid4().hex)
    return path.read_text()
