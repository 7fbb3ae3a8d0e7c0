"""Archives, folders and CSVs: what comes in, and what is refused with one clear line."""

import io
import struct
import sys
import time
import types
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from kdnb.core.errors import UserError
from kdnb.core.runs import digest
from kdnb.core.settings import Settings
from kdnb.data import phantoms, sources
from kdnb.data.class_folders import Entry, entries_digest
from kdnb.data.registry import download, open_source, registered
from kdnb.data.sources import digest_of_stats, file_hash

BRAIN = registered()["brain_tumor"]


def jpeg(grey=100):
    file = io.BytesIO()
    Image.new("L", (8, 8), grey).save(file, "JPEG")
    return file.getvalue()


def make_zip(path, names, data=b"x", **kwargs):
    with zipfile.ZipFile(path, "w", **kwargs) as archive:
        for name in names:
            archive.writestr(name, data)
    return path


def make_folder(path, names, data=b"x"):
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).mkdir() if name.endswith("/") else (path / name).write_bytes(data)
    return path


def custom(path, **others):
    return open_source(Settings.checked({"dataset": "custom", "data": str(path)} | others))


BOTH = pytest.mark.parametrize("make", [make_zip, make_folder])


@BOTH
def test_class_folders_below_published_parts(tmp_path, make):
    names = [
        "my set/Training/a b/1.JPG",
        "my set/Training/größe/2.Png",
        "my set/Testing/a b/3.tiff",
        "my set/Training/病/4.jpeg",
        "my set/validation/病/4.jpeg",
        "my set/Training/a b/deeper/5.bmp",
        "my set/Training/a b/notes.txt",
    ]
    junk = [
        "__MACOSX/my set/._1.jpg",
        "my set/.DS_Store",
        "my set/Training/a b/.ipynb_checkpoints/1.jpg",
        "my set/Training/a b/Thumbs.db",
    ]
    found = custom(make(tmp_path / "set.zip", names + junk)).entries
    told = {entry.image_id: (entry.label, entry.published_split) for entry in found}
    assert told == {
        "Training/a b/1.JPG": ("a b", "train"),
        "Training/größe/2.Png": ("größe", "train"),
        "Testing/a b/3.tiff": ("a b", "test"),
        "Training/病/4.jpeg": ("病", "train"),
        "validation/病/4.jpeg": ("病", "val"),
        "Training/a b/deeper/5.bmp": ("a b", "train"),
    }


def test_a_registered_set_is_known_by_its_layout(tmp_path):
    names = [
        f"copy of/Brain {part}/{part}/{name}/x.jpg"
        for part in ("Training", "Testing")
        for name in ("Glioma", "meningioma", "no tumor", "PITUITARY")
    ]
    found = sources.zip_source(
        make_zip(tmp_path / "any name.zip", [*names, "readme/x.jpg"]), BRAIN
    ).entries
    assert {entry.label for entry in found} == set(BRAIN["classes"])
    assert [entry.published_split for entry in found] == ["test"] * 4 + ["train"] * 4
    assert found[0].image_id == "Testing/Glioma/x.jpg"


def test_only_the_named_root_counts(tmp_path):
    known = registered()["alzheimer_augmented"]
    names = [
        f"{root}/{label}/{n}.jpg"
        for root in ("AugmentedAlzheimerDataset", "OriginalDataset")
        for label in known["classes"]
        for n in range(2)
    ]
    found = sources.zip_source(make_zip(tmp_path / "a.zip", names), known).entries
    assert len(found) == 8 and all("Augmented" in entry.path for entry in found)
    other = sources.zip_source(tmp_path / "a.zip", known | {"root": "OriginalDataset"}).identity
    assert other != sources.zip_source(tmp_path / "a.zip", known).identity, (
        "a corrected entry is another source"
    )


@BOTH
@pytest.mark.parametrize(
    "names, message",
    [
        (["a/x.txt"], "no images"),
        (
            ["Training/glioma/1.jpg", "Testing/meningioma/1.jpg"],
            "lacks the class folder notumor, pituitary: found glioma, meningioma;",
        ),
        (["cats/1.jpg"], "lacks the class folder glioma.* found cats"),
    ],
)
def test_registered_set_with_something_lacking(tmp_path, make, names, message):
    source = sources.zip_source if make is make_zip else sources.folder_source
    with pytest.raises(UserError, match=message):
        source(make(tmp_path / "set", names), BRAIN)


