"""Phantoms: drawn heads and fundus photographs whose truth is known (notebook 01)."""

from kdnb.data.phantoms.plan import FAMILIES, PhantomPlan, classes, table
from kdnb.data.phantoms.render import Phantom, render, render_all

__all__ = ["FAMILIES", "Phantom", "PhantomPlan", "classes", "render", "render_all", "table"]
