"""Who is who, from file names; which copy belongs to which original."""

import numpy as np
import pandas as pd
import pytest

from kdnb.data.class_folders import Entry
from kdnb.data.patients import SLICES, link_copies, name_patients


def table(rows):
    filled = [Entry(path, path, label, *rest) for path, label, *rest in rows]
    return pd.DataFrame(filled, columns=Entry._fields)


def alzheimer_names(people, in_test):
    """Names as published: slices 27-32 in test, 26 of the people `in_test`; others in train."""
    order = sorted(range(1, people + 1), key=lambda k: f"X ({k}).jpg" if k > 1 else "X.jpg")
    rows, truth = [], []
    for piece in range(1, SLICES + 1):
        tested = set(order) if piece > 26 else set(in_test) if piece == 26 else set()
        for k in tested:
            rows.append((f"test/Mild/{piece}{f' ({k})' if k > 1 else ''}.jpg", "Mild"))
        left = [k for k in order if k not in tested]
        rows += [
            (f"train/Mild/mildDem{(piece - 1) * people + at}.jpg", "Mild")
            for at in range(len(left))
        ]
        truth += [f"Mild {k}" for k in [*tested, *left]]
    return rows, truth


@pytest.mark.parametrize(
    "people, in_test", [(1, []), (2, [2]), (12, [1, 3, 10]), (12, range(1, 13))]
)
def test_alzheimer_people(people, in_test):
    rows, truth = alzheimer_names(people, in_test)
    found, notes = name_patients("alzheimer", table(rows).sample(frac=1, random_state=0))
    assert found.sort_index()["patient"].tolist() == truth and notes == []


def test_alzheimer_people_stay_unknown_where_the_names_do_not_add_up():
    rows, _ = alzheimer_names(12, [1, 3])
    found, notes = name_patients("alzheimer", table(rows[1:] + [("test/Mod/1.jpg", "Mod")]))
    assert (found["patient"] == "").all() and "unknown patients" in notes[0]


def test_other_sets_stay_unknown():
    given = table([("a/1.jpg", "a", "", "p1"), ("a/2.jpg", "a")])
    found, notes = name_patients("custom", given)
    assert found["patient"].tolist() == ["p1", ""]
    assert notes == ["1 of 2 images are of unknown patients: a person may cross the split"]


EYES = table(
    [
        (f"dataset/{path}", path.split("/")[0])
        for path in (
            "dr/7_left.jpeg",
            "dr/7_right.jpeg",
            "normal/7_left.jpg",
            "glaucoma/7_right.jpg",
            "glaucoma/12_left.jpg",
            "glaucoma/Glaucoma_001.png",
            "glaucoma/_0_55.jpg",
            "glaucoma/_1_56.jpg",
            "glaucoma/_2_57.jpg",
            "glaucoma/_1_58.jpg",
            "cataract/9_left.jpg",
            "cataract/cataract_001.png",
            "cataract/_5_1.jpg",
            "cataract/_5_2.jpg",
        )
    ]
)


def test_two_numberings_of_eyes():
    patient = name_patients("eye_disease", EYES)[0].set_index("path")["patient"]
    assert patient["dataset/dr/7_left.jpeg"] == patient["dataset/dr/7_right.jpeg"] == "jpeg 7"
    assert (
        patient["dataset/normal/7_left.jpg"] == patient["dataset/glaucoma/7_right.jpg"] == "jpg 7"
    )
    assert (
        patient["dataset/cataract/cataract_001.png"] == patient["dataset/cataract/_5_1.jpg"] == ""
    )


def test_copies_by_rank_and_by_likeness():
    named, _ = name_patients("eye_disease", EYES)
    thumbs = np.random.default_rng(0).normal(size=(len(EYES), 8, 8)).astype(np.float32)
    thumbs[12], thumbs[13] = thumbs[10, ::-1, ::-1], thumbs[10, :, ::-1]
    thumbs = thumbs.reshape(len(EYES), -1)
    linked = link_copies(named, thumbs - thumbs.mean(axis=1, keepdims=True))
    name = linked["path"].str.split("/").str[-1]
    copy_of = dict(zip(name, linked["copy_of"].str.split("/").str[-1], strict=True))
    assert copy_of["_0_55.jpg"] == "12_left.jpg"  # string order: 12_left, 7_right, Glaucoma_001
    assert copy_of["_1_56.jpg"] == copy_of["_1_58.jpg"] == "7_right.jpg"
    assert copy_of["_2_57.jpg"] == "Glaucoma_001.png"
    assert copy_of["_5_1.jpg"] == copy_of["_5_2.jpg"] == "9_left.jpg"
    assert linked["patient"][name == "_0_55.jpg"].item() == "jpg 12"
    family = linked.groupby("family")["path"].count()
    assert sorted(family) == [1] * 4 + [2, 2, 3, 3]


def test_a_copy_whose_original_is_lost_stays_alone():
    named, _ = name_patients("eye_disease", EYES)
    kept = named[named["path"] != "dataset/glaucoma/12_left.jpg"].reset_index(drop=True)
    linked = link_copies(kept, np.zeros((len(kept), 64), np.float32)).set_index("path")
    assert (linked["family"] == linked["family"]["dataset/glaucoma/_0_55.jpg"]).sum() == 1
