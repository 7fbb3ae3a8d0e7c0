"""From the bytes of an image file to a small square of RGB pixels (01_data)."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageOps

from kdnb.data.file_kinds import DICOM_HELP

__all__ = ["COLOUR", "FLOAT", "FULL", "GREY", "SIGNED", "WIDE", "Sample", "decode", "describe"]

MAX_PIXELS = 64_000_000
DRAFT = 1024  # px, twice the largest image_size that the settings accept
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
PAGED = ("GIF", "TIFF", "WEBP")  # of these, the formats whose files may hold several images
JPEG_START = b"\xff\xd8"  # of the bytes of a JPEG, which has 8 bits and one page

# kinds of pixels with more than 8 bits, in the words of messages
GREY = "16-bit integers"
COLOUR = "16-bit colours"  # of which Pillow keeps the upper 8 bits
SIGNED = "signed integers"
WIDE = "32-bit integers"
FLOAT = "floating-point numbers"
FULL = {GREY: (0.0, 65535.0), COLOUR: (0.0, 65535.0)}  # kind → what becomes black and white

# tags of TIFF
WIDTH, HEIGHT, BITS, PHOTOMETRIC, LARGEST, SAMPLE_FORMAT = 256, 257, 258, 262, 281, 339


class Sample(NamedTuple):
    """What the pixels of one image are."""

    kind: str = ""  #: one of the kinds above, "" for 8 bits
    low: float = 0.0  #: smallest value; of 8 bits nobody asks
    high: float = 0.0  #: largest value
    declared: float = 0.0  #: the largest value that the file says it may hold; 0 where it does not
    inverted: bool = False  #: whether its lowest value is white
    pages: int = 1  #: in the file, of which the first is read


def decode(
    data: bytes, sizes: Sequence[int], ranges: Mapping[str, Sequence[float]] = FULL
) -> tuple[list[np.ndarray], int, int]:
    """Squares of one image, all made from one decoding of its file.

    The image is turned as the EXIF says and stretched to a square. Grey, palette and CMYK become
    RGB; transparency lies over black; of an animation the first frame. A large JPEG is first
    decoded at a reduced scale, at least `DRAFT` px on each side. That scale is the same for every
    size, so the pixels of one size do not depend on which others are asked for.

    Args:
        data: The bytes of the file.
        sizes: Sides of the squares, px.
        ranges: Kind of pixels with more than 8 bits → the values that become black and white;
            what lies outside is clipped.

    Returns:
        Pixels (size, size, 3) uint8 for each of the sizes; width and height in the file, px.

    Raises:
        ValueError: If the file cannot be read, or its kind of pixels has no range; it says why.
    """
    with opened(data) as image:
        width, height = _upright_size(image)
        tags = dict(getattr(image, "tag_v2", {}))  # loading takes some of them away
        kind = _kind(image)
        if kind and kind not in ranges:
            raise ValueError(f"pixels are {kind}: accepted are 8 and 16 bits of known range")
        image.draft(None, (DRAFT, DRAFT))
        upright = ImageOps.exif_transpose(image)
        if kind and kind != COLOUR:
            upright = _scaled(_values(upright, tags), ranges[kind], inverted=_is_inverted(tags))
        rgb = _rgb(upright)
        return [_square(rgb, size) for size in sizes], width, height


def describe(data: bytes) -> Sample:
    """What the pixels of an image are; only those of more than 8 bits are looked at.

    Raises:
        ValueError: If the file cannot be read, or a value is no number; it says why.
    """
    if data.startswith(JPEG_START):
        return Sample()
    with opened(data) as image:
        tags = dict(getattr(image, "tag_v2", {}))
        kind = _kind(image)
        pages = _pages(data) if image.format in PAGED else 1
        if not kind:
            return Sample(pages=pages)
        declared = _declared(image, tags)
        values = _values(image, tags)
        if kind == COLOUR:
            values = values.astype(np.uint16) * 256 + 255  # what the lower bits may have held
        low = float(values.min())
        high = float(values.max())
        if not np.isfinite([low, high]).all():
            raise ValueError("pixels are NaN or infinity")
        return Sample(
            kind=kind,
            low=low,
            high=high,
            declared=declared,
            inverted=_is_inverted(tags),
            pages=pages,
        )


@contextmanager
def opened(data: bytes) -> Iterator[Image.Image]:
    """An image with its header read; what goes wrong with it is a ValueError that says why."""
    if not data:
        raise ValueError("empty file")
    if data[128:132] == b"DICM":
        raise ValueError(DICOM_HELP)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise ValueError(f"{width} x {height} pixels, accepted are {MAX_PIXELS:,}")
            yield image
    except Image.UnidentifiedImageError:
        raise ValueError("not an image") from None
    except Exception as error:  # Pillow's readers raise a dozen unrelated types on damaged files
        raise ValueError(str(error) or type(error).__name__) from None


def _upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height, px, of an image that is turned as its EXIF says."""
    width, height = image.size
    if image.format == "TIFF":  # whose size some versions of Pillow turn, and others do not
        width = image.tag_v2[WIDTH]
        height = image.tag_v2[HEIGHT]
    if image.getexif().get(ExifTags.Base.Orientation, 1) > 4:
        return height, width
    return width, height


