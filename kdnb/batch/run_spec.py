"""One run of a sweep: what any process needs to make it, and the file that hands it over.

``kdnb sweep run-one`` reads that file.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kdnb.core.errors import UserError
from kdnb.core.runs import Run, read_json, run_of

__all__ = ["PLACES", "VERSION", "SweepSpec", "read_spec"]

VERSION = 1  # of plans and spec files
PLACES = ("data", "runs_dir")  # where things lie; the same content elsewhere is the same run


@dataclass(frozen=True)
class SweepSpec:
    """One run of a sweep: all that a process on any machine with the same folders needs."""

    notebook: str  #: absolute path of the notebook
    parameters: dict[str, Any]  #: what papermill injects, without runs_dir
    code: str  #: digest of the notebook's code and of the package when the plan was made
    root: str  #: absolute path of the folder of all runs
    upstream: list[str]  #: what identifies the data
    varied: list[str]  #: the parameters in which this run differs from others of its part
    part: str  #: name of the part of the plan that it belongs to
    start_timeout: int  #: seconds that the kernel may take to start
    cell_timeout: int  #: seconds that a cell may take; 0 for no limit
    attempts: int  #: how often a kernel is started within one call, at most

    @property
    def content(self) -> dict[str, Any]:
        """What the result depends on besides the data."""
        chosen = {name: value for name, value in self.parameters.items() if name not in PLACES}
        return {"notebook": Path(self.notebook).stem, "parameters": chosen, "code": self.code}

    @property
    def run(self) -> Run:
        """The run's folder and id, finished or not."""
        return run_of("sweep", self.content, root=Path(self.root), upstream=self.upstream)

    def __str__(self) -> str:
        varied = " ".join(f"{name}={self.parameters[name]}" for name in self.varied)
        return varied or Path(self.notebook).stem

    def asdict(self) -> dict[str, Any]:
        """Plain values for a spec file, with the run's id."""
        return {"version": VERSION, "id": self.run.id, **asdict(self)}


def read_spec(path: Path) -> SweepSpec:
    """One run from its JSON file, as ``kdnb sweep plan --specs`` writes it.

    Raises:
        UserError: If it is no such file, or of another version.
    """
    try:
        found = read_json(path)
        version = found.pop("version")
        run_id = found.pop("id")
        spec = SweepSpec(**found)
        own_id = spec.run.id
    except OSError as error:
        raise UserError(f"spec '{path}' cannot be read ({error.strerror})") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise UserError(
            f"'{path}' is no spec of a run: write specs with kdnb sweep plan PLAN --specs FOLDER"
        ) from None
    if version != VERSION or own_id != run_id:
        raise UserError(
            f"spec '{path}' is of another kdnb, or was edited: "
            "write specs again with kdnb sweep plan"
        )
    return spec