@BOTH
@pytest.mark.parametrize(
    "names, message",
    [
        (["a/1.jpg", "b/1.jpg", "c/"], "class folder 'c' .*is empty"),
        (
            ["train/a/1.jpg", "train/b/1.jpg", "test/a/1.jpg", "test/b/"],
            "class folder 'test/b' .*is empty",
        ),
        (["a/1.jpg", "b/1.jpg", "2.jpg"], "'2.jpg' .*lies in no class folder"),
        (["docs/readme.md"], "no images"),
    ],
)
def test_class_folders_with_something_wrong(tmp_path, make, names, message):
    with pytest.raises(UserError, match=message):
        custom(make(tmp_path / "set", names))


def not_a_zip(path):
    path.write_bytes(b"this is text")


def cut_short(path):
    make_zip(path, ["a/1.jpg", "b/1.jpg"], data=jpeg())
    path.write_bytes(path.read_bytes()[:-40])


def link(path):
    info = zipfile.ZipInfo("a/1.jpg")
    info.external_attr = 0o120777 << 16
    make_zip(path, [info, "b/1.jpg"], data="/etc/passwd")


def shortened(path):
    """The list of files names the first so long that it swallows the second."""
    data = bytearray(make_zip(path, ["a/1.jpg", "b/1.jpg", "c/1.jpg"]).read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 32 : at + 34] = struct.pack("<H", 46 + 7)  # the comment of the first
    path.write_bytes(data)


def locked(path):
    data = bytearray(make_zip(path, ["a/1.jpg", "b/1.jpg"]).read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 8 : at + 10] = struct.pack("<H", 1)
    path.write_bytes(data)


def bomb(path):
    make_zip(path, ["a/1.jpg", "b/1.jpg"], data=bytes(40 * 2**20), compression=zipfile.ZIP_DEFLATED)


@pytest.mark.parametrize(
    "make, message",
    [
        (not_a_zip, "is not a zip archive"),
        (cut_short, "cut short"),
        (shortened, "says that it holds 3 files, and 2 are found"),
        (link, "is a link"),
        (locked, "password"),
        (bomb, "zip bomb"),
        (lambda path: make_zip(path, ["a/1.jpg", "../b/1.jpg"]), "leads out of the archive"),
        (lambda path: make_zip(path, ["a/1.jpg", "b\\..\\..\\1.jpg"]), "leads out of the archive"),
        (lambda path: make_zip(path, ["a/1.jpg", "/b/1.jpg"]), "absolute path"),
        (lambda path: make_zip(path, ["a/1.jpg", "C:\\b\\1.jpg"]), "absolute path"),
        (lambda path: make_zip(path, ["a/1.jpg", "."]), "'.' in .* has no name"),
        (lambda path: make_zip(path, []), "no images"),
        (
            lambda path: make_zip(path, ["a/1.jpg", "b/1.jpg", "a\\1.jpg"]),
            "holds 'a/1.jpg' more than once: pack it again",
        ),
    ],
)
def test_unsafe_archives_are_refused(tmp_path, make, message):
    path = tmp_path / "set.zip"
    make(path)
    with pytest.raises(UserError, match=message) as caught:
        custom(path)
    assert "\n" not in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == ["set.zip"]


@pytest.mark.parametrize(
    ("name", "start"),
    [("set.tar.gz", b""), ("set.RAR", b""), ("set.7z", b"")]
    + [("set.zip", b"Rar!\x1a\x07"), ("set.zip", b"\x1f\x8b"), ("set.zip", bytes(257) + b"ustar")],
)
def test_an_archive_of_another_kind_is_to_be_unpacked(tmp_path, name, start):
    (tmp_path / name).write_bytes(start + bytes(100))
    with pytest.raises(UserError, match="another kind than zip: unpack it and name the folder"):
        custom(tmp_path / name)


