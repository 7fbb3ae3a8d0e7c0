"""The page of one image: what its answer is worth, the channels it names, and a mask."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from PIL import Image

from kdnb.core.errors import UserError
from kdnb.data.study_images import StudyImages
from kdnb.feature_maps.layer_analysis import LayerAnalysis, analyse_layers
from kdnb.widgets.image_page import write_image_page
from kdnb.widgets.image_worth import find_images, seen_before, student_worth


@pytest.fixture(scope="module")
def reading(study):
    return analyse_layers(study)


def test_a_page_says_what_its_answer_is_worth(study, reading):
    worth = student_worth(reading, find_images(reading, study.settings))
    accuracy = (study.test_logits("KD student").argmax(1) == study.test_targets).mean()
    assert f"right in {accuracy:.3f}" in worth and f"{study.memory_alone:.3f}" in worth
    assert "is not known here" in student_worth(reading, None)


def test_other_images_than_the_student_s_are_not_taken_for_them(study, reading):
    changed = LayerAnalysis(reading.run)
    changed.facts["settings"]["seed"] += 1  # of the same classes
    assert find_images(changed, study.settings) is None


def test_whether_the_student_knew_an_image_is_said(study, reading, tmp_path):
    images = find_images(reading, study.settings)
    table = images.image_set.table
    learned = int(np.flatnonzero(table["part"] == "train")[0])
    of_64 = StudyImages(study.settings.model_copy(update={"image_size": 64}))
    pixels = np.array(of_64.pixels(np.array([learned]))[0])
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    said = {}
    for name, content in {"mirrored": pixels[:, ::-1], "new": noise}.items():
        Image.fromarray(np.ascontiguousarray(content)).save(tmp_path / f"{name}.png")
        said[name] = seen_before(images, (tmp_path / f"{name}.png").read_bytes(), {})
    assert "has a twin" in said["mirrored"] and "in the part 'train'" in said["mirrored"]
    assert "No image of the data set phantom_brain is the same, or a near copy" in said["new"]
    table.loc[table.index[learned], "sha256"] = hashlib.sha256(b"these bytes").hexdigest()
    assert "This image is in the data set, in the part 'train'" in seen_before(
        images, b"these bytes", {}
    )
    assert "is not known" in seen_before(None, b"", {})


@pytest.mark.slow
def test_a_page_shows_the_channels_that_it_names_and_takes_a_mask(study, reading, tmp_path):
    row = study.sample(1)[0]
    Image.fromarray(np.array(study.image_set.pixels[row])).save(tmp_path / "scan.png")
    mask = np.zeros((64, 64), np.uint8)
    mask[20:40, 20:40] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    page = tmp_path / "page.html"
    report = write_image_page(
        reading, tmp_path / "scan.png", page, study.settings, tmp_path / "mask.png"
    )
    said = page.read_text()
    for tap, named in zip(report.table["tap"], report.table["strongest"], strict=True):
        for channel in named.split():
            assert f'alt="Layer {tap}, channel {channel}: ' in said
    assert "not for clinical use" in report.sentences[0] and report.sentences[0] in said
    assert "lies inside the outline, which covers 9.8% of the image" in " ".join(report.sentences)
    answer = said.partition("What it is worth")[0]
    assert 'alt="The image as the student sees it, 32 × 32 px"' in answer
    shown, _, folded = said.partition("<details>")
    assert "<th>bias</th>" in shown and "<th>together</th>" in shown
    assert "inside the mask" in shown and "untrained_accuracy" not in shown
    assert "untrained_accuracy" in folded


@pytest.mark.parametrize(
    ("shape", "value", "reason"),
    [
        ((32, 16), 255, "has 16 x 32 px, the image 32 x 32"),
        ((32, 32), 0, "nothing is inside"),
        ((32, 32), 255, "marks the whole image"),
        (None, 0, "No such file"),
        (None, "device", "is a device, not a file"),
    ],
)
def test_a_mask_that_cannot_be_used_is_one_line(shape, value, reason, study, reading, tmp_path):
    Image.fromarray(np.array(study.image_set.pixels[0])).save(tmp_path / "scan.png")
    path = "/dev/zero" if value == "device" else tmp_path / "mask.png"
    if shape:
        Image.fromarray(np.full(shape, value, np.uint8)).save(path)
    with pytest.raises(UserError, match=f"cannot be used as a mask .*{reason}") as caught:
        write_image_page(reading, tmp_path / "scan.png", tmp_path / "x", study.settings, path)
    assert "\n" not in str(caught.value) and not (tmp_path / "x").exists()
