"""Masks: decoded, scaled, checked against their image, kept as bits, named where they fail."""

import io
import zipfile

import numpy as np
import pytest
from PIL import ExifTags, Image

from kdnb.core.settings import Settings
from kdnb.data.dataset import load
from kdnb.data.masks import Masks, decode_mask, open_masks, pack
from kdnb.data.registry import open_source
from kdnb.data.study_images import StudyImages


def png(values, mode=None, kind="PNG", **options):
    file = io.BytesIO()
    image = Image.fromarray(np.asarray(values))
    (image.convert(mode) if mode else image).save(file, kind, **options)
    return file.getvalue()


def blob(height=20, width=30, value=255):
    mask = np.zeros((height, width), np.uint8)
    mask[height // 4 : height // 2, width // 3 : width // 2] = value
    return mask


def averaged(mask, size):
    """The area average by counting: every old pixel is cut into size x size equal pieces."""
    height, width = mask.shape
    fine = np.repeat(np.repeat(mask > 0, size, axis=0), size, axis=1)
    return fine.reshape(size, height, size, width).mean(axis=(1, 3)) >= 0.5


@pytest.mark.parametrize("size", [4, 7, 16, 20, 33])
@pytest.mark.parametrize("shape", [(20, 30), (16, 16), (5, 9)])
def test_a_mask_is_scaled_by_area_and_then_halved(size, shape):
    mask = (np.random.default_rng(size).random(shape) > 0.5).astype(np.uint8)
    found, width, height = decode_mask(png(mask * 255), size)
    assert found.dtype == bool and (height, width) == shape
    np.testing.assert_array_equal(found, averaged(mask, size))


def test_a_mask_is_what_is_not_zero_in_one_channel():
    mask = blob()
    palette = Image.fromarray((mask > 0).astype(np.uint8), "P")
    palette.putpalette([0, 0, 0, 200, 30, 30])
    inverse = Image.fromarray((mask == 0).astype(np.uint8), "P")  # black is the second colour
    inverse.putpalette([255, 255, 255, 0, 0, 0])
    files = []
    for image in (palette, inverse):
        file = io.BytesIO()
        image.save(file, "PNG")
        files.append(file.getvalue())
    files += [png(mask), png(mask // 255), png(mask, "1"), png(mask.astype(np.uint16) * 256)]
    for data in [*files, png(mask, kind="TIFF"), b"P5 30 20 255\n" + mask.tobytes()]:
        np.testing.assert_array_equal(decode_mask(data, 24)[0], averaged(mask, 24))


def test_the_exif_of_a_mask_is_not_read():
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    np.testing.assert_array_equal(
        decode_mask(png(blob(), exif=exif), 24)[0], decode_mask(png(blob()), 24)[0]
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"no image", "not an image"),
        (png(blob())[:60], "."),
        (png(blob() * 0), "nothing is inside"),
        (png(blob(), "RGB"), "RGB, accepted is one channel"),
        (png(blob(), "LA"), "LA, accepted is one channel"),
        (png(blob(), kind="JPEG"), "save masks as PNG"),
        (png(blob().astype(np.float32), kind="TIFF"), "F, accepted is one channel of integers"),
    ],
)
def test_a_mask_that_cannot_be_used_says_why(data, reason):
    with pytest.raises(ValueError, match=reason):
        decode_mask(data, 8)


@pytest.mark.parametrize("size", [8, 9])
def test_bits_are_unpacked_like_an_array(size, tmp_path):
    plain = np.random.default_rng(0).random((40, size, size)) > 0.9
    plain[3] = False
    np.save(tmp_path / "masks.npy", pack(plain))
    masks = open_masks(tmp_path / "masks.npy", size)
    assert masks.shape == plain.shape and masks.dtype == bool and len(masks) == 40
    for rows in (5, -1, slice(2, 9), [4, 2, 2], np.array([7, 0]), plain.any(axis=(1, 2))):
        found = masks[rows]
        assert type(found) is np.ndarray and found.dtype == bool
        np.testing.assert_array_equal(found, plain[rows])
    np.testing.assert_array_equal(masks.inside(), plain.any(axis=(1, 2)))
    assert (tmp_path / "masks.npy").stat().st_size < plain.nbytes / 4 + 128
    with pytest.raises(IndexError):
        masks[40]


def test_masks_that_were_kept_as_bool_are_still_read(tmp_path):
    plain = np.random.default_rng(0).random((4, 8, 8)) > 0.5
    np.save(tmp_path / "masks.npy", plain)
    np.testing.assert_array_equal(open_masks(tmp_path / "masks.npy", 8), plain)


def test_no_masks_are_none_inside():
    assert Masks(np.zeros((0, 8), np.uint8), 8).inside().shape == (0,)


def draw(folder, per_class=6):
    """Class folders of noise, each image with a mask of its own beside it."""
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (folder / label).mkdir(parents=True)
        for number in range(per_class):
            image = Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8))
            image.save(folder / label / f"{number}.jpg")
            mask = np.roll(blob(), number, axis=1)
            (folder / label / f"{number}_mask.png").write_bytes(png(mask))
    return folder


