"""The decision ledger: at every tap, how much of a logit is evidence and how much is bias added later (notebook 04).

A network of convolutions, batch norm in eval mode, ReLU, pooling and linear layers is linear around each image. So a
logit equals, exactly, the sum of gradient × activation at a tap plus what the biases after the tap add:

    logit = Σ_cells Σ_channels gradient · activation  +  Σ_layers after the tap  Σ_outputs gradient · bias

It is the full-gradient decomposition (arXiv 1905.00780), here read at every tap instead of at the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from kdnb.errors import UserError
from kdnb.feature_maps.maps import check_targets, logits_and_taps
from kdnb.models import evaluating, modules_at

__all__ = ["Account", "Ledger", "decision_ledger", "ledgers"]

# In a forward pass: a tap's name, or a layer's bias per channel, (C,) float64; and what the tap or the layer gave.
Event = tuple[str | None, Tensor | None, Tensor]
TOLERANCE = 1e-4  # largest accepted |residual| relative to max(1, |logit|)
LINEAR = (nn.modules.conv._ConvNd, nn.Linear)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
OTHERS = (nn.ReLU, nn.LeakyReLU, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Flatten,
          nn.Identity, nn.modules.dropout._DropoutNd, nn.ZeroPad2d)  # fmt: skip


class Account(NamedTuple):
    """One tap's part of the ledger of a logit."""

    maps: np.ndarray  #: (N, h, w) float32 signed evidence of each cell: Σ over channels of gradient × activation
    channels: np.ndarray  #: (N, C) float32 signed contribution of each channel: Σ over cells
    bias: np.ndarray  #: (N,) float64, what the biases after the tap add

    @property
    def evidence(self) -> np.ndarray:
        """(N,) float64: the sum over cells and channels."""
        return self.channels.sum(1, dtype=np.float64)

    @property
    def supporting(self) -> np.ndarray:
        """(N,) float64 ≥ 0: the sum over the cells that speak for the class."""
        return np.clip(self.maps, 0, None).sum((1, 2), dtype=np.float64)

    @property
    def opposing(self) -> np.ndarray:
        """(N,) float64 ≤ 0: the sum over the cells that speak against it."""
        return np.clip(self.maps, None, 0).sum((1, 2), dtype=np.float64)


@dataclass(frozen=True)
class Ledger:
    """Logits (N,) float64 and tap → :class:`Account`, in order of depth."""

    logits: np.ndarray
    accounts: dict[str, Account]

    def residual(self, tap: str) -> np.ndarray:
        """(N,) float64: logit − evidence − bias, relative to max(1, |logit|); zero but for rounding."""
        account = self.accounts[tap]
        return (self.logits - account.evidence - account.bias) / np.maximum(1, np.abs(self.logits))

    def table(self, titles: Sequence[str] | None = None) -> pd.DataFrame:
        """One row per image and tap: logit, supporting, opposing, evidence, bias, bias_share, residual.

        ``bias_share`` is |bias| / (|supporting| + |opposing| + |bias|), in [0, 1].
        """
        rows = []
        for tap, a in self.accounts.items():
            size = np.abs(a.supporting) + np.abs(a.opposing) + np.abs(a.bias)
            rows.append(pd.DataFrame({
                "image": range(len(self.logits)) if titles is None else titles, "tap": tap, "logit": self.logits,
                "supporting": a.supporting, "opposing": a.opposing, "evidence": a.evidence, "bias": a.bias,
                "bias_share": np.abs(a.bias) / np.where(size > 0, size, 1), "residual": self.residual(tap),
            }))  # fmt: skip
        return pd.concat(rows, ignore_index=True)


def decision_ledger(model: nn.Module, images: Tensor, targets: Tensor, *, batch: int = 32) -> Ledger:
    """The ledger of one logit per image, at all taps from one forward and one backward pass.

    Args:
        model: Convolutions, batch norm, (leaky) ReLU, pooling and linear layers in float32 or float64, with taps.
        images: (N, 3, H, W) normalised.
        targets: (N,) class numbers.
        batch: Images per pass; bounds the memory.

    Raises:
        UserError: If the network holds a layer for which the account is not exact, if a tap does not carry the whole
            signal (the residual exceeds ``TOLERANCE``), or if a target is no class.
    """
    targets = torch.as_tensor(targets, dtype=torch.int64).reshape(-1, 1).clone()  # may come from inference mode
    return _ledgers(model, images, targets, batch)[0]


def ledgers(model: nn.Module, images: Tensor, *, batch: int = 32) -> list[Ledger]:
    """The ledgers of all K classes, in order, from one forward pass and K backward passes."""
    with evaluating(model), torch.inference_mode():
        classes = model(images[:1]).shape[1]
    return _ledgers(model, images, torch.arange(classes).expand(len(images), -1), batch)


