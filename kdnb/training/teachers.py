"""The teachers: DenseNet121, others of torchvision, any of timm, with named taps (02-06)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models import get_model
from torchvision.models.densenet import DenseNet

from kdnb.core.errors import UserError
from kdnb.core.settings import TEACHERS, TIMM
from kdnb.training.imagenet_weights import load_imagenet, unknown_teacher
from kdnb.training.modules import leave_nothing_in_place
from kdnb.training.renormalise import with_own_normalisation
from kdnb.training.timm_models import make_timm, own_normalisation

__all__ = ["TappedDenseNet121", "make_teacher"]

WEIGHTS = ("none", "imagenet")  # what a teacher can start from

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
        leave_nothing_in_place(self)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()

    def forward(self, x: Tensor) -> Tensor:  # (N, 3, H, W)
        """Logits (N, classes)."""
        x = self.relu(self.features(x))  # (N, 1024, H/32, W/32)
        return self.classifier(self.flatten(self.pool(x)))


def make_teacher(
    num_classes: int,
    *,
    name: str = "densenet121",
    seed: int = 0,
    weights: str = "none",
    image_size: int | None = None,
) -> nn.Module:
    """A teacher in channels-last memory format, with ``taps``; nothing in it works in place.

    All take images that are normalised as the study does it. A network that was trained with
    another normalisation has that as its first layer. The attribute ``pretrained`` holds the names
    of the parameters that come with ImageNet weights.

    Args:
        num_classes: Number of classes, at least 2.
        name: One of ``TEACHERS``, of which all but the first are torchvision's own networks (VGG-16
            with batch norm); or ``timm:NAME`` for a model of timm.
        seed: Seeds the random initialisation.
        weights: ``"none"`` or ``"imagenet"`` (all but the head).
        image_size: Side of the images that a model of timm must accept, px.

    Raises:
        UserError: If there is no teacher of this name, ``weights`` is another word, its ImageNet
            weights can't be had, or it does not fit the study.
    """
    if weights not in WEIGHTS:
        raise UserError(f"weights must be 'none' or 'imagenet', got {weights!r}")
    torch.manual_seed(seed)
    if name.startswith(TIMM):
        network = make_timm(name, num_classes, image_size)
    elif name == "densenet121":
        network = TappedDenseNet121(num_classes)
    elif name in TEACHERS:
        network = get_model(name, num_classes=num_classes)
        network.taps = dict(OTHER_TAPS[name])
        leave_nothing_in_place(network)
    else:
        raise unknown_teacher(name)
    network.pretrained = frozenset()
    if weights == "imagenet":
        network.pretrained = load_imagenet(network, name, num_classes)
    if name.startswith(TIMM):
        network = with_own_normalisation(network, *own_normalisation(network))
    return network.to(memory_format=torch.channels_last)
