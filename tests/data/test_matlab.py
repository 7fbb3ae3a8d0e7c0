"""The figshare brain tumours: the archive with its list, and the publisher's MATLAB files."""

import io
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from kdnb.core.errors import UserError
from kdnb.core.settings import Settings
from kdnb.data.dataset import load
from kdnb.data.registry import at_hand, open_source, registered

CLASSES = {1: "meningioma", 2: "glioma", 3: "pituitary"}
COUNT = 30


def picture(number):
    """An image (24, 24) of 16 bits and its mask: no two alike, and neither is its own transpose."""
    rng = np.random.default_rng(number)
    image = rng.integers(0, 900 + number, (24, 24)).astype(np.int16)
    image[0] = 0
    mask = np.zeros((24, 24), np.uint8)
    mask[3:9, 2 + number % 8 : 14] = 1
    return image, mask


def label_of(number):
    return 1 + (number - 1) // 10


def fold_of(number):
    return 1 + (number - 1) // 2 % 5


def settings(tmp_path, data, **others):
    given = {"dataset": "figshare_brain", "data": str(data), "image_size": 32}
    given |= {"split": "published", "runs_dir": str(tmp_path / "runs")}
    return Settings.checked(given | others)


def opened(tmp_path, data):
    return open_source(settings(tmp_path, data))


def as_png(values):
    file = io.BytesIO()
    Image.fromarray(values.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def archive_files():
    rows = ["number,path,label,fold,mask,original_size"]
    files = {}
    for number in range(1, COUNT + 1):
        image, mask = picture(number)
        label = CLASSES[label_of(number)]
        path, border = f"images/{label}/{number:04}.png", f"masks/{number:04}.png"
        rows.append(f"{number},{path},{label},{fold_of(number)},{border},24x24")
        files |= {path: as_png(image * (255 / image.max())), border: as_png(mask * 255)}
    return files | {"images.csv": "\n".join(rows).encode()}


def write_zip(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def write_folder(path, files):
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


@pytest.mark.parametrize("write", [write_zip, write_folder])
@pytest.mark.parametrize("top", ["", "copy of it/"])
def test_the_archive(tmp_path, write, top):
    files = {top + name: data for name, data in archive_files().items()}
    files["__MACOSX/images/glioma/0001.png"] = b"junk"
    found = load(settings(tmp_path, write(tmp_path / "set", files)))
    table = found.table
    assert list(table["image_id"]) == [f"{number:04}" for number in range(1, COUNT + 1)]
    assert found.classes == ("glioma", "meningioma", "pituitary")
    assert list(table["label"]) == [CLASSES[label_of(n)] for n in range(1, COUNT + 1)]
    assert list(table["fold"]) == [str(fold_of(n)) for n in range(1, COUNT + 1)]
    assert found.has_mask.all() and (table["patient"] == "").all()
    assert "30 of the 3,064 published images are there" in found.notes


@pytest.mark.parametrize("write", [write_zip, write_folder])
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("number,path", "no,path", "lacks the column number: accepted are number, path, label"),
        ("0003.png,meningioma,2", "0003.png,meningioma,B", "line 4 of .*has fold 'B': accepted"),
        ("0003.png,meningioma,2", "0003.png,meningioma,6", "line 4 of .*has fold '6': accepted"),
        ("0003.png,meningioma", "0003.png,cyst", "line 4 of .*has label 'cyst': accepted are gli"),
        ("\n3,", "\n2,", "line 4 of .*has a number for the second time"),
        ("\n3,", "\nthree,", "line 4 of .*has a number that is none"),
        ("0003.png,men", "0002.png,men", "line 4 of .*names an image for the second time"),
        ("\n30,images/pituitary/0030.png,pituitary,5,masks/0030.png,24x24", "", "30 images.* 29"),
        ("number", "\xff", "cannot be read"),
    ],
)
def test_a_list_with_something_wrong(tmp_path, write, old, new, message):
    files = archive_files()
    text = files["images.csv"].decode().replace(old, new, 1)
    files["images.csv"] = text.encode("latin-1")
    with pytest.raises(UserError, match=message) as caught:
        opened(tmp_path, write(tmp_path / "set", files))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("write", [write_zip, write_folder])
def test_an_archive_without_its_list_or_an_image(tmp_path, write):
    files = archive_files()
    first = next(iter(files))
    less = {name: data for name, data in files.items() if name != first}
    with pytest.raises(UserError, match="29 images, and images.csv lists 30 .*0001.png' is in one"):
        opened(tmp_path, write(tmp_path / "less", less))
    del files["images.csv"]
    with pytest.raises(UserError, match="lacks images.csv: accepted are an archive with"):
        opened(tmp_path, write(tmp_path / "set", files))


