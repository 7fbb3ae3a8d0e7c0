"""Mean ablation: what a channel is worth to the prediction, alone and together with others (notebook 04).

A channel is not set to zero, which a network may never have seen, but to its mean over a reference set.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from kdnb.errors import UserError
from kdnb.feature_maps.maps import check_targets, logits_and_taps
from kdnb.metrics import seed_interval
from kdnb.models import evaluating, modules_at

__all__ = ["Tail", "channel_effects", "channel_means", "probabilities_without", "top_k_curve"]

CHUNK = 2**21  # numbers in one batch of ablated activations: 8 MB, near the caches


class _Call(NamedTuple):
    module: nn.Module
    inputs: tuple
    output: Tensor


class Tail:
    """The part of a model after a tap: activations in, logits out.

    Where the rest is a chain of modules, each fed with what the one before returned, only the chain is run, with
    containers as single links (so DenseNet's blocks and ResNet's layers are links, whatever goes on inside).
    Elsewhere, and where a module works in place, the whole model is run and the tap's output replaced.

    Attributes:
        chain: The modules that run, in order; None where the whole model runs.
    """

    def __init__(self, model: nn.Module, images: Tensor, tap: str, taps: Mapping[str, str] | None = None) -> None:
        """Follow one forward pass of the first of ``images`` (N, 3, H, W).

        Raises:
            UserError: If the tap does not exist or does not run exactly once.
        """
        known = modules_at(model, taps)
        if tap not in known:
            raise UserError(f"tap {tap!r} does not exist; there are {', '.join(known)}")
        self.model, self.module = model, known[tap]
        self.taps = {tap: (taps or model.taps)[tap]}
        self.chain = _chain(model, images[:1], self.taps)

    def activations(self, images: Tensor) -> Tensor:
        """Activations (N, C, h, w) at the tap."""
        with torch.inference_mode():
            return next(iter(logits_and_taps(self.model, images, self.taps)[1].values()))

    def __call__(self, activations: Tensor, images: Tensor) -> Tensor:
        """Logits (N, K) for activations (N, C, h, w) at the tap; ``images`` are read only where there is no chain."""
        with torch.inference_mode(), evaluating(self.model):
            if self.chain is not None:
                return _run(self.chain, activations)
            handle = self.module.register_forward_hook(lambda *_: activations.clone())  # what follows may be in place
            try:
                return self.model(images)
            finally:
                handle.remove()


def _run(chain: Sequence[nn.Module], x: Tensor) -> Tensor:
    for module in chain:
        x = module(x)
    return x


def _chain(model: nn.Module, image: Tensor, taps: Mapping[str, str]) -> list[nn.Module] | None:
    """The modules that lead from the one tap to the logits, or None if they form no chain."""
    ((tap, start),) = modules_at(model, taps).items()
    calls: list[_Call] = []  # in the order in which they return

    def note(module: nn.Module, inputs: tuple, named: dict, output: Tensor) -> None:
        calls.append(_Call(module, (*inputs, *named.values()), output))

    handles = [m.register_forward_hook(note, with_kwargs=True) for m in model.modules() if m is not model]
    try:
        with torch.no_grad():
            logits, _ = logits_and_taps(model, image, taps)
    finally:
        for handle in handles:
            handle.remove()
    own = [n for n, call in enumerate(calls) if call.module is start]
    if len(own) != 1:
        raise UserError(f"tap {tap!r} runs {len(own)} times in a forward pass: it must run once, so give each use a "
                        "module of its own")  # fmt: skip
    if any(getattr(module, "inplace", False) for module in model.modules()):
        return None
    tensor = calls[own[0]].output
    with evaluating(model), torch.no_grad():
        chain = _links(calls[own[0] + 1 :], tensor, logits)
        return chain if chain is not None and torch.allclose(_run(chain, tensor), logits, atol=1e-5) else None


def _links(calls: Sequence[_Call], tensor: Tensor, logits: Tensor) -> list[nn.Module] | None:
    chain: list[nn.Module] = []
    while tensor is not logits:
        alone = [n for n, call in enumerate(calls) if len(call.inputs) == 1 and isinstance(call.inputs[0], Tensor)]
        fed = [n for n in alone if calls[n].inputs[0] is tensor]
        if not fed and tensor.ndim == 4:  # torchvision flattens with a function
            flat = tensor.flatten(1)
            fed = [n for n in alone if torch.equal(calls[n].inputs[0], flat)]
            chain.append(nn.Flatten())
        if not fed:
            return None
        last = fed[-1]  # the outermost of nested modules returns last
        chain.append(calls[last].module)
        tensor, calls = calls[last].output, calls[last + 1 :]
    return chain


def channel_means(
    model: nn.Module, images: Tensor, taps: Mapping[str, str] | None = None, *, batch: int = 64
) -> OrderedDict[str, Tensor]:
    """Mean activation of every channel over images and places: tap → (C,) float32.

    Args:
        model: Any module with taps.
        images: (N, 3, H, W) the reference set.
        taps: Tap name → module path.
        batch: Images at a time.
    """
    sums: OrderedDict[str, Tensor] = OrderedDict()
    with torch.inference_mode():
        for part in images.split(batch):
            for tap, a in logits_and_taps(model, part, taps)[1].items():
                sums[tap] = sums.get(tap, 0) + a.mean(dim=(2, 3)).double().sum(dim=0)
    return OrderedDict((tap, (total / len(images)).float()) for tap, total in sums.items())


def channel_effects(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    tap: str,
    *,
    mean: Tensor,
    channels: Sequence[int] | None = None,
    taps: Mapping[str, str] | None = None,
) -> Tensor:
    """Change of the target's probability when one channel alone is replaced by its mean.

    Args:
        model: Any module with taps.
        images: (N, 3, H, W).
        targets: (N,) class whose probability is watched.
        tap: Name of the tap.
        mean: (C,) what a channel is replaced by, see :func:`channel_means`.
        channels: The channels, all if omitted.
        taps: Tap name → module path.

    Returns:
        (N, channels) float32 in [−1, 1]: probability without the channel minus probability with it, so a channel that
        speaks for the class has a negative effect.

    Raises:
        UserError: If the tap or a channel does not exist, or ``mean`` does not fit.
    """
    if channels is not None and not all(0 <= c < len(mean) for c in channels):
        raise UserError(f"channels must lie from 0 to {len(mean) - 1}, got {list(channels)}")
    masks = torch.eye(len(mean), dtype=torch.bool, device=images.device)
    masks = masks if channels is None else masks[list(channels)]
    return _changes(model, images, targets, tap, masks.expand(len(images), -1, -1), mean, taps)


def top_k_curve(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    tap: str,
    contributions: Tensor,
    ks: Sequence[int],
    *,
    mean: Tensor,
    seed: int = 0,
    repeats: int = 5,
    groups: np.ndarray | None = None,
    taps: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Drop of the target's probability when an image's top-k channels, or k random ones, are replaced by their means.

    Args:
        model: Any module with taps.
        images: (N, 3, H, W).
        targets: (N,) class whose probability is watched.
        tap: Name of the tap.
        contributions: (N, C), the largest goes first.
        ks: How many channels to replace.
        mean: (C,) what a channel is replaced by.
        seed: Seeds the random channels.
        repeats: Random orders per image.
        groups: (N,) patient or family of each image; each its own if omitted.
        taps: Tap name → module path.

    Returns:
        One row per k: ``k, ranked, ranked_low, ranked_high, random, random_low, random_high``, mean drops with 95 %
        intervals over groups of images (and over the random orders), in [−1, 1].

    Raises:
        UserError: If ``contributions`` is not (N, C) or a k is not from 0 to C.
    """
    count, total = len(images), len(mean)
    if contributions.shape != (count, total) or not all(0 <= k <= total for k in ks):
        raise UserError(f"contributions must have shape {(count, total)} and each k lie from 0 to {total}, got "
                        f"{tuple(contributions.shape)} and {list(ks)}")  # fmt: skip
    chance = torch.rand(count, repeats, total, generator=torch.Generator().manual_seed(seed))
    orders = torch.cat([contributions.detach().cpu()[:, None], chance], dim=1)  # (N, 1 + repeats, C)
    places = orders.argsort(dim=2, descending=True, stable=True).argsort(dim=2)
    masks = torch.cat([places < k for k in ks], dim=1).to(images.device)  # (N, ks · (1 + repeats), C)
    drops = -_changes(model, images, targets, tap, masks, mean, taps).double().cpu().numpy()
    groups = np.arange(count) if groups is None else np.asarray(groups)
    rows = [(k, *seed_interval(d[:1], groups, seed=seed), *seed_interval(d[1:], groups, seed=seed))
            for k, d in zip(ks, drops.T.reshape(len(ks), 1 + repeats, count), strict=True)]  # fmt: skip
    names = [f"{name}{end}" for name in ("ranked", "random") for end in ("", "_low", "_high")]
    return pd.DataFrame(rows, columns=["k", *names])


