"""The published archives, where the folder KDNB_DATA holds them: counts, people and copies."""

import io
import os
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kdnb.core.settings import Settings
from kdnb.data import duplicates, leakage
from kdnb.data.dataset import load
from kdnb.data.registry import registered
from kdnb.data.splits import make_split

HOME = Path(os.environ.get("KDNB_DATA") or "none")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")

    def get(name, **others):
        if not (HOME / registered()[name]["archive"]).is_file():
            pytest.skip(
                f"needs {registered()[name]['archive']} in the folder of the environment variable "
                "KDNB_DATA"
            )
        return load(
            Settings.checked({"dataset": name, "image_size": 64, "runs_dir": str(runs)} | others)
        )

    return get


def near_twins(table, thumbs):
    """Labels of the published test images that correlate above 0.999 with a training image."""
    pairs, train = leakage.near_duplicates(thumbs), (table["published_split"] == "train").to_numpy()
    across = pairs[train[pairs[:, 0]] != train[pairs[:, 1]]]
    return table["label"][sorted(set(across.ravel()) - set(np.flatnonzero(train)))]


def lanczos(table):
    """Thumbnails straight from the archive, resized with the filter behind the published counts."""
    with zipfile.ZipFile(HOME / registered()["brain_tumor"]["archive"]) as archive:
        images = [Image.open(io.BytesIO(archive.read(path))).convert("L") for path in table["path"]]
    side = [np.asarray(image.resize((64, 64), Image.Resampling.LANCZOS)) for image in images]
    return duplicates.thumbnails(np.repeat(np.stack(side)[..., None], 3, axis=3))


def one_nn(table, thumbs, mode, flip_invariant=False, seeds=3):
    """Accuracy, balanced accuracy and recall by class name of the leak meter.

    Averaged over seeds of a split.
    """
    rows, thumbs = [], thumbs[table.index]
    table = table.reset_index(drop=True)
    names = table.groupby("target")["label"].first()
    for seed in range(seeds):
        parted = table.assign(part=make_split(table, mode, seed=seed).part)
        meter = leakage.leak_meter(parted, thumbs, flip_invariant=flip_invariant)
        recall = {names[k]: v for k, v in meter["recall"].items()}
        rows.append(
            {"accuracy": meter["accuracy"], "balanced": meter["balanced_accuracy"], **recall}
        )
    return pd.DataFrame(rows).mean()


@pytest.mark.archives
@pytest.mark.slow
def test_brain_tumor(archive):
    found = archive("brain_tumor", split="published")
    table = found.table
    assert len(table) == 7019 and table["sha256"].nunique() == 6593 and len(found.broken) == 0
    assert table["published_split"].value_counts().to_dict() == {"train": 5708, "test": 1311}
    train, test = (table[table["published_split"] == part] for part in ("train", "test"))
    twins = test[test["sha256"].isin(train["sha256"])]
    assert twins["label"].value_counts().to_dict() == {
        "meningioma": 106,
        "notumor": 105,
        "pituitary": 5,
    }
    thumbs = duplicates.thumbnails(found.pixels)
    assert near_twins(table, lanczos(table)).value_counts().to_dict() == {
        "notumor": 342,
        "meningioma": 109,
        "pituitary": 5,
    }
    # the filter of the thumbnail decides over a few
    assert abs(len(near_twins(table, thumbs)) - 456) <= 13
    meter = leakage.leak_meter(table, thumbs)
    hit = meter["predictions"] == test["target"].to_numpy()
    for bound, expected in ((1.1, 0.959), (0.98, 0.934), (0.90, 0.853)):
        assert hit[meter["similarity"] <= bound].mean() == pytest.approx(expected, abs=0.01)
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
    assert len(table) == 4217
    assert copies["label"].value_counts().to_dict() == {
        "cataract": 640,
        "glaucoma": 600,
    }
    assert (copies["copy_of"] != "").all() and (table["copy_of"] != "").sum() == 1240
    assert (
        (table["label"] == "diabetic_retinopathy").sum()
        == (table["source"] == "jpeg eyes").sum()
        == 1098
    )
    sides = table[table["patient"].str.startswith("jpeg")].groupby("patient").size()
    assert set(sides) == {2}
    assert not set(sides.index) & set(table["patient"][table["source"] == "jpg eyes"])
    assert table["name"].str.match(r"(?i)(cataract|glaucoma)_\d+\.png").sum() == 201
    contradictory = table[table.groupby("sha256")["label"].transform("nunique") > 1]
    assert set(contradictory["name"]) == {"1415_right.jpg", "625_left.jpg"}
    assert len(contradictory) == 4
    thumbs, originals = duplicates.thumbnails(found.pixels), table[table["copy_of"] == ""]
    leaky = one_nn(table, thumbs, "random", flip_invariant=True)
    assert leaky["accuracy"] == pytest.approx(0.855, abs=0.01)
    assert leaky["glaucoma"] == pytest.approx(0.87, abs=0.03)
    assert one_nn(originals, thumbs, "random", flip_invariant=True)["accuracy"] == pytest.approx(
        0.747, abs=0.01
    )
    honest = one_nn(originals, thumbs, "grouped", flip_invariant=True, seeds=8)
    assert honest["accuracy"] == pytest.approx(0.729, abs=0.01)
    assert honest["glaucoma"] == pytest.approx(0.31, abs=0.03)
    for column in ("patient", "family"):
        known = table[table[column] != ""]
        assert (known.groupby(column)["part"].nunique() == 1).all()


