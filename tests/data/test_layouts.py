"""Folders as people really have them: which of them are the classes, and that nothing vanishes."""

import os
import posixpath
import socket

import pytest

from kdnb.core.errors import UserError
from kdnb.core.settings import Settings
from kdnb.data.class_folders import class_folders
from kdnb.data.file_kinds import Listing
from kdnb.data.registry import open_source, registered
from kdnb.data.sources import folder_source

PNG = b"\x89PNG\r\n\x1a\n"
DICOM = bytes(128) + b"DICM"


def found_in(names, known=None, contents=None, links=(), hidden=()):
    """Entries and notes of a source with these files."""
    folders = {f"{parent}/" for name in names for parent in parents(name)}
    listing = Listing(
        names=[*names, *sorted(folders)],
        read=lambda name, count=-1: (contents or {}).get(name, b""),
        links=tuple(links),
        hidden=tuple(hidden),
    )
    return class_folders(listing, "set", known or {})


def parents(name):
    parent = posixpath.dirname(name.rstrip("/"))
    return [parent, *parents(parent)] if parent else []


def tree(*folders, count=2):
    return [f"{folder}/{number}.png" for folder in folders for number in range(count)]


def told(entries):
    return {(entry.published_split, entry.label) for entry in entries}


def refused(names, message, **kwargs):
    with pytest.raises(UserError, match=message) as caught:
        found_in(names, **kwargs)
    assert "\n" not in str(caught.value)


def product(*levels):
    paths = [""]
    for level in levels:
        paths = [posixpath.join(path, name) for path in paths for name in level]
    return paths


BOTH = {(part, label) for part in ("train", "test") for label in ("a", "b")}


