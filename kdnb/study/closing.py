"""What a finished study says last: how sure it can be, and what to do with its student."""

from __future__ import annotations

from kdnb.core.settings import Settings
from kdnb.study.study import Study

__all__ = ["closing_lines"]


def closing_lines(settings: Settings) -> list[str]:
    """The lines: the certainty of an accuracy, then the commands that use the student.

    Raises:
        UserError: If the student is not trained.
    """
    study = Study(settings)
    where = f" --runs-dir '{settings.runs}'" if settings.runs_dir else ""
    student = study.student.id
    return [
        f"how sure: {study.certainty}",
        "next, with the student of this study:",
        f"  kdnb explain IMAGE --run {student}{where}",
        f"  kdnb export student.onnx --run {student}{where}",
    ]
