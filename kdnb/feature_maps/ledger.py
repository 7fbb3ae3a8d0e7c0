"""The decision ledger: how much of a logit is evidence at a tap, how much later bias (notebook 04).

A network of convolutions, batch norm in eval mode, ReLU, pooling and linear layers is linear around
each image. So a logit equals, exactly, the sum of gradient × activation at a tap plus what the
biases after the tap add:

    logit = Σ_cells Σ_channels gradient · activation  +  Σ_layers after it Σ_outputs gradient · bias

It is the full-gradient decomposition (arXiv 1905.00780), here read at every tap instead of at the
input. An activation that is cut off, as ReLU6 is at 6, adds the constant that it gives there: its
gradient is 0, so that is a bias of this image.
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

from kdnb.core.errors import UserError
from kdnb.training.modules import evaluating, modules_at, network_name
from kdnb.training.renormalise import Renormalise
from kdnb.training.taps import check_targets, logits_and_taps

__all__ = ["Account", "Ledger", "decision_ledger", "ledgers"]

TOLERANCE = 1e-4  # largest accepted |residual| relative to max(1, |logit|)
LINEAR = (nn.modules.conv._ConvNd, nn.Linear)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
OTHERS = (
    nn.ReLU,
    nn.LeakyReLU,
    nn.PReLU,
    nn.Hardtanh,  # ReLU6 is one
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.Flatten,
    nn.Identity,
    nn.modules.dropout._DropoutNd,
    nn.ZeroPad2d,
    Renormalise,  # before every tap
)


class _Event(NamedTuple):
    """What a tap, or a layer that adds a bias, gave in a forward pass."""

    output: Tensor  # (N, C, h, w), or (N, C) of a layer
    tap: str | None = None  # the tap's name
    bias: Tensor | None = None  # (C,) float64, what the layer adds to each channel
    cut: nn.Hardtanh | None = None  # the activation that is constant where it cuts off


class Account(NamedTuple):
    """One tap's part of the ledger of a logit; evidence is gradient × activation."""

    maps: np.ndarray  #: (N, h, w) float32 signed evidence of each cell: Σ over channels
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
        """(N,) float64: logit − evidence − bias, relative to max(1, |logit|).

        It is zero but for rounding.
        """
        account = self.accounts[tap]
        missing = self.logits - account.evidence - account.bias
        return missing / np.maximum(1, np.abs(self.logits))

    def table(self, titles: Sequence[str] | None = None) -> pd.DataFrame:
        """One row per image and tap.

        Columns: image, tap, logit, supporting, opposing, evidence, bias, bias_share and residual;
        ``bias_share`` is |bias| / (|supporting| + |opposing| + |bias|), in [0, 1].
        """
        images = range(len(self.logits)) if titles is None else titles
        parts = []
        for tap, account in self.accounts.items():
            bias = np.abs(account.bias)
            size = np.abs(account.supporting) + np.abs(account.opposing) + bias
            columns = {
                "image": images,
                "tap": tap,
                "logit": self.logits,
                "supporting": account.supporting,
                "opposing": account.opposing,
                "evidence": account.evidence,
                "bias": account.bias,
                "bias_share": bias / np.where(size > 0, size, 1),
                "residual": self.residual(tap),
            }
            parts.append(pd.DataFrame(columns))
        return pd.concat(parts, ignore_index=True)


def decision_ledger(
    model: nn.Module, images: Tensor, targets: Tensor, *, batch: int = 32
) -> Ledger:
    """The ledger of one logit per image, at all taps from one forward and one backward pass.

    Args:
        model: Convolutions, batch norm, (leaky) ReLU, ReLU6, pooling and linear layers in float32
            or float64, with taps.
        images: (N, 3, H, W) normalised.
        targets: (N,) class numbers.
        batch: Images per pass; bounds the memory.

    Raises:
        UserError: If the network holds a layer for which the account is not exact, if a tap does
            not carry the whole signal (the residual exceeds ``TOLERANCE``), or if a target is no
            class.
    """
    column = torch.as_tensor(targets, dtype=torch.int64).reshape(-1, 1)
    column = column.clone()  # they may come from inference mode
    return _ledgers(model, images, column, batch)[0]


def ledgers(model: nn.Module, images: Tensor, *, batch: int = 32) -> list[Ledger]:
    """The ledgers of all K classes, in order, from one forward pass and K backward passes."""
    with evaluating(model), torch.inference_mode():
        classes = model(images[:1]).shape[1]
    every_class = torch.arange(classes).expand(len(images), -1)
    return _ledgers(model, images, every_class, batch)


def _ledgers(model: nn.Module, images: Tensor, targets: Tensor, batch: int) -> list[Ledger]:
    """One ledger for each column of targets (N, M), made batch by batch and checked."""
    if len(targets) != len(images):
        raise UserError(
            f"targets must be {len(images)} class numbers, one per image, got {len(targets)}"
        )
    batches = zip(images.split(batch), targets.split(batch), strict=True)
    parts = [_ledgers_of_batch(model, some, wanted) for some, wanted in batches]
    found = []
    for column in range(targets.shape[1]):
        ledger = _joined([part[column] for part in parts])
        _check_sum(ledger, model)
        found.append(ledger)
    return found


def _joined(parts: Sequence[Ledger]) -> Ledger:
    """The ledgers of some batches as one."""
    accounts = {}
    for tap in parts[0].accounts:
        of_tap = [part.accounts[tap] for part in parts]
        accounts[tap] = Account(
            maps=np.concatenate([account.maps for account in of_tap]),
            channels=np.concatenate([account.channels for account in of_tap]),
            bias=np.concatenate([account.bias for account in of_tap]),
        )
    logits = np.concatenate([part.logits for part in parts])
    return Ledger(logits=logits, accounts=accounts)


