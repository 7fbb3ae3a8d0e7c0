"""All metrics of one explanation, image by image: never one number alone (notebook 05)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from kdnb.feature_maps.mask_metrics import energy_in_mask, overlap_with_mask, pointing_game
from kdnb.training.modules import evaluating
from kdnb.xai.pixel_removal import FILLS, deletion, insertion, road
from kdnb.xai.sanity_checks import Explainer, class_switch, randomisation, runner_up, stability

__all__ = ["METRICS", "Metric", "explanation_metrics"]


@dataclass(frozen=True)
class Metric:
    """How a score is read.

    Attributes:
        good: Which scores are good: the large ones, the small ones, or those near 0.
        lowest: The lowest score that there can be; the highest is 1.
        hits: True where an image scores 1 or 0, and a constant map alone something between.
    """

    good: Literal["large", "small", "near 0"]
    lowest: float = 0.0
    hits: bool = False

    def turned(self, scores: pd.Series) -> pd.Series:
        """Scores turned so that large is good.

        >>> Metric(good="near 0", lowest=-1.0).turned(pd.Series([-0.5, 0.25])).tolist()
        [-0.5, -0.25]
        """
        if self.good == "large":
            return scores
        return -scores if self.good == "small" else -scores.abs()


METRICS = {
    **{f"deletion, {fill}": Metric(good="small") for fill in FILLS},
    **{f"insertion, {fill}": Metric(good="large") for fill in FILLS},
    "ROAD": Metric(good="large", lowest=-1.0),
    "energy in mask": Metric(good="large"),
    "peak in mask": Metric(good="large", hits=True),
    "IoU with mask": Metric(good="large"),
    "class switch": Metric(good="small", lowest=-1.0),
    "randomisation": Metric(good="near 0", lowest=-1.0),
    "stability": Metric(good="large", lowest=-1.0),
}


def explanation_metrics(
    explainer: Explainer,
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    masks: np.ndarray | None,
    *,
    steps: int = 16,
    checked: int = 0,
) -> dict[str, np.ndarray]:
    """Every metric of ``METRICS`` for one way of explaining one model.

    Args:
        explainer: Maps (N, H, W) of a model, images and targets.
        model: Student or teacher.
        images: (N, 3, H, W).
        targets: (N,) class numbers.
        masks: (N, H, W) bool, what defines the class, or None where nobody drew it.
        steps: Steps of deletion and insertion.
        checked: On how many of the images the class switch, the random weights and the noise are
            tried, as they need new explanations; 0 for all.

    Returns:
        "maps" (N, H, W), and metric → (N,); NaN where it is not known.
    """
    maps = explainer(model, images, targets)
    found = {}
    for fill in FILLS:
        options = {"fill": fill, "steps": steps}
        found[f"deletion, {fill}"] = deletion(model, images, targets, maps, **options)
        found[f"insertion, {fill}"] = insertion(model, images, targets, maps, **options)
    found["ROAD"] = road(model, images, targets, maps)
    if masks is not None:
        found["energy in mask"] = energy_in_mask(maps, masks)
        found["peak in mask"] = pointing_game(maps, masks)
        found["IoU with mask"] = overlap_with_mask(maps, masks)
    first = slice(checked or None)
    found |= _sanity_checks(explainer, model, images[first], targets[first], maps[first])
    graded = {"maps": maps}
    for metric in METRICS:
        values = found.get(metric, np.array([]))
        unknown = np.full(len(images) - len(values), np.nan)
        graded[metric] = np.concatenate([values, unknown])
    return graded


def _sanity_checks(
    explainer: Explainer, model: nn.Module, images: Tensor, targets: Tensor, maps: np.ndarray
) -> dict[str, np.ndarray]:
    """The metrics (N,) that need new explanations: of other classes, weights and images."""
    with evaluating(model), torch.inference_mode():
        logits = model(images).float().cpu().numpy()
    others = torch.as_tensor(runner_up(logits, targets.cpu().numpy()))
    random_weights = randomisation(explainer, model, images, targets, maps, stages=1)
    return {
        "class switch": class_switch(explainer, model, images, others, maps),
        "randomisation": random_weights[-1],
        "stability": stability(explainer, model, images, targets, maps),
    }
