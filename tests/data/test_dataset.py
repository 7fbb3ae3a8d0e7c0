"""From settings to an image set: made once, and nothing left behind by an error."""

import os

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kdnb.core.errors import UserError
from kdnb.core.settings import DIFFICULTY, Settings
from kdnb.data import phantoms
from kdnb.data.dataset import load
from kdnb.data.decode import decode
from kdnb.data.registry import open_source, phantom_plan
from kdnb.data.sources import phantom_source
from kdnb.data.study_images import StudyImages
from kdnb.study.study import Study


def settings(tmp_path, **others):
    small = {"patients": 24, "slices": 2, "image_size": 32, "runs_dir": str(tmp_path / "runs")}
    return Settings.checked(small | others)


def draw_folder(path, per_class=6, classes=("cat", "dog")):
    rng = np.random.default_rng(0)
    for label in classes:
        (path / label).mkdir(parents=True)
        for number in range(per_class):
            Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8)).save(
                path / label / f"{number:03d}.png"
            )
    return path


def custom(tmp_path, **others):
    return settings(tmp_path, dataset="custom", data=str(tmp_path / "set"), **others)


def test_phantoms(tmp_path):
    found = load(settings(tmp_path))
    assert found.classes == phantoms.classes("brain") and found.name == "phantom_brain"
    assert found.pixels.shape == (48, 32, 32, 3) and found.pixels.dtype == np.uint8
    assert found.masks.shape == (48, 32, 32) and found.masks.dtype == bool
    plan = phantoms.PhantomPlan("brain", 24, 2, 0, difficulty=DIFFICULTY)
    image, mask, *_ = phantoms.render(plan, found.table["image_id"][7], 32)
    np.testing.assert_array_equal(found.pixels[7], image)
    np.testing.assert_array_equal(found.masks[7], mask)
    np.testing.assert_array_equal(found.has_mask, found.table["label"] != "notumor")
    assert found.table["patient"].nunique() == 24 and len(found.broken) == 0
    assert sorted(np.concatenate([found.rows(part) for part in ("train", "val", "test")])) == list(
        range(48)
    )
    assert (found.table["target"] == found.table["label"].map(found.classes.index)).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ending", "planted"), [("_shortcut", {"shortcut": 1.0}), ("_distractor", {"distractor": True})]
)
def test_phantoms_with_a_planted_trap_are_data_sets_of_their_own(tmp_path, ending, planted):
    chosen = settings(tmp_path, dataset=f"phantom_fundus{ending}")
    plan, found = phantom_plan(chosen), load(chosen)
    assert plan == phantoms.PhantomPlan("fundus", 24, 2, 0, difficulty=DIFFICULTY, **planted)
    assert found.classes == phantoms.classes("fundus")
    np.testing.assert_array_equal(
        found.pixels[5], phantoms.render(plan, found.table["image_id"][5], 32).image
    )
    plain = load(settings(tmp_path, dataset="phantom_fundus"))
    assert plain.hash != found.hash and (plain.pixels != found.pixels).any(axis=(1, 2, 3)).all()
    assert plain.table["part"].equals(found.table["part"]), "the same patients are tested"


def test_only_phantoms_have_a_plan(tmp_path):
    with pytest.raises(
        UserError, match="'custom' is not drawn by kdnb: accepted here are phantom_brain, "
    ):
        phantom_plan(settings(tmp_path, dataset="custom"))


def test_planted_exact_copies_are_equal_bytes(tmp_path):
    plan = phantoms.PhantomPlan("fundus", 24, 2, 0, duplicates=0.25)
    table = load(settings(tmp_path, dataset="custom"), phantom_source(plan)).table.set_index(
        "image_id"
    )
    truth = phantoms.table(plan).query("copy_kind == 'exact'")
    assert len(truth) >= 3
    assert (
        table["sha256"][truth["image_id"]].values == table["sha256"][truth["copy_of"]].values
    ).all()
    assert (
        table["family"][truth["image_id"]].values == table["family"][truth["copy_of"]].values
    ).all()


@pytest.mark.parametrize("size", [48, 64])
def test_class_folders(tmp_path, size):
    draw_folder(tmp_path / "set")
    found = load(custom(tmp_path, image_size=size))
    assert found.classes == ("cat", "dog") and found.masks is None and len(found.table) == 12
    assert set(found.table["width"]) == {30} and set(found.table["height"]) == {20}
    data = (tmp_path / "set" / found.table["path"][9]).read_bytes()
    np.testing.assert_array_equal(found.pixels[9], decode(data, [size])[0][0])


@pytest.fixture
def decoded(monkeypatch):
    """The bytes of each decoded file and the sizes of its squares, in order."""
    calls = []

    def counting(data, sizes, *ranges):
        calls.append((data, list(sizes)))
        return decode(data, sizes, *ranges)

    monkeypatch.setattr("kdnb.data.reading.decode", counting)
    return calls


