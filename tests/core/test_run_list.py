"""The list of what was computed, and its removal."""

from __future__ import annotations

import pytest
from filelock import FileLock

from kdnb.core import run_removal
from kdnb.core.errors import UserError
from kdnb.core.run_files import failed, lock_of, unfinished
from kdnb.core.run_list import (
    builders,
    checked_label,
    entries,
    entries_table,
    entries_text,
    named_entries,
)
from kdnb.core.run_removal import folders_of, remove_folders, require_unused
from kdnb.core.runs import get_or_make, write_json


def model(run):
    run.path("model.bin").write_bytes(b"x" * 5000)
    images = {"dataset": "phantom_eye", "split": "grouped", "size": 32, "seed": 3}
    write_json(run.path("metrics.json"), {"test_accuracy": 0.75, "images": images})


def nothing(run):
    pass


@pytest.fixture
def computed(tmp_path):
    """A split, a teacher on it, a student of that, a study of both with a notebook, a sweep."""
    get_or_make("split", {"mode": "grouped"}, nothing, root=tmp_path)
    parameters = {"model": "resnet18", "schedule": {"seed": 3}}
    teacher = get_or_make("teacher", parameters, model, root=tmp_path, upstream=["images"])
    parameters = {"model": {"name": "five_conv"}, "loss": "kd", "alpha": 0.7, "temperature": 10.0}
    student = get_or_make("student", parameters, model, root=tmp_path, upstream=[teacher.id])
    study = tmp_path / "study" / "phantom_eye-smoke-seed3-abc-mine"
    facts = {"runs": [f"student/{student.id}"], "parameters": {"dataset": "phantom_eye", "seed": 3}}
    write_json(study / "manifest.json", {"03_scores.csv": facts})
    write_json(study / "label.json", {"label": "mine"})
    (study / "03_scores.csv").write_text("model,score,value\nKD student,accuracy,0.875\n")
    (study / ".token").write_text("token1")
    get_or_make("notebook", {"notebook": "03"}, nothing, root=tmp_path, upstream=["token1"])
    injected = {"notebook": "03", "parameters": {"dataset": "phantom_eye", "split": "random"}}
    sweep = get_or_make("sweep", injected, nothing, root=tmp_path)
    write_json(
        tmp_path / "sweep" / "plan-night" / "sweep.json", {"label": "night", "runs": [sweep.id]}
    )
    return tmp_path


def by_kind(root):
    return {entry.kind: entry for entry in entries(root)}


def test_a_run_is_told_by_its_data_set_split_seed_accuracy_size_and_label(computed):
    found = by_kind(computed)
    student, study, sweep = found["student"], found["study"], found["sweep"]
    assert (student.dataset, student.split, student.seed) == ("phantom_eye", "grouped", 3)
    assert student.accuracy == 0.75 and 5000 < student.size < 7000
    assert student.what == "five_conv, kd, alpha 0.7, temperature 10"
    assert (study.accuracy, study.label, study.seed) == (0.875, "mine", 3)
    assert (sweep.split, sweep.label, sweep.accuracy) == ("random", "night", None)
    table = entries_table([sweep]).iloc[0]
    assert table["accuracy"] == table["seed"] == "?", "unknown is no number"


def test_an_older_model_takes_its_data_set_from_the_study_that_reports_it(computed):
    student = by_kind(computed)["student"]
    write_json(student.folder / "metrics.json", {"test_accuracy": 0.5})
    assert by_kind(computed)["student"].dataset == "phantom_eye"


def test_own_images_are_told_apart_by_their_folder(computed):
    found = by_kind(computed)
    student, study = found["student"], found["study"]
    of_images = {"dataset": "custom", "split": "grouped", "seed": 3}
    write_json(student.folder / "metrics.json", {"test_accuracy": 0.5, "images": of_images})
    parameters = {"dataset": "custom", "data": "/home/me/ward_3/", "split": "random"}
    facts = {"runs": [student.name], "parameters": parameters}
    write_json(study.folder / "manifest.json", {"03_scores.csv": facts})
    told = by_kind(computed)
    assert told["student"].dataset == told["study"].dataset == "custom (ward_3)"


