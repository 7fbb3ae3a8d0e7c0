"""Do two networks order the images alike? Debiased linear CKA between their taps (notebook 04).

Plain CKA of independent features comes near 1 when there are more features than images, as at every
early tap; with the unbiased estimate of HSIC (Song et al., JMLR 13, 2012, equation 5) its mean is
near 0 (arXiv 2010.15327).
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import torch
from torch import Tensor, nn

from kdnb.core.errors import UserError
from kdnb.training.taps import logits_and_taps

__all__ = ["gram_cka", "grams"]

BLOCK = 2**16  # features at a time, so that the float64 copy stays small


def grams(model: nn.Module, images: Tensor, *, batch: int = 64) -> dict[str, Tensor]:
    """Inner products (N, N) float64 of the activations of images (N, 3, H, W), at every tap.

    Only two batches of activations are held at a time; for B batches that takes B (B + 1) / 2
    forward passes.
    """
    count = len(images)
    found: dict[str, Tensor] = {}
    spans = [slice(start, start + batch) for start in range(0, count, batch)]
    with torch.inference_mode():
        for number, rows in enumerate(spans):
            _, first = logits_and_taps(model, images[rows])
            for columns in spans[: number + 1]:
                second = first
                if columns is not rows:
                    _, second = logits_and_taps(model, images[columns])
                for tap in first:
                    if tap not in found:
                        found[tap] = torch.zeros(count, count, dtype=torch.float64)
                    block = _inner_products(first[tap].flatten(1), second[tap].flatten(1)).cpu()
                    found[tap][rows, columns] = block
                    found[tap][columns, rows] = block.T
    return found


def _inner_products(first: Tensor, second: Tensor) -> Tensor:
    """(N, M) float64 inner products of the rows of (N, C) and (M, C), some features at a time."""
    blocks = zip(first.split(BLOCK, 1), second.split(BLOCK, 1), strict=True)
    return sum(a.double() @ b.double().T for a, b in blocks)


def gram_cka(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> pd.DataFrame:
    """Debiased linear CKA of every Gram matrix of one network with every one of another.

    Args:
        first: Tap → (N, N), see :func:`grams`; the rows of the result.
        second: Likewise; the columns.

    Returns:
        At most 1 (the same up to rotation, scale and shift), about 0 for independent features (the
        estimate can fall below); nan where features are constant over the images.

    Raises:
        UserError: If N is below 4 or differs, or a number is not finite.

    >>> x = torch.tensor([[0.0, 1.0], [2.0, 3.0], [5.0, 4.0], [1.0, 0.0]], dtype=torch.float64)
    >>> round(float(gram_cka({"x": x @ x.T}, {"y": 4 * x @ x.T}).loc["x", "y"]), 6)
    1.0
    """
    counts = {len(gram) for gram in (*first.values(), *second.values())}
    if len(counts) > 1 or min(counts) < 4:
        raise UserError(
            "debiased CKA needs the same images on both sides, at least 4; "
            f"got {sorted(counts)} images"
        )
    rows = torch.stack([_unbiased(gram) for gram in first.values()])
    columns = torch.stack([_unbiased(gram) for gram in second.values()])
    cka = (rows @ columns.T).numpy()
    return pd.DataFrame(cka, index=list(first), columns=list(second))


def _unbiased(gram: Tensor) -> Tensor:
    """A Gram matrix (N, N) as a vector of length 1 whose inner products are debiased CKA.

    Song's estimate of HSIC is the inner product of two U-centred matrices (Székely and Rizzo,
    doi 10.1214/14-AOS1255), over N (N − 3), which CKA divides out.
    """
    if not torch.isfinite(gram).all():
        raise UserError("the features are not finite: check the weights and the input range")
    count = len(gram)
    hollow = gram - torch.diag(gram.diagonal())
    sums = hollow.sum(dim=0)
    of_all = sums.sum() / ((count - 1) * (count - 2))
    centred = hollow - (sums[:, None] + sums) / (count - 2) + of_all
    vector = (centred - torch.diag(centred.diagonal())).flatten()
    norm = vector.norm()
    if norm > 1e-12 * gram.norm():
        return vector / norm
    return torch.full_like(vector, torch.nan)
