"""The teachers: DenseNet121, and others of torchvision, with named taps (notebooks 02-06)."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from urllib.parse import urlparse

import torch
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights
from torchvision.models.densenet import DenseNet

from kdnb.core.errors import UserError
from kdnb.core.progress import say
from kdnb.core.settings import TEACHERS

__all__ = [
    "TappedDenseNet121",
    "imagenet_state",
    "make_teacher",
    "resolve_weights",
    "resolve_weights_offline",
]

# one tap per halving of the side; after an activation, but in EfficientNet after a linear layer
OTHER_TAPS = {
    "resnet50": {
        "stem": "relu",
        "layer1": "layer1",
        "layer2": "layer2",
        "layer3": "layer3",
        "layer4": "layer4",
    },
    "vgg16_bn": {
        "block1": "features.5",
        "block2": "features.12",
        "block3": "features.22",
        "block4": "features.32",
        "block5": "features.42",
    },
    "efficientnet_b0": {
        "stage1": "features.1",
        "stage2": "features.2",
        "stage3": "features.3",
        "stage4": "features.5",
        "stage5": "features.8",
    },
}


class TappedDenseNet121(DenseNet):
    """DenseNet121 whose every ReLU, pool and flatten is a module of its own, nothing in place.

    Stock torchvision ends in functional, in-place operations: a forward hook on ``norm5`` sees
    values after the ReLU, and backward hooks fail. Parameter names equal torchvision's, so its
    weights load; logits are equal. Source of the architecture: arXiv 1608.06993.

    Shapes: images (N, 3, H, W) float32 → logits (N, classes). ``taps`` maps a name to a module
    path; each tap is a ReLU output, at 1/2, 1/4, 1/8, 1/16 and 1/32 of the image side.
    """

    taps = {
        "stem": "features.relu0",
        "transition1": "features.transition1.relu",
        "transition2": "features.transition2.relu",
        "transition3": "features.transition3.relu",
        "final": "relu",
    }

    def __init__(self, num_classes: int = 4) -> None:
        """Randomly initialised network for ``num_classes`` classes."""
        super().__init__(
            growth_rate=32,
            block_config=(6, 12, 24, 16),
            num_init_features=64,
            num_classes=num_classes,
        )
        _leave_nothing_in_place(self)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()

    def forward(self, x: Tensor) -> Tensor:  # (N, 3, H, W)
        """Logits (N, classes)."""
        x = self.relu(self.features(x))  # (N, 1024, H/32, W/32)
        return self.classifier(self.flatten(self.pool(x)))


def _leave_nothing_in_place(model: nn.Module) -> None:
    for module in model.modules():
        if hasattr(module, "inplace"):
            module.inplace = False


def make_teacher(
    num_classes: int, *, name: str = "densenet121", seed: int = 0, weights: str = "none"
) -> nn.Module:
    """A teacher in channels-last memory format, with ``taps``; nothing in it works in place.

    Its attribute ``pretrained`` holds the names of the parameters that come with ImageNet weights.

    Args:
        num_classes: Number of classes, at least 2.
        name: One of ``TEACHERS``; all but the first are torchvision's own networks (VGG-16 with
            batch norm).
        seed: Seeds the random initialisation.
        weights: ``"none"`` or ``"imagenet"`` (all but the head).

    Raises:
        UserError: If there is no teacher of this name, or its ImageNet weights can't be had.
    """
    torch.manual_seed(seed)
    if name not in TEACHERS:
        raise UserError(f"teacher must be one of {', '.join(TEACHERS)}, got {name!r}")
    if name == "densenet121":
        model = TappedDenseNet121(num_classes)
    else:
        model = get_model(name, num_classes=num_classes)
        model.taps = dict(OTHER_TAPS[name])
        _leave_nothing_in_place(model)
    model.pretrained = frozenset()
    if weights == "imagenet":
        own = model.state_dict()
        fitting = {
            key: value
            for key, value in imagenet_state(name).items()
            if key in own and value.shape == own[key].shape
        }
        model.load_state_dict(fitting, strict=False)
        model.pretrained = frozenset(fitting)
    return model.to(memory_format=torch.channels_last)


def imagenet_state(name: str = "densenet121") -> dict[str, Tensor]:
    """Torchvision's ImageNet weights of a teacher: from torch's cache, else downloaded.

    Raises:
        UserError: If they are neither in the cache nor to be downloaded.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(15)  # seconds; the download itself sets no limit
    try:
        state = get_model_weights(name).DEFAULT.get_state_dict(
            progress=False, check_hash=True, weights_only=True
        )
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"ImageNet weights can't be had here ({error}): use weights='none' to train from "
            "scratch, or put torchvision's file into torch's hub cache"
        ) from None
    finally:
        socket.setdefaulttimeout(before)
    # DenseNet's file writes norm.1.weight for what the network calls norm1.weight
    return {re.sub(r"(norm|conv)\.([12])\.", r"\1\2.", key): value for key, value in state.items()}


def resolve_weights(wanted: str, teacher: str = "densenet121") -> str:
    """``"imagenet"`` or ``"none"``; for ``"auto"``, ImageNet weights where they can be had.

    Says so if they cannot.

    Raises:
        UserError: If ``"imagenet"`` is wanted and cannot be had.
    """
    if wanted == "none":
        return wanted
    try:
        imagenet_state(teacher)
    except UserError as error:
        if wanted == "imagenet":
            raise
        say(f"no ImageNet weights, the teacher starts from scratch: {error}")
        return "none"
    return "imagenet"


def resolve_weights_offline(wanted: str, teacher: str = "densenet121") -> str:
    """What `resolve_weights` said when it was last asked: ``"auto"`` looks into torch's hub cache.

    Weights that could be had are there since. Nothing is loaded or fetched.
    """
    if wanted != "auto":
        return wanted
    address = get_model_weights(teacher).DEFAULT.url
    file = Path(torch.hub.get_dir(), "checkpoints", Path(urlparse(address).path).name)
    return "imagenet" if file.is_file() else "none"
