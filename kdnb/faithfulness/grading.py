"""All metrics of one explanation, image by image: never one number alone (notebook 05)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from kdnb.faithfulness.localisation import energy_in_mask, overlap_with_mask, peak_in_mask
from kdnb.faithfulness.perturbation import FILLS, deletion, insertion, road
from kdnb.faithfulness.sanity import Explainer, class_switch, randomisation, runner_up, stability
from kdnb.models import evaluating

__all__ = ["METRICS", "grade"]

METRICS = {
    **{f"deletion, {fill}": -1 for fill in FILLS}, **{f"insertion, {fill}": 1 for fill in FILLS}, "ROAD": 1,
    "energy in mask": 1, "peak in mask": 1, "IoU with mask": 1, "class switch": -1, "randomisation": -1, "stability": 1,
}  # fmt: skip  # 1 where large is good, -1 where small is


def grade(
    explainer: Explainer, model: nn.Module, images: Tensor, targets: Tensor, masks: np.ndarray | None, *,
    steps: int = 16, checked: int = 0,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Every metric of ``METRICS`` for one way of explaining one model.

    Args:
        explainer: Maps (N, H, W) of a model, images and targets.
        model: Student or teacher.
        images: (N, 3, H, W).
        targets: (N,) class numbers.
        masks: (N, H, W) bool, what defines the class, or None where nobody drew it.
        steps: Steps of deletion and insertion.
        checked: On how many of the images the class switch, the random weights and the noise are tried, as they need
            new explanations; 0 for all.

    Returns:
        "maps" (N, H, W), and metric → (N,); NaN where it is not known.
    """
    maps, some = explainer(model, images, targets), slice(checked or None)
    x, y, given = images[some], targets[some], (model, images, targets, maps)
    with evaluating(model), torch.inference_mode():
        logits = model(x).float().cpu().numpy()
    others = torch.as_tensor(runner_up(logits, y.cpu().numpy()))
    found = {f"deletion, {fill}": deletion(*given, fill=fill, steps=steps) for fill in FILLS}
    found |= {f"insertion, {fill}": insertion(*given, fill=fill, steps=steps) for fill in FILLS}
    found["ROAD"] = road(*given)
    if masks is not None:
        located = {"energy in mask": energy_in_mask, "peak in mask": peak_in_mask, "IoU with mask": overlap_with_mask}
        found |= {name: metric(maps, masks) for name, metric in located.items()}
    found["class switch"] = class_switch(explainer, model, x, others, maps[some])
    found["randomisation"] = randomisation(explainer, model, x, y, maps[some], stages=1)[-1]
    found["stability"] = stability(explainer, model, x, y, maps[some])
    unknown = np.full(len(images), np.nan)
    padded = {name: np.concatenate([v, unknown[len(v) :]]) for name, v in found.items()}
    return {"maps": maps, **{name: padded.get(name, unknown) for name in METRICS}}
