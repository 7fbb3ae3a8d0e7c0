"""Shapley values of the pixels by shap (notebook 05).

The rules were found by measurement: DeepExplainer is exact on the student but wrong on a DenseNet
(its overlapping stem pool), so the teacher gets GradientExplainer and, as a cross-check that asks
for no gradient, PartitionExplainer.
"""

from __future__ import annotations

import copy
import importlib
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from kdnb.core.errors import UserError
from kdnb.core.progress import track
from kdnb.training.modules import evaluating, network_name
from kdnb.xai.attribution import Context, Raw, TargetLogit, check_background

__all__ = ["shap_deep", "shap_gradient", "shap_partition"]

CELLS = 16  # Partition SHAP shares the logit among this many squares along a side
AT_ONCE = 128  # evaluations per forward pass
_GENERATOR = threading.Lock()  # held while numpy's global generator is another one


def _load_shap() -> ModuleType:
    """shap, loaded without a compiler for its partitions.

    numba would compile them for ten seconds in every process, and they are no faster for it: the
    time goes into the network (4 images, 800 samples: 10.8 s compiled, 11.1 s not).
    """
    os.environ.setdefault("NUMBA_DISABLE_JIT", "1")
    return importlib.import_module("shap")


def shap_gradient(model: nn.Module, images: Tensor, targets: Tensor, context: Context) -> Raw:
    """Expected gradients (shap.GradientExplainer; arXiv 1906.10670) of the target logit.

    For any differentiable model. Half of the samples are drawn with one seed and half with another.
    The mean of both is returned; the correlation r of the halves gives, as 2r/(1+r)
    (Spearman-Brown), what a full rerun with another seed would correlate with. Where r is not above
    0, nothing repeats, and that is 0.

    Args:
        model: Student or teacher.
        images: (N, 3, H, W).
        targets: (N,) class indices.
        context: The background (M, 3, H, W), gradient samples per image, the seed of both halves.

    Returns:
        Values (N, 3, H, W) and their repeatability.

    Raises:
        UserError: If the background is a single image.
    """
    shap = _load_shap()

    background = check_background(context.background)
    values = []
    repeatability = []
    with evaluating(model), _numpy_generator_kept(context.seed):
        asked = list(zip(images, targets.tolist(), strict=True))
        for image, target in track(asked, "SHAP (gradient)"):
            explainer = shap.GradientExplainer(TargetLogit(model, target), background)
            halves = []
            for half in (0, 1):
                found = explainer.shap_values(
                    image[None],
                    nsamples=max(5, context.samples // 2),
                    rseed=2 * context.seed + half,
                )
                halves.append(np.asarray(found).reshape(image.shape))
            r = np.corrcoef(halves[0].ravel(), halves[1].ravel())[0, 1]
            values.append((halves[0] + halves[1]) / 2)
            repeatability.append(_spearman_brown(r))
    return Raw(values=np.stack(values).astype(np.float32), repeatability=np.array(repeatability))


def _spearman_brown(r: float) -> float:
    """Correlation to expect between two wholes whose halves correlate by r: in [0, 1].

    The formula (doi 10.1111/j.2044-8295.1910.tb00207.x) is for r above 0; else nothing repeats.

    >>> _spearman_brown(0.5), _spearman_brown(-0.6)
    (0.6666666666666666, 0.0)
    """
    return 0.0 if r <= 0 else 2 * r / (1 + r)


def shap_deep(model: nn.Module, images: Tensor, targets: Tensor, context: Context) -> Raw:
    """Deep SHAP (shap.DeepExplainer; arXiv 1705.07874) of the target logit: deterministic.

    Exactly additive on the student, and wrong on a DenseNet. Works on a copy, as the explainer
    leaves its own attributes in a model.

    Args:
        model: The student.
        images: (N, 3, H, W).
        targets: (N,) class indices.
        context: The background (M, 3, H, W).

    Returns:
        Values (N, 3, H, W).

    Raises:
        UserError: If the network works in place, or the background is a single image.
    """
    shap = _load_shap()

    background = check_background(context.background)
    values = np.zeros(images.shape, dtype=np.float32)
    asked = np.array(targets.tolist())
    for target in track(sorted(set(asked.tolist())), "SHAP (deep)"):
        rows = asked == target
        single = TargetLogit(copy.deepcopy(model).eval(), target)
        explainer = shap.DeepExplainer(single, background)
        try:  # shap's own check stops without the number; ours is made on what is returned
            with warnings.catch_warnings():  # of layers that shap does not know, as ReLU6
                warnings.filterwarnings("ignore", "unrecognized nn.Module")
                part = explainer.shap_values(images[torch.as_tensor(rows)], check_additivity=False)
        except RuntimeError as error:  # its hooks and a network that works in place
            reason = str(error).partition(".")[0]
            raise UserError(
                f"Deep SHAP is refused on {network_name(model)}: {reason}; use Gradient SHAP "
                "('SHAP gradient')"
            ) from None
        values[rows] = np.asarray(part).reshape(-1, *images.shape[1:])
    return Raw(values=values)


def shap_partition(model: nn.Module, images: Tensor, targets: Tensor, context: Context) -> Raw:
    """Owen values of image regions (shap.PartitionExplainer), from answers alone, no gradients.

    The image is a grid of at most 16 × 16 squares, halved again and again where it matters most;
    squares left out show the baseline. Half of the evaluations are made with everything else
    covered, half with everything else shown; the mean of both is returned, since all contexts
    together would leave only some 20 regions. The value of a square is spread evenly over its
    pixels.

    Args:
        model: Anything that maps images to logits.
        images: (N, 3, H, W).
        targets: (N,) class indices.
        context: The baseline (1, 3, H, W), evaluations of the model per image, and the seed of the
            order in which equal regions are halved.

    Returns:
        Values (N, 1, H, W).
    """
    shap = _load_shap()

    baseline = context.baseline[0]
    size = images.shape[-2:]
    cell = interpolate(torch.arange(CELLS**2, dtype=torch.float64).view(1, 1, CELLS, CELLS), size)
    cell = cell[0, 0].long()  # (H, W): the square that each pixel belongs to
    area = torch.bincount(cell.flatten(), minlength=CELLS**2).numpy()
    masker = shap.maskers.Image(np.zeros((CELLS, CELLS, 1), np.float32))
    everything = np.ones((1, CELLS, CELLS, 1), np.float32)
    values = np.zeros((len(images), 1, *size), np.float32)
    with evaluating(model), _numpy_generator_kept(context.seed):
        for i, target in enumerate(track(targets.tolist(), "SHAP (partition)")):
            answer = _shown_cells(TargetLogit(model, target), images[i], baseline, cell)
            halves = []
            for everything_else in (0, 1):  # covered, shown
                explained = shap.PartitionExplainer(answer, masker)(
                    everything,
                    max_evals=max(4, context.samples // 2),
                    batch_size=AT_ONCE,
                    fixed_context=everything_else,
                    silent=True,
                )
                halves.append(explained.values.reshape(-1))
            of_pixels = np.mean(halves, axis=0) / np.maximum(area, 1)
            values[i, 0] = of_pixels[cell.numpy()]
    return Raw(values=values)


def _shown_cells(
    logit: nn.Module, image: Tensor, baseline: Tensor, cell: Tensor
) -> Callable[[np.ndarray], np.ndarray]:
    """The function of cells (B, G, G, 1), 1 shown and 0 covered, that shap explains: (B, 1)."""

    @torch.inference_mode()
    def answer(cells: np.ndarray) -> np.ndarray:
        squares = torch.as_tensor(cells.reshape(len(cells), -1) > 0)
        shown = squares[:, cell].to(image.device)  # (B, H, W)
        return logit(torch.where(shown[:, None], image, baseline)).double().cpu().numpy()

    return answer


@contextmanager
def _numpy_generator_kept(seed: int) -> Iterator[None]:
    """Numpy's global generator, which shap draws from: seeded inside, as before afterwards.

    One thread at a time: a widget may compute beside a cell.
    """
    with _GENERATOR:
        state = np.random.get_state()
        np.random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(state)
