import hashlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, recall_score
from sklearn.neighbors import KNeighborsClassifier

from kdnb.data import duplicates, leakage, phantoms
from kdnb.data.splits import make_split


def noisy_pixels(seed: int, size: int = 60, side: int = 16) -> np.ndarray:
    """Images of which many differ by a little noise only; three of one grey."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (size // 3, side, side, 1))[rng.integers(0, size // 3, size)]
    noise = (
        rng.normal(0, 1, (size, side, side, 1))
        * rng.choice([0, 1, 3, 4, 30], size)[:, None, None, None]
    )
    pixels = np.clip(pixels + noise, 0, 255)
    pixels[:3] = 80
    return np.repeat(pixels, 3, axis=3).astype(np.uint8)


def phantom(seed=0, size=64, **plan):
    plan = phantoms.PhantomPlan(patients=24, slices=4, seed=seed, **plan)
    pixels, _ = phantoms.render_all(plan, size)
    table = phantoms.table(plan).assign(
        sha256=[hashlib.sha256(image.tobytes()).hexdigest() for image in pixels]
    )
    return table, duplicates.thumbnails(pixels)


def test_thumbnails_give_correlations_and_no_nan():
    pixels = noisy_pixels(0)
    thumbs = duplicates.thumbnails(pixels, side=16)
    assert thumbs.dtype == np.float32 and not thumbs[:3].any()
    np.testing.assert_allclose(
        (thumbs @ thumbs.T)[3:, 3:], np.corrcoef(pixels[3:, ..., 0].reshape(57, -1)), atol=1e-5
    )


@given(st.integers(0, 10**6), st.sampled_from([0.99, 0.999]))
@settings(max_examples=15, deadline=None)
def test_near_duplicates_are_all_found(seed, threshold):
    thumbs = duplicates.thumbnails(noisy_pixels(seed), side=16)
    expected = np.argwhere(np.triu(thumbs.astype(float) @ thumbs.T.astype(float), 1) > threshold)
    np.testing.assert_array_equal(leakage.near_duplicates(thumbs, threshold), expected)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_crowds_have_the_same_families_and_ledger_as_other_sets(seed, monkeypatch):
    table, thumbs = phantom(seed=seed, family=phantoms.FAMILIES[seed % 3], duplicates=0.4)
    pixels = noisy_pixels(seed, size=60, side=64)
    other = duplicates.thumbnails(pixels)
    thumbs = np.concatenate([thumbs, other, duplicates._mirror(other[:20]), other[10:30]])
    rng = np.random.default_rng(seed)
    ids = [f"{number:03}" for number in range(len(thumbs))]
    table = pd.DataFrame({"image_id": ids, "label": "a", "patient": "", "family": ""})
    table["sha256"] = ids
    table["part"] = rng.choice(["train", "val", "test"], len(table))
    families, notes = duplicates.find_families(table, thumbs)
    ledger = leakage.leak_ledger(table, thumbs)
    assert families.nunique() < len(table) and (ledger["kind"] == "near").any()
    monkeypatch.setattr(duplicates, "CROWD", -1)
    of_crowd, crowd_notes = duplicates.find_families(table, thumbs)
    assert of_crowd.equals(families) and crowd_notes == notes
    ledger_of_crowd = leakage.leak_ledger(table, thumbs)
    columns = ["kind", "part_a", "part_b", "id_b", "count"]
    pd.testing.assert_frame_equal(ledger_of_crowd[columns], ledger[columns])
    np.testing.assert_allclose(ledger_of_crowd["similarity"], ledger["similarity"], atol=1e-5)


def test_the_search_shows_its_progress(monkeypatch):
    told = {}

    def track(items, label, total=None):
        told[label] = total
        seen = list(items)
        assert total in (None, len(seen))
        return seen

    monkeypatch.setattr(duplicates, "track", track)
    duplicates.find_copies(duplicates.thumbnails(noisy_pixels(0, size=60, side=64)))
    assert told == {"searching copies": 8}


def test_a_crowd_is_joined_without_a_list_of_its_pairs(monkeypatch):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64] / 64
    shapes = np.stack([np.sin(7 * x + 4 * y**2), np.cos(5 * x * y)]).reshape(2, -1)
    base = 120 + 100 * np.repeat(shapes, 150, axis=0)
    frames = np.clip(base + rng.normal(0, 1, base.shape), 0, 255).astype(np.uint8)
    pixels = frames.reshape(300, 64, 64, 1).repeat(3, axis=3)
    for name in ("near_duplicates", "find_copies"):
        monkeypatch.delattr(duplicates, name)
    ids = [f"{number:04}" for number in range(300)]
    table = pd.DataFrame({"image_id": ids, "sha256": ids})
    families, _ = duplicates.find_families(table, duplicates.thumbnails(pixels))
    assert set(families) == {"0000", "0150"}


def test_families_are_the_planted_ones():
    table, thumbs = phantom(duplicates=0.3)
    family, _ = duplicates.find_families(table[["image_id"]], thumbs)
    truth = leakage.components(table, ["family"])
    assert (family == truth).all()
    assert set(table["copy_kind"]) == {
        "",
        "exact",
        "jpeg",
        "flip",
        "rescale",
    }


@pytest.mark.parametrize("column", ["patient", "label"])
def test_rescaled_copies_are_believed_only_where_the_set_does_not_contradict(column):
    table, thumbs = phantom(duplicates=0.3)
    rescaled = table.index[table["copy_kind"] == "rescale"]
    origin = pd.Index(table["image_id"]).get_indexer(table.loc[rescaled, "copy_of"])
    plain = table[["image_id", "patient", "label", "sha256"]]
    for doubted, joined in ((rescaled[:1], len(rescaled) - 1), (rescaled, 0)):
        told = plain.copy()
        told.loc[doubted, column] = "another"
        family, notes = duplicates.find_families(told, thumbs)
        assert (family[rescaled].to_numpy() == family.iloc[origin].to_numpy()).sum() == joined
        assert bool(notes) == (joined == 0)


def test_one_file_under_two_classes_says_nothing_of_rescaled_copies():
    table, thumbs = phantom(duplicates=0.3)
    rescaled = table.index[table["copy_kind"] == "rescale"]
    origin = pd.Index(table["image_id"]).get_indexer(table.loc[rescaled, "copy_of"])
    told = table[["image_id", "patient", "label", "sha256"]].copy()
    exact = told.index[table["copy_kind"] == "exact"]
    told.loc[exact, "label"] = "another"
    family, notes = duplicates.find_families(told, thumbs)
    assert len(exact) > len(rescaled) / 20 and notes == []
    assert (family[rescaled].to_numpy() == family.iloc[origin].to_numpy()).all()


def test_mirrored_near_duplicates_are_found_when_asked():
    table, thumbs = phantom(duplicates=0.3)
    copy = table.index[table["copy_of"] != ""]
    for flips, expected in ((False, {"exact", "jpeg"}), (True, {"exact", "jpeg", "flip"})):
        found = set(leakage.near_duplicates(thumbs, flip_invariant=flips)[:, 1]) & set(copy)
        assert set(table.loc[sorted(found), "copy_kind"]) >= expected
        assert ("flip" in set(table.loc[sorted(found), "copy_kind"])) == flips


def test_near_duplicates_of_few_or_constant_images():
    thumbs = duplicates.thumbnails(noisy_pixels(0), side=16)
    for few in (thumbs[:2], thumbs[:3], thumbs[5:6], thumbs[2:5]):
        assert leakage.near_duplicates(few).shape[1] == 2
    assert leakage.near_duplicates(thumbs[[7, 7]]).tolist() == [[0, 1]]


@given(st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_components_agree_with_merging_until_nothing_changes(seed):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"image_id": [f"{i:02}" for i in rng.permutation(30)]})
    table["patient"], table["family"] = (
        rng.choice(["", *"abcdefghij"], 30),
        rng.choice(["", *"abcdefghijklm"], 30),
    )
    pairs = rng.integers(0, 30, (3, 2))
    expected, before = table["image_id"].copy(), None
    while before is None or (before != expected).any():
        before = expected.copy()
        for column in ("patient", "family"):
            known = table[column] != ""
            expected[known] = expected[known].groupby(table.loc[known, column]).transform("min")
        for i, j in pairs:
            expected[[i, j]] = min(expected[i], expected[j])
    assert (
        leakage.components(table, ["patient", "family", "absent"], pairs).tolist()
        == expected.tolist()
    )


def test_families_join_bytes_names_and_near_duplicates():
    thumbs = duplicates.thumbnails(noisy_pixels(0), side=16)[[5, 5, 6, 7, 8]]
    table = pd.DataFrame(
        {"image_id": list("abcde"), "sha256": list("12334"), "family": ["", "", "x", "", "x"]}
    )
    assert leakage.components(table, ["family", "sha256"]).tolist() == ["a", "b", "c", "c", "c"]
    families, _ = duplicates.find_families(table, thumbs)
    assert families.tolist()[:2] == ["a", "a"]
    assert leakage.groups(table.assign(patient=["p", "", "", "", "p"])).tolist() == [
        "a",
        "b",
        "a",
        "a",
        "a",
    ]


@pytest.mark.parametrize("family", phantoms.FAMILIES)
@pytest.mark.parametrize("size", [64, 96])
def test_copies_finds_planted_copies_and_no_neighbouring_slices(family, size):
    table, thumbs = phantom(family=family, size=size, duplicates=0.3)
    copy = table.index[table["copy_of"] != ""]
    original = pd.Index(table["image_id"]).get_indexer(table.loc[copy, "copy_of"])
    assert duplicates.find_copies(thumbs).tolist() == sorted(
        map(list, zip(original.tolist(), copy.tolist(), strict=True))
    )


@pytest.mark.slow
def test_recall_and_precision_over_twenty_seeds():
    """Same bytes, JPEG, mirrored and ±2 % rescaled copies, in a family of phantoms per seed."""
    right = found = planted = 0
    for seed in range(20):
        family = phantoms.FAMILIES[seed % 3]
        table, thumbs = phantom(seed=seed, family=family, duplicates=0.3)
        copy = table.index[table["copy_of"] != ""]
        original = pd.Index(table["image_id"]).get_indexer(table.loc[copy, "copy_of"])
        truth = set(zip(original.tolist(), copy.tolist(), strict=True))
        pairs = set(map(tuple, duplicates.find_copies(thumbs).tolist()))
        right, found, planted = right + len(truth & pairs), found + len(pairs), planted + len(truth)
    assert planted > 400 and right / planted >= 0.99 and right / found >= 0.99


def test_ledger_lists_what_was_planted():
    table, thumbs = phantom(duplicates=0.4, patient_leaks=0.25)
    table["part"] = table["published_split"]
    table.loc[table["patient"] == "p0001", "part"] = "val"
    ledger = leakage.leak_ledger(table, thumbs)
    part = table.set_index("image_id")["part"]
    order = ["train", "val", "test"]
    copy = (
        table[table["copy_of"] != ""]
        .assign(other=lambda t: part[t["copy_of"]].to_numpy())
        .query("part != other")
    )
    later = np.where(
        copy["part"].map(order.index) > copy["other"].map(order.index),
        copy["image_id"],
        copy["copy_of"],
    )
    kinds = copy["copy_kind"].map(
        {"exact": "exact", "jpeg": "near", "flip": "family", "rescale": "family"}
    )
    found = ledger[ledger["kind"] != "patient"]
    assert len(found) == len(copy) and set(found["id_b"]) == set(later)
    exact = set(later[(kinds == "exact").to_numpy()])
    assert set(found.loc[found["kind"] == "exact", "id_b"]) == exact and exact
    assert set(later[(kinds == "near").to_numpy()]) <= set(
        found.loc[found["kind"] == "near", "id_b"]
    )
    people = ledger[ledger["kind"] == "patient"].set_index(["part_a", "part_b", "id_b"])["count"]
    for (part_a, _, image), count in people.items():
        patient = table.loc[table["image_id"] == image, "patient"].item()
        assert count == ((table["patient"] == patient) & (table["part"] == part_a)).sum() > 0
    shared = (
        table[table["part"] == "test"]["patient"]
        .isin(table[table["part"] == "train"]["patient"])
        .sum()
    )
    assert len(people.loc["train", "test"]) == shared
    assert (ledger["similarity"] <= 1 + 1e-5).all()
    assert (ledger["label_a"] == ledger["label_b"]).all()
    nothing = leakage.leak_ledger(table.assign(part="train"), thumbs)
    assert nothing.empty and list(nothing.columns) == list(ledger.columns)


@pytest.mark.parametrize("family", phantoms.FAMILIES)
def test_nothing_crosses_the_grouped_split_of_leaky_phantoms(family):
    table, thumbs = phantom(family=family, duplicates=0.4, patient_leaks=0.25)
    table["part"] = make_split(table, "grouped", seed=0).part
    assert leakage.leak_ledger(table, thumbs).empty
    assert set(table["part"]) == {
        "train",
        "val",
        "test",
    }


@pytest.mark.parametrize("seed", [0, 1])
def test_leak_meter_agrees_with_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    thumbs = duplicates.thumbnails(noisy_pixels(seed, size=90)[3:], side=16)
    targets, part = (
        rng.integers(0, 3, 87),
        rng.permutation(["train"] * 40 + ["val"] * 20 + ["test"] * 27),
    )
    train, test = np.flatnonzero(part != "test"), np.flatnonzero(part == "test")
    meter = leakage.leak_meter(pd.DataFrame({"target": targets, "part": part}), thumbs)
    model = KNeighborsClassifier(1, algorithm="brute", metric="cosine").fit(
        thumbs[train], targets[train]
    )
    close = (thumbs[test] @ thumbs[train].T).max(axis=1)
    np.testing.assert_allclose(meter["similarity"], close, atol=1e-6)
    distinct = np.abs(np.sort(thumbs[test] @ thumbs[train].T, axis=1)[:, -2] - close) > 1e-6
    assert (meter["predictions"] == model.predict(thumbs[test]))[distinct].all()
    assert distinct.mean() > 0.5
    assert meter["balanced_accuracy"] == pytest.approx(
        balanced_accuracy_score(targets[test], meter["predictions"])
    )
    recalls = recall_score(targets[test], meter["predictions"], average=None)
    assert list(meter["recall"].values()) == pytest.approx(recalls.tolist())


def test_leak_meter_sees_mirrored_images_when_asked():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
    thumbs = duplicates.thumbnails(
        np.concatenate([pixels, pixels[:20, :, ::-1], pixels[20:, ::-1]]), side=16
    )
    table = pd.DataFrame(
        {"target": np.tile(np.arange(40), 2), "part": ["train"] * 40 + ["test"] * 40}
    )
    assert leakage.leak_meter(table, thumbs, flip_invariant=True)["accuracy"] == 1
    assert leakage.leak_meter(table, thumbs)["accuracy"] < 0.5


def test_skill():
    assert leakage.skill(0.9, 0.8) == pytest.approx(0.5) and leakage.skill(0.7, 0.8) < 0
    assert np.isnan(leakage.skill(0.9, 1.0))
