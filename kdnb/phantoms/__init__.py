"""Procedural medical-like images with patients, masks, leaks and shortcuts (all notebooks)."""

from kdnb.phantoms.plan import FAMILIES, PhantomPlan, classes, table
from kdnb.phantoms.render import Phantom, render, render_all

__all__ = ["FAMILIES", "Phantom", "PhantomPlan", "classes", "render", "render_all", "table"]
