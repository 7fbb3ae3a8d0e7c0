"""Does a map depend on what it should? On the class, on the weights, not on noise (notebook 05)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from kdnb.core.errors import UserError
from kdnb.xai.map_agreement import rank_correlation

__all__ = ["Explainer", "class_switch", "randomisation", "randomised", "runner_up", "stability"]

BARE_DEVIATION = 0.02  # of parameters that no layer can draw anew; timm starts such ones so

# model, images (N, 3, H, W), targets (N,) -> maps (N, H, W)
Explainer = Callable[[nn.Module, Tensor, Tensor], np.ndarray]


def runner_up(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(N,) the most likely class besides the target.

    >>> runner_up(np.array([[3.0, 1.0, 2.0]]), np.array([0])).tolist()
    [2]
    """
    others = np.array(logits, dtype=np.float64)
    others[np.arange(len(others)), np.asarray(targets)] = -np.inf
    return others.argmax(axis=1)


def class_switch(
    explainer: Explainer, model: nn.Module, images: Tensor, others: Tensor, maps: np.ndarray
) -> np.ndarray:
    """Rank correlation (N,) of the maps of two classes: 1 for a map that is blind to the class.

    In the field: the random logit test (Sixt et al., ICML 2020, arXiv 1912.09818), here with the
    runner-up as the other class.

    ``maps`` (N, H, W) are the explainer's for the first class, ``others`` (N,) the second class of
    each image. 0 where the second map is constant; NaN where the first is, or the method is
    refused.
    """
    return _likeness(explainer, model, images, others, maps)


def _likeness(
    explainer: Explainer, model: nn.Module, images: Tensor, targets: Tensor, maps: np.ndarray
) -> np.ndarray:
    """Rank correlation (N,) of maps with new ones.

    0 where the new map is constant: it has nothing left in common with the first. NaN where the
    first is constant, or an axiom fails: there is no map to compare.
    """
    try:
        changed = explainer(model, images, targets)
    except UserError:
        return np.full(len(images), np.nan)
    became_constant = ~_are_constant(maps) & _are_constant(changed)
    return np.where(became_constant, 0.0, rank_correlation(maps, changed))


def _are_constant(maps: np.ndarray) -> np.ndarray:
    """(N,) bool: which maps (N, H, W) have one value everywhere; False where one was refused."""
    return np.ptp(maps, axis=(1, 2)) == 0


def randomised(model: nn.Module, stages: int, seed: int = 0) -> Iterator[nn.Module]:
    """Copies of a model whose layers are drawn anew from the top down.

    At stage s of S these are the top s/S of the layers: the cascading randomisation of the sanity
    checks (arXiv 1810.03292, section 3.1). The model itself stays as it is.

    A layer is a module that can draw its parameters anew, or that holds bare ones: a layer scale,
    positions. These come from a normal distribution around 0.
    """
    with torch.random.fork_rng():
        torch.manual_seed(2**31 + seed)  # never the seed that the model may have started from
        fresh = copy.deepcopy(model).eval()
        for module in fresh.modules():
            _draw_anew(module)
    layers = [name for name, module in model.named_modules() if _is_layer(module)]
    for stage in range(1, stages + 1):
        kept = len(layers) - round(len(layers) * stage / stages)
        part = copy.deepcopy(model).eval()
        for name in layers[kept:]:  # what lies inside a layer comes after it, so it is new as well
            part.get_submodule(name).load_state_dict(fresh.get_submodule(name).state_dict())
        yield part


def _is_layer(module: nn.Module) -> bool:
    """Whether a module can draw its parameters anew, or holds some of its own."""
    holds_parameters = any(True for _ in module.parameters(recurse=False))
    return hasattr(module, "reset_parameters") or holds_parameters


def _draw_anew(module: nn.Module) -> None:
    """Random values for the parameters that a module holds itself; those inside it stay."""
    if hasattr(module, "reset_parameters"):
        module.reset_parameters()
        return
    for parameter in module.parameters(recurse=False):
        nn.init.normal_(parameter, std=BARE_DEVIATION)


def randomisation(
    explainer: Explainer,
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    maps: np.ndarray,
    *,
    stages: int = 3,
    seed: int = 0,
) -> np.ndarray:
    """Rank correlation of the map with that of ever more random weights: 1 if it ignores them.

    In the field: the model parameter randomisation test, MPRT (arXiv 1810.03292).

    Args:
        explainer: Maps of a model, images and targets.
        model: The trained network; it stays as it is.
        images: (N, 3, H, W).
        targets: (N,) class numbers.
        maps: (N, H, W), the explainer's for these.
        stages: Steps from the top layer to all layers.
        seed: Seeds the random weights.

    Returns:
        (stages, N); the last row is the network with nothing learned left. 0 where its map is
        constant; NaN where the first map is, or the method is refused.
    """
    found = []
    for random_model in randomised(model, stages, seed):
        found.append(_likeness(explainer, random_model, images, targets, maps))
    return np.stack(found)


def stability(
    explainer: Explainer,
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    maps: np.ndarray,
    *,
    noise: float = 0.05,
    seed: int = 0,
) -> np.ndarray:
    """Rank correlation (N,) of the maps (N, H, W) with those of slightly noisy images: 1 is stable.

    In the field: local stability, or sensitivity (Alvarez-Melis and Jaakkola, arXiv 1806.07538;
    Yeh et al., arXiv 1901.09392), here of ranks and for one draw of noise.

    ``noise`` is the deviation in units of normalised images: 0.05 is about 1 % of the range from
    black to white. 0 where the new map is constant; NaN where the first is, or the method is
    refused.
    """
    drawn = torch.randn(images.shape, generator=torch.Generator().manual_seed(seed)).to(images)
    noisy = images + noise * drawn
    return _likeness(explainer, model, noisy, targets, maps)