def check_pixels(found, folder):
    """Every row of the pixels is the image of the same row of the table."""
    assert len(found.pixels) == len(found.table)
    for pixels, path in zip(found.pixels, found.table["path"], strict=True):
        [expected], _, _ = decode((folder / path).read_bytes(), [found.size])
        np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize(("size", "sizes"), [(48, [64, 48]), (64, [64])])
def test_each_file_is_decoded_once(tmp_path, decoded, size, sizes):
    files = draw_folder(tmp_path / "set").rglob("*.png")
    load(custom(tmp_path, image_size=size))
    expected = [(path.read_bytes(), sizes) for path in files]
    assert len(expected) == 12 and sorted(decoded) == sorted(expected)


def test_a_second_size_later_has_the_same_pixels(tmp_path, decoded):
    folder = draw_folder(tmp_path / "set")
    found = {}
    for first, second in ((48, 40), (40, 48)):
        runs = str(tmp_path / f"{first} first")
        found[first, first] = load(custom(tmp_path, image_size=first, runs_dir=runs))
        decoded.clear()
        found[first, second] = load(custom(tmp_path, image_size=second, runs_dir=runs))
        assert [sizes for _, sizes in decoded] == [[second]] * 12  # not again at 64 px
    for size in (40, 48):
        assert found[40, size].hash == found[48, size].hash
        np.testing.assert_array_equal(found[40, size].pixels, found[48, size].pixels)
        check_pixels(found[40, size], folder)


