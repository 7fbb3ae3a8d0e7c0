"""The three published archives, where the folder KDNB_DATA holds them: counts, people and copies."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from kdnb import leakage
from kdnb.data import load, registered
from kdnb.settings import Settings

HOME = Path(os.environ.get("KDNB_DATA") or "none")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")

    def get(name, **others):
        if not (HOME / registered()[name]["archive"]).is_file():
            pytest.skip(f"needs {registered()[name]['archive']} in the folder of the environment variable KDNB_DATA")
        return load(Settings.checked({"dataset": name, "image_size": 64, "runs_dir": str(runs)} | others))

    return get


@pytest.mark.archives
@pytest.mark.slow
def test_brain_tumor(archive):
    found = archive("brain_tumor", split="published")
    table = found.table
    assert len(table) == 7019 and table["sha256"].nunique() == 6593 and len(found.broken) == 0
    assert table["published_split"].value_counts().to_dict() == {"train": 5708, "test": 1311}
    train, test = (table[table["published_split"] == part] for part in ("train", "test"))
    twins = test[test["sha256"].isin(train["sha256"])]
    assert twins["label"].value_counts().to_dict() == {"meningioma": 106, "notumor": 105, "pituitary": 5}
    pairs = leakage.near_duplicates(leakage.thumbnails(found.pixels))
    across = pairs[table["published_split"].to_numpy()[pairs[:, 0]] != table["published_split"].to_numpy()[pairs[:, 1]]]
    assert abs(len(set(across.ravel()) & set(test.index)) - 456) <= 13
    kin = test[test["family"].isin(train["family"])]
    assert len(kin) > 700  # with mirrored twins
    assert (table["patient"] == "").all() and "7,019 of 7,019" in found.notes[0]
    start = time.perf_counter()
    archive("brain_tumor", split="published")
    assert time.perf_counter() - start < 5  # from disk; 0.2 s on a quiet machine


@pytest.mark.archives
@pytest.mark.slow
def test_eye_disease(archive):
    found = archive("eye_disease")
    table = found.table.assign(name=found.table["path"].str.split("/").str[-1])
    copies = table[table["name"].str.startswith("_")]
    assert len(table) == 4217 and copies["label"].value_counts().to_dict() == {"cataract": 640, "glaucoma": 600}
    assert (copies["copy_of"] != "").all() and (table["copy_of"] != "").sum() == 1240
    assert (table["label"] == "diabetic_retinopathy").sum() == (table["source"] == "jpeg eyes").sum() == 1098
    sides = table[table["patient"].str.startswith("jpeg")].groupby("patient").size()
    assert set(sides) == {2} and not set(sides.index) & set(table["patient"][table["source"] == "jpg eyes"])
    assert table["name"].str.match(r"(?i)(cataract|glaucoma)_\d+\.png").sum() == 201
    contradictory = table[table.groupby("sha256")["label"].transform("nunique") > 1]
    assert set(contradictory["name"]) == {"1415_right.jpg", "625_left.jpg"} and len(contradictory) == 4
    for column in ("patient", "family"):
        known = table[table[column] != ""]
        assert (known.groupby(column)["part"].nunique() == 1).all()


@pytest.mark.archives
@pytest.mark.slow
def test_alzheimer(archive):
    found = archive("alzheimer")
    table = found.table
    people = table.groupby("label")["patient"].nunique().to_dict()
    assert people == {"NonDemented": 100, "VeryMildDemented": 70, "MildDemented": 28, "ModerateDemented": 2}
    assert set(table.groupby("patient").size()) == {32} and (table["patient"] != "").all()
    assert (table.groupby("patient")["published_split"].nunique() == 2).all()
    assert (table.groupby("patient")["part"].nunique() == 1).all()
    assert set(table["width"]) == {176} and set(table["height"]) == {208}
    slices = found.pixels.astype(np.float32).mean(axis=(1, 2, 3))
    within = table.assign(mean=slices).groupby("patient")["mean"].std().mean()
    assert within < slices.std()  # slices of one person look alike, so the people are not a random grouping
