"""What holds for every model: modes, modules at taps, weights in and out (notebooks 02-06)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import nn

from kdnb.core.errors import UserError

__all__ = [
    "count_parameters",
    "depth",
    "evaluating",
    "generators_kept",
    "leave_nothing_in_place",
    "load_weights",
    "modules_at",
    "network_name",
    "save_weights",
]

# a ResNet's convolution beside a block; ConvNeXt's "downsample" between stages is the only way
SKIP_CONNECTION = re.compile(r"\blayer\d+\.\d+\.downsample\b")


@contextmanager
def generators_kept() -> Iterator[None]:
    """Torch's global random generators, as before afterwards: for networks that are loaded.

    A network is drawn at random before its weights are loaded. Who asks for it must not see that.
    """
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        yield


@contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """``model`` in eval mode; every module's own mode comes back afterwards."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield model
    finally:
        for module in training:
            module.training = True


def leave_nothing_in_place(model: nn.Module) -> None:
    """Let no layer write over its input: taps and explainers need it as it was."""
    for module in model.modules():
        if hasattr(module, "inplace"):
            module.inplace = False


def modules_at(model: nn.Module, taps: Mapping[str, str] | None = None) -> dict[str, nn.Module]:
    """The modules whose outputs are the model's taps, by tap name.

    Args:
        model: Student or teacher.
        taps: Tap name → dotted module path; by default the model's attribute of this name.

    Raises:
        UserError: If there are no taps, or a path names no module; it says what exists.
    """
    taps = taps or getattr(model, "taps", None)
    if not taps:
        raise UserError(
            f"{network_name(model)} declares no taps: give it taps = {{name: 'module.path'}}"
        )
    found = {}
    for name, path in taps.items():
        try:
            found[name] = model.get_submodule(path)
        except AttributeError:
            there = ", ".join(path for path, _ in model.named_modules() if path)
            raise UserError(f"tap {name!r}: no module '{path}'; the model has {there}") from None
    return found


def network_name(model: nn.Module) -> str:
    """The class of a network as messages name it; behind its own normalisation, the network's.

    >>> network_name(nn.Linear(2, 2))
    'Linear'
    """
    return type(getattr(model, "network", model)).__name__


def depth(model: nn.Module) -> int:
    """Number of layers with weights: linear layers, and convolutions but on skip connections.

    >>> depth(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)))
    2
    """
    return sum(
        isinstance(module, nn.Conv2d | nn.Linear) and not SKIP_CONNECTION.search(name)
        for name, module in model.named_modules()
    )


def count_parameters(model: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


def save_weights(model: nn.Module, path: Path) -> None:
    """Write the weights as safetensors."""
    save_model(model, str(path))


def load_weights(model: nn.Module, path: Path) -> nn.Module:
    """Load safetensors weights into ``model`` and return it in eval mode.

    Raises:
        UserError: If they cannot be read or do not fit the model.
    """
    try:
        load_model(model, str(path))
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"the weights in '{path}' cannot be read ({error}): train again, or give another file"
        ) from None
    except RuntimeError as error:
        raise UserError(
            f"the weights in '{path}' do not fit {network_name(model)}: {error}"
        ) from None
    return model.eval()
