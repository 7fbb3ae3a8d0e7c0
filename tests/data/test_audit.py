from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kdnb.core.errors import DamagedRun, UserError
from kdnb.core.settings import SPLITS, Settings
from kdnb.data import audit
from kdnb.data.audit import (
    against_paper,
    audit_splits,
    published_against_paper,
    unknown_marked,
    write_audit,
)
from kdnb.data.phantoms.drawing import render
from kdnb.data.phantoms.plan import PhantomPlan, table


@pytest.fixture
def folder(tmp_path):
    """Two classes with published parts.

    Five test images are planted in train: three as they are, two mirrored.
    """
    plan = PhantomPlan("brain", patients=80, slices=1)
    rows = table(plan)
    for label in ("glioma", "pituitary"):
        for i, row in enumerate(rows[rows["label"] == label].head(20).itertuples()):
            image = render(plan, row.image_id, 96).image
            place = tmp_path / "set" / ("test" if i < 6 else "train") / label
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(place / f"{i}.png")
            if label == "glioma" and i < 5:
                copy = tmp_path / "set" / "train" / label / f"copy{i}.png"
                copy.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image if i < 3 else np.ascontiguousarray(image[:, ::-1])).save(copy)
    return tmp_path


def settings(folder):
    return Settings.checked(
        {
            "dataset": "custom",
            "data": str(folder / "set"),
            "runs_dir": str(folder / "runs"),
            "patients": 24,
        }
    )


def test_planted_copies_are_counted_and_the_grouped_split_has_none(folder):
    found = audit_splits(settings(folder))
    summary = found.summary
    assert summary.loc["published", ["exact", "near", "family"]].tolist() == [3, 0, 2]
    assert summary.loc["grouped", ["exact", "near", "family"]].tolist() == [0, 0, 0]
    assert summary["patient"].isna().all(), "nobody knows the patients"
    assert summary.loc["deduplicated", ["exact", "near", "family"]].tolist() == [0, 0, 0]
    assert set(found.ledger[found.ledger["split"] == "published"]["kind"]) == {"exact", "family"}
    assert found.notes


@pytest.mark.slow
def test_files_are_written_and_the_page_opens_by_itself(folder):
    given = settings(folder)
    results = write_audit(
        [given, given.model_copy(update={"dataset": "phantom_brain", "data": ""})], folder / "out"
    )
    names = {"summary.csv", "ledger.csv", "leak_meter.png", "report.html", "manifest.json"}
    assert {p.name for p in results.folder.iterdir() if not p.name.startswith(".")} == names
    summary = results.load("summary").groupby("dataset")["split"].agg(list)
    without_folds = [split for split in SPLITS if split != "patients"]
    assert summary.to_dict() == {"set": without_folds, "phantom_brain": without_folds}
    page = (folder / "out" / "report.html").read_text()
    assert "What crosses from train and val to test" in page
    assert 'alt="Accuracy of the nearest training image' in page
    assert "<td>?</td>" in page
    again = write_audit([given], folder / "out")
    assert again.folder == folder / "out-2" and (folder / "out" / "report.html").read_text() == page
    assert (again.folder / ".gitignore").read_text() == "*\n"


def test_the_paper_stands_beside_the_meter_of_its_own_split():
    plain = {"grouped": 0.6, "random": 0.7, "published": 0.8}
    mirrored = {"grouped": 0.5, "random": 0.8, "published": 0.9}
    summary = pd.DataFrame({"1-NN": plain, "1-NN mirrored": mirrored})
    brain = against_paper("brain_tumor", summary)
    columns = ["paper", "protocol", "memory", "strictest", "memory there"]
    assert brain.loc["student", columns].tolist() == [0.9748, "published", 0.9, "grouped", 0.6]
    by_patient = pd.concat([summary, pd.DataFrame(0.4, ["patients"], summary.columns)])
    strict = against_paper("brain_tumor", by_patient)
    assert strict.loc["student", ["strictest", "memory there"]].tolist() == ["patients", 0.4]
    assert brain.loc["teacher", "skill"] == pytest.approx(0.676)
    assert list(against_paper("eye_disease", summary).index) == ["student"]
    assert against_paper("brain_tumor", summary.drop("published")).empty
    assert against_paper("phantom_brain", summary).empty and against_paper("custom", summary).empty


def test_published_audit_stands_beside_the_paper():
    table = published_against_paper()
    assert set(table.index.get_level_values("dataset")) == {
        "brain_tumor",
        "eye_disease",
        "alzheimer",
    }
    brain = table.loc[("brain_tumor", "student")]
    assert brain["skill"] == pytest.approx(
        (brain["paper"] - brain["memory"]) / (1 - brain["memory"])
    )


def test_a_damaged_run_is_told_and_no_split_is_left_out(folder, monkeypatch):
    load = audit.load

    def damaged(settings):
        if settings.split == "published":
            raise DamagedRun("the split is damaged")
        return load(settings)

    monkeypatch.setattr(audit, "load", damaged)
    with pytest.raises(DamagedRun, match="the split is damaged"):
        audit_splits(settings(folder))


def test_sizes_of_another_split_end_no_audit_and_a_wrong_fold_is_told(tmp_path, folder):
    phantoms = {"dataset": "phantom_brain", "patients": 60, "slices": 1, "image_size": 32}
    phantoms |= {"sizes_of": "patients", "split": "grouped", "runs_dir": str(tmp_path)}
    assert "deduplicated" in audit_splits(Settings.checked(phantoms)).summary.index
    nobody = {"dataset": "custom", "data": str(folder / "set"), "runs_dir": str(folder / "runs")}
    with pytest.raises(UserError, match="needs known patients or folds"):
        audit_splits(Settings.checked(nobody | {"split": "grouped", "sizes_of": "patients"}))
    rows = ["path,label,fold"]
    for number in range(30):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,{'ab'[number % 2]},{1 + number // 2 % 5}")
    (tmp_path / "list.csv").write_text("\n".join(rows))
    given = {"dataset": "custom", "data": str(tmp_path / "list.csv"), "runs_dir": str(tmp_path)}
    assert "patients" in audit_splits(Settings.checked(given)).summary.index
    with pytest.raises(UserError, match="fold must be one of those of this set, got 9"):
        audit_splits(Settings.checked(given | {"fold": 9}))


def test_a_folder_with_other_files_is_left_alone(folder, monkeypatch):
    (folder / "project").mkdir()
    (folder / "project" / "report.html").write_text("mine")
    (folder / "project" / ".gitignore").write_text("build\n")
    monkeypatch.chdir(folder / "project")
    with pytest.raises(UserError, match=r"holds other files, such as 'report.html': name a new"):
        write_audit([settings(folder)], Path("."))
    assert (folder / "project" / ".gitignore").read_text() == "build\n"


def test_counts_are_whole_beside_one_that_is_not_known():
    read_back = pd.DataFrame({"split": ["random", "grouped"], "patient": [12.0, np.nan]})
    assert unknown_marked(read_back)["patient"].tolist() == ["12", "?"]


def test_two_sets_of_one_name_are_refused(folder):
    with pytest.raises(UserError, match="two data sets are named set"):
        write_audit([settings(folder), settings(folder)], folder / "out")


def test_bad_places_are_one_clear_line(folder):
    (folder / "file").write_text("x")
    with pytest.raises(UserError, match="cannot be written .*--out"):
        write_audit([settings(folder)], folder / "file" / "out")
    with pytest.raises(UserError, match="does not exist"):
        audit_splits(
            Settings.checked(
                {"dataset": "custom", "data": str(folder / "nowhere"), "runs_dir": str(folder)}
            )
        )