def packed(folder):
    with zipfile.ZipFile(folder.with_suffix(".zip"), "w") as archive:
        for path in sorted(folder.rglob("*.*")):
            archive.write(path, path.relative_to(folder))
    return folder.with_suffix(".zip")


def settings(tmp_path, data, **others):
    given = {"dataset": "custom", "data": str(data), "image_size": 32}
    return Settings.checked(given | {"runs_dir": str(tmp_path / "runs")} | others)


@pytest.mark.parametrize("make", [lambda folder: folder, packed])
def test_masks_beside_images(tmp_path, make):
    folder = draw(tmp_path / "set")
    found = load(settings(tmp_path, make(folder)))
    assert len(found.table) == 12 and set(found.table["label"]) == {"cat", "dog"}
    assert list(found.table["mask"]) == [
        path.replace(".jpg", "_mask.png") for path in found.table["path"]
    ]
    assert found.has_mask.all() and not any("mask" in note for note in found.notes)
    for row, mask in enumerate(found.table["mask"]):
        expected, _, _ = decode_mask((folder / mask).read_bytes(), 32)
        np.testing.assert_array_equal(found.masks[row], expected)
    assert found.masks[:].any(axis=(1, 2)).all() and not (found.masks[0] == found.masks[3]).all()


def test_masks_that_cannot_be_used_are_named_and_the_images_stay(tmp_path):
    folder = draw(tmp_path / "set")
    (folder / "cat" / "1_mask.png").write_bytes(png(blob(30, 20)))
    (folder / "cat" / "2_mask.png").write_bytes(b"no image")
    (folder / "dog" / "0_mask.png").write_bytes(png(blob() * 0))
    (folder / "dog" / "1_mask.png").write_bytes(png(blob() * 0 + 1))
    (folder / "dog" / "3_mask.png").unlink()
    (folder / "dog" / "9_mask.png").write_bytes(png(blob()))
    found = load(settings(tmp_path, folder))
    assert len(found.table) == 12 and len(found.broken) == 0
    without = {"cat/1.jpg", "cat/2.jpg", "dog/0.jpg", "dog/1.jpg", "dog/3.jpg"}
    assert set(found.table["path"][~found.has_mask]) == without
    assert not found.masks[~found.has_mask].any()
    assert found.notes[-2:] == (
        "masks without an image beside them, which are left out: 1 (dog/9_mask.png)",
        "4 of 11 masks cannot be used, and their images stay without one: "
        "cat/1_mask.png: 20 x 30 px on an image of 30 x 20; cat/2_mask.png: not an image; "
        "dog/0_mask.png: nothing is inside",
    )


def test_a_photograph_in_the_place_of_a_mask_is_told(tmp_path):
    folder = draw(tmp_path / "set")
    grey = np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)
    (folder / "cat" / "1_mask.png").write_bytes(png(grey))
    found = load(settings(tmp_path, folder))
    assert found.has_mask.all(), "nothing is taken away"
    assert found.notes[-1] == (
        "1 of 12 masks mark over 90% of their image, since all but 0 is inside; are they masks? "
        "cat/1_mask.png"
    )


def test_a_mask_of_another_size_fits_by_its_aspect(tmp_path):
    folder = draw(tmp_path / "set")
    (folder / "cat" / "0_mask.png").write_bytes(png(blob(67, 100)))
    (folder / "cat" / "1_mask.png").write_bytes(png(blob(60, 100)))
    found = load(settings(tmp_path, folder))
    assert list(found.table["path"][~found.has_mask]) == ["cat/1.jpg"]


