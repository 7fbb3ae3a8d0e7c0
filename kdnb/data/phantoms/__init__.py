"""Phantoms: drawn heads and fundus photographs whose truth is known (notebook 01)."""

from kdnb.data.phantoms.drawing import Phantom, render, render_all
from kdnb.data.phantoms.plan import FAMILIES, PhantomPlan, classes, table

__all__ = ["FAMILIES", "Phantom", "PhantomPlan", "classes", "render", "render_all", "table"]
