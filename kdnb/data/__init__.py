"""Images in, audited and parted: sources, duplicates, leakage, splits, phantoms (notebook 01)."""

from kdnb.data.answer import crossing_words, memory_answer, memory_share
from kdnb.data.audit import (
    against_paper,
    audit_splits,
    crossings,
    published_against_paper,
    write_audit,
)
from kdnb.data.dataset import ImageSet, load
from kdnb.data.default_split import resolve_split, split_note
from kdnb.data.leakage import MEMORY, leak_meter, skill
from kdnb.data.plots import class_balance, leak_dots, sample_grid
from kdnb.data.registry import about, dataset_names, download, open_source, phantom_plan, registered
from kdnb.data.sources import phantom_source
from kdnb.data.study_images import StudyImages
from kdnb.data.transforms import Batch, batches, to_tensor

__all__ = [
    "Batch",
    "ImageSet",
    "MEMORY",
    "StudyImages",
    "about",
    "against_paper",
    "audit_splits",
    "batches",
    "class_balance",
    "crossing_words",
    "crossings",
    "dataset_names",
    "download",
    "leak_dots",
    "leak_meter",
    "load",
    "memory_answer",
    "memory_share",
    "open_source",
    "phantom_plan",
    "phantom_source",
    "published_against_paper",
    "registered",
    "resolve_split",
    "sample_grid",
    "skill",
    "split_note",
    "to_tensor",
    "write_audit",
]
