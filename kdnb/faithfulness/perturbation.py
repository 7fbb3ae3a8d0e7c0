"""What happens to the answer when the pixels that a map names are taken away: deletion, insertion, ROAD (notebook 05).

All images, steps and fills go through the network in large batches; no Python loop runs over pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.linalg import solveh_banded
from torch import Tensor, nn
from torch.nn.functional import conv2d
from torchvision.transforms.functional import gaussian_blur

from kdnb.errors import UserError
from kdnb.models import evaluating

__all__ = ["FILLS", "curve", "deletion", "impute", "insertion", "road"]

AT_ONCE = 64  # images per forward pass: more of them leave the cache of a CPU
SHARES = (0.2, 0.4, 0.6, 0.8)  # of the pixels removed in ROAD
KERNEL = torch.tensor([[1.0, 2, 1], [2, 0, 2], [1, 2, 1]]) / 12  # a pixel from its neighbours (arXiv 2202.00449, eq. 1)


def mean_colour(images: Tensor) -> Tensor:
    """Each image's mean colour, everywhere: (N, 3, H, W)."""
    return images.mean(dim=(2, 3), keepdim=True).expand_as(images)


def blurred(images: Tensor) -> Tensor:
    """Each image without its detail: Gaussian blur with a deviation of 1/12 of its side."""
    sigma = images.shape[-1] / 12
    return gaussian_blur(images, [2 * round(2 * sigma) + 1] * 2, [sigma] * 2)


FILLS: dict[str, Callable[[Tensor], Tensor]] = {"mean colour": mean_colour, "blur": blurred}


def ranks(maps: np.ndarray, seed: int = 0) -> Tensor:
    """(N, H·W) int64: 0 for a map's largest value; ties in random order, so that no corner comes first.

    >>> ranks(np.array([[[0.1, 0.3], [0.2, 0.0]]])).tolist()
    [[2, 0, 1, 3]]
    """
    flat = torch.as_tensor(np.ascontiguousarray(maps)).flatten(1)
    shuffle = torch.randperm(flat.shape[1], generator=torch.Generator().manual_seed(seed))
    order = shuffle[torch.argsort(flat[:, shuffle], dim=1, descending=True, stable=True)]
    return torch.empty_like(order).scatter_(1, order, torch.arange(flat.shape[1]).expand_as(order))


def _check(images: Tensor, targets: Tensor, maps: np.ndarray) -> None:
    if maps.shape != (len(images), *images.shape[2:]) or len(targets) != len(images):
        raise UserError(f"maps must be (N, height, width) of the {len(images)} images {tuple(images.shape[2:])} with a "
                        f"target each, got maps {maps.shape} and {len(targets)} targets")  # fmt: skip


