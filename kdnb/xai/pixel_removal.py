"""What happens to the answer when the pixels that a map names are taken away (notebook 05).

Deletion, insertion and ROAD. All images, steps and fills go through the network in large batches;
no Python loop runs over pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.linalg import solveh_banded
from scipy.sparse import csr_array, diags_array, eye_array, kron, tril
from torch import Tensor, nn
from torchvision.transforms.functional import gaussian_blur

from kdnb.core.errors import UserError
from kdnb.training.modules import evaluating

__all__ = ["FILLS", "curve", "deletion", "impute", "insertion", "road"]

AT_ONCE = 64  # images per forward pass: more of them leave the cache of a CPU
SHARES = (0.2, 0.4, 0.6, 0.8)  # of the pixels removed in ROAD


def mean_colour(images: Tensor) -> Tensor:
    """Each image's mean colour, everywhere: (N, 3, H, W)."""
    return images.mean(dim=(2, 3), keepdim=True).expand_as(images)


def blurred(images: Tensor) -> Tensor:
    """Each image without its detail: Gaussian blur with a deviation of 1/12 of its shorter side."""
    sigma = min(images.shape[-2:]) / 12
    return gaussian_blur(images, [2 * round(2 * sigma) + 1] * 2, [sigma] * 2)


FILLS: dict[str, Callable[[Tensor], Tensor]] = {"mean colour": mean_colour, "blur": blurred}


def ranks(maps: np.ndarray, seed: int = 0) -> Tensor:
    """(N, H·W) int64: 0 for a map's largest value; ties in random order, lest a corner be first.

    >>> ranks(np.array([[[0.1, 0.3], [0.2, 0.0]]])).tolist()
    [[2, 0, 1, 3]]
    """
    flat = torch.as_tensor(np.ascontiguousarray(maps)).flatten(1)
    pixels = flat.shape[1]
    shuffle = torch.randperm(pixels, generator=torch.Generator().manual_seed(seed))
    order = shuffle[torch.argsort(flat[:, shuffle], dim=1, descending=True, stable=True)]
    return torch.empty_like(order).scatter_(1, order, torch.arange(pixels).expand_as(order))


def _check(images: Tensor, targets: Tensor, maps: np.ndarray) -> None:
    if maps.shape != (len(images), *images.shape[2:]) or len(targets) != len(images):
        raise UserError(
            f"maps must be (N, height, width) of the {len(images)} images "
            f"{tuple(images.shape[2:])} with a target each, got maps {maps.shape} and "
            f"{len(targets)} targets"
        )
    finite = np.isfinite(maps).all(axis=(1, 2))
    if not finite.all():
        raise UserError(
            f"{(~finite).sum()} of {len(maps)} maps hold NaN or infinity, accepted are numbers: "
            "explain in float32, and check the weights"
        )


