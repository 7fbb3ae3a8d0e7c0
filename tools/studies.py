"""Finished studies: folders of notebooks that papermill executed to their end (``make study``)."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kdnb.core.errors import UserError
from kdnb.core.notebook_files import INJECTED, Notebook, code_cells, load_json, source_of, tags_of
from kdnb.core.runs import Run

__all__ = ["changed_cells", "environment_of", "finished_study", "is_finished"]

RECORD = {  # what papermill writes into a copy's metadata, once the last cell has run
    "parameters": dict,
    "output_path": str,
    "end_time": str,
    "duration": int | float,
}


def finished_study(folder: Path, names: Iterable[str]) -> dict[str, Notebook]:
    """The executed notebooks of a finished study, by their names.

    Args:
        folder: Of the study.
        names: Of the notebooks that are asked for.

    Raises:
        UserError: If one is missing, no notebook, or was not executed to its end; names the folder
            and the notebook.
    """
    copies = {}
    for name in names:
        try:
            copies[name] = _executed(folder / name)
        except UserError as error:
            raise UserError(
                f"'{folder}' holds no finished study ({error}): "
                "run `make study`, and give its folder, runs/study/…"
            ) from None
    return copies


def is_finished(folder: Path, names: Iterable[str]) -> bool:
    """Whether a folder holds a finished study with these notebooks."""
    try:
        return bool(finished_study(folder, names))
    except UserError:
        return False


def environment_of(folder: Path, name: str, copy: Notebook) -> dict[str, Any]:
    """What an executed notebook ran with: versions and machine, as its run recorded them.

    Args:
        folder: Of the study, beside which its runs lie.
        name: Of the notebook.
        copy: The executed notebook.

    Raises:
        UserError: If the run is gone or damaged.
    """
    run_id = Path(copy["metadata"]["papermill"]["output_path"]).parent.name
    run = Run(kind="notebook", id=run_id, folder=folder.parents[1] / "notebook" / run_id)
    if not run.ended:
        raise UserError(
            f"'{folder}' holds '{name}' without the run that made it, '{run.folder}': "
            "run `make study` again, and give its folder, runs/study/…"
        )
    return run.json("env.json")


def changed_cells(notebook: Notebook, executed: Notebook) -> list[str]:
    """Ids of code cells whose code an executed copy does not have: they changed since, or are new.

    Args:
        notebook: As it is now.
        executed: Its executed copy.
    """
    ran = {(cell.get("id"), source_of(cell)) for cell in code_cells(executed)}
    own = [cell for cell in code_cells(notebook) if INJECTED not in tags_of(cell)]
    return [cell["id"] for cell in own if (cell.get("id"), source_of(cell)) not in ran]


def _executed(path: Path) -> Notebook:
    """A notebook that papermill executed to its end; a UserError that names it where it is none."""
    notebook = load_json(path)
    if not all(map(_is_cell, notebook["cells"])) or not _is_dict(notebook.get("metadata")):
        raise UserError(f"'{path.name}' is no notebook as Jupyter writes it")
    record = notebook["metadata"].get("papermill")
    if not _is_dict(record):
        raise UserError(f"'{path.name}' was not executed by papermill")
    is_whole = all(isinstance(record.get(name), kind) for name, kind in RECORD.items())
    if record.get("exception") or not is_whole:
        raise UserError(f"'{path.name}' was not executed to its end")
    return notebook


def _is_cell(cell: Any) -> bool:
    """Whether a value has the form of a cell; only a code cell has outputs."""
    if not _is_dict(cell) or not _is_dict(cell.get("metadata")):
        return False
    outputs = cell.get("outputs", [])
    return isinstance(outputs, list) and all(map(_is_dict, outputs))


def _is_dict(value: Any) -> bool:
    return isinstance(value, dict)