def _probability(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    return model(images).float().softmax(dim=1).gather(1, targets.to(images.device)[:, None])[:, 0].cpu()


def curve(
    model: nn.Module, start: Tensor, end: Tensor, targets: Tensor, maps: np.ndarray, steps: int = 32, seed: int = 0
) -> np.ndarray:  # fmt: skip
    """Probability of the target while the pixels of ``start`` give way to those of ``end``, largest map values first.

    Args:
        model: Student or teacher.
        start: (N, 3, H, W).
        end: (N, 3, H, W).
        targets: (N,) class numbers.
        maps: (N, H, W).
        steps: Equal shares of the pixels, at least 1.
        seed: Orders pixels of equal value.

    Returns:
        (N, steps + 1) in [0, 1], from ``start`` alone to ``end`` alone.
    """
    _check(start, targets, maps)
    place, pixels = ranks(maps, seed).to(start.device), maps[0].size
    taken = torch.linspace(0, pixels, steps + 1, device=start.device).round().long()
    image, step = (i.flatten() for i in torch.meshgrid(torch.arange(len(maps)), torch.arange(steps + 1), indexing="ij"))
    found = []
    with evaluating(model), torch.inference_mode():
        for i, s in zip(image.split(AT_ONCE), step.split(AT_ONCE), strict=True):
            gone = (place[i] < taken[s, None]).view(-1, 1, *start.shape[2:])
            found.append(_probability(model, torch.where(gone, end[i], start[i]), targets[i]))
    return torch.cat(found).view(len(maps), -1).numpy()


def _area(values: np.ndarray) -> np.ndarray:
    """(N,) area under curves (N, S) over [0, 1], trapezoid rule."""
    return np.trapezoid(values, dx=1 / (values.shape[1] - 1), axis=1)


def deletion(
    model: nn.Module, images: Tensor, targets: Tensor, maps: np.ndarray, *, fill: str = "mean colour", steps: int = 32
) -> np.ndarray:  # fmt: skip
    """Mean probability while the strongest pixels are removed first (RISE, arXiv 1806.07421): small is good; (N,)."""
    return _area(curve(model, images, FILLS[fill](images), targets, maps, steps))


def insertion(
    model: nn.Module, images: Tensor, targets: Tensor, maps: np.ndarray, *, fill: str = "mean colour", steps: int = 32
) -> np.ndarray:  # fmt: skip
    """Mean probability while the strongest pixels are shown first (RISE, arXiv 1806.07421): large is good; (N,)."""
    return _area(curve(model, FILLS[fill](images), images, targets, maps, steps))


def impute(images: Tensor, missing: Tensor, *, noise: float = 0.01, seed: int = 0) -> Tensor:
    """Missing pixels as the weighted mean of their eight neighbours, plus noise (ROAD, arXiv 2202.00449, section 4).

    The neighbours may be missing too, so there is one symmetric, positive linear system per image. LAPACK solves each
    as a band matrix, which is several times quicker on a CPU; on a GPU all are solved at once by conjugate gradients.

    Args:
        images: (N, 3, H, W).
        missing: (N, H, W) bool; at least one pixel of each image is there.
        noise: Deviation of the noise, which hides the shape of the hole.
        seed: Seeds the noise.
    """
    hole = missing[:, None].to(images)
    known, degree = (1 - hole) * images, _spread(torch.ones_like(images[:1]))[:, :1]  # below 1 at the border
    solve = _by_bands if images.device.type == "cpu" else _by_gradients
    drawn = torch.randn(images.shape, generator=torch.Generator().manual_seed(seed)).to(images)
    return known + solve(hole * _spread(known), hole, degree) + noise * hole * drawn


def _spread(values: Tensor) -> Tensor:
    """Every pixel's neighbours, weighted; channels last keep it quick."""
    channels = values.shape[1]
    kernel = KERNEL.to(values).expand(channels, 1, 3, 3)
    return conv2d(values.contiguous(memory_format=torch.channels_last), kernel, padding=1, groups=channels)


def _by_bands(right: Tensor, hole: Tensor, degree: Tensor) -> Tensor:
    """The hole's pixels (N, 3, H, W) from their right sides, 0 elsewhere: a Cholesky factor per image."""
    height, width = hole.shape[2:]
    found = np.empty((len(right), height * width, right.shape[1]))
    for values, side, free in zip(found, right.flatten(2).mT.double().numpy(), hole[:, 0].numpy() > 0, strict=True):
        band, around = np.zeros((width + 2, height, width)), np.pad(free, ((0, 1), (1, 1)))
        band[0] = np.where(free, degree[0, 0], 1)
        for down, across in ((0, 1), (1, -1), (1, 0), (1, 1)):  # the later neighbours, in the order of the pixels
            both = free & around[down : down + height, 1 + across : 1 + across + width]
            band[down * width + across] = -KERNEL[1 + down, 1 + across].item() * both
        values[:] = solveh_banded(band.reshape(width + 2, -1), side, overwrite_ab=True, lower=True, check_finite=False)
    return torch.as_tensor(found).mT.reshape(right.shape).to(right)


def _by_gradients(right: Tensor, hole: Tensor, degree: Tensor, limit: int = 1000) -> Tensor:
    """The same for all images at once: a convolution per step, until the residual is below 1e-6."""
    values, rest = torch.zeros_like(right), right
    step, size = rest, rest.square().sum((2, 3), keepdim=True)
    for _ in range(limit):
        if rest.abs().max() < 1e-6:
            break
        applied = hole * (degree * step - _spread(step))
        length = size / (step * applied).sum((2, 3), keepdim=True).clamp_min(1e-30)
        values, rest = values + length * step, rest - length * applied
        before, size = size, rest.square().sum((2, 3), keepdim=True)
        step = rest + size / before.clamp_min(1e-30) * step
    return values


def road(
    model: nn.Module, images: Tensor, targets: Tensor, maps: np.ndarray, *, shares: tuple[float, ...] = SHARES,
    seed: int = 0,
) -> np.ndarray:  # fmt: skip
    """Probability left when the weakest pixels are imputed minus when the strongest are, mean over shares: (N,).

    Remove-and-debias with noisy linear imputation (arXiv 2202.00449): a removed region leaves no visible edge. Large is
    good, 0 is no better than chance.
    """
    _check(images, targets, maps)
    place, pixels = ranks(maps, seed).to(images.device), maps[0].size
    block, found = max(1, AT_ONCE // (2 * len(shares))), []
    with evaluating(model), torch.inference_mode():
        for rows in torch.arange(len(maps)).split(block):
            gone = [place[rows] < share * pixels for share in shares]
            gone += [place[rows] >= (1 - share) * pixels for share in shares]
            missing = torch.cat(gone).view(-1, *images.shape[2:])
            copies = 2 * len(shares)
            filled = impute(images[rows].repeat(copies, 1, 1, 1), missing, seed=seed)
            left = _probability(model, filled, targets[rows].repeat(copies)).view(2, len(shares), -1)
            found.append((left[1] - left[0]).mean(dim=0))
    return torch.cat(found).numpy()
