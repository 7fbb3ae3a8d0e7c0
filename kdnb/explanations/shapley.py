"""Shapley values of the pixels by shap, checked for additivity and repeatability (notebook 05).

The rules were found by measurement: DeepExplainer is exact on the student but wrong on a DenseNet (its overlapping stem
pool), so the teacher gets GradientExplainer only.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from kdnb.errors import UserError
from kdnb.feature_maps import check_targets
from kdnb.models import evaluating
from kdnb.progress import track

__all__ = ["Attribution", "shap_deep", "shap_gradient"]

ADDITIVITY = 1e-3  # largest accepted |sum of attributions - difference of logits| relative to that difference's scale


@dataclass(frozen=True)
class Attribution:
    """Pixel attributions and how far they can be trusted.

    Attributes:
        values: (N, 3, H, W) float32, signed contributions to the target's logit.
        delta: (N,) relative additivity error: |Σ values − (logit − mean background logit)| / max(1, |that difference|).
        repeatability: (N,) correlation to expect between two runs with other seeds; 1 for a deterministic method.
    """

    values: np.ndarray
    delta: np.ndarray
    repeatability: np.ndarray

    @property
    def maps(self) -> np.ndarray:
        """(N, H, W) signed maps: the sum over colour channels."""
        return self.values.sum(axis=1)


class _TargetLogit(nn.Module):
    """A model reduced to one logit (N, 1), as SHAP computes every output it is given."""

    def __init__(self, model: nn.Module, target: int) -> None:
        super().__init__()
        self.model, self.target = model, target

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)[:, self.target : self.target + 1]


def _check_background(background: Tensor) -> None:
    if background.ndim != 4 or len(background) < 2:
        raise UserError(f"background must hold at least 2 images (N, 3, H, W), got shape {tuple(background.shape)}")


def _delta(model: nn.Module, images: Tensor, targets: Tensor, background: Tensor, values: np.ndarray) -> np.ndarray:
    with evaluating(model), torch.inference_mode():
        logits, base = model(images), model(background).mean(dim=0)
    gap = (logits - base).gather(1, targets.to(logits.device)[:, None])[:, 0].double().cpu().numpy()
    total = values.reshape(len(values), -1).sum(axis=1, dtype=np.float64)
    return np.abs(total - gap) / np.maximum(1, np.abs(gap))


def shap_gradient(
    model: nn.Module, images: Tensor, targets: Tensor, background: Tensor, *, samples: int = 200, seed: int = 0
) -> Attribution:
    """Expected gradients (shap.GradientExplainer; arXiv 1705.07874) of the target logit, for any differentiable model.

    Half of the samples are drawn with one seed and half with another. The mean of both is returned; the correlation r
    of the halves gives, as 2r/(1+r) (Spearman-Brown), what a full rerun with another seed would correlate with.

    Args:
        model: Student or teacher.
        images: (N, 3, H, W).
        targets: (N,) class indices.
        background: (M, 3, H, W), M ≥ 2: what "absent" looks like.
        samples: Gradient samples per image, at least 10.
        seed: Seeds both halves.
    """
    import shap

    _check_background(background)
    targets = check_targets(targets, _classes(model, images), len(images))
    values, repeat = [], []
    with evaluating(model):
        for image, target in track(list(zip(images, targets.tolist(), strict=True)), "SHAP (gradient)"):
            explainer = shap.GradientExplainer(_TargetLogit(model, target), background)
            halves = [
                np.asarray(explainer.shap_values(image[None], nsamples=max(5, samples // 2), rseed=2 * seed + i))
                .reshape(image.shape) for i in (0, 1)
            ]  # fmt: skip
            r = np.corrcoef(*[half.ravel() for half in halves])[0, 1]
            values.append((halves[0] + halves[1]) / 2)
            repeat.append(2 * r / (1 + r))
    stacked = np.stack(values).astype(np.float32)
    return Attribution(stacked, _delta(model, images, targets, background, stacked), np.array(repeat))


def shap_deep(model: nn.Module, images: Tensor, targets: Tensor, background: Tensor) -> Attribution:
    """Deep SHAP (shap.DeepExplainer; arXiv 1705.07874) of the target logit: deterministic, exact additivity.

    For the student only. Works on a copy, as the explainer leaves its own attributes in a model.

    Raises:
        UserError: If additivity fails by more than 0.1 %, as it does on a DenseNet: the attribution is refused.
    """
    import shap

    _check_background(background)
    targets = check_targets(targets, _classes(model, images), len(images))
    values = np.zeros(images.shape, dtype=np.float32)
    for target in track(sorted(set(targets.tolist())), "SHAP (deep)"):
        rows = (targets == target).numpy()
        explainer = shap.DeepExplainer(_TargetLogit(copy.deepcopy(model).eval(), target), background)
        # shap's own check stops without the number; ours follows below
        part = explainer.shap_values(images[torch.as_tensor(rows)], check_additivity=False)
        values[rows] = np.asarray(part).reshape(-1, *images.shape[1:])
    delta = _delta(model, images, targets, background, values)
    if delta.max() > ADDITIVITY:
        raise UserError(
            f"Deep SHAP is refused on {type(model).__name__}: its attributions miss the logit by "
            f"{delta.max():.1%} (accepted: {ADDITIVITY:.1%}); use shap_gradient"
        )
    return Attribution(values, delta, np.ones(len(values)))


def _classes(model: nn.Module, images: Tensor) -> int:
    with evaluating(model), torch.inference_mode():
        return model(images[:1]).shape[1]
