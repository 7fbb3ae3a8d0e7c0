"""The teachers: DenseNet121 with modules throughout, and others of torchvision with named taps (notebooks 02-06)."""

from __future__ import annotations

import re
import socket

import torch
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights
from torchvision.models.densenet import DenseNet

from kdnb.errors import UserError
from kdnb.settings import TEACHERS

__all__ = ["TEACHERS", "TappedDenseNet121", "imagenet_state", "make_teacher"]

OTHER_TAPS = {  # one tap per halving of the side; after an activation, but in EfficientNet after a linear layer
    "resnet50": {"stem": "relu", "layer1": "layer1", "layer2": "layer2", "layer3": "layer3", "layer4": "layer4"},
    "vgg16_bn": {f"block{i}": f"features.{n}" for i, n in enumerate((5, 12, 22, 32, 42), start=1)},
    "efficientnet_b0": {f"stage{i}": f"features.{n}" for i, n in enumerate((1, 2, 3, 5, 8), start=1)},
}


class TappedDenseNet121(DenseNet):
    """DenseNet121 whose every ReLU, pool and flatten is a module of its own, nothing in place.

    Stock torchvision ends in functional, in-place operations: a forward hook on ``norm5`` sees values after the ReLU,
    and backward hooks fail. Parameter names equal torchvision's, so its weights load; logits are equal.
    Source of the architecture: arXiv 1608.06993.

    Shapes: images (N, 3, H, W) float32 → logits (N, classes). ``taps`` maps a name to a module path; each tap is a
    ReLU output, at 1/2, 1/4, 1/8, 1/16 and 1/32 of the image side.
    """

    taps = {
        "stem": "features.relu0",
        **{f"transition{i}": f"features.transition{i}.relu" for i in (1, 2, 3)},
        "final": "relu",
    }

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


def make_teacher(num_classes: int, *, name: str = "densenet121", seed: int = 0, weights: str = "none") -> nn.Module:
    """A teacher in channels-last memory format, with an attribute ``taps``; nothing in it works in place.

    Args:
        num_classes: Number of classes, at least 2.
        name: One of ``TEACHERS``; all but the first are torchvision's own networks (VGG-16 with batch norm).
        seed: Seeds the random initialisation.
        weights: ``"none"`` or ``"imagenet"`` (all but the head; raises :class:`UserError` where they can't be had).
    """
    torch.manual_seed(seed)
    if name not in TEACHERS:
        raise UserError(f"teacher must be one of {', '.join(TEACHERS)}, got {name!r}")
    model = TappedDenseNet121(num_classes) if name == "densenet121" else get_model(name, num_classes=num_classes)
    if name != "densenet121":
        model.taps = dict(OTHER_TAPS[name])
    for module in model.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    if weights == "imagenet":
        own = model.state_dict()
        state = {key: v for key, v in imagenet_state(name).items() if key in own and v.shape == own[key].shape}
        model.load_state_dict(state, strict=False)
    return model.to(memory_format=torch.channels_last)


def imagenet_state(name: str = "densenet121") -> dict[str, Tensor]:
    """Torchvision's ImageNet weights of a teacher: from torch's cache, else downloaded, else a :class:`UserError`."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(15)  # seconds; the download itself sets no limit
    try:
        state = get_model_weights(name).DEFAULT.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:
        raise UserError(f"ImageNet weights can't be had here ({error}): use weights='none' to train from scratch, or "
                        "put torchvision's file into torch's hub cache") from None  # fmt: skip
    finally:
        socket.setdefaulttimeout(before)
    # DenseNet's file writes norm.1.weight for what the network calls norm1.weight
    return {re.sub(r"(norm|conv)\.([12])\.", r"\1\2.", key): value for key, value in state.items()}
