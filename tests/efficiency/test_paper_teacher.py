"""The paper's teacher stands beside the study's own, and is measured where that is another."""

from __future__ import annotations

import pandas as pd
import torch

from kdnb.efficiency import paper_teacher
from kdnb.efficiency.explanation_cost import END_TO_END_METHODS
from kdnb.efficiency.paper_teacher import beside_paper, measure_paper_teacher, of_paper
from kdnb.efficiency.timing import Protocol
from kdnb.training.modules import count_parameters
from kdnb.training.students import make_student
from kdnb.xai.attribution import Context

IMAGE = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
QUICK = Protocol(repeats=3, seconds=0.01, warm_up=0)
COLUMNS = ["teacher_ms", "student_ms", "ratio", "ratio_low", "ratio_high"]


def times(teacher_ms):
    """A table of times in which the student takes 1 ms."""
    row = [teacher_ms, 1.0, teacher_ms, teacher_ms, teacher_ms]
    latency = pd.DataFrame([row, row], index=pd.Index([1, 32], name="batch"), columns=COLUMNS)
    explained = pd.DataFrame([row] * 4, index=END_TO_END_METHODS, columns=COLUMNS)
    return {"models": pd.DataFrame(), "latency": latency, "explanations": explained}


def test_densenet121_is_measured_against_the_student(monkeypatch):
    asked = []

    def make_teacher(classes, name):
        asked.append(name)
        return make_student(classes, width=0.5)  # a quicker one

    monkeypatch.setattr(paper_teacher, "make_teacher", make_teacher)
    student = make_student(3, width=0.25).eval()
    context = Context(torch.randn(4, 3, 32, 32), samples=10)
    tables = measure_paper_teacher(3, student, IMAGE, torch.tensor([1]), context, QUICK)
    assert list(tables) == ["paper_models", "paper_latency", "paper_explanations"]
    assert asked == ["densenet121"]
    parameters = tables["paper_models"]["parameters"]
    assert parameters["teacher"] == count_parameters(make_student(3, width=0.5))
    assert parameters["student"] == count_parameters(student)
    assert list(tables["paper_explanations"].index) == list(END_TO_END_METHODS)
    assert (tables["paper_explanations"]["ratio"] > 0).all()


def test_the_study_s_teacher_stands_beside_only_where_it_is_another():
    own = times(2.0)
    assert of_paper(own) == own
    alone = beside_paper(own, "densenet121")
    assert set(alone.index.get_level_values("teacher")) == {"densenet121"}
    both = own | {f"paper_{name}": table for name, table in times(5.0).items()}
    table = beside_paper(both, "timm:resnet18")
    assert len(table) == 10 and len(alone) == 5
    first = table.loc["forward, batch 1", "ratio"]
    assert first.to_dict() == {"densenet121": 5.0, "timm:resnet18": 2.0}
    assert table.loc[("shap_gradient", "densenet121"), "ratio"] == 5.0
