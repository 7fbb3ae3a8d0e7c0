"""The teacher, the students, and the named taps of each: the places where activations are read (notebooks 02-06)."""

from __future__ import annotations

import socket
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from torchvision.models import DenseNet121_Weights
from torchvision.models.densenet import DenseNet

from kdnb.errors import UserError

__all__ = [
    "FiveConv",
    "TappedDenseNet121",
    "count_parameters",
    "evaluating",
    "imagenet_state",
    "load_weights",
    "make_student",
    "make_teacher",
    "modules_at",
    "save_weights",
]

STUDENT_WIDTHS = (32, 64, 128, 256, 512)


class TappedDenseNet121(DenseNet):
    """DenseNet121 whose every ReLU, pool and flatten is a module of its own, nothing in place.

    Stock torchvision ends in functional, in-place operations: a forward hook on ``norm5`` sees values after the ReLU,
    and backward hooks fail. Parameter names equal torchvision's, so its weights load; logits are equal.
    Source of the architecture: arXiv 1608.06993.

    Shapes: images (N, 3, H, W) float32 → logits (N, classes). ``taps`` maps a name to a module path; each tap is a
    ReLU output, at 1/2, 1/4, 1/8, 1/16 and 1/32 of the image side.
    """

    taps = OrderedDict(
        stem="features.relu0",
        transition1="features.transition1.relu",
        transition2="features.transition2.relu",
        transition3="features.transition3.relu",
        final="relu",
    )

    def __init__(self, num_classes: int = 4) -> None:
        """Randomly initialised network for ``num_classes`` classes."""
        super().__init__(32, (6, 12, 24, 16), 64, num_classes=num_classes)
        for module in self.modules():
            if isinstance(module, nn.ReLU):
                module.inplace = False
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()

    def forward(self, x: Tensor) -> Tensor:  # (N, 3, H, W)
        """Logits (N, classes)."""
        x = self.relu(self.features(x))  # (N, 1024, H/32, W/32)
        return self.classifier(self.flatten(self.pool(x)))


class FiveConv(nn.Module):
    """The five-layer student: 3×3 convolutions 32-64-128-256-512, each with batch norm and ReLU.

    Max-pooling follows blocks 1 to 4; the fifth feeds global average pooling and one linear layer, so that class
    activation mapping is exact at the last tap. 1.57 M parameters at width 1 and four classes.

    Shapes: images (N, 3, H, W) float32 → logits (N, classes). Taps ``conv1`` … ``conv5`` are the ReLU outputs, at
    1, 1/2, 1/4, 1/8 and 1/16 of the image side.
    """

    taps = OrderedDict((f"conv{i}", f"block{i}.relu") for i in range(1, 6))

    def __init__(self, num_classes: int = 4, width: float = 1.0) -> None:
        """``width`` multiplies the channels of every layer."""
        super().__init__()
        channels = [3, *(max(4, round(c * width)) for c in STUDENT_WIDTHS)]
        for i in range(1, 6):
            block = OrderedDict(
                conv=nn.Conv2d(channels[i - 1], channels[i], 3, padding=1, bias=False),
                norm=nn.BatchNorm2d(channels[i]),
                relu=nn.ReLU(),
            )
            setattr(self, f"block{i}", nn.Sequential(block))
            setattr(self, f"pool{i}", nn.MaxPool2d(2) if i < 5 else nn.AdaptiveAvgPool2d(1))
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(channels[5], num_classes)

    def forward(self, x: Tensor) -> Tensor:  # (N, 3, H, W)
        """Logits (N, classes)."""
        for i in range(1, 6):
            x = getattr(self, f"pool{i}")(getattr(self, f"block{i}")(x))
        return self.classifier(self.flatten(x))


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


def modules_at(model: nn.Module, taps: Mapping[str, str] | None = None) -> OrderedDict[str, nn.Module]:
    """The modules whose outputs are the model's taps, by tap name.

    Args:
        model: A model with an attribute ``taps``, or any module when ``taps`` is given.
        taps: Tap name → dotted module path.

    Raises:
        UserError: If a path names no module; the message lists the ones that exist.
    """
    taps = taps or getattr(model, "taps", None)
    if not taps:
        raise UserError(f"{type(model).__name__} declares no taps: pass taps={{name: 'module.path'}}")
    found = OrderedDict()
    for name, path in taps.items():
        try:
            found[name] = model.get_submodule(path)
        except AttributeError:
            there = ", ".join(filter(None, dict(model.named_modules())))
            raise UserError(f"tap {name!r}: no module '{path}'; the model has {there}") from None
    return found


def make_teacher(num_classes: int, *, seed: int = 0, weights: str = "none") -> nn.Module:
    """A DenseNet121 teacher in channels-last memory format.

    Args:
        num_classes: Number of classes, at least 2.
        seed: Seeds the random initialisation.
        weights: ``"none"`` or ``"imagenet"`` (all but the head; raises :class:`UserError` where they can't be had).
    """
    torch.manual_seed(seed)
    model = TappedDenseNet121(num_classes)
    if weights == "imagenet":
        state = {name: value for name, value in imagenet_state().items() if not name.startswith("classifier.")}
        model.load_state_dict(state, strict=False)
    return model.to(memory_format=torch.channels_last)


def make_student(num_classes: int, *, seed: int = 0, width: float = 1.0) -> nn.Module:
    """A randomly initialised five-convolution student in channels-last memory format."""
    torch.manual_seed(seed)
    return FiveConv(num_classes, width).to(memory_format=torch.channels_last)


def imagenet_state() -> dict[str, Tensor]:
    """Torchvision's ImageNet weights of DenseNet121: from torch's cache, else downloaded.

    Raises:
        UserError: If they are neither cached nor to be downloaded.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(15)  # seconds; the download itself sets no limit
    try:
        state = DenseNet121_Weights.IMAGENET1K_V1.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:
        raise UserError(f"ImageNet weights can't be had here ({error}): use weights='none' to train from scratch, or "
                        "put torchvision's file into torch's hub cache") from None  # fmt: skip
    finally:
        socket.setdefaulttimeout(before)
    return _renamed(state)


def _renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The published file writes ``norm.1.weight`` for what the network calls ``norm1.weight``."""
    for kind in ("norm", "relu", "conv"):
        state = {name.replace(f"{kind}.1.", f"{kind}1.").replace(f"{kind}.2.", f"{kind}2."): value
                 for name, value in state.items()}  # fmt: skip
    return state


def count_parameters(model: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def save_weights(model: nn.Module, path: Path) -> None:
    """Write the weights as safetensors."""
    save_model(model, str(path))


def load_weights(model: nn.Module, path: Path) -> nn.Module:
    """Load safetensors weights into ``model`` and return it in eval mode.

    Raises:
        UserError: If the file does not fit the model.
    """
    try:
        load_model(model, str(path))
    except (OSError, RuntimeError) as error:
        raise UserError(f"the weights in '{path}' do not fit {type(model).__name__}: {error}") from None
    return model.eval()
