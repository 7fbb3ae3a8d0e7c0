"""Pixels of more than 8 bits: one range for a data set, a window, what is refused or noted."""

import io
import struct
import zlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kdnb.core.errors import UserError
from kdnb.core.settings import Settings
from kdnb.data.dataset import load
from kdnb.data.decode import COLOUR, FLOAT, FULL, GREY, SIGNED, WIDE, decode
from kdnb.data.reading import read_images
from kdnb.widgets.image_page import _pixels

RAMP = np.tile(np.linspace(0, 1, 64), (64, 1))
FORMATS = {"u": 1, "i": 2, "f": 3}


def tiff(values, **tags):
    """A TIFF file of one strip; ``tags`` are those of `TAGS`, by name."""
    values = np.asarray(values)
    height, width = values.shape
    told = {
        256: width,
        257: height,
        258: 8 * values.itemsize,
        259: 1,
        262: tags.get("photometric", 1),
        273: 8,
        274: tags.get("orientation", 1),
        277: 1,
        278: height,
        279: values.nbytes,
        281: tags.get("largest", 0),
        339: FORMATS[values.dtype.kind],
    }
    told = {tag: value for tag, value in told.items() if value}
    if tags.get("photometric") == 0:
        told[262] = 0
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, told[tag]) for tag in sorted(told))
    start = 8 + values.nbytes
    body = values.astype(values.dtype.newbyteorder("<")).tobytes()
    return (
        b"II*\0"
        + struct.pack("<I", start)
        + body
        + struct.pack("<H", len(told))
        + entries
        + b"\0" * 4
    )


def png(values):
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


def ramp(top, kind=np.uint16, low=0):
    """A ramp from low to top, (64, 64)."""
    return np.rint(low + RAMP * (top - low)).astype(kind)


def deep_set(folder, make, count=8, ending="tif"):
    """Two classes of `count` files each; make(number) → bytes."""
    for label, first in (("cat", 0), ("dog", count)):
        (folder / label).mkdir(parents=True)
        for number in range(first, first + count):
            (folder / label / f"{number}.{ending}").write_bytes(make(number))
    return folder


def loaded(tmp_path, **others):
    values = {"dataset": "custom", "data": str(tmp_path / "set"), "image_size": 64}
    return load(Settings.checked(values | {"runs_dir": str(tmp_path / "runs")} | others))


def noisy(number, top, kind=np.uint16):
    """A ramp with dots of its own, so that no image is a copy; its brightest value is `top`."""
    values = (RAMP * top).astype(kind)
    dots = np.random.default_rng(number).integers(0, 64, (200, 2))
    values[tuple(dots.T)] = 0
    return values


@pytest.mark.parametrize(
    ("top", "largest", "white"),
    [(4000, 0, 4095), (1000, 0, 1023), (900, 4095, 4095), (60000, 0, 65535)],
)
def test_sixteen_bit_files_have_one_range_for_the_whole_set(tmp_path, top, largest, white):
    # every image but one is dark: an own range for each would make them all bright
    tops = [top] + [top // 4] * 15
    deep_set(tmp_path / "set", lambda n: tiff(noisy(n, tops[n]), largest=largest))
    found = loaded(tmp_path)
    assert found.ranges == {GREY: [0, white]}
    brightest = found.pixels.max(axis=(1, 2, 3)).astype(float)
    np.testing.assert_allclose(sorted(brightest)[-1], top / white * 255, atol=1)
    np.testing.assert_allclose(sorted(brightest)[:-1], top // 4 / white * 255, atol=1)
    assert any(f"0 is black and {white:,} is white" in note for note in found.notes)
    smaller = loaded(tmp_path, image_size=32)
    assert abs(int(smaller.pixels.max()) - top / white * 255) < 6, "other sizes, too"


def test_floats_reach_to_one_or_to_the_largest_value_of_the_set(tmp_path):
    for name, top, white in (("unit", 0.8, 1.0), ("more", 700.0, 700.0)):
        folder = tmp_path / name
        deep_set(folder / "set", lambda n, top=top: tiff(noisy(n, top, np.float32)))
        found = loaded(folder)
        assert found.ranges[FLOAT] == pytest.approx([0, white])
        assert abs(int(found.pixels.max()) - 255 * top / white) < 2


@pytest.mark.parametrize(
    ("kind", "values"),
    [(SIGNED, ramp(3071, np.int16, -1024)), (WIDE, ramp(2**20, np.uint32))],
)
def test_what_nobody_can_guess_needs_a_window(tmp_path, kind, values):
    def make(number):
        mine = values.copy()
        mine[number, ::2] = values.min()
        return tiff(mine)

    deep_set(tmp_path / "set", make)
    with pytest.raises(UserError, match=rf"{kind}.*set window to two numbers, such as window=\["):
        loaded(tmp_path)
    low, high = float(values[0, 16]), float(values[0, 48])
    found = loaded(tmp_path, window=[low, high])
    assert found.ranges == {kind: [low, high]}
    row = found.pixels[0, 60, :, 0]
    assert row[10] == 0 and row[50] == 255 and abs(int(row[32]) - 127) < 4
    other = loaded(tmp_path, window=[low, high + 1])
    assert other.hash != found.hash and other.table.equals(found.table)


def test_sets_of_eight_bits_take_no_window_and_keep_their_hash(tmp_path):
    deep_set(tmp_path / "set", lambda n: png(noisy(n, 255, np.uint8)), ending="png")
    with pytest.raises(UserError, match=r"window is \[0.0, 5.0\].*no image of 16 or 32 bits"):
        loaded(tmp_path, window=[0, 5])
    found = loaded(tmp_path)
    assert found.ranges == {} and not any("bits" in note for note in found.notes)


def png_of_16_bit_colours(top):
    """A grey ramp to `top` as a PNG of colour type 2 and depth 16, which Pillow does not write."""
    rows = np.repeat(ramp(top).astype(">u2")[..., None], 3, axis=2).reshape(64, -1)
    body = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", 64, 64, 16, 2, 0, 0, 0)
    file = b"\x89PNG\r\n\x1a\n"
    for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(body)), (b"IEND", b"")):
        file += struct.pack(">I", len(data)) + name + data
        file += struct.pack(">I", zlib.crc32(name + data))
    return file


