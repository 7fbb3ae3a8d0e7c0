"""A network of one's own for the layer stepper: its checks, its taps, its normalisation (04)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kdnb.core.errors import UserError, first_line
from kdnb.core.progress import say
from kdnb.data.transforms import to_tensor
from kdnb.training.modules import evaluating, leave_nothing_in_place, modules_at

__all__ = [
    "Normalisation",
    "check_names_and_numbers",
    "checked_network",
    "images_for",
    "normalised",
    "proposed_taps",
]

TAPS = 5  # at most as many layers are proposed as the study's student has
POOLED = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
Normalisation = tuple[Sequence[float], Sequence[float]]


def images_for(
    network: nn.Module,
    images: Tensor | None,
    pixels: np.ndarray | None,
    normalisation: Normalisation | None,
) -> Tensor:
    """The images that are given, or else the pixels normalised, where the network's weights are.

    Raises:
        UserError: If images or pixels have another form, or both a normalisation and images are
            given.
    """
    if not isinstance(pixels, np.ndarray):
        raise UserError(
            "pixels must be a numpy array (N, S, S, 3) of uint8, the images to look at, "
            f"got {type(pixels).__name__}"
        )
    if images is None:
        images = normalised(pixels, normalisation)
    elif not isinstance(images, Tensor):
        raise UserError(
            f"images must be a tensor (N, 3, S, S), normalised, got {type(images).__name__}: "
            "leave them out, and they are made of the pixels"
        )
    elif normalisation is not None:
        raise UserError("give images, or a normalisation to make them of the pixels, not both")
    weight = next(network.parameters(), None) if isinstance(network, nn.Module) else None
    return images.detach() if weight is None else images.detach().to(weight.device)


def normalised(pixels: np.ndarray, normalisation: Normalisation | None) -> Tensor:
    """Pixels (N, S, S, 3) uint8 as a network's images (N, 3, S, S) float32.

    >>> half = (0.5, 0.5, 0.5)
    >>> normalised(np.full((1, 1, 1, 3), 255, np.uint8), (half, half)).flatten().tolist()
    [1.0, 1.0, 1.0]

    Args:
        pixels: What people see.
        normalisation: Mean and standard deviation of red, green and blue in [0, 1], as in the
            network's training; None for those of ImageNet.

    Raises:
        UserError: If the pixels or the normalisation have another form.
    """
    right_form = isinstance(pixels, np.ndarray) and pixels.ndim == 4 and pixels.shape[3] == 3
    if not right_form or pixels.dtype != np.uint8:
        given = f"{type(pixels).__name__} {_form(pixels)}"
        raise UserError(f"pixels must be a numpy array (N, S, S, 3) of uint8, got {given}")
    if normalisation is None:
        return to_tensor(pixels)
    try:
        mean, deviation = (np.array(part, float) for part in normalisation)
        usable = mean.shape == deviation.shape == (3,)
        usable = usable and ((mean >= 0) & (mean <= 1) & (deviation > 0) & (deviation <= 1)).all()
    except (TypeError, ValueError):
        usable = False
    if not usable:
        raise UserError(
            "normalisation must be mean and standard deviation of three colours from 0 (black) to "
            f"1 (white), such as ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)), got {normalisation!r}: divide "
            "numbers of 0 to 255 by 255"
        )
    scaled = (pixels / 255 - mean) / deviation  # (N, S, S, 3)
    return torch.from_numpy(scaled.astype(np.float32)).permute(0, 3, 1, 2).contiguous()


def _form(value: object) -> str:
    """The shape and type of what may be an array, in words."""
    shape = getattr(value, "shape", None)
    return "" if shape is None else f"{tuple(shape)} of {getattr(value, 'dtype', '?')}"


def check_names_and_numbers(targets: Any, classes: Any, masks: Any) -> None:
    """Whether classes are names, targets whole numbers, and masks an array.

    Raises:
        UserError: It says what was given and what is accepted.
    """
    names = [] if isinstance(classes, str) or not hasattr(classes, "__len__") else list(classes)
    if not names or len(set(names)) < len(names):
        raise UserError(f"classes must be a list of names, each another one, got {classes!r}")
    try:
        whole = all(int(target) == target for target in targets)
    except (TypeError, ValueError):
        whole = False
    if not whole:
        raise UserError(
            f"targets must be the number of each image's class, from 0 in the order of classes, "
            f"got {targets!r}"
        )
    if masks is not None and not isinstance(masks, np.ndarray):
        raise UserError(
            f"masks must be a numpy array (N, S, S) of bool, got {type(masks).__name__}"
        )


def checked_network(
    name: str, network: nn.Module, taps: Mapping[str, str] | None, images: Tensor
) -> nn.Module:
    """A copy that gives logits for the images, has taps, and does nothing in place.

    A copy, since the stepper's hooks act beside the cell that runs, which may use the network.

    Args:
        name: "student" or "teacher", for messages.
        network: Any classifier.
        taps: Tap name → dotted module path; None for those that it declares as ``taps``, or, where
            it declares none, for the proposed ones, which are then printed.
        images: (N, 3, S, S) normalised.

    Raises:
        UserError: If it is no network, cannot be copied, refuses the images, gives no logits, or a
            tap is missing.
    """
    if not isinstance(network, nn.Module):
        raise UserError(f"the {name} must be a torch.nn.Module, got {type(network).__name__}")
    right_form = isinstance(taps, Mapping) and all(isinstance(path, str) for path in taps.values())
    if taps is not None and not right_form:
        raise UserError(
            f"taps of the {name} must map names to module paths, such as "
            f"{{'first': 'features.3'}}, got {taps!r}"
        )
    _check_answer(name, network, images)  # a network that keeps its maps can be copied after it
    network = _copy(name, network)
    if not taps and not getattr(network, "taps", None):
        taps = proposed_taps(network, images)
        if not taps:
            raise UserError(
                f"the {name} has no layer whose output is a map (N, C, h, w) with h = w > 1: "
                "the stepper needs a convolutional network"
            )
        said = ", ".join(f"{tap} = '{path}'" for tap, path in taps.items())
        say(f"note: no taps of the {name} were given; shown are {said}")
    leave_nothing_in_place(network)
    if taps:
        network.taps = dict(taps)
    _check_taps(name, network, images)
    return network


def _check_taps(name: str, network: nn.Module, images: Tensor) -> None:
    """Whether each tap is one layer of a pass, and nothing writes into its output afterwards.

    Raises:
        UserError: If a tap's module does not exist, runs never or several times, or its output is
            changed in place.
    """
    passes = _outputs(network, modules_at(network), images)
    for tap, path in network.taps.items():
        runs = passes.get(tap, [])
        if len(runs) != 1:
            often = f"{len(runs)} times" if runs else "never"
            raise UserError(
                f"tap {tap!r} of the {name} is no single layer: module '{path}' runs {often} in "
                "one pass; name one that runs once, such as the convolution before it"
            )
        if _is_overwritten(*runs[0]):
            raise UserError(
                f"tap {tap!r} of the {name} is overwritten: what comes behind module '{path}' "
                "changes its output in place (+=, relu_); name the module around it"
            )


def _outputs(
    network: nn.Module, modules: Mapping[str, nn.Module], images: Tensor
) -> dict[str, list[tuple[Tensor, int]]]:
    """What modules give in one pass over one image, each with how often it had been written to.

    Names are in the order in which the modules run last.
    """
    found: dict[str, list[tuple[Tensor, int]]] = {}

    def note(key: str, _module: nn.Module, _inputs: tuple, output: object) -> None:
        runs = found.pop(key, [])
        if isinstance(output, Tensor):
            runs.append((output, output._version))
        found[key] = runs

    with ExitStack() as hooks, evaluating(network), torch.no_grad():
        for key, module in modules.items():
            hooks.enter_context(module.register_forward_hook(partial(note, key)))
        network(images[:1])
    return found


def _is_overwritten(output: Tensor, written: int) -> bool:
    """Whether a tensor was written to again, after it had been ``written`` that often."""
    return output._version != written


def _copy(name: str, network: nn.Module) -> nn.Module:
    try:
        return deepcopy(network)
    except (RuntimeError, TypeError) as error:
        raise UserError(
            f"the {name} cannot be copied ({first_line(error)}): make it anew, and load its "
            "weights with load_state_dict"
        ) from None


def _check_answer(name: str, network: nn.Module, images: Tensor) -> None:
    """Whether the network makes logits (N, K) of images, and the same ones again."""
    some = images[:4]
    try:
        with evaluating(network), torch.inference_mode():
            answer = network(some)
            again = network(some)
    except Exception as error:  # a network of somebody's own may raise anything
        raise UserError(
            f"the {name} does not take images of {tuple(some.shape)}: {first_line(error)}"
        ) from None
    if not isinstance(answer, Tensor) or answer.ndim != 2:
        given = _form(answer) or type(answer).__name__
        raise UserError(
            f"the {name} must give logits (N, classes), one tensor, got {given}: "
            "wrap it in a module that returns its logits alone"
        )
    if answer.shape[1] < 2:
        raise UserError(
            f"the {name} gives one number per image, and the stepper compares classes: wrap it in "
            "a module that returns two logits, torch.cat([-z, z], 1) of its logit z"
        )
    if not torch.allclose(answer, again, atol=1e-5, equal_nan=True):
        raise UserError(
            f"the {name} answers the same images differently each time: give its dropout "
            "training=self.training, so that it rests in eval mode"
        )
    if (answer >= 0).all() and torch.allclose(answer.sum(1), torch.ones(1).to(answer), atol=1e-4):
        raise UserError(
            f"the {name} gives probabilities (every row adds up to 1): return its logits, which "
            "come before the softmax"
        )


def proposed_taps(network: nn.Module, images: Tensor) -> dict[str, str]:
    """The last module of each resolution, at most five of them, as ``{"stage1": "layer1", …}``.

    Maps of a single cell and what is pooled to a fixed size are left out, and so are modules that
    run several times in a pass, or whose output is overwritten behind them.
    """
    modules = {path: module for path, module in network.named_modules() if path}
    last: dict[tuple[int, int], str] = {}  # side of the map → path, in order of execution
    for path, runs in _outputs(network, modules, images).items():
        if len(runs) != 1 or isinstance(modules[path], POOLED) or _is_overwritten(*runs[0]):
            continue
        output, _ = runs[0]
        height, width = output.shape[2:] if output.ndim == 4 else (0, 0)
        if height == width > 1:
            last.pop((height, width), None)
            last[height, width] = path
    paths = list(last.values())[-TAPS:]
    return {f"stage{number}": path for number, path in enumerate(paths, start=1)}
