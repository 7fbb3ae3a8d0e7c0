"""From the bytes of an image file to a small square of RGB pixels (01_data)."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import ExifTags, Image, ImageOps

__all__ = ["decode"]

MAX_PIXELS = 64_000_000
DRAFT = 1024  # px, twice the largest image_size that the settings accept
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM")


def decode(data: bytes, sizes: Sequence[int]) -> tuple[list[np.ndarray], int, int]:
    """Squares of one image, all made from one decoding of its file.

    The image is turned as the EXIF says and stretched to a square. Grey, palette, CMYK and 16-bit
    become RGB; transparency lies over black; of an animation the first frame. A large JPEG is first
    decoded at a reduced scale, at least `DRAFT` px on each side. That scale is the same for every
    size, so the pixels of one size do not depend on which others are asked for.

    Args:
        data: The bytes of the file.
        sizes: Sides of the squares, px.

    Returns:
        Pixels (size, size, 3) uint8 for each of the sizes; width and height in the file, px.

    Raises:
        ValueError: If the file cannot be read; it says why.
    """
    if not data:
        raise ValueError("empty file")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise ValueError(f"{width} x {height} pixels, accepted are {MAX_PIXELS:,}")
            if image.getexif().get(ExifTags.Base.Orientation, 1) > 4:
                width, height = height, width
            image.draft(None, (DRAFT, DRAFT))
            upright = _rgb(ImageOps.exif_transpose(image))
            return [_square(upright, size) for size in sizes], width, height
    except Image.UnidentifiedImageError:
        raise ValueError("not an image") from None
    except Exception as error:  # Pillow's readers raise a dozen unrelated types on damaged files
        raise ValueError(str(error)) from None


def _square(image: Image.Image, size: int) -> np.ndarray:
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("pixels are floating-point numbers; accepted are 8 and 16 bits")
    if image.mode.startswith("I"):  # 16 bits
        values = np.clip(np.asarray(image), 0, 65535)
        image = Image.fromarray(np.rint(values / 257).astype(np.uint8))
    if image.has_transparency_data:
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image.convert("RGBA"))
    return image.convert("RGB")