def test_an_archive_that_is_not_safe(tmp_path):
    path = write_zip(tmp_path / "set.zip", archive_files() | {"../0001.png": b"x"})
    with pytest.raises(UserError, match="leads out of the archive"):
        opened(tmp_path, path)


def test_a_mask_that_the_archive_lacks_is_named(tmp_path):
    files = archive_files()
    del files["masks/0004.png"]
    found = load(settings(tmp_path, write_zip(tmp_path / "set", files)))
    assert list(found.table["image_id"][~found.has_mask]) == ["0004"]
    assert any("1 of 30 masks cannot be used" in n and "is not there" in n for n in found.notes)


def test_where_the_archive_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("KDNB_DATA", str(tmp_path))
    monkeypatch.setenv("KDNB_ROOT", str(tmp_path))
    with pytest.raises(UserError, match="get it from https://doi.org/10.6084.*DATA=path"):
        opened(tmp_path, "")
    write_zip(tmp_path / registered()["figshare_brain"]["archive"], archive_files())
    assert len(opened(tmp_path, "").entries) == COUNT


# --- the publisher's own files


def mat(number, **changes):
    """A MATLAB v7.3 file as the publisher gives it: every array transposed."""
    h5py = pytest.importorskip("h5py", reason="needs the package h5py")
    image, mask = picture(number)
    patient = np.array([ord(letter) for letter in f"MR{(number - 1) // 2:03}"], np.uint16)
    values = {
        "PID": patient[:, None],
        "label": np.array([[float(label_of(number))]]),
        "image": image.T,
        "tumorBorder": np.zeros((1, 8)),
        "tumorMask": mask.T,
    }
    file = io.BytesIO()
    with h5py.File(file, "w") as content:
        group = content.create_group(changes.pop("group", "cjdata"))
        for name, value in (values | changes).items():
            if value is not None:
                group[name] = value
    return file.getvalue()


def test_the_publishers_files_are_found_in_a_folder_of_the_sets_name(tmp_path, monkeypatch):
    monkeypatch.setenv("KDNB_DATA", str(tmp_path))
    assert not at_hand("figshare_brain")
    write_folder(tmp_path / "figshare_brain", mat_files())
    assert at_hand("figshare_brain")
    assert len(opened(tmp_path, "").entries) == COUNT


def folds(values=None, name="cvind"):
    h5py = pytest.importorskip("h5py", reason="needs the package h5py")
    numbers = [fold_of(number) for number in range(1, COUNT + 1)] if values is None else values
    file = io.BytesIO()
    with h5py.File(file, "w") as content:
        content[name] = np.array([numbers], float)
    return file.getvalue()


def mat_files():
    files = {f"{number}.mat": mat(number) for number in range(1, COUNT + 1)}
    return files | {"cvind.mat": folds(), "README.txt": b"as published"}


def zips(path, files):
    """The publisher's layout: the .mat files in zips, cvind.mat beside them."""
    path.mkdir()
    names = [name for name in files if name.endswith(".mat") and name != "cvind.mat"]
    for part in range(2):
        content = {name: files[name] for name in names[part::2]}
        write_zip(path / f"brainTumorDataPublic_{part}.zip", content)
    write_folder(path, {name: data for name, data in files.items() if name not in names})
    return path


@pytest.mark.parametrize("write", [write_folder, write_zip, zips])
def test_the_publishers_files(tmp_path, write):
    found = load(settings(tmp_path, write(tmp_path / "set", mat_files()), image_size=32))
    table = found.table
    assert list(table["image_id"]) == [f"{number:04}" for number in range(1, COUNT + 1)]
    for row, number in enumerate(range(1, COUNT + 1)):
        assert table["label"][row] == CLASSES[label_of(number)]
        assert table["fold"][row] == str(fold_of(number))
        assert table["patient"][row] == f"MR{(number - 1) // 2:03}"
    assert found.has_mask.all() and set(table["width"]) == {24}
    assert "16-bit images are scaled to 8 bits by the brightest pixel of each" in found.notes
    assert not any("fold" in note and "MR" in note for note in found.notes)
    assert not any("unknown" in note for note in found.notes)


def test_images_and_masks_are_turned_back_and_scaled(tmp_path):
    source = opened(tmp_path, write_folder(tmp_path / "set", mat_files()))
    for number in (1, 17, 30):
        image, mask = picture(number)
        pixels = np.asarray(Image.open(io.BytesIO(source.read(f"{number}.mat"))))
        np.testing.assert_array_equal(pixels, np.rint(image * (255 / image.max())))
        assert pixels.max() == 255
        inside = np.asarray(Image.open(io.BytesIO(source.read_mask(f"{number}.mat"))))
        np.testing.assert_array_equal(inside, mask * 255)