def _check_sum(ledger: Ledger, model: nn.Module) -> None:
    for tap in ledger.accounts:
        worst = float(np.abs(ledger.residual(tap)).max())
        if not worst <= TOLERANCE:  # NaN is refused too
            raise UserError(
                f"the ledger of {network_name(model)} does not add up at tap {tap!r}: it misses "
                f"the logit by {worst:.2g} (accepted: {TOLERANCE:g}); the tap must carry the whole "
                "signal, and every layer between it and the logit must be a module"
            )


def _ledgers_of_batch(model: nn.Module, images: Tensor, targets: Tensor) -> list[Ledger]:
    """Ledgers of a batch, one for each column of targets (N, M)."""
    found = []
    with torch.enable_grad():
        logits, events = _recorded(model, images.detach().requires_grad_())
        outputs = [event.output for event in events]
        for column in targets.unbind(1):
            chosen = check_targets(column, logits.shape[1], len(images)).to(logits.device)
            picked = logits.gather(1, chosen[:, None])[:, 0]
            gradients = torch.autograd.grad(
                picked.sum(), outputs, retain_graph=True, materialize_grads=True
            )
            found.append(_balanced(picked.detach(), events, gradients))
    return found


def _recorded(model: nn.Module, images: Tensor) -> tuple[Tensor, list[_Event]]:
    """Logits (N, K), and what the taps and the layers with a bias gave, in order of execution."""
    events: list[_Event] = []

    def record_bias(bias: Tensor, _module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        events.append(_Event(output=output, bias=bias))

    def record_cut(module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        events.append(_Event(output=output, cut=module))

    def record_tap(tap: str, _module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        events.append(_Event(output=output, tap=tap))

    with ExitStack() as hooks:
        for layer in model.modules():
            parts = list(layer.children())
            if parts and not isinstance(layer, NORMS):
                continue  # its parts are layers
            _check_layer(model, layer)
            # a norm with an activation inside: what the norm alone gives leaves its first part
            place = parts[0] if parts else layer
            bias = _bias_of(layer)
            if bias is not None:
                hooks.enter_context(place.register_forward_hook(partial(record_bias, bias)))
            if isinstance(layer, nn.Hardtanh):
                hooks.enter_context(layer.register_forward_hook(record_cut))
        for tap, module in modules_at(model).items():
            hooks.enter_context(module.register_forward_hook(partial(record_tap, tap)))
        logits, _ = logits_and_taps(model, images)
    return logits, events


def _check_layer(model: nn.Module, layer: nn.Module) -> None:
    name = type(layer).__name__
    exact = isinstance(layer, LINEAR + NORMS + OTHERS)
    first_part = next(layer.children(), None)
    if first_part is not None and not isinstance(first_part, nn.Identity):
        name += f" with {type(first_part).__name__} inside"
        exact = False
    if isinstance(layer, NORMS) and layer.running_mean is None:
        name += " without running statistics"
        exact = False
    if not exact:
        raise UserError(
            f"{network_name(model)} has a layer {name}: the ledger is exact only for "
            "convolutions, batch norm, ReLU, pooling and linear layers"
        )
    weight = getattr(layer, "weight", None)
    if weight is not None and weight.dtype not in (torch.float32, torch.float64):
        raise UserError(
            f"the ledger needs a model in float32, got {weight.dtype}: call model.float()"
        )


def _bias_of(layer: nn.Module) -> Tensor | None:
    """What a layer adds to each output channel, (C,) float64; None where it adds nothing."""
    if isinstance(layer, NORMS):
        scale = (layer.running_var.double() + layer.eps).rsqrt()
        bias = -layer.running_mean.double() * scale
        if layer.affine:
            bias = bias * layer.weight.double() + layer.bias.double()
        return bias.detach()
    if isinstance(layer, LINEAR) and layer.bias is not None:
        return layer.bias.detach().double()
    return None


def _added(event: _Event, gradient: Tensor) -> Tensor:
    """(N,) float64: what a layer adds to the logit, Σ gradient · bias."""
    if event.cut is None:
        per_channel = gradient.reshape(*gradient.shape[:2], -1).sum(2)  # (N, C)
        return per_channel.double() @ event.bias
    values = event.output.detach()
    constant = (values <= event.cut.min_val) | (values >= event.cut.max_val)
    return torch.where(constant, gradient * values, 0).flatten(1).sum(1, dtype=torch.float64)


def _balanced(logits: Tensor, events: Sequence[_Event], gradients: Sequence[Tensor]) -> Ledger:
    """Read the events from the logit backwards: the biases met so far are those after a tap."""
    bias = torch.zeros(len(logits), dtype=torch.float64, device=logits.device)
    accounts: list[tuple[str, Account]] = []  # the deepest tap first
    for event, gradient in zip(reversed(events), reversed(gradients), strict=True):
        if event.tap is None:
            bias = bias + _added(event, gradient)
            continue
        if event.output.ndim != 4:
            shape = tuple(event.output.shape)
            raise UserError(f"tap {event.tap!r} is no map: it must be (N, C, h, w), is {shape}")
        evidence = gradient * event.output.detach()
        account = Account(
            maps=evidence.sum(1).cpu().numpy(),
            channels=evidence.sum((2, 3)).cpu().numpy(),
            bias=bias.cpu().numpy(),
        )
        accounts.append((event.tap, account))
    return Ledger(logits=logits.double().cpu().numpy(), accounts=dict(reversed(accounts)))
