"""A trained student read layer by layer: tables over many images, and reports of one image or one class (04)."""

from kdnb.reading.measured import Reading, found_reading, reading_of
from kdnb.reading.words import ImageReport, explain_image, known_stepper, read_class, read_image

__all__ = ["ImageReport", "Reading", "explain_image", "found_reading", "known_stepper", "read_class", "read_image",
           "reading_of"]  # fmt: skip