def _kind(image: Image.Image) -> str:
    """The kind of its pixels, "" for 8 bits."""
    tags = getattr(image, "tag_v2", {})
    if image.mode == "F":
        return FLOAT
    if _first(tags, SAMPLE_FORMAT, 1) == 2:
        return SIGNED
    if image.mode.startswith("I"):
        return WIDE if _first(tags, BITS, 16) > 16 else GREY
    is_deep = _first(tags, BITS, 8) > 8 or (image.format == "PNG" and ";16" in _raw_mode(image))
    return COLOUR if is_deep or (image.format == "PPM" and _maxval(image) == 65535) else ""


def _raw_mode(image: Image.Image) -> str:
    args = image.tile[0].args if image.tile else ""
    return args if isinstance(args, str) else str(args[0])


def _maxval(image: Image.Image) -> int:
    """What the header of a PPM file says is white."""
    args = image.tile[0].args if image.tile else ""
    if isinstance(args, tuple) and len(args) == 2:
        return int(args[1])
    return 65535 if args == "I;16B" else 255


def _first(tags: Mapping[int, Any], tag: int, default: int) -> Any:
    """The value of a TIFF's tag, of several the first."""
    value = tags.get(tag, default)
    if isinstance(value, tuple):
        return value[0] if value else default
    return value


def _is_inverted(tags: Mapping[int, Any]) -> bool:
    """Whether the lowest value is white. Of 8 bits, Pillow itself has turned the values."""
    return _first(tags, PHOTOMETRIC, 1) == 0


def _declared(image: Image.Image, tags: Mapping[int, Any]) -> float:
    """The largest value that a file says it may hold; 0 where it says what its bits say."""
    if image.format == "PPM":  # Pillow has stretched to 16 bits what has another maximum
        return 0.0 if _maxval(image) == 65535 else 65535.0
    bits = _first(tags, BITS, 16)
    told = _first(tags, LARGEST, 0)
    if bits < 16:
        return float(2**bits - 1)
    return float(told) if 0 < told < 2**bits - 1 else 0.0


def _values(image: Image.Image, tags: Mapping[int, Any]) -> np.ndarray:
    """The values of the pixels, (H, W) or with colours behind."""
    values = np.asarray(image)
    is_signed = _first(tags, SAMPLE_FORMAT, 1) == 2
    if is_signed and values.dtype == np.uint8:
        return values.view(np.int8)
    if not is_signed and values.dtype == np.int32 and _first(tags, BITS, 16) == 32:
        return values.view(np.uint32)
    return values


def _pages(data: bytes) -> int:
    """How many images a file holds; 1 where that cannot be told."""
    try:
        with Image.open(io.BytesIO(data), formats=PAGED) as image:
            return image.n_frames
    except Exception:  # damage behind the first page, which may be fine
        return 1


def _scaled(values: np.ndarray, span: Sequence[float], *, inverted: bool) -> Image.Image:
    """Values (H, W) as 8 bits of grey: the ends of the span are black and white."""
    low, high = span
    share = (values.astype(np.float64) - low) * (255 / (high - low))
    grey = np.rint(np.clip(share, 0, 255)).astype(np.uint8)
    return Image.fromarray(255 - grey if inverted else grey)


def _square(image: Image.Image, size: int) -> np.ndarray:
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))


def _rgb(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image.convert("RGBA"))
    return image.convert("RGB")
