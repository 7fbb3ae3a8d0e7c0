"""From the bytes of an image file to a small square of RGB pixels (01_data)."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
from PIL import ExifTags, Image, ImageOps

from kdnb.core.progress import track

__all__ = ["decode", "read_images"]

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


def read_images(
    read_file: Callable[[str], bytes], name: str, paths: pd.Series, arrays: Sequence[np.ndarray]
) -> pd.DataFrame:
    """Fill arrays (N, S, S, 3) uint8, each of its own size S, from one decoding of each image.

    Args:
        read_file: Path → bytes of the file; ValueError or OSError where that fails.
        name: Of the source, for the progress.
        paths: (N,).
        arrays: To be filled.

    Returns:
        Reason ("" if read), width, height and SHA-256 of each image.
    """
    sizes = [pixels.shape[1] for pixels in arrays]

    def read(row: int) -> tuple[str, int, int, str]:
        try:
            data = read_file(paths[row])
            squares, width, height = decode(data, sizes)
        except (ValueError, OSError) as error:
            return str(error) or type(error).__name__, 0, 0, ""
        for pixels, square in zip(arrays, squares, strict=True):
            pixels[row] = square
        return "", width, height, hashlib.sha256(data).hexdigest()

    with ThreadPoolExecutor(2) as pool:  # Pillow and zlib work outside the interpreter's lock
        found = list(track(pool.map(read, range(len(paths))), f"reading {name}", len(paths)))
    return pd.DataFrame(found, columns=["reason", "width", "height", "sha256"])


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