def test_a_mask_lies_on_an_image_as_it_is_shown(tmp_path):
    folder = draw(tmp_path / "set")
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.open(folder / "cat" / "0.jpg").save(folder / "cat" / "0.jpg", exif=exif)
    found = load(settings(tmp_path, folder))
    assert list(found.table["path"][~found.has_mask]) == ["cat/0.jpg"]
    (folder / "cat" / "0_mask.png").write_bytes(png(blob(30, 20)))
    assert load(settings(tmp_path, folder)).has_mask.all()


def test_what_is_too_small_to_be_seen_is_counted(tmp_path):
    folder = draw(tmp_path / "set")
    dot = np.zeros((200, 300), np.uint8)
    dot[3, 4] = 1
    (folder / "cat" / "4_mask.png").write_bytes(png(dot))
    small = load(settings(tmp_path, folder))
    assert list(small.table["path"][~small.has_mask]) == ["cat/4.jpg"]
    assert any(
        "1 of 12 masks are too small to be seen at 32 px" in note and "cat/4_mask.png" in note
        for note in small.notes
    )
    large = load(settings(tmp_path, folder, image_size=512))
    assert large.has_mask.all() and not any("too small" in note for note in large.notes)
    assert large.masks[4].sum() == pytest.approx(512**2 / (200 * 300), abs=3)


def test_only_images_with_masks_bring_the_columns(tmp_path):
    folder = draw(tmp_path / "set")
    assert {"fold", "mask"} <= set(load(settings(tmp_path, folder)).table)
    for mask in folder.rglob("*_mask.png"):
        mask.unlink()
    found = load(settings(tmp_path, folder))
    assert not {"fold", "mask"} & set(found.table) and found.masks is None
    assert found.has_mask.shape == (12,) and not found.has_mask.any()


def test_another_mask_is_another_set_also_if_the_images_are_the_same(tmp_path):
    folder = draw(tmp_path / "set")
    before = load(settings(tmp_path, folder))
    (folder / "dog" / "1_mask.png").write_bytes(png(np.flipud(blob())))
    after = load(settings(tmp_path, folder))
    assert before.hash != after.hash
    changed = (before.masks[:] != after.masks[:]).any(axis=(1, 2))
    assert list(after.table["path"][changed]) == ["dog/1.jpg"]
    assert after.table["part"].equals(before.table["part"])


def test_a_mask_that_changes_meanwhile(tmp_path):
    folder = draw(tmp_path / "set")
    given = settings(tmp_path, folder)
    source = open_source(given)
    load(given, source)
    for content in (png(np.flipud(blob())), b"gone"):
        (folder / "cat" / "0_mask.png").write_bytes(content)
        with pytest.raises(ValueError, match="has changed while it was read"):
            load(settings(tmp_path, folder, image_size=48), source)


def test_csv_with_masks(tmp_path):
    folder = draw(tmp_path / "set")
    (folder / "borders").mkdir()
    rows = []
    for label in ("cat", "dog"):
        for number in range(6):
            mask = f"borders/{label}{number}.png" if number else ""
            if mask:
                (folder / mask).write_bytes((folder / label / f"{number}_mask.png").read_bytes())
            rows.append(f"{label}/{number}.jpg,{label},{mask}")
    (folder / "borders" / "dog5.png").unlink()
    (folder / "set.csv").write_text("path,label,mask\n" + "\n".join(rows))
    found = load(settings(tmp_path, folder / "set.csv"))
    assert list(found.table["path"][~found.has_mask]) == ["cat/0.jpg", "dog/0.jpg", "dog/5.jpg"]
    assert any("1 of 10 masks cannot be used" in note for note in found.notes)
    expected, _, _ = decode_mask((folder / "cat" / "2_mask.png").read_bytes(), 32)
    np.testing.assert_array_equal(found.masks[2], expected)


def test_masks_of_some_rows_are_none_where_none_of_them_has_one(tmp_path):
    folder = draw(tmp_path / "set")
    (folder / "cat" / "0_mask.png").unlink()
    study = StudyImages(settings(tmp_path, folder))
    assert study.masks(np.array([0])) is None
    assert study.masks(np.array([0, 1])).any(axis=(1, 2)).tolist() == [False, True]
    phantoms = StudyImages(Settings.checked({"runs_dir": str(tmp_path / "runs"), "patients": 24}))
    healthy = phantoms.image_set.table["label"] == "notumor"
    np.testing.assert_array_equal(phantoms.image_set.has_mask, ~healthy)
    assert phantoms.masks(np.flatnonzero(healthy)) is None