def test_names_are_ids_or_their_beginnings(computed):
    known = entries(computed)
    student = by_kind(computed)["student"]
    for name in (student.id, student.name, student.id[:8], "student/"):
        assert named_entries(known, [name]) == [student]
    for name in ("", "zz", "s"):
        with pytest.raises(UserError, match="named by its id"):
            named_entries(known, [name])


def test_what_others_build_on_is_refused_unless_they_go_too(computed):
    known = entries(computed)
    found = by_kind(computed)
    assert [entry.kind for entry in builders(known, found["teacher"])] == ["student"]
    with pytest.raises(UserError, match=f"student/.* is built on {found['teacher'].name}"):
        require_unused(known, [found["teacher"]])
    with pytest.raises(UserError, match="may be built on split/"):
        require_unused(known, [found["split"]])
    require_unused(known, [found["teacher"], found["student"], found["study"]])


def test_a_study_goes_with_its_notebooks_and_nothing_else(computed):
    found = by_kind(computed)
    remove_folders(folders_of([found["study"]]))
    assert set(by_kind(computed)) == set(found) - {"study", "notebook"}


def test_a_run_in_use_stays_and_so_do_the_others(computed):
    found = by_kind(computed)
    folders = folders_of([found["student"], found["teacher"]])
    with (
        FileLock(found["teacher"].folder.with_suffix(".lock")),
        pytest.raises(UserError, match="nothing was removed"),
    ):
        remove_folders(folders)
    assert set(by_kind(computed)) == set(found)


def test_a_study_that_is_being_filled_stays(computed):
    study = by_kind(computed)["study"]
    with FileLock(lock_of(study.folder)), pytest.raises(UserError, match="nothing was removed"):
        remove_folders(folders_of([study]))
    assert study.folder.is_dir()


def test_a_failed_run_is_not_told_as_one_that_goes_on(tmp_path):
    for run, file in {"0" * 16: "checkpoint.pt", "1" * 16: "failed.json"}.items():
        folder = tmp_path / "sweep" / run
        folder.mkdir(parents=True)
        (folder / file).touch()
    assert [folder.name for folder in unfinished(tmp_path)] == ["0" * 16]
    assert [folder.name for folder in failed(tmp_path)] == ["1" * 16]


def test_what_cannot_be_deleted_is_said_and_counts_as_unfinished(computed, monkeypatch):
    teacher = by_kind(computed)["teacher"]

    def refuse(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(run_removal.shutil, "rmtree", refuse)
    with pytest.raises(UserError, match=f"'{teacher.folder}' cannot be removed .Permission denied"):
        remove_folders([teacher.folder])
    assert unfinished(computed) == [teacher.folder]


def test_a_damaged_run_is_listed_all_the_same(computed):
    student = by_kind(computed)["student"]
    (student.folder / "spec.json").write_text("{")
    assert by_kind(computed)["student"].accuracy == 0.75


@pytest.mark.parametrize(
    "facts",
    [
        3,
        None,
        {"runs": None, "parameters": []},
        {"runs": "x"},
        {"runs": [[1]], "parameters": {"dataset": 3, "data": 4, "split": []}},
    ],
)
def test_a_malformed_manifest_of_a_study_does_not_end_the_list(computed, facts):
    [path] = (computed / "study").glob("*/manifest.json")
    write_json(path, {"03_scores.csv": facts})
    found = entries(computed)
    assert {entry.kind for entry in found} >= {"split", "teacher", "student", "study"}
    assert "study/phantom_eye-smoke-seed3-abc-mine" in entries_text(found)


def test_what_was_begun_and_not_ended_is_found(computed):
    teacher = by_kind(computed)["teacher"]
    (teacher.folder / "done.json").unlink()
    assert unfinished(computed) == [teacher.folder]


@pytest.mark.parametrize("label", ["", "a b", "../x", "a" * 41, "-x", "ä"])
def test_a_label_ends_the_name_of_a_folder(label):
    with pytest.raises(UserError, match="label must have"):
        checked_label(label)
