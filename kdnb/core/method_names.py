"""Names of explanation methods that several rooms share (notebooks 05, 06, 07)."""

from __future__ import annotations

import pandas as pd

__all__ = ["ATTRIBUTIONS", "SAMPLED", "as_graded"]

# as notebook 06 times it -> its name in `kdnb.xai.methods.METHODS`
ATTRIBUTIONS = {
    "shap_gradient": "SHAP gradient",
    "shap_deep": "SHAP deep",
    "shap_partition": "SHAP partition",
    "integrated_gradients": "integrated gradients",
    "occlusion": "occlusion",
}
SAMPLED = ("shap_gradient", "shap_partition")  # their time grows with the number of samples


def as_graded(ms: pd.Series, factor: float) -> pd.Series:
    """Times of methods (index level ``method``) with ``factor`` times as many samples.

    Only those of ``SAMPLED`` take longer then.
    """
    return ms.where(~ms.index.get_level_values("method").isin(SAMPLED), ms * factor)
