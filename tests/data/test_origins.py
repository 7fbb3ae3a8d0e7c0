"""Origins: turned and mirrored copies with known originals, and what follows for splits."""

import dataclasses
import io
import os
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kdnb.core.errors import DamagedRun, UserError
from kdnb.core.runs import read_json
from kdnb.core.settings import SPLITS, Settings
from kdnb.data import dataset, duplicates, leakage, phantoms, registry
from kdnb.data.decode import decode
from kdnb.data.origin_counts import (
    FOUND_IN_TRAINING,
    origin_counts,
    published_test_origins,
    say_origins,
    write_origins,
)
from kdnb.data.origins import (
    ORIENTATIONS,
    add_origins,
    approximate_groups,
    group_widening,
    match_origins,
    origin_table,
    original_names,
    read_threshold,
    turned,
    turned_back,
)
from kdnb.data.plots import origin_bars
from kdnb.data.registry import data_identity, open_source, registered
from kdnb.data.splits import make_split, sizes_of

HOME = Path(os.environ.get("KDNB_DATA") or "none")
FIGSHARE = "figshare-brain-tumor-dataset-256.zip"


def older_set(patients=40, slices=2, seed=0):
    """Phantoms as a publisher's set: numbers in the order of patients, five folds of patients."""
    plan = phantoms.PhantomPlan("brain", patients=patients, slices=slices, seed=seed)
    pixels, _ = phantoms.render_all(plan, 64)
    table = phantoms.table(plan)[["patient", "label"]]
    order = table.sort_values(["label", "patient"], kind="stable").index
    table = table.loc[order].reset_index(drop=True)
    code, _ = pd.factorize(table["patient"])
    table["fold"] = (code % 5 + 1).astype(str)
    table["image_id"] = [f"{label}/{n:04d}.png" for n, label in enumerate(table["label"], start=1)]
    table["mask"] = "masks/" + table["image_id"]
    table["family"] = table["sha256"] = table["published_split"] = ""
    return table, pixels[order]


def copies_of(table, pixels, seed=0):
    """Each original once, half of them again in another orientation, and as many strangers."""
    rng = np.random.default_rng(seed)
    names = list(ORIENTATIONS)
    again = rng.permutation(len(table))[: len(table) // 2]
    rows = np.concatenate([np.arange(len(table)), again])
    first = rng.integers(0, len(names), len(table))
    orientation = np.concatenate([first, (first[again] + 1 + rng.integers(0, 7, len(again))) % 8])
    images = [turned(pixels[[row]], names[o])[0] for row, o in zip(rows, orientation, strict=True)]
    made = table.loc[rows, ["label"]].reset_index(drop=True)
    made["origin"] = original_names(table).to_numpy()[rows]
    made["orientation"] = np.array(names, dtype=object)[orientation]
    made["fold"] = table["fold"].to_numpy()[rows]
    plan = phantoms.PhantomPlan("dementia", patients=24, slices=2, seed=seed)
    strangers, _ = phantoms.render_all(plan, 64)
    other = pd.DataFrame({"label": ["healthy"] * len(strangers)})
    made = pd.concat([made, other], ignore_index=True).fillna("")
    noise = rng.integers(-2, 3, (len(made), 64, 64, 1))
    made_pixels = np.clip(np.concatenate([np.stack(images), strangers]) + noise, 0, 255)
    made["image_id"] = [f"image {n}" for n in rng.permutation(len(made))]
    made["published_split"] = np.where(rng.random(len(made)) < 0.7, "train", "test")
    made["sha256"] = made["image_id"]
    made["patient"] = ""
    return made, made_pixels.astype(np.uint8)


@pytest.fixture(scope="module")
def matched():
    """Truth about the copies, their thumbnails, and what matching finds."""
    older, older_pixels = older_set()
    truth, pixels = copies_of(older, older_pixels)
    thumbs = duplicates.thumbnails(pixels)
    manifest = truth.drop(columns=["origin", "orientation", "fold"])
    manifest["family"], _ = duplicates.find_families(manifest, thumbs)
    found = origin_table(manifest, thumbs, older, duplicates.thumbnails(older_pixels))
    return truth, manifest, thumbs, found


def test_turning_back_undoes_turning_and_all_eight_differ():
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 5, 3))
    seen = set()
    for name in ORIENTATIONS:
        np.testing.assert_array_equal(turned_back(turned(images, name), name), images)
        seen.add(turned(images, name).tobytes())
    assert len(seen) == 8
    np.testing.assert_array_equal(turned(images, "mirrored up-down"), images[:, ::-1])
    np.testing.assert_array_equal(turned(images, "turned left")[0, 0], images[0, :, -1])
    transposed = images.transpose(0, 2, 1, 3)
    np.testing.assert_array_equal(turned(images, "mirrored on the falling diagonal"), transposed)


