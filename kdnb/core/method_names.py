"""Names of explanation methods, one for each everywhere (notebooks 04-07).

Tables keep the keys under which they were published; what a reader sees is named here.
"""

from __future__ import annotations

import pandas as pd

__all__ = ["ATTRIBUTIONS", "LARGE", "SAMPLED", "with_more_samples", "graded_name", "method_name"]

ATTRIBUTIONS = {  # in tables of cost -> in `kdnb.xai.methods.METHODS`
    "shap_gradient": "SHAP gradient",
    "shap_deep": "SHAP deep",
    "shap_partition": "SHAP partition",
    "integrated_gradients": "integrated gradients",
    "occlusion": "occlusion",
}
SAMPLED = ("shap_gradient", "shap_partition")  # their time grows with the number of samples

NAMES = {  # key of a method -> what a reader sees
    "average_map": "average map",
    "gradcam": "Grad-CAM",
    "hirescam": "HiResCAM",
    "layercam": "LayerCAM",
    "eigencam": "Eigen-CAM",
    "evidence": "class evidence",
    "SHAP deep": "Deep SHAP",
    "SHAP gradient": "Gradient SHAP",
    "SHAP partition": "Partition SHAP",
    "integrated gradients": "Integrated Gradients",
}
LAYERS = {"middle": "middle layer", "last": "last layer"}  # in keys of grades -> in words
KNOWN = {*NAMES, *NAMES.values(), "occlusion"}
LAST = "Grad-CAM"  # as a grade, of the last layer, as it is defined
LARGE = ("average map", "gradcam", "evidence", "SHAP gradient")  # those that figures show large


def method_name(key: str, layer: str = "") -> str:
    """What a reader sees of a method; the layer that its map is of belongs to the name.

    Args:
        key: Of a method, a grade, or a row of costs. What has no other name is its own.
        layer: Of the map, such as "conv3", where the key does not tell.

    >>> method_name("gradcam"), method_name("shap_gradient"), method_name("Sobel")
    ('Grad-CAM', 'Gradient SHAP', 'Sobel')
    >>> method_name("average map, first layer"), method_name("evidence", "conv3")
    ('average map (first layer)', 'class evidence (conv3)')
    """
    method, _, of_layer = key.partition(", ")
    if method not in KNOWN | set(ATTRIBUTIONS):
        return key
    method = ATTRIBUTIONS.get(method, method)
    place = LAYERS.get(of_layer, of_layer) or layer
    name = NAMES.get(method, method)
    return f"{name} ({place})" if place else name


def graded_name(key: str) -> str:
    """`method_name` of an explanation that was graded: a plain Grad-CAM is of the last layer.

    >>> graded_name("Grad-CAM"), graded_name("HiResCAM, middle"), graded_name("random, blurred")
    ('Grad-CAM (last layer)', 'HiResCAM (middle layer)', 'random, blurred')
    """
    return method_name(key, LAYERS["last"] if key == LAST else "")


def with_more_samples(ms: pd.Series, factor: float) -> pd.Series:
    """Times of methods (index level ``method``) with ``factor`` times as many samples.

    Only those of ``SAMPLED`` take longer then.
    """
    return ms.where(~ms.index.get_level_values("method").isin(SAMPLED), ms * factor)