def _probability(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    """(N,) probability of each image's target, on the CPU."""
    probabilities = model(images).float().softmax(dim=1)
    return probabilities.gather(1, targets.to(images.device)[:, None])[:, 0].cpu()


def curve(
    model: nn.Module,
    start: Tensor,
    end: Tensor,
    targets: Tensor,
    maps: np.ndarray,
    steps: int = 32,
    seed: int = 0,
) -> np.ndarray:
    """Probability of the target while pixels of ``start`` give way to ``end``, strongest first.

    Args:
        model: Student or teacher.
        start: (N, 3, H, W).
        end: (N, 3, H, W).
        targets: (N,) class numbers.
        maps: (N, H, W); the pixel of the largest value is the strongest.
        steps: Equal shares of the pixels, at least 1.
        seed: Orders pixels of equal value.

    Returns:
        (N, steps + 1) in [0, 1], from ``start`` alone to ``end`` alone.
    """
    _check(start, targets, maps)
    place = ranks(maps, seed).to(start.device)  # (N, H·W)
    pixels = place.shape[1]
    taken = torch.linspace(0, pixels, steps + 1, device=start.device).round().long()
    tasks = torch.cartesian_prod(torch.arange(len(maps)), torch.arange(steps + 1))
    found = []
    with evaluating(model), torch.inference_mode():
        for block in tasks.split(AT_ONCE):
            image, step = block.unbind(dim=1)
            gone = (place[image] < taken[step, None]).view(-1, 1, *start.shape[2:])
            mixed = torch.where(gone, end[image], start[image])
            found.append(_probability(model, mixed, targets[image]))
    return torch.cat(found).view(len(maps), -1).numpy()


def _area(values: np.ndarray) -> np.ndarray:
    """(N,) area under curves (N, S) over [0, 1], trapezoid rule."""
    return np.trapezoid(values, dx=1 / (values.shape[1] - 1), axis=1)


def deletion(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    maps: np.ndarray,
    *,
    fill: str = "mean colour",
    steps: int = 32,
) -> np.ndarray:
    """Mean probability while the strongest pixels are removed first: small is good; (N,).

    Source: RISE, arXiv 1806.07421.
    """
    return _area(curve(model, images, FILLS[fill](images), targets, maps, steps))


def insertion(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    maps: np.ndarray,
    *,
    fill: str = "mean colour",
    steps: int = 32,
) -> np.ndarray:
    """Mean probability while the strongest pixels are shown first: large is good; (N,).

    Source: RISE, arXiv 1806.07421.
    """
    return _area(curve(model, FILLS[fill](images), images, targets, maps, steps))


def impute(images: Tensor, missing: Tensor, *, noise: float = 0.01, seed: int = 0) -> Tensor:
    """Missing pixels as the weighted mean of their neighbours, plus noise.

    Noisy linear imputation (ROAD, arXiv 2202.00449, section 4). The eight neighbours may be missing
    too, so there is one symmetric, positive linear system per image. LAPACK solves it on the CPU,
    wherever the images are.

    Args:
        images: (N, 3, H, W).
        missing: (N, H, W) bool; at least one pixel of each image is there.
        noise: Deviation of the noise, which hides the shape of the hole.
        seed: Seeds the noise.

    Returns:
        (N, 3, H, W) on the device and of the dtype of ``images``; what is there stays as it is.
    """
    difference = _neighbour_difference(*images.shape[2:])
    solved = images.flatten(2).cpu().double().numpy().copy()  # (N, 3, H·W)
    for pixels, hole in zip(solved, missing.flatten(1).cpu().numpy(), strict=True):
        if hole.any():
            pixels[:, hole] = _solve_hole(difference, pixels, hole)
    drawn = torch.randn(images.shape, generator=torch.Generator().manual_seed(seed)).to(images)
    filled = torch.as_tensor(solved).reshape(images.shape).to(images)
    return filled + noise * missing[:, None] * drawn


def _neighbour_difference(height: int, width: int) -> csr_array:
    """(H·W, H·W) matrix: every pixel's weight times the pixel, minus its neighbours (eq. 1).

    A neighbour weighs 2/12 beside, above or below, and 1/12 across a corner; neighbours outside the
    image are left out, so that a pixel's own weight is below 1 at the border.
    """
    line = np.array([1, 2, 1], np.float32)  # the study's scores were made with float32 weights
    down = diags_array(line, offsets=[-1, 0, 1], shape=(height, height))
    across = diags_array(line, offsets=[-1, 0, 1], shape=(width, width))
    centre = 4 * eye_array(height * width, dtype=np.float32)
    neighbours = np.float32(1 / 12) * (kron(down, across) - centre)
    return csr_array(diags_array(neighbours.sum(axis=1)) - neighbours)


def _solve_hole(difference: csr_array, pixels: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Values (3, M) of the M pixels of a hole (H·W,) bool, from all pixels (3, H·W)."""
    rows = difference[hole]
    right = -rows[:, ~hole] @ pixels[:, ~hole].T  # (M, 3)
    lower = tril(rows[:, hole]).tocoo()
    below = lower.row - lower.col  # at most width + 1: a band matrix
    band = np.zeros((below.max() + 1, len(right)))
    band[below, lower.col] = lower.data
    return solveh_banded(band, right, lower=True, overwrite_ab=True, check_finite=False).T


def road(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    maps: np.ndarray,
    *,
    shares: tuple[float, ...] = SHARES,
    seed: int = 0,
) -> np.ndarray:
    """Probability left when the weakest pixels are imputed minus when the strongest are: (N,).

    The mean over ``shares``. Remove-and-debias with noisy linear imputation (arXiv 2202.00449): a
    removed region leaves no visible edge. Large is good, 0 is no better than chance.
    """
    _check(images, targets, maps)
    place = ranks(maps, seed).to(images.device)  # (N, H·W)
    pixels = place.shape[1]
    copies = 2 * len(shares)
    block = max(1, AT_ONCE // copies)
    found = []
    with evaluating(model), torch.inference_mode():
        for rows in torch.arange(len(maps)).split(block):
            strongest = [place[rows] < share * pixels for share in shares]
            weakest = [place[rows] >= (1 - share) * pixels for share in shares]
            missing = torch.cat(strongest + weakest).view(-1, *images.shape[2:])
            filled = impute(images[rows].repeat(copies, 1, 1, 1), missing, seed=seed)
            left = _probability(model, filled, targets[rows].repeat(copies))
            without_strongest, without_weakest = left.view(2, len(shares), -1)
            found.append((without_weakest - without_strongest).mean(dim=0))
    return torch.cat(found).numpy()
