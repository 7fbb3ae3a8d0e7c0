"""The tables of notebook 05: verdicts on made-up numbers, the whole chain on a small study."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from kdnb.core.errors import UserError
from kdnb.efficiency.explanation_cost import explanation_methods
from kdnb.feature_maps.cka import gram_cka, grams
from kdnb.study.study import Study
from kdnb.training.trained_students import load_student
from kdnb.xai.baselines import BASELINES
from kdnb.xai.evaluation import (
    EXPLANATIONS,
    _evaluate,
    evaluated_rows,
    explanations_to_grade,
    train_students,
    trained_runs,
)
from kdnb.xai.metrics import METRICS
from kdnb.xai.teacher_agreement import (
    cka_with_teacher,
    kd_question,
)
from kdnb.xai.verdicts import (
    AGAINST,
    TIMED,
    explanation_quality,
    explanation_verdicts,
    margins,
)

GOOD = {
    "energy in mask": 0.6,
    "ROAD": 0.8,
    "insertion, mean colour": 0.9,
    "insertion, blur": 0.9,
    "class switch": 0.0,
    "randomisation": 0.0,
    "stability": 0.95,
}
BLIND = {**GOOD, "energy in mask": 0.05, "class switch": 1.0}
NOTHING = {
    "energy in mask": 0.1,
    "ROAD": 0.1,
    "insertion, mean colour": 0.5,
    "insertion, blur": 0.5,
    "class switch": 1.0,
    "randomisation": 1.0,
    "stability": 1.0,
}


def table(spread, **explanations):
    rows = {
        ("student", name, metric): {
            "value": v,
            "low": v - spread,
            "high": v + spread,
            "images": 9,
            "seeds": 3,
        }
        for name, values in explanations.items()
        for metric, v in values.items()
    }
    return pd.DataFrame(rows).T.rename_axis(["model", "explanation", "metric"])


@pytest.fixture
def baselines():
    return {name: NOTHING for name in BASELINES}


def above(spread, **explanations):
    rows = {
        ("student", name): {m: v[m] - NOTHING[m] - spread for m in AGAINST}
        for name, v in explanations.items()
    }
    return pd.DataFrame(rows).T.rename_axis(["model", "explanation"])


def judged(spread, above_by=None, **explanations):
    given = {name: v for name, v in explanations.items() if name not in BASELINES}
    rows = explanation_verdicts(
        table(spread, **explanations), above(spread if above_by is None else above_by, **given)
    )
    return rows.loc["student"]


def test_verdicts_pass_the_good_and_name_what_the_class_blind_map_lacks(baselines):
    found = judged(0.05, good=GOOD, blind=BLIND, **baselines)
    assert found.loc["good", "passed"] == 5
    assert found.loc["blind", ["points at the lesion", "knows the class"]].tolist() == [0, 0]
    assert found.loc["blind", "passed"] == 3
    assert found.loc["random", "passed"] == 1, "noise that never changes is stable and nothing else"
    assert np.isnan(found.loc["random", "names what matters"]), "a baseline is held against none"


def test_a_map_that_random_weights_turn_round_does_not_know_them(baselines):
    found = judged(0.05, good=GOOD, turned=GOOD | {"randomisation": -0.8}, **baselines)
    assert found["knows the weights"].loc[["good", "turned", "random"]].tolist() == [1, 0, 0]


def test_wide_intervals_pass_nothing_and_unknown_is_not_failed(baselines):
    assert judged(0.7, good=GOOD, **baselines).loc["good", "passed"] == 0
    unmasked = judged(0.05, good=GOOD | {"energy in mask": np.nan}, **baselines).loc["good"]
    assert np.isnan(unmasked["points at the lesion"]) and unmasked["passed"] == 4
    without_ends = judged(np.nan, good=GOOD, **baselines).loc["good"]
    assert without_ends.drop(["passed", "seeds"]).isna().all(), (
        "no interval: not known, and not failed"
    )


def test_metrics_know_which_scores_are_good():
    scores = pd.Series([-0.5, 0.2])
    assert METRICS["stability"].turned(scores).tolist() == [-0.5, 0.2]
    assert METRICS["deletion, blur"].turned(scores).tolist() == [0.5, -0.2]
    assert METRICS["randomisation"].turned(scores).tolist() == [-0.5, -0.2]
    assert {METRICS[metric].good for metric in AGAINST} == {"large"}, "margins count upwards"


@pytest.mark.slow
def test_margins_are_paired_and_count_the_hardest_baseline(monkeypatch):
    images = np.random.default_rng(0).normal(size=100)  # some are easy for every map
    lead = dict.fromkeys(BASELINES, 0.0) | {"centre": 0.3}

    def grade_explanation(_study, _kind, run, name):
        noise = 0.01 * np.random.default_rng(len(name) + run).normal(size=100)
        return dict.fromkeys(AGAINST, images + lead.get(name, 0.5) + noise)

    runs = {"teacher": [0], "KD student": [0, 1]}
    monkeypatch.setattr("kdnb.xai.verdicts.grade_explanation", grade_explanation)
    monkeypatch.setattr("kdnb.xai.verdicts.trained_runs", lambda _study: runs)
    study = SimpleNamespace(
        settings=SimpleNamespace(graded_images=100, profile="standard"),
        sample=np.arange,
        groups=np.asarray,
    )
    found = margins(study)
    assert found.loc[("teacher", "Grad-CAM"), "ROAD"] == pytest.approx(0.2, abs=0.01), "paired"
    assert len(found) == 12 + 13 and set(found) == set(AGAINST)


def test_a_quick_look_grades_the_distilled_student_on_all_images_and_others_on_the_first():
    rows = {}
    for count, profile in ((2, "smoke"), (24, "quick"), (20, "quick")):
        settings = SimpleNamespace(graded_images=count, profile=profile)
        study = SimpleNamespace(settings=settings, sample=np.arange)
        asked = [("KD student", "Grad-CAM"), ("KD student", "occlusion"), ("teacher", "Grad-CAM")]
        rows[count] = [len(evaluated_rows(study, *one)) for one in asked]
        costly = "occlusion" in explanations_to_grade(study, "teacher")
        assert costly == (count == 20) and "occlusion" in explanations_to_grade(study, "KD student")
    assert rows == {2: [2, 2, 2], 24: [24, 6, 6], 20: [20, 20, 20]}


def test_kd_question_pairs_over_images_and_takes_numbers_of_seeds(monkeypatch):
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(3, 100))
    gain = 0.1 + 0.001 * rng.normal(size=(3, 100))
    runs = {
        kind: [SimpleNamespace(kind=kind, seed=s) for s in range(3)]
        for kind in ("KD student", "label-only student")
    }
    study = SimpleNamespace(
        settings=SimpleNamespace(graded_images=100, profile="standard"),
        sample=np.arange,
        test_groups=np.arange(100),
        groups=np.asarray,
        image_set=SimpleNamespace(rows=lambda _part: np.arange(100)),
        test_targets=np.zeros(100, int),
    )
    logits = np.tile([1.0, 0], (100, 1))
    monkeypatch.setattr("kdnb.xai.teacher_agreement.trained_runs", lambda _study: runs)
    monkeypatch.setattr("kdnb.xai.teacher_agreement.saved_logits", lambda _run: logits)
    found = {
        ("KD student", "x", "Spearman"): shared + gain,
        ("label-only student", "x", "Spearman"): shared,
    }
    more = {"CKA, last tap": (np.array([0.8, 0.82, 0.81]), np.array([0.7, 0.71, 0.72]))}
    answer = kd_question(study, found, more)
    row = answer.loc["Spearman with the teacher: x"]
    assert 0.09 < row["low"] < row["difference"] < row["high"] < 0.11, (
        "the images' own spread cancels"
    )
    assert answer.loc["accuracy", "difference"] == 0
    cka = answer.loc["CKA, last tap"]
    assert cka["difference"] == pytest.approx(0.1)
    assert cka["low"] < 0.1 < cka["high"]
    assert (answer["seeds"] == 3).all()


def test_quality_is_the_energy_in_the_mask_or_road_under_the_names_of_the_cost_table():
    lasting = {"average map, middle": BLIND, "Grad-CAM": GOOD, "SHAP deep": GOOD, "occlusion": GOOD}
    grades = pd.concat(
        [
            table(0.05, **lasting).rename(index={"student": "KD student"}, level="model"),
            table(0.05, **{"Grad-CAM": BLIND}).rename(index={"student": "teacher"}, level="model"),
        ]
    )
    found = explanation_quality(grades)
    assert found.index.names == ["method", "model"]
    assert list(found) == [
        "energy in mask",
        "low",
        "high",
    ]
    assert set(found.index) == {
        ("average_map", "student"),
        ("gradcam", "student"),
        ("shap_deep", "student"),
        ("occlusion", "student"),
        ("gradcam", "teacher"),
    }
    assert found.loc[("gradcam", "student")].tolist() == pytest.approx([0.6, 0.55, 0.65])
    assert found.loc[("gradcam", "teacher"), "energy in mask"] == pytest.approx(0.05)
    unmasked = grades.copy()
    unmasked.loc[(slice(None), slice(None), "energy in mask"), ["value", "low", "high"]] = np.nan
    assert explanation_quality(unmasked)["ROAD"].loc[("gradcam", "student")] == pytest.approx(0.8)


def test_quality_joins_the_cost_table_that_draws_it(study):
    methods = explanation_methods(study.images(study.explained[:1]), None, None)
    timed = set(methods)
    assert set(TIMED) == timed - {"forward"} and set(TIMED.values()) <= set(EXPLANATIONS)


@pytest.mark.slow
def test_likeness_is_the_debiased_cka_of_paired_taps_seed_by_seed(settings):
    study = Study(settings.model_copy(update={"student_seeds": 2}))
    runs = train_students(study)
    found = cka_with_teacher(study)
    images, teacher = study.images(study.sample(200)), study.teacher_model
    for place, kind in enumerate(("KD student", "label-only student")):
        for seed, run in enumerate(runs[kind]):
            student = load_student(run, len(study.image_set.classes), study.device)
            expected = gram_cka(grams(student, images), grams(teacher, images))
            taps = zip(expected.index, expected, strict=True)
            assert list(found) == [f"CKA with the teacher: {a}, {b}" for a, b in taps]
            seen = [pair[place][seed] for pair in found.values()]
            np.testing.assert_allclose(seen, np.diag(expected), atol=1e-5)
    made = sorted((study.settings.runs / "likeness").glob("*/done.json"))
    assert cka_with_teacher(study).keys() == found.keys() and made
    assert sorted((study.settings.runs / "likeness").glob("*/done.json")) == made
    question = kd_question(study, {}, found)
    assert (question["low"] < question["high"])[1:].all() and len(question) == 1 + len(found)
    assert np.isnan(question["low"].iloc[0]), (
        "a test set of fewer than five patients has no interval"
    )


def test_students_of_a_control_are_graded_as_such(study):
    # a temperature that no other test trains at: these runs are not there yet
    change = {"control": "shuffled", "student_epochs": 1, "temperature": 3.0}
    shuffled = Study(study.settings.model_copy(update=change))
    with pytest.raises(UserError, match=r"kdnb.xai.evaluation.train_students\(study\) does that"):
        trained_runs(shuffled)
    runs = train_students(shuffled)
    read = trained_runs(shuffled)
    assert [run.id for run in read["KD student"]] == [run.id for run in runs["KD student"]]
    (taught,), (alone,) = runs["KD student"], runs["label-only student"]
    assert taught.json("spec.json")["parameters"]["control"] == "shuffled"
    assert "control" not in alone.json("spec.json")["parameters"]


def test_an_explanation_that_is_refused_has_no_grade_and_passes_nothing(study, capsys):
    def refuse(_model, _images, _targets):
        raise UserError("refused on this network")

    rows = study.image_set.rows("test")[:4]
    model = study.student_model.eval()
    found = _evaluate(study, refuse, model, rows, checked=2)
    assert "refused on this network" in capsys.readouterr().out
    assert set(METRICS) <= set(found)
    for name, values in found.items():
        assert len(values) == 4 and np.isnan(values).all(), name