@BOTH
def test_too_many_entries(tmp_path, make, monkeypatch):
    monkeypatch.setattr(sources, "MAX_ENTRIES", 50)
    with pytest.raises(UserError, match="over 50 files"):
        custom(make(tmp_path / "set", [f"{'ab'[i % 2]}/{i}.jpg" for i in range(51)]))


@pytest.mark.slow
def test_two_hundred_thousand_entries(tmp_path):
    with pytest.raises(UserError, match="over 200,000 files"):
        custom(
            make_zip(
                tmp_path / "set.zip", (f"{'ab'[i % 2]}/{i}.jpg" for i in range(200_001)), data=b""
            )
        )


@BOTH
def test_a_huge_image_is_not_read(tmp_path, make, monkeypatch):
    source = custom(make(tmp_path / "set", ["a/1.jpg", "b/1.jpg"]))
    monkeypatch.setattr(sources, "MAX_IMAGE_BYTES", 0)
    with pytest.raises(ValueError, match="larger than"):
        source.read("a/1.jpg")


def test_damaged_member_is_a_readable_reason(tmp_path):
    path = make_zip(tmp_path / "set.zip", ["a/1.jpg", "b/1.jpg"], data=b"y" * 100)
    path.write_bytes(path.read_bytes().replace(b"y" * 100, b"z" * 100, 1))
    with pytest.raises(ValueError, match="cannot be unpacked.*CRC"):
        custom(path).read("a/1.jpg")


def test_links_in_a_folder_are_counted_and_no_class_is_lost_by_one(tmp_path):
    make_folder(tmp_path / "elsewhere", ["c/1.jpg"])
    path = make_folder(tmp_path / "set", ["a/1.jpg", "b/1.jpg"])
    (path / "a" / "2.jpg").symlink_to(tmp_path / "elsewhere" / "c" / "1.jpg")
    found = custom(path)
    assert [entry.path for entry in found.entries] == ["a/1.jpg", "b/1.jpg"]
    assert found.notes == ("links are not followed, passed over: 1 (a/2.jpg)",)
    (path / "c").symlink_to(tmp_path / "elsewhere" / "c")
    with pytest.raises(UserError, match="class folder 'c' .* no image .*links, .*not followed: 1"):
        custom(path)


def test_identity_follows_the_content(tmp_path):
    path = make_folder(tmp_path / "set", ["a/1.jpg", "b/1.jpg"])
    before = custom(path).identity
    assert before == custom(path).identity
    (path / "a" / "1.jpg").write_bytes(b"longer")
    assert before != custom(path).identity


def test_csv(tmp_path):
    make_folder(tmp_path, ["one.jpg", "two.jpg"], data=b"bytes")
    text = "\ufeffpath,label,patient,split,more\n"
    text += "one.jpg,None, p1 ,Training,x\n"
    text += "sub/../two.jpg,NA,,val,x\n"
    (tmp_path / "list.CSV").write_text(text, encoding="utf-8")
    source = custom(tmp_path / "list.CSV")
    assert [entry[2:5] for entry in source.entries] == [("None", "train", "p1"), ("NA", "val", "")]
    told = "if it stands for an empty cell, remove these rows"
    assert f"1 of 2 images are of a class 'NA': {told}" in source.notes
    assert f"1 of 2 images are of a class 'None': {told}" in source.notes
    assert source.read("one.jpg") == b"bytes"
    (tmp_path / "list.CSV").write_text("path,label\none.jpg,cat,\n")  # a comma too many is no index
    assert custom(tmp_path / "list.CSV").entries[0].path == "one.jpg"