def test_every_planted_copy_is_found_in_its_orientation_and_no_stranger(matched):
    truth, _, _, found = matched
    assert found.table["origin"].tolist() == truth["origin"].tolist()
    assert found.table["orientation"].tolist() == truth["orientation"].tolist()
    assert found.table["fold"].tolist() == truth["fold"].tolist()
    assert (found.known == (truth["label"] != "healthy")).all()
    assert (found.table["mask"] != "").tolist() == found.known.tolist()
    assert found.gap[0] < found.threshold < found.gap[1]


def test_blocks_change_nothing(matched, monkeypatch):
    truth, _, thumbs, _ = matched
    others = thumbs[:30]
    whole = match_origins(thumbs, others)
    monkeypatch.setattr("kdnb.data.origins.BLOCK", 7)
    for one, other in zip(match_origins(thumbs, others), whole, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize(
    ("similarity", "message"),
    [
        ([0.1, 0.5, 0.89], "no image is like an original .*0.890"),
        (np.linspace(0.8, 1, 200), "no two humps"),
        ([0.91, 0.94, 0.97, 1.0], "no two humps"),
    ],
)
def test_similarities_without_two_humps_are_refused(similarity, message):
    with pytest.raises(UserError, match=message):
        read_threshold(np.array(similarity))


def test_originals_of_one_name_are_refused():
    older, pixels = older_set(patients=24, slices=1)
    older.loc[1, "image_id"] = "other/0001.png"
    thumbs = duplicates.thumbnails(pixels)
    with pytest.raises(UserError, match="1 originals have the name of another, such as '1'"):
        origin_table(older, thumbs, older, thumbs)


def test_runs_of_numbers_are_cut_where_class_or_fold_changes():
    table = pd.DataFrame(
        {
            "origin": ["10", "9", "2", "1", "11", "x", "12", "13"],
            "label": ["a", "a", "a", "a", "b", "b", "b", "b"],
            "fold": ["1", "1", "2", "2", "1", "1", "", "1"],
            "patient": ["", "", "", "", "", "", "", "p"],
        }
    )
    runs = approximate_groups(table)
    assert runs.tolist() == ["run 9", "run 9", "run 1", "run 1", "run 11", "", "", ""]
    assert group_widening(495, 233) == pytest.approx(1.4576, abs=1e-4)
    assert group_widening(100, 233) == 1


def test_nothing_crosses_the_split_by_patients(matched):
    truth, manifest, thumbs, found = matched
    table = add_origins(manifest, found)
    for fold in (5, 1):
        table["part"] = make_split(table, "patients", seed=0, fold=fold).part
        assert set(table["part"]) == {"train", "val", "test"}
        known = table[table["origin"] != ""]
        for column in ("fold", "origin"):
            assert known.groupby(column)["part"].nunique().max() == 1
        assert set(known.loc[known["fold"] == str(fold), "part"]) == {"test"}
        before = str((fold - 2) % 5 + 1)
        assert set(known.loc[known["fold"] == before, "part"]) == {"val"}
        kinds = set(leakage.leak_ledger(table, thumbs)["kind"])
        assert not kinds & {"mirrored copy", "same origin", "patient"}
    one, [note, *_] = make_split(table, "patients", seed=0)
    other = make_split(table, "patients", seed=1).part
    assert (one == other)[table["fold"] != ""].all() and (one != other).any()
    assert note.startswith(f"{found.known.sum()} of {len(table)} images stay with the fold of")


def test_kinds_of_leaks_go_by_the_original_where_it_is_known(matched):
    truth, manifest, thumbs, found = matched
    plain = manifest.assign(part=manifest["published_split"])
    known = add_origins(plain, found)
    ledger = leakage.leak_ledger(known, thumbs).set_index("kind")
    train = truth[truth["published_split"] == "train"]
    test = truth[(truth["published_split"] == "test") & (truth["origin"] != "")]
    shared = test[test["origin"].isin(train["origin"])]
    assert set(ledger.loc["same origin", "id_b"]) == set(shared["image_id"]) and len(shared) > 5
    mirrored = ledger.loc[["mirrored copy"]]
    assert set(mirrored["id_b"]) <= set(shared["image_id"]) and len(mirrored) > 5
    orientation = truth.set_index("image_id")["orientation"]
    a = orientation[mirrored["id_a"]].to_numpy()
    assert (a != orientation[mirrored["id_b"]].to_numpy()).all()
    assert not set(leakage.leak_ledger(plain, thumbs)["kind"]) & {"mirrored copy", "same origin"}


def test_counts_and_bars_of_the_published_split(matched):
    truth, manifest, thumbs, found = matched
    counts = origin_counts(manifest, found)
    assert counts["classes"]["matched"].sum() == found.known.sum() and counts["labels"].empty
    assert counts["classes"].loc["healthy", "matched"] == 0
    wrong = manifest.copy()
    wrong.loc[0, "label"] = "pituitary" if truth["label"][0] != "pituitary" else "glioma"
    lines = say_origins(origin_counts(wrong, found), found)
    assert sum(manifest["image_id"][0] in line for line in lines) == 1
    shared = published_test_origins(manifest, thumbs, found)
    assert "healthy" not in shared.index and list(shared.columns) == list(FOUND_IN_TRAINING)
    test = truth[(truth["published_split"] == "test") & (truth["label"] != "healthy")]
    assert shared.sum(axis=1).to_dict() == test["label"].value_counts().to_dict()
    same = counts["classes"]["original in train"].sum()
    copies = shared[["same file", "near twin", "mirror image"]].sum().sum()
    assert copies >= same > 0 and shared["same file"].sum() == 0
    picture = origin_bars(shared)
    assert f"its mirror image {shared.loc['glioma', 'mirror image']}" in picture.alt
    assert not picture.pixels


@pytest.fixture
def two_sets(tmp_path, monkeypatch):
    """A registry of two sets, as folders, of which one was made from the other; and its settings.

    Folds come with the origins, as a publisher's table would bring them.
    """
    older, older_pixels = older_set()
    truth, pixels = copies_of(older, older_pixels)
    places = []
    for row, image in zip(truth.itertuples(), pixels, strict=True):
        folder = "Training" if row.published_split == "train" else "Testing"
        name = f"{row.image_id}.png"
        places.append((tmp_path / "data" / "copies" / folder / row.label / name, image))
    for image_id, image in zip(older["image_id"], older_pixels, strict=True):
        places.append((tmp_path / "data" / "older" / image_id, image))
    for place, image in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place)
    entries = [
        'archive = "{0}.zip"',
        'kaggle = "nobody/{0}"',
        'root = ""',
        "classes = {1}",
        "published = {2}",
    ]
    labels = sorted(set(older["label"]))
    parts = '{ Training = "train", Testing = "test" }'
    copies = "\n".join(entries).format("copies", sorted(set(truth["label"])), parts)
    olders = "\n".join(entries).format("older", labels, "{}")
    text = f'[copies]\n{copies}\norigins = "older"\n\n[older]\n{olders}\npatients = 40\n'
    (tmp_path / "data" / "registry.toml").write_text(text)
    monkeypatch.setenv("KDNB_ROOT", str(tmp_path))
    monkeypatch.delenv("KDNB_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    keep = dataset.keep_origins
    fold_of = dict(zip(original_names(older), older["fold"], strict=True))

    def with_folds(*given):
        found = keep(*given)
        table = found.table.assign(fold=found.table["origin"].map(fold_of).fillna(""))
        originals = found.originals.assign(fold=found.originals["origin"].map(fold_of))
        return dataclasses.replace(found, table=table, originals=originals)

    monkeypatch.setattr(dataset, "keep_origins", with_folds)
    return tmp_path


def of_copies(folder, **others):
    given = {"dataset": "copies", "image_size": 64, "runs_dir": str(folder / "runs")}
    return Settings.checked(given | others)


def test_only_patients_is_drawn_from_origins_and_every_split_counts_by_them(two_sets, monkeypatch):
    before = {}
    with monkeypatch.context() as without:
        without.setattr(dataset, "match_with_originals", lambda *_: None)
        for split in SPLITS[:4]:
            alone = dataset.load(of_copies(two_sets, split=split))
            assert "number_run" not in alone.table and alone.group_widening == 1
            before[split] = alone.hash
    assert not (two_sets / "runs" / "origins").exists()
    found = dataset.load(of_copies(two_sets, split="patients"))
    assert (found.table["origin"] != "").sum() == 120
    assert found.table.groupby("fold")["part"].nunique()[list("12345")].max() == 1
    runs = found.table["number_run"][found.table["number_run"] != ""].nunique()
    assert found.group_widening == pytest.approx(max(1, (runs / 40) ** 0.5))
    told = [note for note in found.notes if note.startswith("intervals are approximate")]
    assert len(told) == 1 and (f"{runs} runs of 40 patients" in told[0]) == (runs > 40)
    [note] = [note for note in found.notes if "unknown" in note]
    assert note.startswith("120 of 168 images stay with the fold of their patient; the patients of")
    assert "48 are unknown: these are kept apart by family" in note
    assert len(list((two_sets / "runs" / "origins").glob("*/done.json"))) == 1
    for split in SPLITS[:4]:
        again = dataset.load(of_copies(two_sets, split=split))
        assert again.hash == before[split] and "origin" not in again.table
        assert again.table["number_run"].tolist() == found.table["number_run"].tolist()
        assert again.group_widening == found.group_widening
        assert any(note.startswith("intervals are approximate") for note in again.notes)
    named = []
    for path in (two_sets / "runs" / "split").glob("*/spec.json"):
        parameters = read_json(path)["parameters"]
        named.append((parameters["mode"], sorted(parameters)))
    plain = ["manifest", "mode", "seed"]
    wanted = [(split, plain) for split in SPLITS[:4]]
    assert sorted(named) == sorted(
        [*wanted, ("patients", ["fold", "manifest", "mode", "origins", "seed"])]
    )


def test_runs_of_a_plan_are_others_once_the_originals_are_at_hand(two_sets, monkeypatch):
    with_originals = data_identity(of_copies(two_sets))
    monkeypatch.setattr(registry, "at_hand", lambda name: False)
    alone = data_identity(of_copies(two_sets))
    assert alone == open_source(of_copies(two_sets)).identity == with_originals[0]
    assert alone != with_originals[1]


def test_damaged_origins_are_told_and_not_taken_for_sets_that_do_not_fit(two_sets):
    settings = of_copies(two_sets, split="random")
    dataset.load(settings)
    [path] = (two_sets / "runs" / "origins").glob("*/origins.csv")
    path.write_text(path.read_text() + "\n")
    with pytest.raises(DamagedRun, match=r"origins\.csv"):
        dataset.load(settings)


def test_masks_come_from_the_originals_turned_as_the_images_are(two_sets):
    plain = dataset.load(of_copies(two_sets, split="patients"))
    assert plain.masks is None
    grouped = dataset.load(of_copies(two_sets)).hash
    bright = 100
    for path in sorted((two_sets / "data" / "older").rglob("*.png")):
        inside = np.asarray(Image.open(path)).mean(axis=2) > bright
        mask = Image.fromarray(inside.astype(np.uint8) * 255)
        mask.save(path.with_name(f"{path.stem}_mask.png"))
    found = dataset.load(of_copies(two_sets, split="patients"))
    known = (found.table["origin"] != "").to_numpy()
    assert found.has_mask.tolist() == known.tolist() and 0 < known.sum() < len(known)
    assert len(set(found.table["orientation"][known])) == len(ORIENTATIONS)
    inside = found.pixels[known].mean(axis=3) > bright  # but for the noise of the copies
    masks = found.masks[np.flatnonzero(known)]
    iou = (inside & masks).sum((1, 2)) / (inside | masks).sum((1, 2))
    assert iou.mean() > 0.95
    assert any("120 of 168 images have a mask" in note for note in found.notes)
    assert found.hash != plain.hash, "what is graded has changed"
    alone = dataset.load(of_copies(two_sets))
    assert alone.hash == grouped and alone.masks is None


def test_without_the_older_set_all_is_as_before_and_a_note_says_so(two_sets):
    with_it = dataset.load(of_copies(two_sets))
    (two_sets / "data" / "older").rename(two_sets / "elsewhere")
    found = dataset.load(of_copies(two_sets))
    assert dataset.match_with_originals(of_copies(two_sets)) is None
    assert found.hash == with_it.hash
    assert any("'older' is not at hand" in note for note in found.notes)
    assert not any("not at hand" in note for note in with_it.notes)
    with pytest.raises(UserError, match="needs known patients or folds"):
        dataset.load(of_copies(two_sets, split="patients"))


def test_by_default_the_split_is_by_patient_while_the_older_set_is_at_hand(two_sets):
    registry = two_sets / "data" / "registry.toml"
    text = registry.read_text().replace("[copies]\n", '[copies]\nsplit = "patients"\n')
    registry.write_text(text)
    found = dataset.load(of_copies(two_sets))
    assert found.split == "patients"
    assert found.hash == dataset.load(of_copies(two_sets, split="patients")).hash
    [note] = [note for note in found.notes if "default" in note]
    assert "'older' tells folds" in note
    (two_sets / "data" / "older").rename(two_sets / "elsewhere")
    found = dataset.load(of_copies(two_sets))
    assert found.split == "grouped" and any("the default here" in note for note in found.notes)


@pytest.mark.slow
def test_splits_of_the_same_sizes(two_sets):
    wanted = dataset.load(of_copies(two_sets, split="patients")).table
    for split in ("random", "grouped"):
        found = dataset.load(of_copies(two_sets, split=split, sizes_of="patients"))
        sizes = [sizes_of(table, table["part"]) for table in (wanted, found.table)]
        assert (sizes[0] - sizes[1]).abs().to_numpy().max() <= (split == "grouped")
        assert found.hash != dataset.load(of_copies(two_sets, split=split)).hash
    assert leakage.leak_ledger(found.table, duplicates.thumbnails(found.pixels)).empty
    with pytest.raises(UserError, match="for splits random and grouped, got 'published'"):
        dataset.load(of_copies(two_sets, split="published", sizes_of="patients"))


def test_the_table_of_matches_holds_no_folds_and_no_masks(two_sets):
    results, lines = write_origins(of_copies(two_sets), "older", two_sets / "out")
    table = pd.read_csv(two_sets / "out" / "copies_origins.csv")
    assert list(table.columns) == ["image_id", "origin", "orientation", "similarity"]
    assert len(table) == 120 and lines[0].startswith("120 of 168 images come from 80 of 80")
    assert read_json(results.folder / "manifest.json")["copies_origins.csv"]["pixels"] is False
    with pytest.raises(UserError, match="'copies' twice"):
        write_origins(of_copies(two_sets), "copies", two_sets / "out")
    with pytest.raises(UserError, match="'nowhere' is not known"):
        write_origins(of_copies(two_sets), "nowhere", two_sets / "out")


# the published archives


def figshare():
    """Manifest and pixels (3064, 64, 64, 3) of the archive of originals."""
    with zipfile.ZipFile(HOME / FIGSHARE) as archive:
        table = pd.read_csv(io.BytesIO(archive.read("images.csv")), dtype=str)
        pixels = np.stack([decode(archive.read(path), [64])[0][0] for path in table["path"]])
    return table.assign(image_id=table["path"]), pixels


@pytest.fixture(scope="module")
def brain(tmp_path_factory):
    """The brain set's manifest and thumbnails, its origins, and CPU seconds of the matching."""
    if not all(
        (HOME / name).is_file() for name in (FIGSHARE, registered()["brain_tumor"]["archive"])
    ):
        pytest.skip(f"needs the brain set and {FIGSHARE} in the folder KDNB_DATA")
    runs = str(tmp_path_factory.mktemp("runs"))
    given = {"dataset": "brain_tumor", "image_size": 64, "runs_dir": runs, "split": "published"}
    found = dataset.load(Settings.checked(given))
    older, older_pixels = figshare()
    thumbs = duplicates.thumbnails(found.pixels)
    start = time.process_time()
    origins = origin_table(found.table, thumbs, older, duplicates.thumbnails(older_pixels))
    return found.table, thumbs, origins, time.process_time() - start


@pytest.mark.archives
@pytest.mark.slow
def test_origins_of_the_brain_set(brain):
    table, thumbs, origins, seconds = brain
    assert seconds <= 2 * 60  # of two cores for a minute; half of it on a quiet machine
    assert origins.known.sum() == 4750 and origins.table["origin"][origins.known].nunique() == 3064
    assert origins.gap[0] < 0.943 and origins.gap[1] > 0.999
    counts = origin_counts(table, origins)
    assert counts["classes"].to_dict("index") == {
        "glioma": {"images": 1621, "matched": 1621, "test": 300, "original in train": 81},
        "meningioma": {"images": 1645, "matched": 1387, "test": 188, "original in train": 181},
        "notumor": {"images": 1996, "matched": 0, "test": 0, "original in train": 0},
        "pituitary": {"images": 1757, "matched": 1742, "test": 300, "original in train": 219},
    }
    assert sorted(counts["orientations"]["images"]) == [1686, 3064]
    once = origins.table[origins.table["orientation"] == "mirrored left-right"]
    assert len(once) == once["origin"].nunique() == 3064
    labels = counts["labels"]
    assert len(labels) == 4 and set(labels["label"]) == {"pituitary"}
    assert set(labels["original_label"]) == {"meningioma"}
    assert approximate_groups(origins.originals).nunique() == 495
    shared = published_test_origins(table, thumbs, origins)
    assert shared.sum(axis=1).to_dict() == {"glioma": 300, "meningioma": 306, "pituitary": 300}
    assert shared["none"].sum() <= 1


@pytest.mark.archives
@pytest.mark.slow
def test_nothing_crosses_the_brain_set_by_patients(brain):
    manifest, thumbs, origins, _ = brain
    table = add_origins(manifest, origins)
    table["part"] = make_split(table, "patients", seed=0).part
    known = table[table["origin"] != ""]
    for column in ("fold", "origin", "family"):
        assert known.groupby(column)["part"].nunique().max() == 1
    assert leakage.leak_ledger(table, thumbs).empty
    assert (table["part"] != "unused").all()
    for mode in ("random", "grouped"):
        part = make_split(table, mode, seed=0, sizes=sizes_of(table, table["part"])).part
        pd.testing.assert_frame_equal(sizes_of(table, part), sizes_of(table, table["part"]))
    published = leakage.leak_ledger(table.assign(part=table["published_split"]), thumbs)
    assert published[published["kind"] == "same origin"]["id_b"].nunique() == 481
    assert leakage.leak_meter(table, thumbs)["accuracy"] < 0.75  # .92 under grouped
