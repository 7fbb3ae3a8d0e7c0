"""Random folders, archives and lists with planted truth: a right answer, or one clear line.

KDNB_FUZZ sets how many examples are tried.
"""

import contextlib
import csv
import io
import json
import os
import posixpath
import re
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st
from PIL import Image

from kdnb.core.errors import UserError
from kdnb.core.settings import Settings
from kdnb.data.dataset import load
from kdnb.data.decode import decode
from kdnb.data.image_csv import NO_LABEL
from kdnb.data.names import class_key
from kdnb.data.registry import open_source

EXAMPLES = int(os.environ.get("KDNB_FUZZ", "100"))
SPELT = {
    "train": ("train", "Train", "TRAINING", "training_set", "seg_train", "train images"),
    "val": ("val", "Valid", "validation", "dev", "val_set"),
    "test": ("test", "Testing", "TEST", "test-set", "seg_test", "test data"),
}
ODD_NAMES = ("001", "1e5", "No Tumor", "a$b$", "<!--<script>", "'\"", "HER2+", "HER2-", "naïve 病")
ODDITIES = ("", "", "below", "above", "spelling", "extra", "doubled", "part", "lost", "twins")
UNKNOWN = ("", "unknown", " N/A", "-", "<NaN>")
PATIENTS = (*UNKNOWN, "p1", "001", "1e5", "Naomi")
COUNTED = re.compile(r"passed over: ([\d,]+)")


class Plan(NamedTuple):
    """A tree of files: path → what it is, and its class and part where it is an image."""

    files: dict[str, bytes]
    truth: dict[str, tuple[str, str]]
    links: tuple[str, ...]  # beside them, in a folder
    plain: bool  # nothing is odd: it must be read
    refused: bool  # a class would vanish: it must not be read


def png(number):
    data = io.BytesIO()
    colour = (number % 256, number // 256 % 256, 7)
    Image.new("RGB", (1 + number % 3, 1 + number % 2), colour).save(data, "PNG")
    return data.getvalue()


# in an archive a backslash may be the separator of Windows
alphabet = st.characters(blacklist_categories=["Cs"], blacklist_characters="/\0\\")
free_names = st.text(alphabet, min_size=1, max_size=8).filter(
    lambda name: name.strip(" _.") == name.strip() == name and len(name.encode()) < 100
)
class_names = st.one_of(st.sampled_from(ODD_NAMES), free_names)
# a class may not be called what programs write into an empty cell
labels_of_a_list = class_names.filter(lambda name: name.strip().casefold() not in NO_LABEL)


def below(draw, odd, label):
    """The folders of a class: its own, and those of patients below or above it."""
    if odd == "below":
        return [(label, f"p{number}") for number in draw(st.sets(st.integers(0, 9), min_size=1))]
    if odd == "above":  # each patient has each class: else nothing tells which are which
        return [(f"p{number}", label) for number in range(3)]
    return [(label,)]


@st.composite
def plans(draw):
    """Wrappers, parts, patients, classes, and what else lies there."""
    labels = draw(st.lists(class_names, min_size=2, max_size=4, unique_by=class_key))
    parts = draw(st.sampled_from([(), ("train", "test"), ("train", "val", "test")]))
    odd = draw(st.sampled_from(ODDITIES))
    top = draw(st.sampled_from(["", "", "data", "my set/v 2"]))
    inner = draw(st.sampled_from(["", "", "images", "again"]))
    count = draw(st.integers(1, 3))
    files, truth = {}, {}
    for part in parts or ("",):
        spelt = draw(st.sampled_from(SPELT[part])) if part else ""
        around = posixpath.join(top, spelt, spelt if inner == "again" else inner) if part else top
        for label in labels:
            shown = label
            if odd == "spelling" and part == "test":
                shown = label.upper().replace(" ", "_")
            for folders in below(draw, odd, shown):
                for number in range(count):
                    path = posixpath.join(around, *folders, f"{number}.png")
                    files[path] = png(len(files))
                    truth[path] = (class_key(shown), part)
    if odd == "doubled":
        for path in list(files):
            inside = path.removeprefix(f"{top}/")
            files[posixpath.join(top, "copy", inside)] = files[path]
    if odd == "extra":
        for label in labels:
            files[posixpath.join(top, "augmented", label, "0.png")] = png(len(files))
    if odd == "part":  # a part's name where a class is meant
        path = posixpath.join(top, "train", "0.png")
        files[path] = png(len(files))
        truth |= {} if parts else {path: ("train", "")}
    if odd == "lost":  # a class of files that are not read
        files[posixpath.join(around, "lost class", "0.dcm")] = b"x"
    if odd == "twins":
        for name in ("caf\u00e9.png", "cafe\u0301.png"):
            files[posixpath.join(around, labels[0], name)] = png(len(files))
            truth[posixpath.join(around, labels[0], name)] = (class_key(labels[0]), part)
    upper = [class_key(label.upper().replace(" ", "_")) for label in labels]
    assume(odd != "spelling" or upper == [class_key(label) for label in labels])
    strays = draw(st.lists(st.sampled_from(sorted(STRAYS)), max_size=3, unique=True))
    links = []
    for kind in strays:
        place = draw(st.sampled_from(sorted({posixpath.dirname(path) for path in truth})))
        name = posixpath.join(place, STRAYS[kind][0])
        if kind == "link":
            links.append(name)
            continue
        files[name] = STRAYS[kind][1]
        if kind == "read":
            truth[name] = truth[next(path for path in truth if posixpath.dirname(path) == place)]
    plain = odd in ("", "twins", "spelling")
    return Plan(files, truth, tuple(links), plain, refused=odd == "lost")


STRAYS = {
    "dicom": ("x.dcm", bytes(128) + b"DICM"),
    "text": ("notes.txt", b"text"),
    "hidden": (".old/1.png", png(1)),
    "archive": ("more.zip", b"PK"),
    "broken": ("odd.bin", b"\0"),
    "link": ("link.png", b""),
    "read": ("IM0001", png(999)),
}


def opened(path):
    return open_source(Settings.checked({"dataset": "custom", "data": str(path)}))


def write(files, folder, form):
    """The files as a folder or as a zip archive; its path."""
    if form == "zip":
        with zipfile.ZipFile(folder / "set.zip", "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return folder / "set.zip"
    for name, data in files.items():
        place = folder / "set" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    return folder / "set"


def check_manifest(source, path, runs):
    """All images of the source are in the manifest, with their notes."""
    values = {"dataset": "custom", "data": str(path), "runs_dir": str(runs), "split": "random"}
    with contextlib.suppress(UserError):  # too few images to split
        load(Settings.checked({**values, "image_size": 64}))
    [manifest] = runs.glob("manifest/*/manifest.csv")
    with manifest.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["image_id"], row["label"]) for row in rows] == [
        (entry.image_id, entry.label) for entry in source.entries
    ]
    notes = json.loads(manifest.with_name("summary.json").read_text())["notes"]
    assert set(source.notes) <= set(notes)


