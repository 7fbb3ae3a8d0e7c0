"""DenseNet121, the paper's teacher: measured whichever teacher the study has (notebook 06)."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from torch import Tensor, nn

from kdnb.core.profiles import PAPER_TEACHER
from kdnb.efficiency.explanation_cost import (
    END_TO_END_METHODS,
    explanation_methods,
    explanation_times,
)
from kdnb.efficiency.timing import Protocol, latency
from kdnb.training.model_cost import cost_table
from kdnb.training.teachers import make_teacher
from kdnb.xai.attribution import Context

__all__ = ["PAPER_TEACHER", "beside_paper", "measure_paper_teacher", "of_paper", "work_sentence"]

KINDS = ("models", "latency", "explanations")  # of tables
COLUMNS = ["teacher_ms", "student_ms", "ratio", "ratio_low", "ratio_high"]


def measure_paper_teacher(
    classes: int,
    student: nn.Module,
    image: Tensor,
    target: Tensor,
    context: Context,
    protocol: Protocol,
) -> dict[str, pd.DataFrame]:
    """Work and times of the paper's teacher against the student, as `measure_all` has them.

    It is not trained: what a network costs does not depend on its weights. Of the explanations one
    of each kind is timed.

    Args:
        classes: Number of classes.
        student: In eval mode.
        image: (1, 3, S, S) float32, the image that is explained.
        target: (1,) int64, the class that is explained.
        context: Background images of SHAP (M, 3, S, S), and samples of a SHAP call.
        protocol: How long each ratio of times is measured.

    Returns:
        Tables "paper_models", "paper_latency" and "paper_explanations".
    """
    teacher = make_teacher(classes, name=PAPER_TEACHER).to(image.device).eval()
    methods = explanation_methods(image, target, context)
    of_each_kind = {name: methods[name] for name in END_TO_END_METHODS}
    models = {"teacher": teacher, "student": student}
    return {
        "paper_models": cost_table(models, image.shape[-1]),
        "paper_latency": latency(teacher, student, image, protocol),
        "paper_explanations": explanation_times(teacher, student, of_each_kind, image, protocol),
    }


def of_paper(costs: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Models, latency and explanations of the paper's teacher and the student.

    From the tables of `cost_tables`: where the study's teacher is the paper's, they are its own.
    """
    return {kind: costs.get(f"paper_{kind}", costs[kind]) for kind in KINDS}


def beside_paper(costs: Mapping[str, pd.DataFrame], teacher: str) -> pd.DataFrame:
    """Times of the paper's teacher, and of the study's where that is another, against the student.

    Returns:
        Index (what, teacher); the teacher's and the student's median in ms, and their ratio with
        its 95 % interval.
    """
    tables = {PAPER_TEACHER: of_paper(costs)}
    if teacher != PAPER_TEACHER:
        tables[teacher] = dict(costs)
    parts = {}
    for name, table in tables.items():
        forward = table["latency"].rename(index=lambda batch: f"forward, batch {int(batch)}")
        explained = table["explanations"].loc[list(END_TO_END_METHODS[1:])]  # without forward
        parts[name] = pd.concat([forward[COLUMNS], explained[COLUMNS]])
    order = list(parts[PAPER_TEACHER].index)
    both = pd.concat(parts, names=["teacher", "what"]).swaplevel()
    return both.loc[order]


def work_sentence(models: pd.DataFrame, teacher: str, size: int) -> str:
    """Which of the two networks needs fewer MACs, and by how much.

    Args:
        models: With the rows teacher and student and the column macs.
        teacher: Its name.
        size: Side of the image, px.

    >>> table = pd.DataFrame({"macs": [2e8, 5e7]}, index=["teacher", "student"])
    >>> work_sentence(table, "densenet121", 64)
    'at 64 px the student needs 25% of the 200 million MACs of densenet121'
    >>> table = pd.DataFrame({"macs": [5e7, 2e8]}, index=["teacher", "student"])
    >>> work_sentence(table, "small", 64)
    'at 64 px the student needs 4.0 times the 50 million MACs of small, which needs fewer'
    """
    macs = models["macs"]
    share = macs["student"] / macs["teacher"]
    whole = f"the {macs['teacher'] / 1e6:.0f} million MACs of {teacher}"
    if share < 1:
        return f"at {size} px the student needs {share:.0%} of {whole}"
    return f"at {size} px the student needs {share:.1f} times {whole}, which needs fewer"