def test_colours_of_16_bits_that_hold_12_are_refused():
    pixels = np.zeros((1, 64, 64, 3), np.uint8)
    full = png_of_16_bit_colours(65535)
    dark = png_of_16_bit_colours(4095)
    paths = pd.Series(["a.png"])
    read = read_images(lambda path: full, "set", paths, [pixels])
    assert read.ranges == {COLOUR: (0, 65535)} and pixels.max() == 255
    with pytest.raises(UserError, match="12 bits are used: they would be almost black"):
        read_images(lambda path: dark, "set", paths, [pixels])


def test_minimum_is_white_in_8_and_in_16_bits():
    for values in (ramp(65535), ramp(255, np.uint8)):
        [plain], _, _ = decode(tiff(values), [64], FULL)
        [turned], _, _ = decode(tiff(values, photometric=0), [64], FULL)
        np.testing.assert_array_equal(turned, 255 - plain)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_tiff_orientation_turns_pixels_and_sides(orientation, kind):
    values = np.zeros((32, 64), kind)
    values[:8, :40] = np.iinfo(kind).max
    upright = {
        1: values,
        2: values[:, ::-1],
        3: values[::-1, ::-1],
        4: values[::-1],
        5: values.T,
        6: np.rot90(values, -1),
        7: values[::-1, ::-1].T,
        8: np.rot90(values),
    }[orientation]
    [pixels], width, height = decode(tiff(values, orientation=orientation), [32], FULL)
    [wanted], _, _ = decode(tiff(np.ascontiguousarray(upright)), [32], FULL)
    assert (height, width) == upright.shape
    np.testing.assert_array_equal(pixels, wanted)


def test_a_note_names_files_of_several_pages(tmp_path):
    def make(number):
        pages = [Image.fromarray(noisy(number, 255, np.uint8)), Image.new("L", (64, 64))]
        file = io.BytesIO()
        pages[0].save(file, "TIFF", save_all=True, append_images=pages[1:] if number < 3 else [])
        return file.getvalue()

    deep_set(tmp_path / "set", make)
    notes = [note for note in loaded(tmp_path).notes if "several pages" in note]
    assert len(notes) == 1 and notes[0].startswith("3 of 16 files hold several pages")


def test_images_that_show_nothing_are_counted_and_a_set_of_them_is_refused(tmp_path):
    deep_set(
        tmp_path / "set",
        lambda number: png(noisy(number, 200 * (number > 1), np.uint8)),
        ending="png",
    )
    [note] = [note for note in loaded(tmp_path).notes if "one colour" in note]
    assert note.startswith("2 of 16 images are one colour from edge to edge, and show nothing: ")
    deep_set(tmp_path / "blank", lambda number: png(np.full((64, 64), 9, np.uint8)), ending="png")
    with pytest.raises(UserError, match="all 16 images in .* are the same one colour"):
        loaded(tmp_path, data=str(tmp_path / "blank"))


def test_one_hot_pixel_that_makes_all_others_black_is_told(tmp_path):
    def image(number):
        values = noisy(number, 1000)
        if number == 3:
            values[5, 5] = 65535
        return tiff(values)

    deep_set(tmp_path / "set", image)
    assert any("come out nearly black: their brightest" in note for note in loaded(tmp_path).notes)
    with_window = loaded(tmp_path, window=[0, 1000]).notes
    assert not any("nearly black" in note for note in with_window)


def test_one_image_is_explained_in_the_range_of_the_training_images(capsys):
    facts = {"image_size": 64, "ranges": {GREY: [0, 4095]}}
    pixels, sides = _pixels(tiff(ramp(2047)), facts)
    assert pixels.shape == (1, 64, 64, 3) and sides == ramp(2047).shape
    assert abs(int(pixels.max()) - 127) <= 2
    _pixels(tiff(ramp(9000)), facts)
    assert "values from 0 to 9,000 are clipped to 0 and 4,095" in capsys.readouterr().out
    with pytest.raises(ValueError, match="16-bit integers, those that the student learned from"):
        _pixels(tiff(ramp(2047)), {"image_size": 64})


@pytest.mark.parametrize("window", [[1], [2, 1], [1, 1], [0, float("nan")], [0, 1, 2], "x"])
def test_a_window_is_two_numbers_the_low_one_first(window):
    with pytest.raises(UserError, match="window must be a list of two numbers"):
        Settings.checked({"window": window})
    assert Settings.checked({"window": [-160, 240]}).window == [-160, 240]
