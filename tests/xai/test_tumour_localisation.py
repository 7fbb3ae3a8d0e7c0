"""Maps of every layer graded by masks: planted truth, one orientation per origin, right reasons."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from kdnb.core.errors import UserError
from kdnb.feature_maps.mask_metrics import LOCALISATION
from kdnb.xai import tumour_localisation
from kdnb.xai.image_grades import KEPT, image_grades, read_image_grades
from kdnb.xai.tumour_localisation import (
    BEST,
    INPUT,
    LAYER_MAPS,
    MEAN_MASK,
    Localisation,
    dilated,
    localise,
    masked_rows,
)
from kdnb.xai.tumour_tables import (
    SHOWN,
    layer_summary,
    localisation_parts,
    localisation_table,
    right_reasons,
    say_localisation,
    say_right_reasons,
    shortcut_candidates,
)


@pytest.fixture(scope="module")
def found(study):
    return localise(study, "KD student", study.student, count=40, costly=2)


def test_every_map_of_every_layer_is_graded_on_masked_images_alone(study, found):
    taps = list(study.student_model.taps)
    rows = masked_rows(study, 40)
    assert study.image_set.has_mask[rows].all() and len(rows) == len(found.images) > 2
    assert set(study.image_set.table["part"].iloc[rows]) == {"test"}
    keys = set(found.grades.index.droplevel(["mask", "metric"]))
    assert keys >= {(name, tap) for name in (*LAYER_MAPS, BEST) for tap in taps}
    assert keys >= {(name, INPUT) for name in (*SHOWN, MEAN_MASK, "occlusion", "SHAP deep")}
    pointing = found.grades.xs("pointing game", level="metric").loc["average map"]
    assert pointing.notna().all(axis=None)
    assert found.grades.loc["occlusion"].notna().sum(axis=1).max() == 2
    grades = found.grades.to_numpy(float)
    assert np.nanmin(grades) >= 0 and np.nanmax(grades) <= 1


def test_no_map_is_like_the_mask_itself_and_coarser_grids_are_less_like_it(study, found):
    table = localisation_table([found])["value"]
    first, *_, last = study.student_model.taps
    reached = table.xs("ROC AUC", level="metric")
    assert reached[BEST, first] > 0.99 and reached[BEST, last] < reached[BEST, first]
    for tap in study.student_model.taps:
        energy = table.xs("energy in mask", level="metric")
        assert max(energy[name, tap] for name in LAYER_MAPS) < energy[BEST, first]


def test_the_same_grades_are_found_again(study, found):
    made = sorted((study.settings.runs / "localisation").glob("*/done.json"))
    again = localise(study, "KD student", study.student, count=40, costly=2)
    pd.testing.assert_frame_equal(again.grades, found.grades)
    pd.testing.assert_frame_equal(again.images, found.images)
    assert sorted((study.settings.runs / "localisation").glob("*/done.json")) == made != []


def test_batches_change_no_grade_and_every_image_has_noise_of_its_own(study, monkeypatch):
    rows = masked_rows(study, 6)
    given = (study, "KD student", study.student, rows)
    at_once = tumour_localisation._layers(*given)["grades"]
    monkeypatch.setattr(tumour_localisation, "AT_ONCE", 2)
    in_batches = tumour_localisation._layers(*given)["grades"]
    pd.testing.assert_frame_equal(in_batches.loc[["random"]], at_once.loc[["random"]])
    assert at_once.loc["random"].xs("ROC AUC", level="metric").nunique(axis=1).min() > 3
    pd.testing.assert_frame_equal(in_batches, at_once, atol=0.02)


def test_one_orientation_of_an_origin_and_no_mask_of_the_whole_image(study):
    rows = masked_rows(study, 1000)
    origin = pd.Series("", index=study.image_set.table.index)
    origin.iloc[rows[:3]] = "1"
    masks = np.array(study.image_set.masks[:])
    masks[rows[3]] = True

    class Fewer:
        settings = study.settings
        image_set = replace(
            study.image_set, table=study.image_set.table.assign(origin=origin), masks=masks
        )
        sample = study.sample

    assert masked_rows(Fewer, 1000).tolist() == [rows[0], *rows[4:]]
    assert masked_rows(Fewer, 2).tolist() == [rows[0], rows[4]]
    Fewer.image_set = replace(study.image_set, masks=None)
    assert not len(masked_rows(Fewer, 5))
    with pytest.raises(UserError, match="no test image has a mask.*brain_tumor with split"):
        localise(Fewer, "KD student", study.student)


def test_a_margin_reaches_as_far_as_it_says():
    masks = np.zeros((1, 40, 40), bool)
    masks[0, 20, 20] = True
    found = dilated(masks, 0.1)
    assert found[0, 16, 20] and found[0, 20, 24] and not found[0, 15, 20] and not found[0, 17, 17]
    assert found.sum() == 49  # points of a disk of radius 4


def made_up(inside, right, area=0.1):
    """Grades of which only the evidence inside is told, at one tap; every image its own group."""
    images = pd.DataFrame({"image_id": [f"i{n}" for n in range(len(right))], "label": "a"})
    images["area"] = area
    images["answer"] = "a"
    images["right"] = right
    return Localisation(
        images=images,
        groups=np.arange(len(right)),
        grades=pd.DataFrame(),
        inside=pd.DataFrame([inside], index=pd.Index(["conv3"], name="tap")),
        seen=False,
    )


def test_right_for_the_right_reason():
    inside = [0.5, 0.7, 0.05, 0.02, *[0.6] * 10, *[0.1] * 10, np.nan]
    one = made_up(inside, [True] * 14 + [False] * 10 + [True])
    table = right_reasons([one])
    row = table.loc["conv3"]
    assert row["right"] == pytest.approx(np.mean(inside[:14])) and row["wrong"] == pytest.approx(
        0.1
    )
    assert 0 < row["low"] < row["difference"] < row["high"]
    assert row[["right_answers", "wrong_answers", "without"]].tolist() == [14, 10, 1]
    listed = shortcut_candidates(one, "conv3")
    assert listed["image_id"].tolist() == ["i3", "i2"]
    said = say_right_reasons(table, "conv3", listed)
    assert "14 right answers, 10 wrong" in said and "speaks for the answer: 1." in said
    assert "share of the image: 2. Look" in said
    always = made_up([0.5] * 6, [True] * 6)
    assert len(shortcut_candidates(always, "conv3")) == 0
    said = say_right_reasons(right_reasons([always]), "conv3", listed[:0])
    assert "no wrong answer has evidence to compare with" in said
    never = made_up([0.5] * 6, [False] * 6)
    said = say_right_reasons(right_reasons([never]), "conv3", listed[:0])
    assert (
        "no right answer has evidence to look at (6 wrong ones have)" in said and "nan" not in said
    )


def test_tables_and_sentences(study, found):
    table = localisation_table([found, found])
    tap = list(study.student_model.taps)[2]
    shown = layer_summary(table, tap)
    assert len(shown) == 12 and list(shown.columns)[:2] == ["pointing game", "interval"]
    said = say_localisation([found], table)
    assert f"{len(found.images)} images of unseen patients" in said and "average map" in said
    assert "may have been seen" in say_localisation([replace(found, seen=True)], table)
    parts = localisation_parts([found], ["pointing game"])
    assert set(parts.index.unique("part")) == {
        "all",
        *found.images["label"],
        "small",
        "medium",
        "large",
    }
    sizes = parts["images"].unstack("part").loc["as drawn", "average map"].iloc[0]
    assert sizes[["small", "medium", "large"]].sum() == sizes["all"] == len(found.images)
    drawn, wide = (localisation_table([found], mask)["value"] for mask in ("as drawn", "dilated"))
    pointing = drawn.xs("pointing game", level="metric") - wide.xs("pointing game", level="metric")
    assert (pointing <= 1e-9).all(), "a wider mask is hit as often at least"
    assert set(table.index.unique("metric")) == set(LOCALISATION)


def test_grades_of_single_images_are_kept_and_read_again(found):
    table = image_grades({"KD student": found, "teacher": found})
    text = table.to_csv(index=False)
    grades, groups, classes = read_image_grades(pd.read_csv(io.StringIO(text)))
    assert np.array_equal(classes, found.images["label"].str.replace(" ", "_"))
    same = groups.names[:, None] == groups.names
    names = np.asarray(found.groups)
    assert np.array_equal(same, names[:, None] == names)
    kept = found.grades.loc["average map"].xs("as drawn", level="mask")
    for tap, metric in kept.index:
        if metric in KEPT:
            read = grades.loc["KD student", "average map", tap, metric]
            assert read.to_numpy() == pytest.approx(kept.loc[tap, metric].to_numpy(), rel=5e-3)
    assert grades.loc["teacher", "occlusion"].isna().any(axis=None), "not computed on all images"
