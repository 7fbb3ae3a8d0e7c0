"""Phantoms: determinism, planted truth, masks, distractor, shortcut, size invariance, errors."""

import hashlib
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import binary_dilation

from kdnb.core.errors import UserError
from kdnb.data.phantoms.drawing import _draw, _rows, render, render_all
from kdnb.data.phantoms.plan import FAMILIES, PhantomPlan, classes, table

HEALTHY = {"brain": "notumor", "fundus": "normal"}
SMALL = PhantomPlan(patients=8, slices=3)
PLANTED = PhantomPlan(patients=20, slices=5, seed=3, duplicates=0.2, patient_leaks=0.25)


def digest(family: str) -> str:
    plan = PhantomPlan(
        family, patients=8, slices=1, seed=5, duplicates=0.5, distractor=True, shortcut=0.5
    )
    images, masks = render_all(plan, 48)
    return hashlib.sha256(
        table(plan).to_csv().encode() + images.tobytes() + masks.tobytes()
    ).hexdigest()


def thumbnails(images: np.ndarray) -> np.ndarray:
    grey = images.astype(np.float32).mean(axis=-1).reshape(len(images), -1)
    grey -= grey.mean(axis=1, keepdims=True)
    return grey / np.linalg.norm(grey, axis=1, keepdims=True)


def nearest_accuracy(thumbs: np.ndarray, labels: np.ndarray, test: np.ndarray) -> float:
    nearest = (thumbs[test] @ thumbs[~test].T).argmax(axis=1)
    return float((labels[~test][nearest] == labels[test]).mean())


@pytest.mark.slow
def test_same_bytes_in_another_process():
    code = "import test_phantoms as t; print(*map(t.digest, t.FAMILIES))"
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": paths}
    other = subprocess.check_output([sys.executable, "-c", code], text=True, env=environment)
    assert other.split() == [digest(family) for family in FAMILIES]


@pytest.mark.parametrize("family", FAMILIES)
def test_difficulty_changes_images_and_not_who_is_in_them(family):
    easy = PhantomPlan(family, patients=8, slices=1)
    hard = replace(easy, difficulty=0.8)
    pd.testing.assert_frame_equal(table(easy), table(hard))
    easy_images, easy_masks = render_all(easy, 48)
    hard_images, hard_masks = render_all(hard, 48)
    assert (easy_images != hard_images).any(axis=(1, 2, 3)).all()
    if family == "brain":  # tumours are smaller, and still there
        tumour = table(easy)["label"].to_numpy() != "notumor"
        assert (hard_masks[tumour].sum((1, 2)) < 0.7 * easy_masks[tumour].sum((1, 2))).all()
        assert hard_masks[tumour].any(axis=(1, 2)).all() and not hard_masks[~tumour].any()


def test_harder_tumours_stand_out_less():
    contrast = {}
    for difficulty in (0.0, 0.4, 0.8):
        plan = PhantomPlan(patients=40, slices=1, difficulty=difficulty)
        images, masks = render_all(plan, 64)
        grey = images.mean(axis=3)
        found = []
        for image, mask in zip(grey, masks, strict=True):
            if mask.any():
                found.append(image[mask].mean() - image[image > 20].mean())
        contrast[difficulty] = np.mean(found)
    assert contrast[0.0] > 1.2 * contrast[0.4] > 1.4 * contrast[0.8]


def test_seed_and_family_change_the_pixels():
    plans = [SMALL, replace(SMALL, seed=1), replace(SMALL, family="dementia")]
    assert len({render(plan, table(plan).image_id[0], 48).image.tobytes() for plan in plans}) == 3


@pytest.mark.parametrize("family", FAMILIES)
def test_table_of_a_clean_plan(family):
    rows = table(PhantomPlan(family, patients=42, slices=3))
    assert rows.image_id.is_unique and len(rows) == 42 * 3 and (rows.copy_of == "").all()
    assert set(rows.label) == set(classes(family))
    assert (rows.groupby("patient")[["label", "published_split"]].nunique() == 1).all(axis=None)
    people = rows.drop_duplicates("patient")
    assert np.ptp(people.label.value_counts()) <= 1
    test_share = (people.published_split == "test").groupby(people.label).mean()
    assert test_share.between(0.15, 0.3).all()