def test_the_manifest_and_base_pixels_do_not_depend_on_the_size(tmp_path):
    folder = draw_folder(tmp_path / "set")
    noise = np.random.default_rng(0).integers(0, 256, (1500, 1500, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "cat" / "large.jpg")
    base = []
    for first in (32, 64, 512):
        runs = tmp_path / f"{first} first"
        load(custom(tmp_path, image_size=first, runs_dir=str(runs)))
        base.append(load(custom(tmp_path, image_size=64, runs_dir=str(runs))))
    for other in base[1:]:
        assert other.hash == base[0].hash
        np.testing.assert_array_equal(other.pixels, base[0].pixels)


def test_no_pixels_are_left_in_the_manifest(tmp_path):
    folder = draw_folder(tmp_path / "set")
    load(custom(tmp_path, image_size=48))
    os.utime(folder / "cat" / "000.png", (0, 0))  # another source with the same content
    load(custom(tmp_path, image_size=48))
    manifests = tmp_path / "runs" / "manifest"
    assert len(list(manifests.glob("*/done.json"))) == 2
    assert {path.name for path in manifests.rglob("*.npy")} == {"pixels.npy"}


def test_an_interrupted_manifest_leaves_no_wrong_pixels(tmp_path, monkeypatch):
    folder = draw_folder(tmp_path / "set")
    with monkeypatch.context() as patch:
        patch.setattr("kdnb.core.runs.write_json", None)
        with pytest.raises(TypeError):
            load(custom(tmp_path, image_size=48))
    [remains] = (tmp_path / "runs").rglob(".pixels_48.npy")
    np.lib.format.open_memmap(remains, mode="r+")[:] = 0  # as if half written
    for size in (40, 48):
        check_pixels(load(custom(tmp_path, image_size=size)), folder)


def test_an_interrupted_move_leaves_no_wrong_pixels(tmp_path, monkeypatch):
    folder = draw_folder(tmp_path / "set")

    def interrupted(source, target):
        os.replace(source, target)
        np.lib.format.open_memmap(target, mode="r+")[:] = 0
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("kdnb.data.dataset.shutil.move", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load(custom(tmp_path, image_size=48))
    check_pixels(load(custom(tmp_path, image_size=48)), folder)


def test_a_part_without_an_image_is_refused(tmp_path):
    draw_folder(tmp_path / "set", per_class=1)
    with pytest.raises(
        UserError,
        match="split 'grouped' leaves no image for .*: give more patients, or another split",
    ):
        load(custom(tmp_path))


def test_the_second_time_nothing_is_read_or_split(tmp_path, monkeypatch):
    draw_folder(tmp_path / "set")
    first = load(custom(tmp_path))
    monkeypatch.setattr("kdnb.data.decode.decode", None)
    monkeypatch.setattr("kdnb.data.dataset.make_split", None)
    second = load(custom(tmp_path))
    assert first.hash == second.hash
    pd.testing.assert_frame_equal(first.table, second.table)


def test_the_hash_tells_split_seed_size_and_content_apart(tmp_path):
    draw_folder(tmp_path / "set")
    changes = [{}, {"seed": 1}, {"image_size": 48}]
    hashes = [load(custom(tmp_path, **change)).hash for change in changes]
    Image.new("RGB", (9, 9)).save(tmp_path / "set" / "cat" / "new.png")
    assert len({*hashes, load(custom(tmp_path)).hash}) == len(changes) + 1


def test_a_few_broken_images_are_named_and_skipped(tmp_path):
    draw_folder(tmp_path / "set", per_class=100)
    (tmp_path / "set" / "cat" / "007.png").write_bytes(b"")
    whole = (tmp_path / "set" / "dog" / "003.png").read_bytes()
    (tmp_path / "set" / "dog" / "003.png").write_bytes(whole[: len(whole) // 2])
    found = load(custom(tmp_path, image_size=64))
    assert any(
        "2 of 200 images" in note and "cat/007.png: empty file" in note for note in found.notes
    )
    assert found.broken["path"].tolist() == ["cat/007.png", "dog/003.png"]
    assert found.broken["reason"][0] == "empty file" and found.broken["reason"][1]
    assert len(found.table) == len(found.pixels) == 198
    last = (tmp_path / "set" / found.table["path"].iloc[-1]).read_bytes()
    np.testing.assert_array_equal(found.pixels[-1], decode(last, [64])[0][0])


def test_broken_images_are_left_out_of_both_sizes(tmp_path, monkeypatch, decoded):
    folder = draw_folder(tmp_path / "set", per_class=100)
    spoil(folder, ["cat/000.png", "dog/003.png"])
    monkeypatch.setattr("kdnb.data.pixel_files.CHUNK", 7)
    wanted = load(custom(tmp_path, image_size=48))
    base = load(custom(tmp_path, image_size=64))
    assert len(decoded) == 198, "each once; two could not even be opened"
    for found in (wanted, base):
        assert len(found.pixels) == 198
        check_pixels(found, folder)


def spoil(folder, names):
    for name in names:
        (folder / name).write_text("not an image")


@pytest.mark.parametrize(
    "spoilt, message",
    [
        (
            ["cat/001.png", "dog/001.png"],
            r"2 of 12 images .*cannot be read, accepted are 1%, and one in any case: cat/001.png: ",
        ),
        ([f"dog/{n:03d}.png" for n in range(6)], "no image of class dog is left"),
    ],
)
def test_too_many_broken_images(tmp_path, spoilt, message):
    spoil(draw_folder(tmp_path / "set"), spoilt)
    with pytest.raises(UserError, match=message):
        load(custom(tmp_path))
    assert not list((tmp_path / "runs").rglob("*.csv"))
    assert not list((tmp_path / "runs").rglob("*.npy"))


def test_one_broken_image_of_a_small_set_is_named_and_skipped(tmp_path):
    spoil(draw_folder(tmp_path / "set"), ["cat/001.png"])
    found = load(custom(tmp_path))
    assert len(found.table) == 11 and found.broken["path"].tolist() == ["cat/001.png"]
    assert any("1 of 12 images" in note and "cat/001.png" in note for note in found.notes)


def test_more_broken_images_are_accepted_where_the_parameter_says_so(tmp_path):
    spoil(draw_folder(tmp_path / "set"), ["cat/001.png", "dog/001.png", "dog/002.png"])
    with pytest.raises(UserError, match="accepted are 17%.* set max_broken to a larger share"):
        load(custom(tmp_path, max_broken=0.17))  # 2.04 of 12
    found = load(custom(tmp_path, max_broken=0.25))
    assert len(found.table) == 9
    assert any("3 of 12 images" in note and "are skipped" in note for note in found.notes)
    with pytest.raises(UserError, match="accepted are 1%"):
        load(custom(tmp_path))  # what was accepted once is not by default


@pytest.mark.parametrize("classes", [["only"], [f"class {n}" for n in range(21)]])
def test_two_to_twenty_classes(tmp_path, classes):
    draw_folder(tmp_path / "set", per_class=1, classes=classes)
    with pytest.raises(UserError, match=f"has {len(classes)} classes, accepted are 2 to 20"):
        load(custom(tmp_path))


def test_a_class_with_one_image_is_noted(tmp_path):
    draw_folder(tmp_path / "set")
    draw_folder(tmp_path / "set", per_class=1, classes=["rare"])
    found = load(custom(tmp_path))
    assert found.classes == ("cat", "dog", "rare")
    assert any("class rare: train 1, val 0, test 0" in note for note in found.notes)


def test_same_bytes_with_two_labels_are_kept_and_flagged(tmp_path):
    folder = draw_folder(tmp_path / "set")
    (folder / "dog" / "same.png").write_bytes((folder / "cat" / "002.png").read_bytes())
    found = load(custom(tmp_path))
    twins = found.table[found.table["path"].isin(["cat/002.png", "dog/same.png"])]
    assert len(twins) == 2 and twins["family"].nunique() == twins["part"].nunique() == 1
    assert any(
        "2 images have the same bytes as an image of another class" in note for note in found.notes
    )


def test_csv_with_patients_and_split(tmp_path):
    draw_folder(tmp_path, per_class=6)
    rows = [
        f"{label}/{n:03d}.png,{label},p{n // 2},{'test' if n < 2 else 'train'}"
        for label in ("cat", "dog")
        for n in range(6)
    ]
    (tmp_path / "set.csv").write_text("path,label,patient,split\n" + "\n".join(rows))
    given = settings(tmp_path, dataset="custom", data=str(tmp_path / "set.csv"), split="published")
    found = load(given)
    assert set(found.table["patient"]) == {"p0", "p1", "p2"}
    assert [note.partition(" (")[0] for note in found.notes] == [
        "3 of 3 patients are in several classes"
    ]
    assert (found.table["published_split"] == "test").sum() == len(found.rows("test")) == 4


def ids(runs, kind):
    return {path.parent.name for path in (runs / kind).glob("*/done.json")}


def test_the_test_fold_counts_where_the_split_goes_by_folds(tmp_path):
    draw_folder(tmp_path, per_class=10)
    rows = [
        f"{label}/{n:03d}.png,{label},{n % 5 + 1}" for label in ("cat", "dog") for n in range(10)
    ]
    (tmp_path / "set.csv").write_text("path,label,fold\n" + "\n".join(rows))
    named = {"dataset": "custom", "data": str(tmp_path / "set.csv")}
    runs = tmp_path / "runs"
    found = {
        fold: load(settings(tmp_path, **named, split="published", fold=fold)) for fold in (5, 2)
    }
    assert found[5].hash != found[2].hash and len(ids(runs, "split")) == 2
    for fold, part in ((5, "test"), (4, "val"), (1, "train")):
        assert (found[5].table["part"][found[5].table["fold"] == str(fold)] == part).all()
    assert set(found[2].table["fold"][found[2].rows("test")]) == {"2"}
    assert found[5].masks is None and len(ids(runs, "pixels")) == 1
    random = [load(settings(tmp_path, **named, split="random", fold=fold)) for fold in (5, 2)]
    assert random[0].hash == random[1].hash and len(ids(runs, "split")) == 3


def test_the_test_fold_is_no_matter_to_a_set_without_folds(tmp_path):
    first, second = (Study(settings(tmp_path, split="published", fold=fold)) for fold in (5, 2))
    assert first.image_set.hash == second.image_set.hash
    assert first.results.folder == second.results.folder
    assert "fold" not in first.results.parameters
    assert len(ids(tmp_path / "runs", "split")) == 1
    assert not {"fold", "mask"} & set(first.image_set.table)


def test_a_file_that_changes_meanwhile(tmp_path):
    folder = draw_folder(tmp_path / "set")
    source = open_source(custom(tmp_path))
    load(custom(tmp_path), source)
    Image.new("RGB", (9, 9)).save(folder / "cat" / "000.png")
    with pytest.raises(UserError, match="has changed while it was read"):
        load(custom(tmp_path, image_size=48), source)


@pytest.mark.parametrize(
    "name", ["größe 大.png", b"caf\xe9.png".decode("utf-8", "surrogateescape")]
)
def test_names_in_any_script(tmp_path, name):
    folder = draw_folder(tmp_path / "set")
    os.rename(folder / "cat" / "000.png", folder / "cat" / name)
    assert f"cat/{name}" in load(custom(tmp_path)).table["path"].tolist()


def test_an_output_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(UserError, match="cannot be written"):
        load(settings(tmp_path))


def test_no_bar_in_a_batch_run(tmp_path, capfd):
    draw_folder(tmp_path / "set")
    load(custom(tmp_path))
    assert capfd.readouterr() == ("", "")


def test_test_images_are_unseen_where_all_patients_are_known_and_none_was_learned(tmp_path):
    given = {"profile": "smoke", "runs_dir": str(tmp_path)}
    grouped = StudyImages(Settings.checked(given))
    rows = grouped.image_set.rows("test")
    assert grouped.are_unseen(rows)
    assert grouped.counted_groups(rows).endswith(" patients or families")
    nobody = StudyImages(Settings.checked(given))
    nobody.image_set.table["patient"] = ""
    nobody.image_set.table["family"] = ""
    assert not nobody.are_unseen(rows)
    assert nobody.counted_groups(rows) == f"{len(rows)} single images, no patient being known"
    by_image = StudyImages(Settings.checked(given | {"split": "random"}))
    rows = by_image.image_set.rows("test")
    assert not by_image.are_unseen(rows), "patients cross"
    table = by_image.image_set.table
    table.loc[table.index[rows], "patient"] = [f"new {row}" for row in rows]
    assert by_image.are_unseen(rows), "whatever the split is called"