def probabilities_without(
    model: nn.Module,
    image: Tensor,
    tap: str,
    masks: Tensor,
    *,
    mean: Tensor,
    taps: Mapping[str, str] | None = None,
) -> Tensor:
    """Probabilities of all classes when the channels of each mask are replaced by their means.

    Args:
        model: Any module with taps.
        image: (1, 3, H, W).
        tap: Name of the tap.
        masks: (M, C) bool, True for a channel to replace.
        mean: (C,) what a channel is replaced by, see :func:`channel_means`.
        taps: Tap name → module path.

    Returns:
        (M, K) float32.

    Raises:
        UserError: If the tap does not exist or ``mean`` does not fit.
    """
    return _probabilities(Tail(model, image, tap, taps), image, tap, masks, mean)


def _probabilities(tail: Tail, image: Tensor, tap: str, masks: Tensor, mean: Tensor) -> Tensor:
    activation = tail.activations(image)  # (1, C, h, w)
    if mean.shape != activation.shape[1:2]:
        raise UserError(f"tap {tap!r} has {activation.shape[1]} channels: mean must be one number per channel, got "
                        f"shape {tuple(mean.shape)}")  # fmt: skip
    chunk = max(1, CHUNK // max(activation.numel(), image.numel()))
    replaced = (torch.where(part[:, :, None, None], mean[:, None, None], activation) for part in masks.split(chunk))
    logits = torch.cat([tail(a, image.expand(len(a), -1, -1, -1)) for a in replaced])
    return logits.softmax(dim=1)


def _changes(
    model: nn.Module, images: Tensor, targets: Tensor, tap: str, masks: Tensor, mean: Tensor,
    taps: Mapping[str, str] | None,
) -> Tensor:  # fmt: skip
    """Change (N, M) of the target's probability when the channels of each of M masks (N, M, C) become their means."""
    tail, rows = Tail(model, images, tap, taps), []
    for n, image in enumerate(images.split(1)):
        masked = torch.cat([masks.new_zeros(1, len(mean)), masks[n]])  # first of all, nothing replaced
        found = _probabilities(tail, image, tap, masked, mean)
        probability = found[:, check_targets(targets, found.shape[1], len(images))[n]]
        rows.append(probability[1:] - probability[0])
    return torch.stack(rows)