def test_the_archive_and_the_publishers_files_tell_the_same(tmp_path):
    archive = load(settings(tmp_path, write_zip(tmp_path / "set.zip", archive_files())))
    own = load(settings(tmp_path, write_folder(tmp_path / "set", mat_files())))
    for column in ("image_id", "label", "fold", "part"):
        assert archive.table[column].equals(own.table[column])
    np.testing.assert_array_equal(archive.masks[:], own.masks[:])
    assert np.abs(archive.pixels.astype(int) - own.pixels).max() <= 1  # one is cut, one rounded


@pytest.mark.parametrize("write", [write_folder, zips])
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"7.mat": lambda: b"MATLAB 5.0 MAT-file"}, "7.mat' .*is no MATLAB v7.3 .HDF5. file"),
        ({"7.mat": lambda: b""}, "7.mat' .*is no MATLAB v7.3"),
        ({"7.mat": lambda: mat(7)[:2000]}, "7.mat' .*is no MATLAB v7.3"),
        ({"7.mat": lambda: mat(7, group="data")}, "7.mat' .*lacks cjdata: found data"),
        ({"7.mat": lambda: mat(7, label=np.zeros((1, 1)))}, "has the label 0, accepted are 1, 2"),
        ({"7.mat": lambda: mat(7, label=None)}, "7.mat' .*lacks label: found PID"),
        ({"7.mat": lambda: mat(7, PID=None)}, "7.mat' .*lacks PID"),
        ({"seven.mat": lambda: mat(7)}, "seven.mat' .*is not named by its number"),
        ({"31.mat": lambda: mat(30)}, "tells 30 folds, and there is an image .*31.mat"),
        ({"more/7.mat": lambda: mat(7)}, "have the same number"),
        ({"cvind.mat": lambda: folds([6] * 30)}, "cvind.mat' .*has a fold 6: accepted are 1, 2"),
        ({"cvind.mat": lambda: folds([1.5] * 30)}, "cvind.mat' .*has a fold 1.5"),
        ({"cvind.mat": lambda: folds(name="folds")}, "cvind.mat' .*lacks cvind"),
        ({"cvind.mat": lambda: b"text"}, "cvind.mat' .*is no MATLAB v7.3"),
    ],
)
def test_matlab_files_with_something_wrong(tmp_path, write, changed, message):
    files = mat_files() | {name: make() for name, make in changed.items()}
    with pytest.raises(UserError, match=message) as caught:
        opened(tmp_path, write(tmp_path / "set", files))
    assert "\n" not in str(caught.value)


def test_an_image_that_is_lacking_is_skipped_and_a_mask_is_not_missed(tmp_path):
    files = mat_files() | {"7.mat": mat(7, image=None), "8.mat": mat(8, tumorMask=None)}
    source = opened(tmp_path, write_folder(tmp_path / "set", files))
    with pytest.raises(ValueError, match="lacks image: found PID"):
        source.read("7.mat")
    assert [entry.path for entry in source.entries if not entry.mask] == ["8.mat"]


def test_folds_of_an_older_matlab_and_none_at_all(tmp_path):
    file = io.BytesIO()
    savemat(file, {"cvind": np.array([[fold_of(n)] for n in range(1, COUNT + 1)], float)})
    older = opened(
        tmp_path, write_folder(tmp_path / "a", mat_files() | {"cvind.mat": file.getvalue()})
    )
    assert [entry.fold for entry in older.entries] == [str(fold_of(n)) for n in range(1, COUNT + 1)]
    files = mat_files()
    del files["cvind.mat"]
    source = opened(tmp_path, write_folder(tmp_path / "b", files))
    assert {entry.fold for entry in source.entries} == {""}
    assert "without cvind.mat, the publisher's folds are unknown" in source.notes


def test_a_patient_in_two_folds_is_said(tmp_path):
    wrong = [fold_of(n) for n in range(1, COUNT + 1)]
    wrong[1] = 3
    files = mat_files() | {"cvind.mat": folds(wrong)}
    source = opened(tmp_path, write_folder(tmp_path / "set", files))
    assert "patient MR000 is in fold 1 and in fold 3" in source.notes


def test_a_changed_file_is_told_anew(tmp_path):
    folder = write_folder(tmp_path / "set", mat_files())
    before = opened(tmp_path, folder)
    (folder / "7.mat").write_bytes(mat(7, label=np.array([[3.0]]), tumorBorder=np.zeros((1, 90))))
    after = opened(tmp_path, folder)
    assert before.identity != after.identity
    assert [a.path for a, b in zip(before.entries, after.entries, strict=True) if a != b] == [
        "7.mat"
    ]


def test_without_h5py(tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "set", mat_files())
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UserError, match="need the package h5py: pip install h5py"):
        opened(tmp_path, folder)