@pytest.mark.parametrize(
    "parts",
    [
        ("train", "test"),
        ("TRAIN", "Testing"),
        ("training_set", "test_set"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("Brain Training/Training", "Brain Testing/Testing"),
        ("train/images", "test/images"),
        ("wrapper/data/train", "wrapper/data/test"),
        ("train_images", "test-images"),
        ("Training/train", "Testing/test"),
    ],
)
def test_parts_in_any_spelling_and_wrapper(parts):
    entries, notes = found_in(tree(*product(parts, "ab")))
    assert told(entries) == BOTH and len(entries) == 8 and not notes


def test_three_parts_and_their_common_names():
    for val in ("val", "Valid", "validation", "dev"):
        entries, _ = found_in(tree(*product(("Train", val, "Test"), "ab")))
        assert told(entries) == BOTH | {("val", "a"), ("val", "b")}


def test_a_part_within_a_part():
    entries, _ = found_in(tree(*product(("Training",), ("train", "val"), "ab"), "Testing/a"))
    assert told(entries) == {(part, name) for part in ("train", "val") for name in "ab"} | {
        ("test", "a")
    }


def test_a_single_folder_is_a_part_by_a_sure_name_only():
    entries, _ = found_in(tree("test_data/a", "test_data/b"))
    assert told(entries) == {("", "a"), ("", "b")} and entries[0].image_id == "a/0.png"
    entries, _ = found_in(tree("train/a", "train/b"))
    assert told(entries) == {("train", "a"), ("train", "b")}
    assert entries[0].image_id == "train/a/0.png"


def test_a_class_alone_in_a_part_is_no_wrapper():
    names = tree(*product(("train",), "ab", ("p1", "p2")), "val/a/p3", "test/a/p4", "test/b/p5")
    assert told(found_in(names)[0]) == BOTH | {("val", "a")}


@pytest.mark.parametrize(
    "folders, message",
    [
        (
            product(("x", "x/x"), ("train", "val", "test"), "ab"),
            "one tree of classes, 'x/x' beside 'x/test', 'x/train', 'x/val': move one away",
        ),
        (
            ("yes", "no", "brain/yes", "brain/no"),
            "classes, 'brain' beside 'no', 'yes': move one away",
        ),
        (("yes", "no", "deep/er/yes", "deep/er/no"), "more than one tree"),
        (
            product(("s1", "s2"), ("train", "test"), "ab"),
            "more than one tree of classes, 's1', 's2': move",
        ),
        (product(("train", "Training", "test"), "ab"), "'Training', 'train' .*both .*train part"),
        (
            product(("train", "test", "augmented"), "ab"),
            "'augmented' .*lies beside 'test', 'train'",
        ),
        (("train", "test"), "'test', 'train' .* hold images without class folders"),
        (("train/a", "train/b", "test"), "'test/0.png' .*lies in no class folder"),
        (("train/a", "train/b", "test/x"), "same class folders .test has 'x'; train has 'a', 'b'"),
        (
            product(("site", "clinic"), ("ill", "well")),
            "may be the classes.*'ill', 'well' look like",
        ),
        (
            product(("p1", "p2", "p3"), ("ill", "well")),
            "and below them 'ill', 'well': 'ill', 'well'",
        ),
        (product("ab", ("images", "masks")), "'a/masks' .*looks like one of masks.*move it away"),
        (("images", "Masks"), "'Masks' .*looks like one of masks"),
        (("a", "b/" * 150 + "b"), "lies 151 folders deep, accepted are 100: move"),
        (("a", "b", "b/ground truth"), "'b/ground truth' .*looks like one of masks"),
    ],
)
def test_doubt_is_refused_in_one_line(folders, message):
    refused(tree(*folders), message)


def test_patients_below_or_above_the_classes():
    below = [f"{label}/{label}-p{number}" for label in ("ill", "well") for number in range(5)]
    entries, notes = found_in(tree(*below))
    assert told(entries) == {("", "ill"), ("", "well")} and not notes
    entries, notes = found_in(tree(*product(("ill", "well"), ("p1", "p2"))))
    assert told(entries) == {("", "ill"), ("", "well")}
    assert notes == ("the folders 'p1', 'p2' repeat below the classes 'ill', 'well'",)
    above = product([f"p{number}" for number in range(21)], ("0", "1"))
    entries, notes = found_in(tree(*above))
    assert told(entries) == {("", "0"), ("", "1")} and len(entries) == 84
    assert notes[0].startswith("21 folders lie above the classes ('p0', 'p1', 'p10'")


def test_patients_between_parts_and_classes():
    names = [f"train/p{number}" for number in range(4)] + [f"test/q{number}" for number in range(4)]
    entries, notes = found_in(tree(*product(names, "ab")))
    assert told(entries) == BOTH and "8 folders lie above the classes" in notes[0]


def test_a_class_may_be_named_as_a_part():
    entries, notes = found_in(tree("train", "plane"))
    assert told(entries) == {("", "train"), ("", "plane")}
    assert notes == ("the folder 'train' is taken as a class",)


def test_parts_below_classes():
    entries, notes = found_in(tree(*product(("set/a", "set/b"), ("Train", "test", "dev"))))
    assert told(entries) == BOTH | {("val", "a"), ("val", "b")}
    assert entries[0].image_id == "a/Train/0.png"
    assert notes == (
        "the folders 'Train', 'dev', 'test' below the classes are taken as parts of a split",
    )
    entries, notes = found_in(tree("a/train", "a/test", "b/test"))
    assert notes[1] == "the class 'b' is not in the training part"
    entries, notes = found_in(tree("a/train", "a/test", "b/p1"))
    assert told(entries) == {("", "a"), ("", "b")}
    assert "not read as parts of a split: other classes have none" in notes[0]


def test_a_class_may_be_named_as_masks_are():
    entries, _ = found_in(tree("mask", "no mask"))
    assert told(entries) == {("", "mask"), ("", "no mask")}


def test_one_class_in_several_spellings():
    names = tree("train/Benign", "train/No Tumor", count=3) + tree("test/benign", "test/no_tumor")
    entries, notes = found_in(names)
    assert {entry.label for entry in entries} == {"Benign", "No Tumor"}
    assert notes[0] == "spellings taken as one class, 'Benign': 'Benign' (3), 'benign' (2)"
    refused(tree("a b", "a_b", "c"), "class folders 'a b', 'a_b' .*spelling alone")
    refused(tree("caf\u00e9", "cafe\u0301"), "spelling alone")
    entries, notes = found_in(tree("HER2+", "HER2-"))
    assert told(entries) == {("", "HER2+"), ("", "HER2-")} and not notes


def test_a_class_only_in_test_is_noted():
    _, notes = found_in(tree("train/a", "train/b", "test/a", "test/b", "test/c"))
    assert notes == ("the class 'c' is not in the training part",)


@pytest.mark.parametrize(
    "lost, message",
    [
        (["c/0.dcm", "c/1.dcm"], r"class folder 'c' .*2 files \(2 .dcm: .*DICOM is not read: save"),
        (["c/0.heic"], r"1 file \(1 .heic"),
        (
            ["c/0.nii.gz"],
            r"1 file \(1 .gz: c/0.nii.gz\); volumes are not read: save the slices[^;]*; mend",
        ),
        (["c/inside.zip"], "an archive inside is not opened: unpack it"),
        (["c/0", "c/1.txt"], r"class folder 'c' .*2 files"),
    ],
)
def test_a_class_without_a_readable_image_is_refused(lost, message):
    refused(tree("a", "b") + lost, message)


def test_a_part_without_a_readable_image_is_refused():
    refused(tree("train/a", "train/b") + ["test/a/0.dcm"], "class folder 'test/a'")


def test_what_is_passed_over_is_counted():
    names = tree("a", "b") + ["a/x.dcm", "a/y.DCM", "b/notes.txt", "readme", "docs/a.md"]
    entries, notes = found_in(names, links=["a/link.png"], hidden=["a/.old/1.png", "a/._0.png"])
    assert len(entries) == 4
    assert notes[0].startswith("passed over: 5 files (2 .dcm, 1 .txt, 1 without ending, 1 .md: a/x")
    assert "DICOM is not read" in notes[0]
    assert notes[1:] == (
        "links are not followed, passed over: 1 (a/link.png)",
        "hidden images, passed over: 1 (a/.old/1.png)",
    )


def test_files_without_ending_are_read_by_their_content():
    contents = {"a/1": PNG, "b/IM.0001": b"\xff\xd8\xff\xe0", "b/readme": b"text", "a/2": DICOM}
    entries, notes = found_in([*contents, "b/3.jfif"], contents=contents)
    assert {entry.path for entry in entries} == {"a/1", "b/IM.0001", "b/3.jfif"}
    assert "2 files (2 without ending: b/readme, a/2); DICOM" in notes[0]


BRAIN = registered()["brain_tumor"]


def test_a_registered_set_with_parts_in_another_case_and_more_folders():
    folders = product(("train", "TEST"), ("Glioma", "Meningioma", "No Tumor", "Pituitary"))
    names = tree(*folders) + tree("train/metastasis", count=3)
    entries, notes = found_in(names, BRAIN)
    assert told(entries) == {
        (part, name) for part in ("train", "test") for name in BRAIN["classes"]
    }
    assert notes == (
        "3 of 19 images lie in no class folder of this set, and are left out: "
        "'train/metastasis' (3)",
    )
    refused(
        [*names, "archive/x.png", *(f"again/{name}" for name in names)],
        "more than once",
        known=BRAIN,
    )
    _, notes = found_in([*names, *tree("val/glioma")], BRAIN)
    assert "the set has no published part 'val': its images have none" in notes
    _, notes = found_in([name for name in names if "TEST" not in name], BRAIN)
    assert len(notes) == 1
    lost = [name for name in names if not name.startswith("TEST/Glioma")] + ["TEST/Glioma/0.dcm"]
    refused(lost, "class folder 'TEST/Glioma' .*DICOM", known=BRAIN)


def test_ids_stay_unique_where_names_are_equal_but_for_their_accents():
    names = ["a/caf\u00e9.png", "a/cafe\u0301.png", "a/r\udcff.png", "b/1.png"]
    entries, _ = found_in(names)
    assert sorted(entry.image_id for entry in entries) == [
        "a/caf\\xe9.png",
        "a/cafe\\u0301.png",
        "a/r\\udcff.png",
        "b/1.png",
    ]


def custom(path):
    return open_source(Settings.checked({"dataset": "custom", "data": str(path)}))


def pipe(path):
    os.mkfifo(path)


def unix_socket(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


@pytest.mark.parametrize("make, kind", [(pipe, "a pipe"), (unix_socket, "a socket")])
def test_only_files_are_read(tmp_path, monkeypatch, make, kind):
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    os.makedirs("set/a")
    make("set/a/1.png")
    with pytest.raises(UserError, match=f"'a/1.png' in 'set' is {kind}: accepted are files"):
        folder_source(type(tmp_path)("set"), {})
    (tmp_path / "list.csv").write_text("path,label\nset/a/2.png,a\nset/a/1.png,b\n")
    with pytest.raises(UserError, match=f"names 'set/a/1.png', which is {kind}"):
        custom(tmp_path / "list.csv")
    with pytest.raises(UserError, match=f"is {kind}: accepted are an archive, a folder or a CSV"):
        custom(tmp_path / "set" / "a" / "1.png")


def test_reading_a_device_or_an_endless_file(tmp_path, monkeypatch):
    (tmp_path / "list.csv").write_text("path,label\n/dev/zero,a\nset/a/1.png,b\n")
    with pytest.raises(UserError, match="names '/dev/zero', which is a device"):
        custom(tmp_path / "list.csv")
    (tmp_path / "list.csv").write_text("path,label\n1.png,a\n2.png,b\n")
    read = custom(tmp_path / "list.csv").read
    with pytest.raises(ValueError, match="is a device, not a file"):
        read("/dev/zero")
    monkeypatch.setattr("kdnb.data.sources.MAX_IMAGE_BYTES", 5)
    with pytest.raises(ValueError, match="larger than"):
        read("/proc/self/status")  # its size is 0 until it is read


def test_a_csv_may_lead_out_of_its_folder_and_says_so(tmp_path):
    (tmp_path / "lists").mkdir()
    (tmp_path / "1.png").write_bytes(PNG)
    text = f"path,label\n../1.png,a\n{tmp_path}/lists/2.png,b\n"
    (tmp_path / "lists" / "list.csv").write_text(text)
    source = custom(tmp_path / "lists" / "list.csv")
    assert source.read("../1.png") == PNG
    [note] = source.notes
    assert (
        note == "1 of 2 images lie outside of the CSV's folder, and are read from there: ../1.png"
    )


def test_spellings_in_a_csv_are_one_class(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("path,label\n1.png,No Tumor\n2.png,no_tumor\n3.png,no_tumor\n4.png,ill\n")
    source = custom(path)
    assert [entry.label for entry in source.entries] == ["no_tumor"] * 3 + ["ill"]
    assert source.notes == (
        "spellings taken as one class, 'no_tumor': 'No Tumor' (1), 'no_tumor' (2)",
    )
    path.write_text("path,label\na.png,a\n./a.png,b\n")
    with pytest.raises(UserError, match="line 3 .*second time"):
        custom(path)