def test_planted_leaks_and_copies_are_as_many_as_asked_for():
    rows = table(PLANTED)
    originals, copies = rows[rows.copy_of == ""], rows[rows.copy_of != ""]
    assert (originals.groupby("patient").published_split.nunique() == 2).sum() == 5
    assert len(originals) == 100 and len(copies) == 20
    assert copies.copy_kind.value_counts().to_dict() == {
        "exact": 5,
        "jpeg": 5,
        "flip": 5,
        "rescale": 5,
    }
    source = rows.set_index("image_id").loc[copies.copy_of]
    for column in ("label", "patient", "family", "slice"):
        assert (copies[column].to_numpy() == source[column].to_numpy()).all()
    assert (
        0.4
        <= (copies.published_split.to_numpy() != source.published_split.to_numpy()).mean()
        <= 0.6
    )


def test_flags_leave_the_originals_alone():
    clean = table(replace(PLANTED, duplicates=0.0, patient_leaks=0.0))
    planted = table(PLANTED).query("copy_of == ''")
    assert (
        clean[["image_id", "label"]].to_numpy() == planted[["image_id", "label"]].to_numpy()
    ).all()
    images = [
        render(plan, clean.image_id[7], 48).image
        for plan in (PLANTED, replace(PLANTED, duplicates=0.0))
    ]
    assert (images[0] == images[1]).all()


def test_copies_show_what_their_kind_says():
    rows, (images, masks) = table(PLANTED), render_all(PLANTED, 64)
    place = {image_id: i for i, image_id in enumerate(rows.image_id)}
    thumbs = thumbnails(images)
    for i, row in enumerate(rows.itertuples()):
        if row.copy_of:
            j = place[row.copy_of]
            same, likeness = bool((images[i] == images[j]).all()), float(thumbs[i] @ thumbs[j])
            assert same == (row.copy_kind == "exact")
            if row.copy_kind == "flip":
                assert (images[i] == images[j][:, ::-1]).all()
                assert (masks[i] == masks[j][:, ::-1]).all()
            assert (
                likeness
                > {"exact": 0.9999, "jpeg": 0.999, "flip": 0.5, "rescale": 0.9}[row.copy_kind]
            )
    originals = thumbs[(rows.copy_of == "").to_numpy()]
    assert np.triu(originals @ originals.T, 1).max() < 0.999  # only planted copies look like copies


@pytest.mark.parametrize("family", ["brain", "fundus"])
def test_mask_covers_the_lesion_and_only_it(family):
    plan = replace(SMALL, family=family)
    for row in list(_rows(plan).values())[::3]:
        healthy, empty = _draw(plan, row, HEALTHY[family], 128)
        assert not empty.any()
        for label in set(classes(family)) - {HEALTHY[family], "cataract"}:
            image, mask = _draw(plan, row, label, 128)
            change = abs(image - healthy).max(axis=2)
            # soft borders reach a little further
            allowed = binary_dilation(mask, iterations=12 if label == "glioma" else 3)
            assert mask.any() and change[~allowed].max() < 0.1
            if label != "glaucoma":  # the middle of a wide cup looks like a normal cup
                assert (change[mask] > 0.02).mean() > 0.85


def test_dementia_mask_widens_with_the_grade():
    plan = replace(SMALL, family="dementia", patients=40)
    share = (
        table(plan).assign(share=render_all(plan, 64)[1].mean(axis=(1, 2))).groupby("label").share
    )
    order = ["NonDemented", "VeryMildDemented", "MildDemented", "ModerateDemented"]
    assert share.mean()[order].is_monotonic_increasing and share.min()["NonDemented"] > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_anatomy_does_not_depend_on_the_size(family):
    plan = replace(SMALL, family=family)
    (small, mask_small), (large, mask_large) = render_all(plan, 64), render_all(plan, 128)
    assert np.abs(mask_small.mean(axis=(1, 2)) - mask_large.mean(axis=(1, 2))).max() < 0.012
    halved = large.reshape(len(large), 64, 2, 64, 2, 3).mean(axis=(2, 4))
    assert (thumbnails(small) * thumbnails(halved)).sum(axis=1).min() > 0.98
    if family == "brain":
        extents = [
            min(np.ptp(axis) + 1 for axis in np.nonzero(mask)) for mask in mask_small if mask.any()
        ]
        assert min(extents) >= 5