def csv_of_patients(tmp_path, names, column="patient", labels="ab"):
    """The source of images with these patients, in two classes in turn."""
    lines = [f"path,label,{column}"]
    for number, name in enumerate(names):
        lines.append(f"{number}.png,{labels[number % 2]},{name}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    return custom(tmp_path / "list.csv")


def test_a_word_for_unknown_is_no_patient(tmp_path):
    names = ["unknown", " N/A", "<NA>", "nan", "None", "null", "-", "?", "Unbekannt", "p1", "Naomi"]
    source = csv_of_patients(tmp_path, names)
    assert {entry.patient for entry in source.entries} == {"", "p1", "Naomi"}
    [note] = source.notes
    assert note.startswith("9 of 11 images name '-', '<NA>'") and "taken as unknown" in note
    as_before = csv_of_patients(tmp_path, ["", "p1"])
    path = tmp_path / "list.csv"
    rows = [f"{number}.png" for number in range(2)]
    assert as_before.identity == file_hash(path) + digest_of_stats(tmp_path, rows)
    assert as_before.notes == ()


@pytest.mark.parametrize("column", ["patient_id", "PatientID", "Patient", "subject", "case"])
def test_another_name_of_the_column_patient(tmp_path, column):
    source = csv_of_patients(tmp_path, ["p1", "p2"], column)
    assert [entry.patient for entry in source.entries] == ["p1", "p2"]
    assert source.notes == (f"the column '{column}' is taken as patient",)
    named = csv_of_patients(tmp_path, ["x,p1", "x,p2"], f"{column},patient")
    assert [entry.patient for entry in named.entries] == ["p1", "p2"]
    assert [note.split(";")[0] for note in named.notes] == [
        f"columns that are not used: '{column}'"
    ]


def write_list(folder, text):
    (folder / "list.csv").write_text(text)


def test_columns_are_known_in_any_spelling_and_others_are_named(tmp_path):
    rows = "Path, LABEL, Fold,Split,set\na.png,x,1,train,t\n\nb.png,y,2,test,t\n"
    write_list(tmp_path, rows)
    source = custom(tmp_path / "list.csv")
    assert [entry.fold for entry in source.entries] == ["1", "2"]
    assert [entry.published_split for entry in source.entries] == ["train", "test"]
    told = " ".join(source.notes)
    assert "the column ' Fold' is taken as fold" in told
    assert "columns that are not used: 'set'; accepted are path, label, patient" in told
    write_list(tmp_path, "path,Fold,label,fold\na.png,1,x,1\n")
    assert custom(tmp_path / "list.csv").notes[0].startswith("columns that are not used: 'Fold'")
    write_list(tmp_path, "path,Fold,label,FOLD\na.png,1,x,1\n")
    with pytest.raises(UserError, match="column fold more than once .Fold, FOLD."):
        custom(tmp_path / "list.csv")


def test_labels_that_are_numbers_are_written_in_one_way(tmp_path):
    write_list(tmp_path, "path,label\na.png,1\nb.png,1.0\nc.png,2\n")
    source = custom(tmp_path / "list.csv")
    assert [entry.label for entry in source.entries] == ["1", "1", "2"]
    assert source.notes[0].startswith("1 of 3 labels are whole numbers with a point: '1.0'")
    write_list(tmp_path, "path,label\na.png,01\nb.png,02\n")
    assert custom(tmp_path / "list.csv").notes == ()
    write_list(tmp_path, "path,label\na.png,1.0\nb.png,low\nc.png,2\n")
    assert [entry.label for entry in custom(tmp_path / "list.csv").entries] == ["1.0", "low", "2"]


def test_patients_that_are_numbers_are_written_in_one_way(tmp_path):
    write_list(tmp_path, "path,label,patient\na.png,x,1.0\nb.png,y,1\nc.png,x,\n")
    source = custom(tmp_path / "list.csv")
    assert [entry.patient for entry in source.entries] == ["1", "1", ""]
    told = "1 of 3 patients are whole numbers with a point: '1.0', taken as '1'"
    assert any(note.startswith(told) for note in source.notes)
    write_list(tmp_path, "path,label,patient\na.png,x,1.0\nb.png,y,P1\nc.png,x,2\n")
    assert [entry.patient for entry in custom(tmp_path / "list.csv").entries] == ["1.0", "P1", "2"]


def test_a_row_that_cannot_be_used_is_shown_with_its_line(tmp_path):
    rows = f"path,label\n\na.png,x\n\n{tmp_path}/a.png,y\n"
    write_list(tmp_path, rows)
    with pytest.raises(UserError, match="line 5 of .*second time .path '.*a.png', label 'y'"):
        custom(tmp_path / "list.csv")
    write_list(tmp_path, "path,label\na.png,NaN\nb.png,null\nc.png,<NA>\n")
    with pytest.raises(UserError, match="line 2 .*lacks a path or a label.*; 3 rows do"):
        custom(tmp_path / "list.csv")


def test_words_for_nothing_are_no_masks(tmp_path):
    write_list(tmp_path, "path,label,mask\na.png,x,nan\nb.png,y,None\n")
    source = custom(tmp_path / "list.csv")
    assert [entry.mask for entry in source.entries] == ["", ""]
    assert (
        "2 of 2 images name 'None', 'nan' as their mask, which is taken as unknown" in source.notes
    )


def test_two_columns_that_may_tell_the_patient_are_refused(tmp_path):
    with pytest.raises(UserError, match="columns subject_id, case, and each may tell the patient"):
        csv_of_patients(tmp_path, ["x,p1", "x,p2"], "subject_id,case")


def test_patients_that_may_be_none_are_named(tmp_path):
    singles = [f"p{number}" for number in range(8)]
    assert csv_of_patients(tmp_path, ["0"] * 4 + singles, labels="aa").notes == ()  # not 5 times 1
    [large, crossing] = csv_of_patients(tmp_path, ["0"] * 5 + singles).notes
    assert large.startswith("patient '0' holds 5 of 13 images")
    assert crossing.startswith("1 of 9 patients are in several classes ('0')")
    assert csv_of_patients(tmp_path, ["x"] * 9, labels="aa").notes == ()  # a small set
    assert len(csv_of_patients(tmp_path, ["x"] * 10, labels="aa").notes) == 1
    few = [name for name in "pqr" for _ in range(10)]
    assert csv_of_patients(tmp_path, few, labels="aa").notes == ()


def test_patients_of_nearly_the_same_name_are_named(tmp_path):
    [note] = csv_of_patients(tmp_path, ["1", "1.0", "P7", "p7", "10", "8"], labels="aa").notes
    assert note.startswith(
        "patients of nearly the same name: '1' and '1.0', 'P7' and 'p7'; if they"
    )


def test_paths_as_windows_writes_them(tmp_path):
    make_folder(tmp_path, ["a/1.jpg", "b/2.jpg", "b/2.png", "a\\b.jpg"], data=b"bytes")
    text = "path,label,mask\na\\1.jpg,cat,\nb\\2.jpg,dog,b\\2.png\na\\b.jpg,dog,\n"
    (tmp_path / "list.csv").write_text(text)
    source = custom(tmp_path / "list.csv")
    assert [entry.path for entry in source.entries] == ["a/1.jpg", "a\\b.jpg", "b/2.jpg"]
    assert source.entries[2].mask == "b/2.png" and source.read("a/1.jpg") == b"bytes"
    assert source.notes[0] == (
        "2 of 3 paths have backslashes, which are read as '/': a\\1.jpg, b\\2.jpg"
    )


def test_names_of_an_unknown_encoding_are_noted(tmp_path):
    path = make_zip(tmp_path / "set.zip", ["XX/1.png", "b/1.png"])
    path.write_bytes(path.read_bytes().replace(b"XX/", "正".encode("gbk") + b"/"))
    [note] = custom(path).notes
    assert note.startswith(
        "1 of 2 names in the archive do not tell their encoding, and are read as"
    )


def test_csv_with_folds_and_masks(tmp_path):
    text = "path,label,fold,mask\na.jpg,cat, 1 ,borders/a.png\nb.jpg,dog,2,\n"
    (tmp_path / "list.csv").write_text(text)
    make_folder(tmp_path, ["borders/a.png"], data=b"mask")
    source = custom(tmp_path / "list.csv")
    assert [(entry.fold, entry.mask) for entry in source.entries] == [
        ("1", "borders/a.png"),
        ("2", ""),
    ]
    assert source.read_mask("borders/a.png") == b"mask"
    (tmp_path / "borders" / "a.png").write_bytes(b"another")
    assert custom(tmp_path / "list.csv").identity != source.identity


def test_fields_that_only_some_sets_have_are_no_news_to_the_others():
    plain = [Entry("a", "a.jpg", "cat"), Entry("b", "b.jpg", "dog", patient="p")]
    of_before = [
        ["a", "a.jpg", "cat", "", "", "", "", ""],
        ["b", "b.jpg", "dog", "", "p", "", "", ""],
    ]
    assert entries_digest(plain) == digest(of_before)
    for change in ({"fold": "1"}, {"mask": "a.png"}):
        assert entries_digest([plain[0]._replace(**change), plain[1]]) != entries_digest(plain)


@BOTH
def test_masks_are_no_images_of_a_class(tmp_path, make):
    names = ["a/1.jpg", "a/1_mask.png", "a/1_mask.jpg", "b/2.png", "b/2_MASK.PNG", "b/3_mask.png"]
    source = custom(make(tmp_path / "set", names))
    assert {entry.path: entry.mask for entry in source.entries} == {
        "a/1.jpg": "a/1_mask.png",
        "b/2.png": "b/2_MASK.PNG",
    }
    assert source.notes == (
        "masks without an image beside them, which are left out: 1 (b/3_mask.png)",
        "files named as masks of the image beside them, which are left out: 1 (a/1_mask.jpg); "
        "one mask to an image counts, <name>_mask.png",
    )
    assert custom(make(tmp_path / "other", ["a/1.jpg", "b/1.jpg"])).notes == ()


def test_second_masks_are_no_images_and_are_counted(tmp_path):
    names = ["a/1 (0).png", "a/1 (0)_mask.png", "a/1 (0)_mask_1.png", "a/gt_1.png", "b/1_seg.png"]
    source = custom(make_folder(tmp_path / "set", names))
    assert [entry.path for entry in source.entries] == ["a/1 (0).png", "a/gt_1.png", "b/1_seg.png"]
    assert "which are left out: 1 (a/1 (0)_mask_1.png)" in source.notes[0]


def test_a_class_that_is_named_as_masks_are_is_noted(tmp_path):
    source = custom(make_folder(tmp_path / "set", ["one/1.png", "two/1.png", "masks/1.png"]))
    assert "the class 'masks' has the name of a folder of masks" in " ".join(source.notes)


def test_a_class_folder_of_masks_alone_is_empty(tmp_path):
    with pytest.raises(UserError, match="class folder 'c' .*is empty"):
        custom(make_folder(tmp_path / "set", ["a/1.jpg", "b/1.jpg", "c/1_mask.png"]))


@pytest.mark.parametrize(
    "text, message",
    [
        ("path;label\nx,1.jpg;a\n", "separates its columns by semicolons: save it with commas"),
        ("path\tlabel\nx.jpg\ta\n", "by tabs"),
        ("file,class\nx,a\n", "lacks the column path, label: found file, class"),
        ("path,label\nx.jpg,a\nx.jpg,b\n", "line 3 .*second time"),
        ("path,label\nx.jpg,\n", "line 2 .*lacks a path or a label"),
        ("path,label\nx.jpg,a,b\n", "row 2 .*has 3 fields, the header names 2"),
        ("path,label,split\nx.jpg,a,holdout\n", "line 2 .*split other than"),
        (
            "path,label,patient,fold\nx.jpg,a,p,1\ny.jpg,a,,2\nz.jpg,a,p,2\n",
            "patient 'p' in fold '1' and in fold '2': a fold keeps patients apart",
        ),
        ("path,path,label\nx.jpg,y.jpg,a\n", "names the column path more than once"),
        ("", "no readable CSV"),
        ("path,label\n\xff\xfe,a\n", "no readable CSV"),
    ],
)
def test_csv_with_something_wrong(tmp_path, text, message):
    path = tmp_path / "list.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=message):
        custom(path)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"dataset": "brain_tumour"}, "'brain_tumour' is not known: accepted are phantom_brain"),
        ({"dataset": "custom"}, "dataset 'custom' needs data: give the path"),
        ({"data": "my.zip"}, "'phantom_brain' takes no data, got 'my.zip'"),
        ({"dataset": "custom", "data": "/no/such/place"}, "'/no/such/place' does not exist"),
        (
            {"dataset": "eye_disease"},
            "'eye-diseases-classification.zip' .*not in .*gunavenkatdoddi/.*DATA=path",
        ),
    ],
)
def test_where_there_is_nothing(tmp_path, monkeypatch, settings, message):
    monkeypatch.setenv("KDNB_DATA", str(tmp_path))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=message):
        open_source(Settings.checked(settings))


