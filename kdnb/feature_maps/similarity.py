"""Do two networks order the images alike? Debiased linear CKA between their taps (notebook 04).

Plain CKA of independent features comes near 1 when there are more features than images, as at every early tap; with
the unbiased estimate of HSIC (Song et al., JMLR 13, 2012, equation 5) its mean is near 0 (arXiv 2010.15327).
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import torch
from torch import Tensor, nn

from kdnb.errors import UserError
from kdnb.feature_maps.maps import logits_and_taps

__all__ = ["gram_cka", "grams"]

BLOCK = 2**16  # features at a time, so that the float64 copy stays small


def grams(model: nn.Module, images: Tensor, *, batch: int = 64) -> dict[str, Tensor]:
    """Inner products (N, N) float64 of the flattened activations of images (N, 3, H, W), at every tap.

    Only two batches of activations are held at a time; for B batches that takes B (B + 1) / 2 forward passes.
    """
    found: dict[str, Tensor] = {}
    spans = [slice(start, start + batch) for start in range(0, len(images), batch)]
    with torch.inference_mode():
        for i, rows in enumerate(spans):
            a = logits_and_taps(model, images[rows])[1]
            for columns in spans[: i + 1]:
                b = a if columns is rows else logits_and_taps(model, images[columns])[1]
                for tap, x in a.items():
                    whole = found.setdefault(tap, torch.zeros(len(images), len(images), dtype=torch.float64))
                    block = _gram(x.flatten(1), b[tap].flatten(1)).cpu()
                    whole[rows, columns], whole[columns, rows] = block, block.T
    return found


def _gram(x: Tensor, y: Tensor) -> Tensor:
    return sum(a.double() @ b.double().T for a, b in zip(x.split(BLOCK, 1), y.split(BLOCK, 1), strict=True))


def gram_cka(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> pd.DataFrame:
    """Debiased linear CKA of every matrix (N, N) of ``first`` with every one of ``second``, see :func:`grams`.

    First are rows, second columns. At most 1 (the same up to rotation, scale and shift), about 0 for independent
    features (the estimate can fall below); nan where features are constant over the images.

    Raises:
        UserError: If N is below 4 or differs, or a number is not finite.

    >>> x = torch.tensor([[0.0, 1.0], [2.0, 3.0], [5.0, 4.0], [1.0, 0.0]], dtype=torch.float64)
    >>> round(float(gram_cka({"x": x @ x.T}, {"y": 4 * x @ x.T}).loc["x", "y"]), 6)
    1.0
    """
    sides = {len(k) for k in (*first.values(), *second.values())}
    if len(sides) > 1 or min(sides) < 4:
        raise UserError(f"debiased CKA needs the same images on both sides, at least 4; got {sorted(sides)} images")
    ours, theirs = (torch.stack([_unbiased(k) for k in side.values()]) for side in (first, second))
    return pd.DataFrame((ours @ theirs.T).numpy(), index=list(first), columns=list(second))


def _unbiased(gram: Tensor) -> Tensor:
    """A Gram matrix (N, N) as a vector of length 1 whose inner products are debiased CKA.

    Song's estimate of HSIC is the inner product of two U-centred matrices (Székely and Rizzo, doi 10.1214/14-AOS1255),
    over N (N − 3), which CKA divides out.
    """
    if not torch.isfinite(gram).all():
        raise UserError("the features are not finite: check the weights and the input range")
    count = len(gram)
    k = gram - torch.diag(gram.diagonal())
    sums = k.sum(dim=0)
    k = k - (sums[:, None] + sums) / (count - 2) + sums.sum() / ((count - 1) * (count - 2))
    k = (k - torch.diag(k.diagonal())).flatten()
    norm = k.norm()
    return k / norm if norm > 1e-12 * gram.norm() else torch.full_like(k, torch.nan)