def check(source, plan, links):
    """Every image is in the right class and part, or counted in a note."""
    ids = [entry.image_id for entry in source.entries]
    assert len(set(ids)) == len(ids)
    spellings = {}
    parts_known = {part for _, part in plan.truth.values()}
    for entry in source.entries:
        label, part = plan.truth[entry.path]
        assert class_key(entry.label) == label
        assert spellings.setdefault(label, entry.label) == entry.label
        assert entry.published_split == part or len(parts_known) < 2
        decode(source.read(entry.path), [4])
    counted = sum(
        int(number.replace(",", "")) for note in source.notes for number in COUNTED.findall(note)
    )
    assert len(source.entries) == len(plan.truth)
    passed_over = len(plan.files) - len(source.entries) + (len(plan.links) if links else 0)
    assert counted == passed_over, source.notes


@pytest.mark.slow
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(plans(), st.sampled_from(["folder", "zip"]), st.integers(0, 7).map(lambda draw: draw == 0))
def test_a_tree_is_read_rightly_or_refused_in_one_line(plan, form, loaded):
    with tempfile.TemporaryDirectory() as folder:
        path = write(plan.files, Path(folder), form)
        for link in plan.links if form == "folder" else ():
            (path / link).symlink_to("/nowhere.png")
        try:
            source = opened(path)
        except UserError as error:
            event(re.sub(r"'[^']*'|\d+", "x", str(error))[:50])
            assert "\n" not in str(error) and not plan.plain, str(error)
            return
        event("read")
        assert not plan.refused
        check(source, plan, links=form == "folder")
        if loaded:
            check_manifest(source, path, Path(folder) / "runs")


@st.composite
def lists(draw):
    """A CSV: its text, class and patient of each image, and what is odd."""
    labels = draw(st.lists(labels_of_a_list, min_size=2, max_size=4, unique_by=class_key))
    odd = draw(st.sampled_from(["", "", "spelling", "twice", "device", "part", "empty", "up"]))
    rows, truth = [], {}
    for number in range(draw(st.integers(4, 12))):
        label = labels[number % len(labels)]
        path = f"f/{number}.png"
        patient = draw(st.sampled_from(PATIENTS))
        truth[path] = (class_key(label), "" if patient in UNKNOWN else patient)
        shown = label.replace(" ", "_") if odd == "spelling" and number % 2 else label
        split = draw(st.sampled_from(["", "train", "Valid", "TEST", "test_set"]))
        rows.append([path, shown, split, patient])
    spoilt = {
        "twice": ["./f/0.png", labels[0], "", ""],
        "device": ["/dev/zero", labels[0], "", ""],
        "part": ["f/99.png", labels[0], "holdout", ""],
        "empty": ["f/99.png", " ", "", ""],
    }
    if odd in spoilt:
        rows.append(spoilt[odd])
    if odd == "up":
        rows.append(["../elsewhere.png", labels[0], "", ""])
        truth["../elsewhere.png"] = (class_key(labels[0]), "")
    column = draw(st.sampled_from(["patient", "Patient ID", "subject"]))
    text = io.StringIO()
    csv.writer(text).writerows([["path", "label", "split", column], *rows])
    return text.getvalue(), truth, odd


@pytest.mark.slow
@settings(max_examples=EXAMPLES, deadline=None)
@given(lists(), st.sampled_from(["utf-8", "utf-8-sig"]))
def test_a_csv_is_read_rightly_or_refused_in_one_line(made, encoding):
    text, truth, odd = made
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "list.csv"
        path.write_text(text, encoding, newline="")
        try:
            source = opened(path)
        except UserError as error:
            assert odd not in ("", "spelling", "up") and "\n" not in str(error), str(error)
            return
    assert odd in ("", "spelling", "up")
    found = {entry.path: (class_key(entry.label), entry.patient) for entry in source.entries}
    assert found == truth
    classes = {label for label, _ in truth.values()}
    assert len({entry.label for entry in source.entries}) == len(classes)
    assert any("taken as unknown" in note for note in source.notes) == any(
        f",{word}\r\n" in text for word in filter(None, UNKNOWN)
    )
    assert len([note for note in source.notes if "outside of the CSV" in note]) == (odd == "up")
