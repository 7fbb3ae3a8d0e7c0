"""A trained student read layer by layer: tables over many images, reports of one image or class (04)."""

from kdnb.reading.measured import Reading, found_reading, reading_of
from kdnb.reading.words import ImageReport, read_class, read_image

__all__ = [
    "ImageReport",
    "Reading",
    "found_reading",
    "read_class",
    "read_image",
    "reading_of",
]
