"""The masks of the published brain set, taken from its originals, where both archives are there."""

import os
from pathlib import Path

import numpy as np
import pytest

from kdnb.core.settings import Settings
from kdnb.data.dataset import load, match_with_originals
from kdnb.data.decode import decode
from kdnb.data.origins import turned_back
from kdnb.data.registry import open_source, registered

HOME = Path(os.environ.get("KDNB_DATA") or "none")
SETS = ("brain_tumor", "figshare_brain")
SIZE = 224  # px at which a shift is measured
SAMPLED = int(os.environ.get("KDNB_SAMPLED") or 300)  # images; 4750 are all


@pytest.fixture(scope="module")
def brain(tmp_path_factory):
    """The brain set by patients at 64 px with its masks, and settings that find its runs."""
    if not all((HOME / registered()[name]["archive"]).is_file() for name in SETS):
        pytest.skip(f"needs the archives of {' and '.join(SETS)} in the folder KDNB_DATA")
    runs = os.environ.get("KDNB_RUNS") or str(tmp_path_factory.mktemp("runs"))
    given = {"dataset": SETS[0], "image_size": 64, "runs_dir": runs, "split": "patients"}
    settings = Settings.checked(given)
    return load(settings), settings


@pytest.mark.archives
@pytest.mark.slow
def test_every_image_with_an_original_has_a_mask_and_two_of_one_original_agree(brain):
    found, _ = brain
    assert found.has_mask.sum() == 4750
    assert (found.has_mask == (found.table["origin"] != "")).all()
    assert any("4,750 of 7,019 images have a mask" in note for note in found.notes)
    backs = {}
    for row in np.flatnonzero(found.has_mask):
        about = found.table.iloc[row]
        back = turned_back(found.masks[[row]], about["orientation"])[0]
        backs.setdefault(about["origin"], []).append(back)
    pairs = [some for some in backs.values() if len(some) > 1]
    iou = [(some[0] & some[1]).sum() / (some[0] | some[1]).sum() for some in pairs]
    print(f"{len(pairs)} originals in two orientations: mean IoU {np.mean(iou):.4f}")
    assert len(pairs) == 1665 and np.mean(iou) >= 0.99


@pytest.mark.archives
@pytest.mark.slow
def test_an_image_lies_on_its_original_to_a_pixel(brain):
    found, settings = brain
    rows = np.flatnonzero(found.has_mask)
    rows = np.random.default_rng(0).permutation(rows)[:SAMPLED]
    source = open_source(settings)
    older = open_source(settings.model_copy(update={"dataset": SETS[1]}))
    place_of = {entry.image_id.lstrip("0"): entry.path for entry in older.entries}
    assert match_with_originals(settings).source == SETS[1]
    shifts = []
    for row in rows:
        about = found.table.iloc[row]
        image = grey(source.read(about["path"]))
        original = grey(older.read(place_of[about["origin"]]))
        shifts.append(shift(turned_back(image[None], about["orientation"])[0], original))
    worst = np.abs(shifts).max(axis=1)
    share = (worst <= 1).mean()
    print(f"{len(rows)} images: {share:.4f} at most 1 px away, the farthest {worst.max()} px")
    assert share >= 0.99


def grey(data):
    """(SIZE, SIZE) float of the bytes of an image."""
    squares, _, _ = decode(data, [SIZE])
    return squares[0].mean(axis=2)


def shift(image, other):
    """Rows and columns, px, by which one image (S, S) is shifted against another.

    By phase correlation: the peak of the inverse transform of the normalised cross spectrum.
    """
    cross = np.fft.fft2(image) * np.conj(np.fft.fft2(other))
    peaks = np.fft.ifft2(cross / np.maximum(np.abs(cross), 1e-9)).real
    place = np.array(np.unravel_index(peaks.argmax(), peaks.shape))
    return np.where(place > SIZE // 2, place - SIZE, place)


def test_the_shift_of_a_shifted_image_is_found():
    image = np.random.default_rng(0).random((SIZE, SIZE))
    assert shift(np.roll(image, (3, -2), (0, 1)), image).tolist() == [3, -2]
    assert shift(image, image).tolist() == [0, 0]
