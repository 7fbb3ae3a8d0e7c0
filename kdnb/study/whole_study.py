"""The whole study: all notebooks in order, through papermill (``kdnb study``)."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kdnb.batch.estimates import notebook_estimate, spoken
from kdnb.batch.papermill_runs import find_notebook, run_notebook
from kdnb.core.errors import UserError, did_you_mean
from kdnb.core.notebook_files import notebooks, parameters_of
from kdnb.core.progress import say
from kdnb.core.report import write_report
from kdnb.core.results_folder import Results
from kdnb.core.run_list import checked_label
from kdnb.core.runs import Run, atomic_path, write_json
from kdnb.core.settings import Settings

__all__ = ["run_notebooks"]

COMMON = ("dataset", "data", "split", "profile", "seed")


def run_notebooks(
    settings: Settings, explicit: Mapping[str, Any], label: str = ""
) -> tuple[Path, Any]:
    """Run all notebooks in order into one results folder; what is done already is reused.

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
    from kdnb.study.study import Study  # torch loads for seconds, and a sweep's workers do without

    _require_taken(explicit)
    study = Study(settings)
    settings = study.settings  # with a split that has a name
    image_set = study.image_set  # bad data ends here, before any notebook runs
    results = _labelled(study.results, label)
    say(
        f"{settings.dataset}: {len(image_set.table)} images at {settings.image_size} px, "
        f"split '{settings.split}'"
    )
    say(f"{study.certainty}{': too little to tell models apart' if study.has_too_few else ''}")
    values = _parameters(settings, explicit)
    token = _token(results.folder)
    done: list[Run] = []
    for number, notebook in enumerate(notebooks()):
        chosen = _declared(notebook, values)
        upstream = [image_set.hash, token, *(run.id for run in done)]
        if find_notebook(notebook, chosen, settings.runs, upstream) is None:
            say(_what_comes(number, values, settings.runs))
        try:
            run = run_notebook(notebook, chosen, settings.runs, upstream, results.folder.name)
        except UserError as error:
            raise UserError(f"{error}{_so_far(results)}") from error
        done.append(run)
        place = f"{number + 1} of {len(notebooks())}"
        say(f"{place}  {notebook.stem}: {'reused' if run.reused else spoken(run.seconds)}")
    for run, notebook in zip(done, notebooks(), strict=True):
        shutil.copy(run.path(notebook.name), results.folder)
    return results.folder / "report.html", results.load("07_summary")


def _so_far(results: Results) -> str:
    """Where the report of a study that is not done lies, as the end of a sentence."""
    if not (results.folder / "manifest.json").is_file():
        return ""
    return f"; the report of what is done: {write_report(results)}"


def _labelled(results: Results, label: str) -> Results:
    """The results in a folder whose name ends with a label."""
    if not label:
        return results
    folder = results.folder.with_name(f"{results.folder.name}-{checked_label(label)}")
    write_json(folder / "label.json", {"label": label})
    return replace(results, folder=folder)


def _declared(notebook: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """Of some parameters those that a notebook declares."""
    declared = parameters_of(notebook)
    return {name: value for name, value in values.items() if name in declared}


def _what_comes(number: int, values: Mapping[str, Any], root: Path) -> str:
    """Before a notebook: which of how many, how long it and the rest may take, and what is next."""
    every = notebooks()
    estimates = []
    for notebook in every[number:]:
        estimates.append(notebook_estimate(notebook.stem, _declared(notebook, values), root))
    said = f"{number + 1} of {len(every)}  {every[number].stem}: "
    if estimates[0] is None:
        said += "no past run on this machine to estimate from"
    elif None in estimates:
        said += f"about {spoken(estimates[0].seconds)} (median of past runs here)"
    else:
        left = sum(estimate.seconds for estimate in estimates)
        said += f"about {spoken(estimates[0].seconds)}, all that is left {spoken(left)}"
        said += " (median of past runs here)"
    return said + (f"; next {every[number + 1].stem}" if len(estimates) > 1 else "; the last one")


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
        values["data"] = str(Path(values["data"]).expanduser().absolute())
    return values


def _token(folder: Path) -> str:
    """Names this very folder: once it is deleted, notebooks that filled it run again."""
    path = folder / ".token"
    if not path.is_file():
        with atomic_path(path) as temporary:
            temporary.write_text(uuid.uuid4().hex)
    return path.read_text()
