"""Data: images from archives, folders and tables; manifest, split, pixels, batches (01-06)."""

from kdnb.data.batches import Batch, augment, batches, to_tensor
from kdnb.data.loading import BASE, ImageSet, load
from kdnb.data.registry import about, dataset_names, download, phantom_plan, registered
from kdnb.data.splits import make_split

__all__ = [
    "BASE",
    "Batch",
    "ImageSet",
    "about",
    "augment",
    "batches",
    "dataset_names",
    "download",
    "load",
    "make_split",
    "phantom_plan",
    "registered",
    "to_tensor",
]