@pytest.mark.parametrize("family", FAMILIES)
def test_distractor_is_bright_and_never_on_a_lesion(family):
    plan = PhantomPlan(family, patients=8, slices=2, distractor=True, duplicates=0.5)
    for row in table(plan).itertuples():
        image, lesion, blob, _ = render(plan, row.image_id, 64)
        assert 15 < blob.sum() < 60 and not (blob & lesion).any()
        assert np.median(image[blob]) > 200
    assert not render(replace(plan, distractor=False), row.image_id, 64).distractor.any()


@pytest.mark.parametrize("shortcut", [0.25, 0.9, 1.0])
def test_mark_agrees_with_the_class_as_often_as_asked(shortcut):
    rows = table(PhantomPlan(patients=200, slices=5, shortcut=shortcut))
    assert abs((rows.mark == rows.label).mean() - shortcut) < 0.05
    assert set(rows.mark) == set(rows.label)


def test_mark_shows_in_the_corner_alone():
    plan = replace(SMALL, shortcut=1.0)
    plain, marked = render_all(SMALL, 64)[0], render_all(plan, 64)[0]
    change = (plain != marked).any(axis=3)
    assert change[:, 44:, :8].any(axis=(1, 2)).all()
    mask = np.stack([render(plan, image_id, 64).mark for image_id in table(plan).image_id])
    assert (change & mask).sum() == mask.sum() > 0, "the mask holds pixels of the mark alone"
    change[:, 44:, :8] = False
    assert not change.any() and (table(SMALL).mark == "").all()
    assert not render(SMALL, table(SMALL).image_id[0], 64).mark.any()


@pytest.mark.parametrize("family", FAMILIES)
def test_colour_of_the_mark_names_the_class(family):
    plan = PhantomPlan(family, patients=8, slices=1, shortcut=0.5)
    colours = {}
    for row in table(plan).itertuples():
        drawn = render(plan, row.image_id, 64)
        colours.setdefault(row.mark, []).append(np.median(drawn.image[drawn.mark], axis=0))
    means = {mark: np.mean(of, axis=0) for mark, of in colours.items()}
    assert all(np.ptp(of, axis=0).max() < 12 for of in colours.values())
    apart = [np.abs(means[a] - means[b]).max() for a in means for b in means if a != b]
    assert len(means) > 1 and min(apart) > 60


def test_nearest_neighbour_sees_patients_not_classes():
    plan = PhantomPlan(patients=80)
    rows, thumbs = table(plan), thumbnails(render_all(plan, 64)[0])
    labels, rng = rows.label.to_numpy(), np.random.default_rng(0)
    grouped = nearest_accuracy(thumbs, labels, (rows.published_split == "test").to_numpy())
    leaky = nearest_accuracy(thumbs, labels, rng.random(len(rows)) < 0.2)
    assert 0.3 < grouped < 0.75 and leaky > grouped + 0.2


@pytest.mark.parametrize(
    ("field", "value", "accepted"),
    [
        ("family", "heart", "brain, fundus, dementia"),
        ("patients", 7, "8 to 9999"),
        ("seed", -1, "0 to"),
        ("patients", 8.0, "whole number"),
        ("slices", 0, "1 to 99"),
        ("duplicates", 1.2, "0 to 1"),
        ("shortcut", "all", "a number"),
        ("patient_leaks", float("nan"), "0 to 1"),
        ("distractor", 1, "True"),
        ("difficulty", float("nan"), "0 to 1"),
    ],
)
def test_an_invalid_plan_names_field_value_and_range(field, value, accepted):
    message = f"phantom {field} .*{accepted}.*got {re.escape(repr(value))}"
    with pytest.raises(UserError, match=message) as error:
        PhantomPlan(**{field: value})
    assert "\n" not in str(error.value)


def test_other_errors():
    with pytest.raises(UserError, match="slices must be a whole number from 2"):
        PhantomPlan(slices=1, patient_leaks=0.1)
    with pytest.raises(UserError, match="size must be .* got 16"):
        render(SMALL, "brain_p0000_s00", 16)
    with pytest.raises(UserError, match="'brain_p9999_s00' is not in this plan"):
        render(SMALL, "brain_p9999_s00", 64)
    with pytest.raises(UserError, match="got 'heart'"):
        classes("heart")
