"""Explanations to hold the feature maps against: raw maps, signed where the method is (05)."""

from kdnb.explanations.attribution import Attribution, Context, Raw
from kdnb.explanations.cam import CAMS, cams
from kdnb.explanations.methods import METHODS, Method, explain

__all__ = ["CAMS", "METHODS", "Attribution", "Context", "Method", "Raw", "cams", "explain"]
