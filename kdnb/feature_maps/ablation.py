"""Mean ablation: what channels are worth to the prediction, alone and together (notebook 04).

A channel is not set to zero, which a network may never have seen, but to its mean over a reference
set.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from kdnb.core.errors import UserError
from kdnb.core.statistics import Groups, seed_interval
from kdnb.training.modules import evaluating, modules_at
from kdnb.training.taps import check_targets, features, logits_and_taps

__all__ = ["Tail", "channel_means", "probabilities_without", "top_k_curve"]

CHUNK = 2**21  # numbers in one batch of ablated activations: 8 MB, near the caches
ORDERS = 5  # random orders of the channels beside the ranked one


class _Call(NamedTuple):
    """One module's run in a forward pass."""

    module: nn.Module
    inputs: tuple
    output: Tensor


class Tail:
    """The part of a model after a tap: activations in, logits out.

    Where the rest is a chain of modules, each fed with what the one before returned, only the chain
    is run, with containers as single links (so DenseNet's blocks and ResNet's layers are links,
    whatever goes on inside). Elsewhere, and where a module works in place, the whole model is run
    and the tap's output replaced.

    Attributes:
        chain: The modules that run, in order; None where the whole model runs.
    """

    def __init__(self, model: nn.Module, images: Tensor, tap: str) -> None:
        """Follow one forward pass of the first of ``images`` (N, 3, H, W).

        Raises:
            UserError: If the tap does not exist or does not run exactly once.
        """
        known = modules_at(model)
        if tap not in known:
            raise UserError(f"tap {tap!r} does not exist; there are {', '.join(known)}")
        self.model = model
        self.tap = tap
        self.module = known[tap]
        self.chain = self._chain(images[:1])

    def __call__(self, activations: Tensor, images: Tensor) -> Tensor:
        """Logits (N, K) for activations (N, C, h, w) at the tap.

        The ``images`` are read only where there is no chain.
        """

        def replace(_module: nn.Module, _inputs: tuple, _output: Tensor) -> Tensor:
            return activations.clone()  # what follows may work in place

        with torch.inference_mode(), evaluating(self.model):
            if self.chain is not None:
                return self.chain(activations)
            with self.module.register_forward_hook(replace):
                return self.model(images)

    def activations(self, images: Tensor) -> Tensor:
        """Activations (N, C, h, w) at the tap."""
        with torch.inference_mode():
            _, found = logits_and_taps(self.model, images)
        return found[self.tap]

    def probabilities(self, image: Tensor, masks: Tensor, mean: Tensor) -> Tensor:
        """What :func:`probabilities_without` returns."""
        return self.logits(image, masks, mean).softmax(dim=1)

    def logits(self, image: Tensor, masks: Tensor, mean: Tensor) -> Tensor:
        """Logits (M, K) for the arguments of :func:`probabilities_without`."""
        activation = self.activations(image)  # (1, C, h, w)
        if mean.shape != activation.shape[1:2]:
            raise UserError(
                f"tap {self.tap!r} has {activation.shape[1]} channels: mean must be one number per "
                f"channel, got shape {tuple(mean.shape)}"
            )
        chunk = max(1, CHUNK // max(activation.numel(), image.numel()))
        logits = []
        for some in masks.split(chunk):
            ablated = torch.where(some[:, :, None, None], mean[:, None, None], activation)
            repeated = image.expand(len(some), -1, -1, -1)
            logits.append(self(ablated, repeated))
        return torch.cat(logits)

    def _chain(self, image: Tensor) -> nn.Sequential | None:
        """The modules that lead from the tap to the logits, or None if they form no chain."""
        calls: list[_Call] = []  # in the order in which they return

        def note(module: nn.Module, inputs: tuple, named: dict, output: Tensor) -> None:
            every_input = (*inputs, *named.values())
            calls.append(_Call(module=module, inputs=every_input, output=output))

        with ExitStack() as hooks, torch.no_grad():
            for module in list(self.model.modules())[1:]:  # the first is the model itself
                hooks.enter_context(module.register_forward_hook(note, with_kwargs=True))
            logits, _ = logits_and_taps(self.model, image)
        own = [place for place, call in enumerate(calls) if call.module is self.module]
        if len(own) != 1:
            raise UserError(
                f"tap {self.tap!r} runs {len(own)} times in a forward pass: it must run once, so "
                "give each use a module of its own"
            )
        if any(getattr(module, "inplace", False) for module in self.model.modules()):
            return None
        tensor = calls[own[0]].output
        chain = _links(calls[own[0] + 1 :], tensor, logits)
        if chain is None:
            return None
        with evaluating(self.model), torch.no_grad():
            same = torch.allclose(chain(tensor), logits, atol=1e-5)
        return chain if same else None


def _links(calls: Sequence[_Call], tensor: Tensor, logits: Tensor) -> nn.Sequential | None:
    """The modules among ``calls`` that lead from a tensor to the logits, or None."""
    chain: list[nn.Module] = []
    while tensor is not logits:
        single = [
            place
            for place, call in enumerate(calls)
            if len(call.inputs) == 1 and isinstance(call.inputs[0], Tensor)
        ]
        fed = [place for place in single if calls[place].inputs[0] is tensor]
        if not fed and tensor.ndim == 4:  # torchvision flattens with a function
            flat = tensor.flatten(1)
            fed = [place for place in single if torch.equal(calls[place].inputs[0], flat)]
            chain.append(nn.Flatten())
        if not fed:
            return None
        last = fed[-1]  # the outermost of nested modules returns last
        chain.append(calls[last].module)
        tensor = calls[last].output
        calls = calls[last + 1 :]
    return nn.Sequential(*chain)


def channel_means(model: nn.Module, images: Tensor, *, batch: int = 64) -> dict[str, Tensor]:
    """Mean activation of every channel over the images (N, 3, H, W): tap → (C,) float32."""
    means = {}
    for tap, found in features(model, images, batch=batch).items():
        mean = torch.from_numpy(found.mean(axis=0, dtype=np.float64))
        means[tap] = mean.float().to(images.device)
    return means


def top_k_curve(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    tap: str,
    contributions: Tensor,
    ks: Sequence[int],
    *,
    mean: Tensor,
    groups: Groups | np.ndarray,
    seed: int = 0,
) -> pd.DataFrame:
    """Drop of the target's probability when channels are replaced by their means.

    They are an image's top-k channels, or k random ones.

    Args:
        model: Any module with taps.
        images: (N, 3, H, W).
        targets: (N,) class whose probability is watched.
        tap: Name of the tap.
        contributions: (N, C), the largest goes first.
        ks: How many channels to replace.
        mean: (C,) what a channel is replaced by, see :func:`channel_means`.
        groups: (N,) patient or family of each image.
        seed: Seeds the random channels, ``ORDERS`` orders per image.

    Returns:
        One row per k: ``k, ranked, ranked_low, ranked_high, random, random_low, random_high``, mean
        drops with 95 % intervals over groups of images (and over the random orders), in [−1, 1].

    Raises:
        UserError: If ``contributions`` is not (N, C) or a k is not from 0 to C.
    """
    count = len(images)
    total = len(mean)
    if contributions.shape != (count, total) or not all(0 <= k <= total for k in ks):
        raise UserError(
            f"contributions must have shape {(count, total)} and each k lie from 0 to {total}, got "
            f"{tuple(contributions.shape)} and {list(ks)}"
        )
    chance = torch.rand(count, ORDERS, total, generator=torch.Generator().manual_seed(seed))
    scores = torch.cat([contributions.detach().cpu()[:, None], chance], dim=1)  # (N, 1 + ORDERS, C)
    places = scores.argsort(dim=2, descending=True, stable=True).argsort(dim=2)  # 0 goes first
    nothing = torch.zeros(count, 1, total, dtype=torch.bool)
    # (N, 1 + ks · (1 + ORDERS), C): first nothing is replaced, then k channels for each k
    masks = torch.cat([nothing, *[places < k for k in ks]], dim=1).to(images.device)
    tail = Tail(model, images, tap)
    drops = []  # of each image, (ks · (1 + ORDERS),)
    for number, image in enumerate(images.split(1)):
        found = tail.probabilities(image, masks[number], mean)
        target = check_targets(targets, found.shape[1], count)[number]
        whole = found[0, target]
        ablated = found[1:, target]
        drops.append((whole - ablated).double().cpu().numpy())
    of_k = np.transpose(drops).reshape(len(ks), 1 + ORDERS, count)
    rows = []
    for k, drop in zip(ks, of_k, strict=True):
        ranked = seed_interval(drop[:1], groups, bounds=(-1, 1), seed=seed)
        random = seed_interval(drop[1:], groups, bounds=(-1, 1), seed=seed)
        rows.append({"k": k, **ranked.named("ranked"), **random.named("random")})
    return pd.DataFrame(rows)


def probabilities_without(
    model: nn.Module, image: Tensor, tap: str, masks: Tensor, *, mean: Tensor
) -> Tensor:
    """Probabilities (M, K) of all classes for an image when channels at a tap become their means.

    Args:
        model: Any module with taps.
        image: (1, 3, H, W).
        tap: Name of the tap.
        masks: (M, C) bool, which channels are replaced.
        mean: (C,) what a channel is replaced by, see :func:`channel_means`.

    Raises:
        UserError: If the tap does not exist or ``mean`` does not fit.
    """
    return Tail(model, image, tap).probabilities(image, masks, mean)
