"""The students: the five-layer network, and that of earlier public code (notebooks 03, 04)."""

from __future__ import annotations

from collections import OrderedDict
from math import ceil

import torch
from torch import Tensor, nn

from kdnb.core.errors import UserError
from kdnb.core.settings import STUDENTS

__all__ = ["AsCodedNet", "FiveConv", "make_student"]


class FiveConv(nn.Module):
    """The five-layer student: 3×3 convolutions 32-64-128-256-512, each with batch norm and ReLU.

    Max-pooling follows blocks 1 to 4; the fifth feeds global average pooling and one linear layer,
    so that class activation mapping is exact at the last tap. 1.57 M parameters at width 1 and four
    classes.

    Shapes: images (N, 3, H, W) float32 → logits (N, classes). Taps ``conv1`` … ``conv5`` are the
    ReLU outputs, at 1, 1/2, 1/4, 1/8 and 1/16 of the image side.
    """

    taps = {f"conv{i}": f"block{i}.relu" for i in range(1, 6)}

    def __init__(self, num_classes: int = 4, width: float = 1.0) -> None:
        """``width`` multiplies the channels of every layer."""
        super().__init__()
        widths = [max(4, round(channels * width)) for channels in (32, 64, 128, 256, 512)]
        before = 3  # colours
        for i, after in enumerate(widths, start=1):
            conv = nn.Conv2d(before, after, 3, padding=1, bias=False)
            block = OrderedDict(conv=conv, norm=nn.BatchNorm2d(after), relu=nn.ReLU())
            setattr(self, f"block{i}", nn.Sequential(block))
            setattr(self, f"pool{i}", nn.MaxPool2d(2) if i < 5 else nn.AdaptiveAvgPool2d(1))
            before = after
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(widths[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:  # (N, 3, H, W)
        """Logits (N, classes)."""
        for i in range(1, 6):
            x = getattr(self, f"block{i}")(x)
            x = getattr(self, f"pool{i}")(x)
        return self.classifier(self.flatten(x))


class AsCodedNet(nn.Module):
    """The student of the authors' earlier public code.

    Eight 3×3 convolutions without batch norm, and a deep head: 32-64-128-256-512-512 channels, each
    with ReLU and 2×2 max-pooling (rounding up), a residual pair of 512, one more pooling, then
    512-256-128 linear units with dropout 0.5, 0.4, 0.3. At 224 px: 9,861,828 parameters for four
    classes. The head's size depends on the side of the images.

    Shapes: images (N, 3, S, S) float32 → logits (N, classes). Of its ReLUs, taps are ``conv1`` to
    ``conv4`` at 1, 1/2, 1/4, 1/8 of the side, and ``conv8``, the end of the residual pair.
    """

    taps = {f"conv{i}": f"block{i}.relu" for i in range(1, 5)} | {"conv8": "relu8"}

    def __init__(self, num_classes: int = 4, image_size: int = 224) -> None:
        """``image_size``: side of the images, px."""
        super().__init__()
        side = image_size
        before = 3  # colours
        for i, after in enumerate((32, 64, 128, 256, 512, 512), start=1):
            conv = nn.Conv2d(before, after, 3, padding=1)
            block = OrderedDict(conv=conv, relu=nn.ReLU(), pool=nn.MaxPool2d(2, ceil_mode=True))
            setattr(self, f"block{i}", nn.Sequential(block))
            before = after
            side = ceil(side / 2)
        self.conv7 = nn.Conv2d(512, 512, 3, padding=1)
        self.conv8 = nn.Conv2d(512, 512, 3, padding=1)
        self.relu7 = nn.ReLU()
        self.relu8 = nn.ReLU()
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        layers: list[nn.Module] = [nn.Flatten()]
        before = 512 * ceil(side / 2) ** 2
        for after, share in ((512, 0.5), (256, 0.4), (128, 0.3)):
            layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(share)]
            before = after
        self.head = nn.Sequential(*layers)
        self.classifier = nn.Linear(128, num_classes)

    def forward(self, x: Tensor) -> Tensor:  # (N, 3, S, S)
        """Logits (N, classes)."""
        for i in range(1, 7):
            x = getattr(self, f"block{i}")(x)
        residual = self.conv8(self.relu7(self.conv7(x)))
        x = self.pool(self.relu8(x + residual))
        return self.classifier(self.head(x))


def make_student(
    num_classes: int,
    *,
    name: str = "five_conv",
    seed: int = 0,
    width: float = 1.0,
    image_size: int = 224,
) -> nn.Module:
    """A randomly initialised student in channels-last memory format.

    Args:
        num_classes: Number of classes, at least 2.
        name: One of ``STUDENTS``.
        seed: Seeds the weights, and the dropout of what is trained next.
        width: Multiplies the channels; ``five_conv`` only.
        image_size: Side of the images, px; ``as_coded`` only.

    Raises:
        UserError: If there is no student of this name.
    """
    torch.manual_seed(seed)
    if name not in STUDENTS:
        raise UserError(f"student must be one of {', '.join(STUDENTS)}, got {name!r}")
    if name == "five_conv":
        return FiveConv(num_classes, width).to(memory_format=torch.channels_last)
    return AsCodedNet(num_classes, image_size).to(memory_format=torch.channels_last)
