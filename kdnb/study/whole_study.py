"""The whole study: all notebooks in order, through papermill, into one results folder (``kdnb study``)."""

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
from kdnb.core.runs import Run, atomic_path
from kdnb.core.settings import Settings

__all__ = ["run_notebooks"]

COMMON = ("dataset", "data", "split", "profile", "seed")


def run_notebooks(settings: Settings, explicit: Mapping[str, Any]) -> tuple[Path, Any]:
    """Run the whole study; returns the path of the report and the summary table (``pandas.DataFrame``).

    ``explicit`` are parameters beyond the common ones that the user set: every notebook that declares one takes it.
    """
    from kdnb.study.study import Study  # torch loads for seconds, and a sweep's workers do without

    taken = {name for notebook in notebooks() for name in parameters_of(notebook)}
    if stray := sorted(set(explicit) - taken):
        raise UserError(
            f"no notebook takes {', '.join(stray)}: accepted are {', '.join(sorted(taken))}"
        )
    study = Study(settings)
    image_set, results = (
        study.image_set,
        study.results,
    )  # bad data ends here, before any notebook runs
    say(
        f"{settings.dataset}: {len(image_set.table)} images at {settings.image_size} px, split '{settings.split}'"
    )
    values = (
        {name: getattr(settings, name) for name in COMMON}
        | dict(explicit)
        | {"runs_dir": str(settings.runs)}
    )
    if values["data"]:
        values["data"] = str(Path(values["data"]).expanduser().absolute())
    done: list[Run] = []
    for notebook in track(notebooks(), "study"):
        declared = parameters_of(notebook)
        chosen = {name: value for name, value in values.items() if name in declared}
        upstream = [image_set.hash, _token(results.folder), *(run.id for run in done)]
        done.append(run_notebook(notebook, chosen, settings.runs, upstream, results.folder.name))
        say(f"{notebook.stem}: {'reused' if done[-1].reused else f'{done[-1].seconds:.0f} s'}")
    for run, notebook in zip(done, notebooks(), strict=True):
        shutil.copy(run.path(notebook.name), results.folder)
    return results.folder / "report.html", results.load("07_summary")


def _token(folder: Path) -> str:
    """Names this very folder: once it is deleted, notebooks that filled it run again."""
    path = folder / ".token"
    if not path.is_file():
        with atomic_path(path) as temporary:
            temporary.write_text(uuid.uuid4().hex)
    return path.read_text()
