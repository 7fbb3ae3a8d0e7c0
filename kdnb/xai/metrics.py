"""All metrics of one explanation, image by image: never one number alone (notebook 05)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from kdnb.training.modules import evaluating
from kdnb.xai.localisation import energy_in_mask, overlap_with_mask, peak_in_mask
from kdnb.xai.pixel_removal import FILLS, deletion, insertion, road
from kdnb.xai.sanity_checks import Explainer, class_switch, randomisation, runner_up, stability

__all__ = ["METRICS", "explanation_metrics"]

METRICS = {  # 1 where large is good, -1 where small is
    **{f"deletion, {fill}": -1 for fill in FILLS},
    **{f"insertion, {fill}": 1 for fill in FILLS},
    "ROAD": 1,
    "energy in mask": 1,
    "peak in mask": 1,
    "IoU with mask": 1,
    "class switch": -1,
    "randomisation": -1,
    "stability": 1,
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
        found["peak in mask"] = peak_in_mask(maps, masks)
        found["IoU with mask"] = overlap_with_mask(maps, masks)
    some = slice(checked or None)
    x = images[some]
    y = targets[some]
    with evaluating(model), torch.inference_mode():
        logits = model(x).float().cpu().numpy()
    others = torch.as_tensor(runner_up(logits, y.cpu().numpy()))
    found["class switch"] = class_switch(explainer, model, x, others, maps[some])
    found["randomisation"] = randomisation(explainer, model, x, y, maps[some], stages=1)[-1]
    found["stability"] = stability(explainer, model, x, y, maps[some])
    graded = {"maps": maps}
    for metric in METRICS:
        values = found.get(metric, np.array([]))
        unknown = np.full(len(images) - len(values), np.nan)
        graded[metric] = np.concatenate([values, unknown])
    return graded
