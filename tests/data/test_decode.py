"""Every kind of image file to RGB squares, and a reason for each that cannot be read."""

import io

import numpy as np
import pytest
from PIL import Image

from kdnb.core.settings import Settings
from kdnb.data import decode as module
from kdnb.data.decode import decode


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def photo(width=96, height=64):
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(
        np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], -1).astype(np.uint8)
    )


def palette():
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    return image


SIXTEEN = Image.fromarray(np.full((8, 8), 128 * 257, np.uint16))
FRAMES = [Image.new("RGB", (8, 8), colour) for colour in ((255, 0, 0), (0, 0, 255))]


@pytest.mark.parametrize(
    "data, colour",
    [
        (encoded(Image.new("L", (8, 8), 70), "PNG"), (70, 70, 70)),
        (encoded(Image.new("LA", (8, 8), (200, 128)), "PNG"), (100, 100, 100)),
        (encoded(Image.new("1", (8, 8), 1), "PNG"), (255, 255, 255)),
        (encoded(Image.new("RGBA", (8, 8), (200, 100, 50, 128)), "PNG"), (100, 50, 25)),
        (encoded(palette(), "PNG"), (200, 100, 50)),
        (encoded(palette(), "PNG", transparency=1), (0, 0, 0)),
        (encoded(SIXTEEN, "PNG"), (128, 128, 128)),
        (encoded(SIXTEEN, "TIFF"), (128, 128, 128)),
        (encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"), (255, 0, 0)),
        (encoded(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:]), (255, 0, 0)),
        (encoded(Image.new("RGB", (8, 8), (9, 8, 7)), "BMP"), (9, 8, 7)),
        (encoded(Image.new("RGB", (8, 8), (9, 8, 7)), "WEBP", lossless=True), (9, 8, 7)),
    ],
)
def test_every_mode_becomes_rgb(data, colour):
    [pixels], width, height = decode(data, [4])
    assert pixels.shape == (4, 4, 3) and pixels.dtype == np.uint8 and (width, height) == (8, 8)
    assert np.abs(pixels.astype(int) - colour).max() <= 2


@pytest.mark.parametrize("turn, transpose", [(1, None), (3, 3), (6, 4), (8, 2)])
def test_exif_rotation(turn, transpose):
    exif = Image.Exif()
    exif[0x0112] = turn
    [pixels], width, height = decode(encoded(photo(), "PNG", exif=exif), [32])
    upright = photo() if transpose is None else photo().transpose(Image.Transpose(transpose))
    assert (width, height) == upright.size
    np.testing.assert_array_equal(pixels, decode(encoded(upright, "PNG"), [32])[0][0])


@pytest.mark.slow
def test_reduced_decoding_of_a_large_jpeg_looks_the_same():
    large = photo(4096, 3072)
    [pixels], width, height = decode(encoded(large, "JPEG", quality=95), [32])
    whole = np.asarray(large.resize((32, 32), Image.Resampling.BILINEAR)).astype(int)
    assert (width, height) == (4096, 3072)
    assert np.abs(pixels[..., :2] - whole[..., :2]).mean() < 2


@pytest.mark.slow
def test_the_reduced_scale_is_the_same_for_every_size(monkeypatch):
    drafted = []

    whole = module._rgb
    monkeypatch.setattr(module, "_rgb", lambda image: drafted.append(image.size) or whole(image))
    data = encoded(photo(4096, 3072), "JPEG")
    for sizes in ([64], [512], [64, 512]):
        decode(data, sizes)
    assert drafted == [(2048, 1536)] * 3
    largest = max(getattr(limit, "le", 0) for limit in Settings.model_fields["image_size"].metadata)
    assert 2 * largest == module.DRAFT


def test_a_square_does_not_depend_on_the_other_sizes():
    noise = np.random.default_rng(0).integers(0, 256, (1500, 1500, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), "JPEG")
    [base], _, _ = decode(data, [64])
    [wanted], _, _ = decode(data, [512])
    both, _, _ = decode(data, [64, 512])
    np.testing.assert_array_equal(base, both[0])
    np.testing.assert_array_equal(wanted, both[1])


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"", "empty file"),
        (b"just some text", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not an image"),
        (encoded(photo(), "JPEG")[:-200], "truncated"),
        (encoded(photo(), "PNG")[:100], "truncated|broken|incomplete"),
        (encoded(photo(), "JPEG")[:30], "."),
        (
            encoded(Image.new("F", (4, 4), 0.5), "TIFF"),
            "floating-point numbers: accepted are 8 and 16 bits",
        ),
    ],
)
def test_broken_files_have_a_reason(data, reason):
    with pytest.raises(ValueError, match=reason):
        decode(data, [16])


def test_too_many_pixels(monkeypatch):
    monkeypatch.setattr(module, "MAX_PIXELS", 100)
    with pytest.raises(ValueError, match="96 x 64 pixels"):
        decode(encoded(photo(), "PNG"), [16])
