from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdnb.core.errors import UserError
from kdnb.core.method_names import with_more_samples
from kdnb.core.pareto import pareto_front
from kdnb.efficiency import explanation_cost as explaining
from kdnb.efficiency.explanation_cost import (
    SLOW,
    both_factors,
    end_to_end,
    explanation_methods,
    explanation_times,
    explanation_work,
)
from kdnb.efficiency.timing import Protocol
from kdnb.feature_maps.cam import CAMS, cams
from kdnb.feature_maps.maps import to_size
from kdnb.training.model_cost import macs
from kdnb.training.students import FiveConv
from kdnb.training.teachers import TappedDenseNet121
from kdnb.xai import attribution
from kdnb.xai import methods as explanation_checks
from kdnb.xai.attribution import Context

pytestmark = pytest.mark.slow

SHORT = Protocol(repeats=3, seconds=0.1, warm_up=1)
IMAGE, *BACKGROUND = torch.randn(4, 1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
BACKGROUND = torch.cat(BACKGROUND)
CONTEXT = Context(BACKGROUND, samples=10)


@pytest.fixture(scope="module")
def costs():
    torch.manual_seed(0)
    teacher, student = FiveConv(4, 0.5), FiveConv(4, 0.25)
    methods = explanation_methods(IMAGE, torch.tensor([1]), CONTEXT)
    times = explanation_times(teacher, student, methods, IMAGE, SHORT)
    return teacher, student, times.join(explanation_work(teacher, student, methods, IMAGE))


def test_every_method_has_both_factors_with_intervals(costs):
    _, _, table = costs
    assert list(table.index) == [
        "forward",
        "average_map",
        *CAMS,
        "shap_gradient",
        "shap_deep",
        *SLOW,
    ]
    for name in ("ratio", "teacher_forwards_time", "student_forwards_time"):
        assert (table[f"{name}_low"] <= table[name]).all()
        assert (table[name] <= table[f"{name}_high"]).all()


def test_only_what_is_sampled_takes_longer_with_more_samples(costs):
    both = both_factors(costs[2])["ms"]
    grown = with_more_samples(both, 10.0) / both
    assert grown.groupby(level="method").mean().round(6).to_dict() == {
        name: 10.0 if name in ("shap_gradient", "shap_partition") else 1.0
        for name in costs[2].index
    }


def test_forward_equivalents_in_flops_are_exact(costs):
    _, student, table = costs
    for side in ("teacher", "student"):
        assert table.loc[
            ["forward", "average_map"], f"{side}_forwards_flops"
        ].tolist() == pytest.approx([1, 1], abs=0.02)
        assert 1.8 < table.loc["gradcam", f"{side}_forwards_flops"] < 3
        assert table.loc["shap_gradient", f"{side}_forwards_flops"] > 20
    assert table.loc["forward", "student_flops"] == 2 * macs(student, 32)


def test_what_an_explainer_refuses_has_no_number_and_no_ratio():
    torch.manual_seed(1)  # Deep SHAP misses the logit by 0.1 to 3 % on these random networks
    teacher, student = TappedDenseNet121(4), FiveConv(4, 0.25)
    deep = {"shap_deep": explanation_methods(IMAGE, torch.tensor([1]), CONTEXT)["shap_deep"]}
    row = explanation_times(teacher, student, deep, IMAGE, SHORT).loc["shap_deep"]
    assert row["student_ms"] > 0 and not {"teacher_ms", "ratio"} & set(row.index)
    assert teacher.training and student.training  # mode as before


def test_a_model_in_half_precision_has_no_number_for_any_map():
    student = FiveConv(4, 0.25).bfloat16()
    methods = explanation_methods(
        IMAGE.bfloat16(), torch.tensor([1]), Context(BACKGROUND.bfloat16(), samples=10)
    )
    maps = {name: methods[name] for name in ("average_map", "gradcam", "shap_gradient")}
    assert explanation_times(student, student, maps, IMAGE.bfloat16(), SHORT).empty
    assert explanation_work(student, student, maps, IMAGE.bfloat16()).empty


@pytest.mark.parametrize("measured", ["timed", "flops_of", "peak_memory"])
def test_nothing_is_checked_while_it_is_measured(monkeypatch, measured):
    """Inputs and promises are checked once per method and model, before clock or counter runs."""
    checks = []
    checked_targets = explanation_checks.checked_targets
    measure = getattr(explaining, measured)

    def noted(model, images, targets):
        checks.append(model)
        return checked_targets(model, images, targets)

    def never(*_):
        raise AssertionError("a check was measured")

    def strict(*calls, **named):
        with monkeypatch.context() as inside:
            inside.setattr(explanation_checks, "checked_targets", never)
            inside.setattr(explanation_checks, "_check_determinism", never)
            inside.setattr(attribution, "completeness", never)
            return measure(*calls, **named)

    monkeypatch.setattr(explanation_checks, "checked_targets", noted)
    monkeypatch.setattr(explaining, measured, strict)
    torch.manual_seed(0)
    models = FiveConv(4, 0.25), FiveConv(4, 0.125)
    ready = explanation_methods(IMAGE, torch.tensor([1]), CONTEXT)
    pixels = np.random.default_rng(0).integers(0, 255, (1, 32, 32, 3), dtype=np.uint8)
    whole = end_to_end(pixels, CONTEXT)
    if measured == "timed":
        tables = [explanation_times(*models, part, IMAGE, SHORT) for part in (ready, whole)]
    else:
        tables = [explanation_work(*models, part, IMAGE) for part in (ready, whole)]
    assert all(table.notna().all(axis=None) for table in tables)
    explanations = len(ready) + len(whole) - 2  # a plain forward pass has no check
    assert len(checks) == len(models) * explanations


def test_a_method_of_ones_own_is_measured_too():
    def refuses(_model):
        raise UserError("not for any model")

    models = FiveConv(4, 0.25), FiveConv(4, 0.125)
    methods = {"twice": lambda m: (m(IMAGE), m(IMAGE)), "never": refuses}
    work, times = (
        explanation_work(*models, methods, IMAGE),
        explanation_times(*models, methods, IMAGE, SHORT),
    )
    assert work.loc["twice", ["teacher_forwards_flops", "student_forwards_flops"]].tolist() == [
        2,
        2,
    ]
    assert times.loc["twice"].notna().all()
    assert times.loc["never"].isna().all()
    assert work.loc["never"].isna().all()


def test_long_table_keeps_every_number(costs):
    _, _, table = costs
    rows = both_factors(table)
    assert len(rows) == 2 * len(table)
    assert (
        len(both_factors(table.assign(teacher_ms=[np.nan, *table["teacher_ms"][1:]])))
        == 2 * len(table) - 1
    )
    assert (
        rows.loc[("gradcam", "student"), "forwards_time"]
        == table.loc["gradcam", "student_forwards_time"]
    )
    assert rows.index.get_level_values("method").unique().tolist() == table.index.tolist()


def test_end_to_end_gives_the_map_of_the_predicted_class():
    model, pixels = (
        FiveConv(4, 0.25).eval(),
        np.random.default_rng(0).integers(0, 255, (1, 32, 32, 3), dtype=np.uint8),
    )
    from kdnb.data.transforms import to_tensor

    image = to_tensor(pixels)
    wanted = to_size(cams(model, image, model(image).argmax(1))["conv5"], 32)
    methods = end_to_end(pixels, CONTEXT)
    np.testing.assert_allclose(methods["gradcam"](model), wanted.numpy(), atol=1e-6)
    assert methods["forward"](model).shape == (1, 4) and "shap_gradient" in methods
    assert all(methods[name](model).shape == (1, 32, 32) for name in methods if name != "forward")


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_front_holds_exactly_what_nobody_beats(points):
    cost, quality = np.array(points, dtype=float).T
    beaten = [any(c <= a and q >= b and (c < a or q > b) for c, q in points) for a, b in points]
    assert (pareto_front(cost, quality) == ~np.array(beaten)).all()


def test_missing_quality_is_never_on_the_front():
    assert pareto_front(np.array([1.0, 2.0]), np.array([np.nan, 0.1])).tolist() == [False, True]


def test_table_survives_its_file(costs, tmp_path):
    _, _, table = costs
    table.to_csv(tmp_path / "t.csv")
    pd.testing.assert_frame_equal(
        both_factors(pd.read_csv(tmp_path / "t.csv", index_col=0)), both_factors(table)
    )
