"""Names read, verbs work: what a study of one setting trains, finds and refuses."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kdnb.core.errors import UserError
from kdnb.core.statistics import Groups
from kdnb.distillation.grid import LABELS_ALONE
from kdnb.distillation.predictions import training_records
from kdnb.efficiency.costs import cost_tables, measure_costs
from kdnb.feature_maps.layer_analysis import analyse_layers
from kdnb.study.study import MODELS, Study
from kdnb.study.whole_study import _what_intervals_go_by
from kdnb.training import imagenet_weights

# modules that have the name of a function which their room hands on
training = import_module("kdnb.training.train_teacher")
students = import_module("kdnb.distillation.train_student")
measuring = import_module("kdnb.efficiency.costs")

TRAINED_KINDS = ("teacher", "student", "teacher_logits", "costs")
NOT_TRAINED = "the {0} of these settings is not trained yet: study.train('{0}') does that"
READS = {  # an attribute of a fresh study -> the model that it misses first
    "teacher": "teacher",
    "student": "KD student",
    "label_only": "label-only student",
    "teacher_model": "teacher",
    "student_model": "KD student",
    "label_only_model": "label-only student",
    "scores": "teacher",
    "summary": "teacher",
    "kd_gain": "KD student",
    "fidelity": "teacher",
}


@pytest.fixture
def fresh(settings, tmp_path):
    """Makes studies of the same settings in a runs folder of their own."""
    chosen = settings.model_copy(update={"runs_dir": str(tmp_path), "student_epochs": 1})
    return lambda: Study(chosen)


@pytest.fixture
def no_training(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a name trains or measures")

    monkeypatch.setattr(training, "fit", refuse)
    monkeypatch.setattr(students, "fit", refuse)
    monkeypatch.setattr(imagenet_weights, "imagenet_state", refuse)
    monkeypatch.setattr(measuring, "measure_all", refuse)


def made(folder):
    return [kind for kind in TRAINED_KINDS if (folder / kind).exists()]


@pytest.mark.parametrize("weights", ["none", "auto", "imagenet"])
@pytest.mark.parametrize("chosen", ["float32", "auto"])
def test_a_fresh_study_has_names_and_trains_nothing(
    settings, tmp_path, no_training, weights, chosen
):
    change = {"runs_dir": str(tmp_path), "weights": weights, "precision": chosen}
    study = Study(settings.model_copy(update=change))
    assert study.run_ids == [] and study.finished_runs == {}
    assert study.results.folder.parent == tmp_path / "study"
    for name, missed in READS.items():
        with pytest.raises(UserError) as error:
            getattr(study, name)
        assert str(error.value) == NOT_TRAINED.format(missed), name
    for model in MODELS:
        with pytest.raises(UserError) as error:
            study.test_logits(model)
        assert str(error.value) == NOT_TRAINED.format(model)
    with pytest.raises(UserError, match="^the teacher of these settings is not trained yet"):
        study.downstream("reading", {}, lambda run: None)
    with pytest.raises(UserError, match="^the teacher of these settings is not trained yet"):
        measure_costs(study)
    assert made(tmp_path) == [] and not (tmp_path / "reading").exists()


@pytest.mark.slow
def test_training_makes_once_and_others_find_it(fresh, tmp_path, request):
    early = fresh()  # asked before anything is there: what another process finishes is found later
    assert early.run_ids == []
    first = fresh().train()
    assert [run.kind for run in first] == ["teacher", "student", "student"]
    assert not any(run.reused for run in first)
    request.getfixturevalue("no_training")
    again = fresh()
    assert [run.reused for run in again.train()] == [True, True, True]
    ids = [f"{run.kind}/{run.id}" for run in first]
    read = fresh()  # has trained nothing itself
    assert again.run_ids == read.run_ids == early.run_ids == ids
    assert [read.teacher.id, read.student.id, read.label_only.id] == [run.id for run in first]
    names = ["teacher", "teacher's logits", "KD student", "label-only student"]
    assert list(read.finished_runs) == names
    assert list(read.summary.index) == list(MODELS)


@pytest.mark.slow
def test_only_what_is_named_is_trained(fresh, tmp_path):
    study = fresh()
    [alone] = study.train("label-only student")
    assert study.run_ids == [f"student/{alone.id}"] and not (tmp_path / "teacher").exists()
    [taught] = study.train("KD student")  # needs its teacher, which comes first
    assert study.run_ids == [
        f"teacher/{study.teacher.id}",
        f"student/{taught.id}",
        f"student/{alone.id}",
    ]
    assert not study.teacher.reused  # as it was made, for the notebook that prints it


def test_an_unfinished_run_is_not_there(fresh):
    study = fresh()
    [run] = study.train("label-only student")
    run.path("done.json").unlink()
    assert study.run_ids == fresh().run_ids == []
    with pytest.raises(UserError, match="not trained yet"):
        study.label_only  # noqa: B018


def test_an_unknown_model_is_refused_before_anything_is_trained(fresh, tmp_path):
    accepted = "'teacher', 'KD student', 'label-only student'"
    for ask in (
        lambda: fresh().train("teacher", "student"),
        lambda: fresh().test_logits("student"),
    ):
        with pytest.raises(UserError) as error:
            ask()
        assert str(error.value) == f"model must be one of {accepted}, got 'student'"
    assert made(tmp_path) == []


def test_costs_are_measured_once(study, monkeypatch):
    asked = []

    def measure_all(*_, **__):
        asked.append(1)
        return {"models": pd.DataFrame({"macs": [2.0, 1.0]}, index=["teacher", "student"])}

    monkeypatch.setattr(measuring, "measure_all", measure_all)
    settings = study.settings.model_copy(update={"timing_repeats": 7})  # costs of its own
    run = measure_costs(Study(settings))
    again = measure_costs(Study(settings))
    assert again.reused and again.id == run.id and asked == [1]
    assert cost_tables(again)["models"]["macs"].tolist() == [2.0, 1.0]


def test_rows_are_seen_named_and_outlined_in_the_order_asked_for(study):
    rows = study.sample(4)[::-1]
    images = study.image_set
    assert np.array_equal(study.pixels(rows), images.pixels[rows])
    assert np.array_equal(study.masks(rows), images.masks[rows])
    assert study.labels(rows) == [images.classes[target] for target in study.targets(rows)]


def test_where_nobody_has_drawn_a_mask_there_is_none(settings):
    study = Study(settings)
    study.image_set = replace(study.image_set, masks=None)
    assert study.masks(study.sample(2)) is None


@pytest.mark.slow
def test_a_study_of_widened_groups_says_so_and_has_wider_intervals(study, monkeypatch):
    wide = Study(study.settings)
    wide.image_set = replace(study.image_set, group_widening=1.5)
    wide.train()
    assert wide.groups(np.arange(3)).widening == wide.test_groups.widening == 1.5
    ask = []
    for one in (study, wide):
        monkeypatch.setattr(one, "downstream", lambda kind, given, make, also: ask.append(given))
        analyse_layers(one)
    assert "widening" not in ask[0] and ask[1] == ask[0] | {"widening": 1.5}
    plain = Study(study.settings)
    for one in (plain, wide):  # too few patients for any interval: here every image is one
        names = np.arange(len(study.test_targets))
        one.test_groups = Groups(names=names, widening=one.test_groups.widening)
    for table in ("scores", "fidelity"):
        narrow = getattr(plain, table).dropna()  # too few of a class for a mean over classes
        wider = getattr(wide, table).loc[narrow.index]
        assert (wider["low"] <= narrow["low"]).all() and (wider["low"] < narrow["low"]).any()
    rng = np.random.default_rng(0)  # answers that differ: of a tie there is no interval
    said = {model: rng.normal(size=(len(study.test_targets), 4)) for model in MODELS}
    for one in (plain, wide):
        monkeypatch.setattr(one, "test_logits", said.get)
    value, low, high = plain.kd_gain
    assert wide.kd_gain[0] == value and wide.kd_gain[2] - wide.kd_gain[1] > high - low
    assert wide.results.folder == study.results.folder
    assert wide.results.parameters == study.results.parameters | {"widening": 1.5}
    runs = {LABELS_ALONE: [study.label_only]}
    assert (training_records(wide, runs)["widening"] == 1.5).all()
    assert "widening" not in training_records(study, runs)


def test_runs_of_numbers_that_come_to_hand_make_the_notebooks_anew(study):
    table = study.image_set.table
    assert _what_intervals_go_by(study.image_set) == []
    by_number = [f"{number // 2}" for number in range(len(table))]
    known = replace(study.image_set, table=table.assign(number_run=by_number))
    wider = replace(known, group_widening=1.5)
    [first], [second] = _what_intervals_go_by(known), _what_intervals_go_by(wider)
    assert first != second and known.hash == study.image_set.hash


def test_folds_whose_sizes_are_taken_have_folders_of_their_own(settings):
    chosen = {"split": "grouped", "sizes_of": "patients"}
    folders = set()
    for fold in (1, 2):
        study = Study(settings.model_copy(update=chosen | {"fold": fold}))
        study.image_set = replace(Study(settings).image_set)
        folders.add(study.results.folder)
    assert len(folders) == 2


@pytest.mark.slow
def test_the_ladder_trains_its_teacher_first(fresh):
    study = fresh()
    table = study.train_ladder([0.25])
    assert table["training"].tolist() == ["KD", "labels alone"] and table["run"].is_unique
    assert np.isfinite(table["accuracy"]).all() and study.teacher.finished


def test_publishing_names_the_results_and_trains_nothing(tmp_path, monkeypatch, no_training):
    from tools.publish import main as publish_study

    monkeypatch.setenv("KDNB_ROOT", str(tmp_path))  # nothing is written into the real figures/
    with pytest.raises(UserError):  # no results yet, or no data/registry.toml there
        publish_study(profile="smoke", runs_dir=str(tmp_path / "runs"))
    assert made(tmp_path / "runs") == []


def test_too_few_test_images_are_said_before_training(settings, tmp_path, capsys):
    few = Study(settings.model_copy(update={"runs_dir": str(tmp_path), "student_epochs": 1}))
    assert few.has_too_few and "an accuracy is known to about ± 0." in few.certainty
    few.train("label-only student")
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith(f"note: {few.certainty}") and "epoch 1/1" in told[2]
    assert told[1] == "  · student on phantom_brain: five_conv, labels"
    few.train("label-only student")
    assert capsys.readouterr().out == "", "only where something is trained"


def test_a_study_that_fails_leaves_a_report_of_what_is_done(settings, tmp_path, monkeypatch):
    whole = import_module("kdnb.study.whole_study")
    chosen = settings.model_copy(update={"runs_dir": str(tmp_path)})
    results = Study(chosen).results

    def run(notebook, *_):
        if notebook.stem == "02_teacher":
            raise UserError("it failed")

    monkeypatch.setattr(whole, "run_notebook", run)
    monkeypatch.setattr(whole, "_has_room_for_two", lambda device: False)
    with pytest.raises(UserError, match="^it failed$"):
        whole.run_notebooks(chosen, {})
    results.table("01_audit", pd.DataFrame({"a": [1]}))
    with pytest.raises(UserError, match="^it failed; the report of what is done: ") as error:
        whole.run_notebooks(chosen, {})
    page = Path(str(error.value).rpartition(": ")[2]).read_text("utf-8")
    assert "nothing is here yet of 02_teacher" in page
