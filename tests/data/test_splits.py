import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdnb.core.errors import UserError
from kdnb.core.settings import SPLITS
from kdnb.data.duplicates import components
from kdnb.data.leakage import groups
from kdnb.data.splits import image_keys, make_split, sizes_of, subset, uses_folds


def manifest(seed: int, size: int = 300, patients: int = 80) -> pd.DataFrame:
    """Images of patients with one class each, but for a few.

    Some patients and most families are unknown.
    """
    rng = np.random.default_rng(seed)
    patient = rng.integers(0, patients, size)
    label = np.where(rng.random(size) < 0.03, rng.integers(0, 3, size), patient % 3)
    family = np.where(rng.random(size) < 0.2, rng.integers(0, size // 4, size), -1)
    return pd.DataFrame(
        {
            "image_id": [f"image {i}" for i in range(size)],
            "label": np.array(["a", "b", "c"])[label],
            "patient": ["" if p % 7 == 0 else f"p{p}" for p in patient],
            "family": ["" if f < 0 else f"f{f}" for f in family],
            "sha256": [f"{i // 2 * 2 if i < 20 else i:x}" for i in range(size)],
            "published_split": np.where(rng.random(size) < 0.8, "train", "test"),
        }
    )


def shares(table: pd.DataFrame, part: pd.Series) -> pd.DataFrame:
    return pd.crosstab(table["label"], part, normalize="index")[["train", "val", "test"]]


@given(st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_no_group_crosses_a_grouped_split(seed):
    table = manifest(seed)
    part = make_split(table, "grouped", seed=seed).part
    assert set(part) == {"train", "val", "test"}
    for column in ("patient", "family", "sha256"):
        known = table[column] != ""
        assert part[known].groupby(table.loc[known, column]).nunique().max() == 1


@pytest.mark.parametrize("mode", SPLITS)
def test_a_split_depends_on_the_seed_but_not_on_the_order_of_the_rows(mode):
    table = manifest(1)
    part = make_split(table, mode, seed=3).part
    mixed = make_split(table.sample(frac=1, random_state=0), mode, seed=3).part
    pd.testing.assert_series_equal(mixed.reindex(table.index), part)
    assert (make_split(table, mode, seed=4).part != part).any()


def test_class_shares_are_kept():
    table = manifest(2, size=1000, patients=300)
    assert (shares(table, make_split(table, "random", seed=0).part) - [0.7, 0.1, 0.2]).abs().max(
        axis=None
    ) < 0.005
    assert (shares(table, make_split(table, "grouped", seed=0).part) - [0.7, 0.1, 0.2]).abs().max(
        axis=None
    ) < 0.03


def test_a_class_of_two_people_is_dealt_to_train_and_test_and_reported():
    table = pd.DataFrame(
        {"patient": np.repeat(np.arange(32).astype(str), 4), "label": ["many"] * 120 + ["rare"] * 8}
    )
    table["image_id"] = table.index.astype(str)
    part, notes = make_split(table, "grouped", seed=0)
    assert part[table["label"] == "rare"].value_counts().to_dict() == {"train": 4, "test": 4}
    assert notes == ["class rare: train 4, val 0, test 4"]


def test_deduplicated_keeps_the_original_of_each_family():
    table = manifest(3).assign(patient="", sha256="", copy_of="")
    last = ~table["family"].duplicated(keep="last")
    table["copy_of"] = np.where((table["family"] == "") | last, "", "other")
    kept = make_split(table, "deduplicated", seed=0).part != "unused"
    assert (kept == (table["copy_of"] == "")).all()


def test_published_keeps_the_folders_and_takes_validation_from_train():
    table = manifest(4)
    part = make_split(table, "published", seed=0).part
    assert ((part == "test") == (table["published_split"] == "test")).all()
    assert (part == "val").sum() == pytest.approx((part != "test").sum() / 8, abs=2)
    val = set(table["patient"][part == "val"]) - {""}
    assert val and not val & set(table["patient"][part == "train"]), "known patients stay whole"
    test = table[part == "test"]
    crossing = test["patient"].isin(set(table["patient"][part != "test"]) - {""}).sum()
    notes = make_split(table, "published", seed=0).notes
    assert crossing and f"the patients of {crossing:,} of {len(test):,} test images" in notes[0]
    with pytest.raises(UserError, match="no published train and test folders"):
        make_split(table.assign(published_split=""), "published", seed=0)


@pytest.mark.parametrize("mode", ["random", "deduplicated"])
def test_patients_that_cross_are_told_where_a_split_does_not_keep_them_apart(mode):
    table = manifest(4)
    part, notes = make_split(table, mode, seed=0)
    test = table[part == "test"]
    seen = set(table["patient"][part.isin(["train", "val"])]) - {""}
    crossing = test["patient"].isin(seen).sum()
    assert crossing and notes[0].startswith(
        f"the patients of {crossing:,} of {len(test):,} test images also have images in train"
    )
    assert not any("also have" in note for note in make_split(table, "grouped", seed=0).notes)


def with_folds(folds: int = 5) -> pd.DataFrame:
    table = manifest(5).assign(published_split="")
    return table.assign(fold=(np.arange(len(table)) % folds + 1).astype(str))


@pytest.mark.parametrize("fold", [1, 2, 3, 4, 5])
def test_folds_are_the_published_parts_and_no_seed_moves_them(fold):
    table = with_folds()
    part, notes = make_split(table, "published", seed=0, fold=fold)
    before = 5 if fold == 1 else fold - 1
    assert set(table["fold"][part == "test"]) == {str(fold)}
    assert set(table["fold"][part == "val"]) == {str(before)}
    rest = {"1", "2", "3", "4", "5"} - {str(fold), str(before)}
    assert set(table["fold"][part == "train"]) == rest
    pd.testing.assert_series_equal(make_split(table, "published", seed=7, fold=fold).part, part)
    told = f"the parts are the publisher's folds: train {', '.join(sorted(rest))}; val {before}"
    assert notes[1:] == [f"{told}; test {fold}"] and notes[0].startswith("the patients of")


def test_images_without_a_published_part_are_unused_and_told():
    table = manifest(4)
    table.loc[:9, "published_split"] = ""
    part, notes = make_split(table, "published", seed=0)
    assert (part[:10] == "unused").all() and (part[10:] != "unused").all()
    assert notes[0] == "10 of 300 images have no published part, and are unused"


def test_images_without_a_fold_are_unused_and_told():
    table = with_folds()
    table.loc[:9, "fold"] = ""
    part, notes = make_split(table, "published", seed=0)
    assert (part[:10] == "unused").all() and (part[10:] != "unused").all()
    assert notes[-1] == "10 of 300 images are in no fold and unused"


def test_folds_that_cannot_be_used_are_named():
    with pytest.raises(UserError, match="got 5, which has no image: accepted are 1, 2, 3"):
        make_split(with_folds(3), "published", seed=0)
    table = with_folds()
    table.loc[4, "fold"] = "five"
    for mode in ("published", "patients"):
        with pytest.raises(UserError, match="fold 'five' is not a number"):
            make_split(table, mode, seed=0)
        with pytest.raises(UserError, match="got 5, which has no image: accepted are 1, 2"):
            make_split(with_folds(3), mode, seed=0)
        with pytest.raises(UserError, match="3 folds are needed, for training, validation and"):
            make_split(with_folds(2), mode, seed=0, fold=2)


@pytest.mark.parametrize("mode", ["published", "patients"])
@pytest.mark.parametrize(("folds", "test", "val"), [(3, 1, 3), (3, 2, 1), (10, 1, 10), (10, 8, 7)])
def test_any_number_of_folds_can_be_used(mode, folds, test, val):
    table = with_folds(folds).assign(patient="", family="", sha256="")
    part = make_split(table, mode, seed=0, fold=test).part
    assert set(table["fold"][part == "test"]) == {str(test)}
    assert set(table["fold"][part == "val"]) == {str(val)}
    assert not (part == "unused").any()


@pytest.mark.parametrize("mode", ["published", "patients"])
def test_a_fold_that_is_written_in_two_ways_is_one(mode):
    table = with_folds().assign(patient="", family="", sha256="")
    plain = make_split(table, mode, seed=0, fold=1).part
    table["fold"] = table["fold"].where(table.index % 2 == 0, "0" + table["fold"])
    pd.testing.assert_series_equal(make_split(table, mode, seed=0, fold=1).part, plain)
    with pytest.raises(UserError, match="fold 'nan' is not a number"):
        make_split(table.replace({"fold": {"02": "nan"}}), mode, seed=0)


@given(st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_no_known_patient_and_no_fold_crosses_a_split_by_patient(seed):
    table = manifest(seed)
    number = table["patient"].str.removeprefix("p")
    has_fold = number.str.endswith(("1", "2", "3"))  # folds of some patients alone are known
    folds = pd.to_numeric(number, errors="coerce").fillna(0).astype(int) // 10 % 5 + 1
    table["fold"] = folds.astype(str).where(has_fold, "")
    part, notes = make_split(table, "patients", seed=seed)

    named = table["patient"] != ""
    assert part[named].groupby(table["patient"]).nunique().max() == 1
    for fold, own in part[has_fold].groupby(table["fold"]):
        assert set(own) == {{"5": "test", "4": "val"}.get(fold, "train")}

    # whom an image of an unknown patient resembles: a fold, or a patient of none
    anchor = ("fold " + table["fold"]).where(has_fold, table["patient"])
    family = components(table, ["family", "sha256"])
    relatives = anchor[named].groupby(family[named]).agg(set)
    unused = 0
    for row in table.index[~named]:
        alike = relatives.get(family[row], set())
        assert (part[row] == "unused") == (len(alike) > 1)
        unused += len(alike) > 1
        if len(alike) == 1:
            assert part[row] == part[anchor == min(alike)].iloc[0]
    note = f"{unused} images resemble images of two folds or patients: unused"
    assert (note in notes) == (unused > 0)


def test_parts_that_cannot_have_the_sizes_of_others_say_how_many_images_are_short():
    table = manifest(4).assign(patient="", sha256="", family=[f"f{i // 60}" for i in range(300)])
    sizes = pd.DataFrame({"train": 70, "test": 20, "val": 10}, index=["a", "b", "c"])
    part, notes = make_split(table, "grouped", seed=0, sizes=sizes)
    short = (sizes - sizes_of(table, part)).clip(lower=0)
    assert short.to_numpy().sum() > 0, "five families cannot make such parts"
    lacks = short.stack()
    told = [
        f"class {label}: {name} lacks {count} images of the size asked for"
        for (label, name), count in lacks[lacks > 0].items()
    ]
    assert notes[: len(told)] == told


def test_folds_are_only_used_where_nothing_else_is_published():
    table = with_folds()
    assert uses_folds(table, "published")
    for mode in SPLITS:
        if mode != "published":
            assert not uses_folds(table, mode)
            plain = make_split(table.drop(columns="fold"), mode, seed=0).part
            if mode in ("random", "grouped", "deduplicated"):
                pd.testing.assert_series_equal(make_split(table, mode, seed=0, fold=2).part, plain)
    assert not uses_folds(table.assign(fold=""), "published")
    folders = manifest(5).assign(fold=table["fold"])
    assert not uses_folds(folders, "published")
    pd.testing.assert_series_equal(
        make_split(folders, "published", seed=0).part,
        make_split(manifest(5), "published", seed=0).part,
    )


@pytest.mark.slow
@given(st.integers(0, 10**6))
@settings(max_examples=10, deadline=None)
def test_subsets_are_nested_whole_groups_of_every_class(seed):
    table = manifest(seed)
    rows, smaller = np.flatnonzero(make_split(table, "grouped", seed=0).part == "train"), set()
    group, label = groups(table.iloc[rows]), table["label"].iloc[rows]
    for fraction in (0.001, 0.1, 0.25, 0.6, 1):
        kept = subset(rows, table, fraction, seed)
        inside = np.isin(rows, kept)
        assert smaller <= set(kept) and set(label[inside]) == set(label)
        assert not set(group[inside]) & set(group[~inside])
        smaller = set(kept)
    assert len(kept) == len(rows)
    big = manifest(seed, size=3000, patients=2000).assign(family="")
    assert len(subset(np.arange(3000), big, 0.3, seed)) == pytest.approx(900, rel=0.1)


def test_wrong_values_are_named():
    with pytest.raises(UserError, match="'stratified'"):
        make_split(manifest(0), "stratified", seed=0)
    with pytest.raises(UserError, match="got 0"):
        subset(np.arange(5), manifest(0), 0, 0)


def test_image_keys_differ_by_id_and_salt():
    keys = np.concatenate(
        [image_keys([f"{i}" for i in range(1000)], *salts) for salts in ((), (1,), (1, 0), (10,))]
    )
    assert len(np.unique(keys)) == 4000 and keys.dtype == np.uint64


@pytest.mark.parametrize("mode", ["random", "grouped"])
def test_another_share_is_tested_at_the_cost_of_training(mode):
    table = manifest(3, size=600, patients=200)
    usual = shares(table, make_split(table, mode, seed=0).part)
    half = shares(table, make_split(table, mode, seed=0, test_share=0.5).part)
    assert usual["test"].to_numpy() == pytest.approx(0.2, abs=0.05)
    assert half["test"].to_numpy() == pytest.approx(0.5, abs=0.06)
    assert half["val"].to_numpy() == pytest.approx(0.1, abs=0.05)
