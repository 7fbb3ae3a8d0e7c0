"""Explanations to hold the feature maps against; raw maps, signed where the method is (notebook 05)."""

from kdnb.explanations.attribution import Attribution, Context
from kdnb.explanations.cam import CAMS, cams
from kdnb.explanations.gradients import integrated_gradients
from kdnb.explanations.methods import METHODS, explain
from kdnb.explanations.occlusion import occlusion
from kdnb.explanations.shapley import shap_deep, shap_gradient, shap_partition

__all__ = ["CAMS", "METHODS", "Attribution", "Context", "cams", "explain", "integrated_gradients",
           "occlusion", "shap_deep", "shap_gradient", "shap_partition"]  # fmt: skip