@pytest.mark.archives
@pytest.mark.slow
def test_alzheimer(archive):
    found = archive("alzheimer")
    table = found.table
    people = table.groupby("label")["patient"].nunique().to_dict()
    assert people == {
        "NonDemented": 100,
        "VeryMildDemented": 70,
        "MildDemented": 28,
        "ModerateDemented": 2,
    }
    assert set(table.groupby("patient").size()) == {32} and (table["patient"] != "").all()
    assert (table.groupby("patient")["published_split"].nunique() == 2).all()
    assert (table.groupby("patient")["part"].nunique() == 1).all()
    assert set(table["width"]) == {176} and set(table["height"]) == {208}
    thumbs = duplicates.thumbnails(found.pixels)
    assert one_nn(table, thumbs, "random", seeds=1)["accuracy"] == pytest.approx(0.9997, abs=0.01)
    people = one_nn(table, thumbs, "grouped", seeds=10)
    assert people["accuracy"] == pytest.approx(0.486, abs=0.033)
    assert people["balanced"] == pytest.approx(0.296, abs=0.033)
    slices = found.pixels.astype(np.float32).mean(axis=(1, 2, 3))
    within = table.assign(mean=slices).groupby("patient")["mean"].std().mean()
    # slices of one person look alike, so the people are not a random grouping
    assert within < slices.std()


@pytest.mark.archives
@pytest.mark.slow
def test_figshare_brain(archive):
    found = archive("figshare_brain", split="published", image_size=256)
    table = found.table
    assert table["label"].value_counts().to_dict() == {
        "glioma": 1426,
        "pituitary": 930,
        "meningioma": 708,
    }
    assert len(found.broken) == 0 and found.has_mask.all() and found.masks.shape[0] == 3064
    shares = np.array([found.masks[row].mean() for row in range(len(table))])
    print(
        f"a mask covers {shares.mean():.4f} of its image, {shares.min():.4f} to {shares.max():.4f}"
    )
    assert shares.mean() == pytest.approx(0.0171, abs=0.0002)
    assert set(table["fold"]) == {"1", "2", "3", "4", "5"}
    assert (table.groupby("image_id")["fold"].nunique() == 1).all()
    assert sorted(table["image_id"].astype(int)) == list(range(1, 3065))
    parts = table.groupby("part")["fold"].unique().map(sorted).to_dict()
    assert parts == {"train": ["1", "2", "3"], "val": ["4"], "test": ["5"]}
    inside = [found.pixels[row][found.masks[row]].mean() for row in range(0, 3064, 50)]
    around = [found.pixels[row][~found.masks[row]].mean() for row in range(0, 3064, 50)]
    assert np.mean(np.array(inside) > np.array(around)) > 0.9, "tumours are no background"


@pytest.mark.archives
@pytest.mark.slow
@pytest.mark.parametrize("name", ["brain_tumor", "eye_disease", "alzheimer", "figshare_brain"])
def test_nothing_crosses_the_grouped_split(archive, name):
    found = archive(name)
    assert leakage.leak_ledger(found.table, duplicates.thumbnails(found.pixels)).empty