def _ledgers(model: nn.Module, images: Tensor, targets: Tensor, batch: int) -> list[Ledger]:
    """One ledger for each column of targets (N, M), made batch by batch and checked."""
    if len(targets) != len(images):
        raise UserError(f"targets must be {len(images)} class numbers, one per image, got {len(targets)}")
    parts = [_part(model, x, t) for x, t in zip(images.split(batch), targets.split(batch), strict=True)]
    found = []
    for pieces in zip(*parts, strict=True):
        accounts = {
            tap: Account(*map(np.concatenate, zip(*(p.accounts[tap] for p in pieces), strict=True)))
            for tap in pieces[0].accounts
        }
        ledger = Ledger(np.concatenate([p.logits for p in pieces]), accounts)
        for tap in accounts:
            worst = float(np.abs(ledger.residual(tap)).max())
            if not worst <= TOLERANCE:
                raise UserError(
                    f"the ledger of {type(model).__name__} does not add up at tap {tap!r}: it misses the logit by "
                    f"{worst:.2g} (accepted: {TOLERANCE:g}); the tap must carry the whole signal, and every layer "
                    "between it and the logit must be a module"
                )
        found.append(ledger)
    return found


def _part(model: nn.Module, images: Tensor, targets: Tensor) -> list[Ledger]:
    """Ledgers of a batch, one for each column of targets (N, M)."""
    with torch.enable_grad():
        logits, events = _recorded(model, images.detach().requires_grad_())
        outputs = [output for _, _, output in events]
        found = []
        for column in targets.unbind(1):
            chosen = check_targets(column, logits.shape[1], len(images)).to(logits.device)
            picked = logits.gather(1, chosen[:, None])[:, 0]
            gradients = torch.autograd.grad(picked.sum(), outputs, retain_graph=True, materialize_grads=True)
            found.append(_accounts(picked.detach(), events, gradients))
    return found


def _recorded(model: nn.Module, images: Tensor) -> tuple[Tensor, list[Event]]:
    """Logits (N, K), and what the taps and the layers with a bias gave, in order of execution."""
    events: list[Event] = []

    def record(tap: str | None, shift: Tensor | None, _module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        events.append((tap, shift, output))

    with ExitStack() as hooks:
        for layer in model.modules():
            if next(layer.children(), None) is None:
                _check_layer(model, layer)
                if (shift := _shift(layer)) is not None:
                    hooks.enter_context(layer.register_forward_hook(partial(record, None, shift)))
        for tap, module in modules_at(model).items():
            hooks.enter_context(module.register_forward_hook(partial(record, tap, None)))
        return logits_and_taps(model, images)[0], events


def _check_layer(model: nn.Module, layer: nn.Module) -> None:
    of_batch = isinstance(layer, NORMS) and layer.running_mean is None
    if not isinstance(layer, LINEAR + NORMS + OTHERS) or of_batch:
        raise UserError(
            f"{type(model).__name__} has a layer {type(layer).__name__}{' without running statistics' * of_batch}: the "
            "ledger is exact only for convolutions, batch norm, ReLU, pooling and linear layers"
        )
    if getattr(layer, "weight", None) is not None and layer.weight.dtype not in (torch.float32, torch.float64):
        raise UserError(f"the ledger needs a model in float32, got {layer.weight.dtype}: call model.float()")


def _shift(layer: nn.Module) -> Tensor | None:
    """What a layer adds to each output channel, (C,) float64; None where it adds nothing."""
    if isinstance(layer, NORMS):
        mean, scale = layer.running_mean.double(), (layer.running_var.double() + layer.eps).rsqrt()
        shift = -mean * scale
        return (shift * layer.weight.double() + layer.bias.double() if layer.affine else shift).detach()
    bias = layer.bias if isinstance(layer, LINEAR) else None
    return None if bias is None else bias.detach().double()


def _accounts(logits: Tensor, events: Sequence[Event], gradients: Sequence[Tensor]) -> Ledger:
    """Read the events from the logit backwards: what has been added so far is the bias after a tap."""
    bias, accounts = torch.zeros(len(logits), dtype=torch.float64, device=logits.device), []
    for (tap, shift, output), gradient in reversed(list(zip(events, gradients, strict=True))):
        if tap is None:
            bias = bias + gradient.reshape(*gradient.shape[:2], -1).sum(2).double() @ shift
        elif output.ndim != 4:
            raise UserError(f"tap {tap!r} is no map: it must be (N, C, h, w), is {tuple(output.shape)}")
        else:
            product = gradient * output.detach()
            accounts.append((tap, Account(*(v.cpu().numpy() for v in (product.sum(1), product.sum((2, 3)), bias)))))
    return Ledger(logits.double().cpu().numpy(), dict(reversed(accounts)))
