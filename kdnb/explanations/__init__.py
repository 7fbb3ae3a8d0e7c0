"""Explanations to hold the feature maps against; raw maps, signed where the method is (notebook 05)."""

from kdnb.explanations.cam import CAMS, cams, grad_cam
from kdnb.explanations.shapley import Attribution, shap_deep, shap_gradient

__all__ = ["CAMS", "Attribution", "cams", "grad_cam", "shap_deep", "shap_gradient"]