def test_a_registered_set_is_found_in_the_data_folder(tmp_path, monkeypatch):
    names = [f"Training/{name}/x.jpg" for name in BRAIN["classes"]]
    monkeypatch.setenv("KDNB_DATA", str(tmp_path))
    make_zip(tmp_path / BRAIN["archive"], names)
    assert len(open_source(Settings.checked({"dataset": "brain_tumor"})).entries) == 4


def test_a_relative_data_folder_is_seen_from_the_project(tmp_path, monkeypatch):
    (tmp_path / "project" / "notebooks").mkdir(parents=True)
    (tmp_path / "archives").mkdir()
    make_zip(
        tmp_path / "archives" / BRAIN["archive"],
        [f"Training/{name}/x.jpg" for name in BRAIN["classes"]],
    )
    monkeypatch.setenv("KDNB_ROOT", str(tmp_path / "project"))
    for folder, home in (
        ("project/notebooks", "../archives"),
        ("project", "../archives"),
        ("archives", "."),
    ):
        monkeypatch.chdir(tmp_path / folder)
        monkeypatch.setenv("KDNB_DATA", home)
        assert len(open_source(Settings.checked({"dataset": "brain_tumor"})).entries) == 4


def test_download_with_the_users_own_token(tmp_path, monkeypatch):
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    monkeypatch.delenv("KDNB_DATA", raising=False)
    handle = BRAIN["kaggle"]
    folder = tmp_path / "datasets" / handle / "versions" / "2"
    fetch = lambda name: str(make_folder(folder, [f"Testing/{c}/x.jpg" for c in BRAIN["classes"]]))  # noqa: E731
    monkeypatch.setitem(sys.modules, "kagglehub", types.SimpleNamespace(dataset_download=fetch))
    assert download("brain_tumor") == folder
    assert len(open_source(Settings.checked({"dataset": "brain_tumor"})).entries) == 4
    monkeypatch.setitem(
        sys.modules, "kagglehub", types.SimpleNamespace(dataset_download=lambda name: 1 / 0)
    )
    with pytest.raises(UserError, match="check your Kaggle token"):
        download("brain_tumor")
    with pytest.raises(UserError, match="'custom' cannot be downloaded: accepted are brain_tumor"):
        download("custom")
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(UserError, match="pip install kagglehub"):
        download("brain_tumor")


