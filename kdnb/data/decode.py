"""From the bytes of an image file to a small square of RGB pixels (01_data)."""

import io

import numpy as np
from PIL import ExifTags, Image, ImageOps

__all__ = ["decode"]

MAX_PIXELS = 64_000_000
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM")


def decode(data: bytes, size: int) -> tuple[np.ndarray, int, int]:
    """Pixels (size, size, 3) uint8, turned as the EXIF says and stretched to a square; width and height in the file.

    Grey, palette, CMYK and 16-bit become RGB; transparency lies over black; of an animation the first frame.
    A JPEG is first decoded at a reduced scale, at least twice `size`. A ValueError says why a file cannot be read.
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
            image.draft(None, (2 * size, 2 * size))
            square = _rgb(ImageOps.exif_transpose(image)).resize((size, size), Image.Resampling.BILINEAR)
            return np.asarray(square), width, height
    except Image.UnidentifiedImageError:
        raise ValueError("not an image") from None
    except Exception as error:  # Pillow's readers raise a dozen unrelated types on damaged files
        raise ValueError(str(error)) from None


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("pixels are floating-point numbers; accepted are 8 and 16 bits")
    if image.mode.startswith("I"):  # 16 bits
        image = Image.fromarray(np.rint(np.clip(np.asarray(image), 0, 65535) / 257).astype(np.uint8))
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image.convert("RGBA"))
    return image.convert("RGB")
