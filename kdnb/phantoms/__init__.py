"""Procedural medical-like images with patients, masks, planted leaks and shortcuts (all notebooks)."""

from kdnb.phantoms.plan import FAMILIES, PhantomPlan, classes, table
from kdnb.phantoms.render import distractor_mask, mark_mask, render, render_all

__all__ = ["FAMILIES", "PhantomPlan", "classes", "distractor_mask", "mark_mask", "render", "render_all",
           "table"]  # fmt: skip
