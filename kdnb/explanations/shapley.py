"""Shapley values of the pixels by shap, checked for additivity and repeatability (notebook 05).

The rules were found by measurement: DeepExplainer is exact on the student but wrong on a DenseNet (its overlapping stem
pool), so the teacher gets GradientExplainer and, as a cross-check that asks for no gradient, PartitionExplainer.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from kdnb.errors import UserError
from kdnb.explanations.attribution import (
    Attribution,
    TargetLogit,
    check_background,
    checked_targets,
    completeness,
    require,
)
from kdnb.models import evaluating
from kdnb.progress import track

__all__ = ["shap_deep", "shap_gradient", "shap_partition"]

CELLS = 16  # Partition SHAP shares the logit among this many squares along a side
AT_ONCE = 128  # evaluations per forward pass


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

    check_background(background)
    targets = checked_targets(model, images, targets)
    values, repeat = [], []
    with evaluating(model), _numpy_generator_kept(seed):
        for image, target in track(list(zip(images, targets.tolist(), strict=True)), "SHAP (gradient)"):
            explainer = shap.GradientExplainer(TargetLogit(model, target), background)
            halves = [
                np.asarray(explainer.shap_values(image[None], nsamples=max(5, samples // 2), rseed=2 * seed + i))
                .reshape(image.shape) for i in (0, 1)
            ]  # fmt: skip
            r = np.corrcoef(*[half.ravel() for half in halves])[0, 1]
            values.append((halves[0] + halves[1]) / 2)
            repeat.append(2 * r / (1 + r))
    stacked = np.stack(values).astype(np.float32)
    return Attribution(stacked, completeness(model, images, targets, background, stacked), np.array(repeat))


def shap_deep(model: nn.Module, images: Tensor, targets: Tensor, background: Tensor) -> Attribution:
    """Deep SHAP (shap.DeepExplainer; arXiv 1705.07874) of the target logit: deterministic, exact additivity.

    For the student only. Works on a copy, as the explainer leaves its own attributes in a model.

    Raises:
        UserError: If additivity fails by more than 0.1 %, as it does on a DenseNet, or the network works in place: the
            attribution is refused.
    """
    import shap

    check_background(background)
    targets = checked_targets(model, images, targets)
    values = np.zeros(images.shape, dtype=np.float32)
    for target in track(sorted(set(targets.tolist())), "SHAP (deep)"):
        rows = (targets == target).numpy()
        explainer = shap.DeepExplainer(TargetLogit(copy.deepcopy(model).eval(), target), background)
        try:  # shap's own check stops without the number; ours follows below
            part = explainer.shap_values(images[torch.as_tensor(rows)], check_additivity=False)
        except RuntimeError as error:  # its hooks and a network that works in place
            reason = str(error).partition(".")[0]
            raise UserError(f"Deep SHAP is refused on {type(model).__name__}: {reason}; use shap_gradient") from None
        values[rows] = np.asarray(part).reshape(-1, *images.shape[1:])
    delta = completeness(model, images, targets, background, values)
    require(delta, "Deep SHAP", model, "its attributions miss the logit by", "use shap_gradient")
    return Attribution(values, delta, np.ones(len(values)))


def shap_partition(
    model: nn.Module, images: Tensor, targets: Tensor, baseline: Tensor, *, samples: int = 200, seed: int = 0
) -> Attribution:
    """Owen values of image regions (shap.PartitionExplainer): asks the model for answers only, never for gradients.

    The image is a grid of at most 16 × 16 squares, halved again and again where it matters most; squares left out show
    the baseline. Half of the evaluations are made with everything else covered, half with everything else shown; the
    mean of both is returned, since all contexts together would leave only some 20 regions. The value of a square is
    spread evenly over its pixels.

    Args:
        model: Anything that maps images to logits.
        images: (N, 3, H, W).
        targets: (N,) class indices.
        baseline: (1, 3, H, W): what "absent" looks like.
        samples: Evaluations of the model per image.
        seed: Seeds the order in which equal regions are halved.

    Returns:
        Values (N, 1, H, W).

    Raises:
        UserError: If the values do not add up to logit − baseline logit within 0.1 %.
    """
    import shap

    targets, size = checked_targets(model, images, targets), images.shape[-2:]
    cell = interpolate(torch.arange(CELLS**2, dtype=torch.float64).view(1, 1, CELLS, CELLS), size)
    cell = cell[0, 0].long()  # (H, W): the square that each pixel belongs to
    area = torch.bincount(cell.flatten(), minlength=CELLS**2).numpy()
    masker = shap.maskers.Image(np.zeros((CELLS, CELLS, 1), np.float32))
    maps = np.zeros((len(images), 1, *size), np.float32)
    with evaluating(model), _numpy_generator_kept(seed):
        for i, target in enumerate(track(targets.tolist(), "SHAP (partition)")):
            answer = _shown_cells(TargetLogit(model, target), images[i], baseline[0], cell)
            found = [
                shap.PartitionExplainer(answer, masker)(
                    np.ones((1, CELLS, CELLS, 1), np.float32), max_evals=max(4, samples // 2), batch_size=AT_ONCE,
                    fixed_context=context, silent=True,
                ).values.reshape(-1) for context in (0, 1)
            ]  # fmt: skip
            maps[i, 0] = (np.mean(found, axis=0) / np.maximum(area, 1))[cell.numpy()]
    delta = completeness(model, images, targets, baseline, maps)
    require(delta, "Partition SHAP", model, "its attributions miss the logit by", "use more samples")
    return Attribution(maps, delta, np.ones(len(maps)))


def _shown_cells(logit: nn.Module, image: Tensor, baseline: Tensor, cell: Tensor):  # noqa: ANN202
    """The function of cells (B, G, G, 1), 1 shown and 0 covered, that shap explains: the logit (B, 1)."""

    @torch.inference_mode()
    def answer(cells: np.ndarray) -> np.ndarray:
        shown = torch.as_tensor(cells.reshape(len(cells), -1) > 0)[:, cell].to(image.device)  # (B, H, W)
        return logit(torch.where(shown[:, None], image, baseline)).double().cpu().numpy()

    return answer


@contextmanager
def _numpy_generator_kept(seed: int) -> Iterator[None]:
    """shap draws from numpy's global generator, even where it takes a seed: seeded inside, as before afterwards."""
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(state)
