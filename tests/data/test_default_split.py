"""The split of a set where none is named: by patient where the set, or its origins, tell folds."""

import pytest

from kdnb.core.settings import Settings
from kdnb.data import resolve_split, split_note
from kdnb.data.registry import registered
from kdnb.study import Study

ARCHIVE = registered()["figshare_brain"]["archive"]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty folder in which data sets are looked for."""
    monkeypatch.setenv("KDNB_DATA", str(tmp_path))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))
    return tmp_path


def resolved(**values):
    return resolve_split(Settings.checked(values))


def test_only_sets_that_tell_folds_go_by_patients(home):
    for name in ("phantom_brain", "eye_disease", "alzheimer", "medmnist:pathmnist", "custom"):
        found = resolved(dataset=name)
        assert found.split == "grouped" and split_note(found) == []
    assert resolved(dataset="figshare_brain").split == "patients"
    without = resolved(dataset="brain_tumor")
    assert without.split == "grouped" and "the default here as long as" in split_note(without)[0]
    (home / ARCHIVE).touch()
    with_origins = resolved(dataset="brain_tumor")
    assert with_origins.split == "patients"
    assert split_note(with_origins) == [
        "split 'patients', the default here: 'figshare_brain' tells folds that keep patients apart"
    ]
    assert resolve_split(with_origins) is with_origins
    assert split_note(resolved(dataset="brain_tumor", split="grouped")) == []


def test_a_named_split_and_the_sizes_of_another_stay(home):
    (home / ARCHIVE).touch()
    assert resolved(dataset="brain_tumor", split="published").split == "published"
    assert resolved(dataset="brain_tumor", sizes_of="patients").split == "grouped"


def test_a_default_is_the_same_study_as_the_split_that_it_stands_for(settings):
    assert settings.split == ""
    unnamed = Study(settings)
    named = Study(settings.model_copy(update={"split": "grouped"}))
    assert unnamed.settings == named.settings
    assert unnamed.results.folder == named.results.folder
    assert unnamed.results.parameters["split"] == "grouped"
