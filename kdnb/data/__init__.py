"""Data: archives and folders in, manifest, patients, duplicates, leakage, splits, batches, phantoms (notebook 01)."""

from kdnb.data.audit import Audit, against_paper, audit, published_against_paper, write_audit
from kdnb.data.dataset import BASE, ImageSet, load
from kdnb.data.duplicates import (
    components,
    correlations,
    find_copies,
    find_families,
    near_duplicates,
    thumbnails,
)
from kdnb.data.leakage import MEMORY, groups, leak_ledger, leak_meter, skill
from kdnb.data.phantoms.plan import FAMILIES, PhantomPlan, classes, table
from kdnb.data.phantoms.render import Phantom, render, render_all
from kdnb.data.registry import about, dataset_names, download, phantom_plan, registered
from kdnb.data.splits import make_split
from kdnb.data.study_images import StudyImages
from kdnb.data.transforms import Batch, augment, batches, to_tensor

__all__ = [
    "Audit",
    "BASE",
    "Batch",
    "FAMILIES",
    "ImageSet",
    "MEMORY",
    "Phantom",
    "PhantomPlan",
    "StudyImages",
    "about",
    "against_paper",
    "audit",
    "augment",
    "batches",
    "classes",
    "components",
    "find_copies",
    "dataset_names",
    "download",
    "find_families",
    "groups",
    "leak_ledger",
    "leak_meter",
    "correlations",
    "load",
    "make_split",
    "near_duplicates",
    "phantom_plan",
    "published_against_paper",
    "registered",
    "render",
    "render_all",
    "skill",
    "table",
    "thumbnails",
    "to_tensor",
    "write_audit",
]