def test_reasons_are_short(tmp_path):
    path = make_zip(tmp_path / "set.zip", ["a/1.jpg", "b/1.jpg"], data=b"y" * 3000)
    data = bytearray(path.read_bytes())
    data[26:28] = struct.pack("<H", 3000)  # how long the name is: zipfile's message repeats it
    path.write_bytes(data)
    with pytest.raises(ValueError, match="cannot be unpacked .File name in directory") as caught:
        custom(path).read("a/1.jpg")
    assert len(str(caught.value)) < 300


def test_threads_that_read_phantoms_draw_them_once(monkeypatch):
    drawn = []
    render_all = phantoms.render_all

    def slowly(plan, size):
        drawn.append(size)
        time.sleep(0.05)  # time for the others to ask, too
        return render_all(plan, size)

    monkeypatch.setattr(phantoms, "render_all", slowly)
    source = sources.phantom_source(phantoms.PhantomPlan("fundus", 24, 1, 0))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(source.read, [entry.path for entry in source.entries]))
    assert drawn == [64]


def test_a_list_that_is_no_csv_is_told_so(tmp_path):
    (tmp_path / "list.tsv").write_text("path\tlabel\n")
    with pytest.raises(UserError, match="named .tsv: a list of images must be a .csv"):
        custom(tmp_path / "list.tsv")
