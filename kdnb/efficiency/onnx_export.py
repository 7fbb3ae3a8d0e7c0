"""The student as an ONNX file for those who deploy it: written, checked, timed (notebook 06)."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

import kdnb
from kdnb.core.errors import UserError
from kdnb.core.runs import atomic_path
from kdnb.data.transforms import MEAN, STD
from kdnb.efficiency.timing import BATCHES, Protocol, compared, filled, forward_of
from kdnb.training.modules import evaluating, network_name

__all__ = [
    "PARITY",
    "export_onnx",
    "onnx_available",
    "onnx_latency",
    "onnx_metadata",
    "onnx_model",
    "parity",
]

PACKAGES = ("onnx", "onnxruntime", "onnxscript")
RESIZE = "stretched to a square, bilinear with antialiasing (Image.resize of Pillow)"
PARITY = 1e-4  # largest accepted difference of a logit between ONNX Runtime and PyTorch


def onnx_available() -> bool:
    """Whether the packages of the extra ``onnx`` are installed."""
    return all(find_spec(package) for package in PACKAGES)


def export_onnx(
    model: nn.Module,
    path: Path | str,
    size: int,
    classes: Sequence[str] = (),
    ranges: Mapping[str, Sequence[float]] | None = None,
) -> float:
    """Write a model as ONNX, for batches of any size, and check the file against the model.

    The file is a network from ``images`` (N, 3, size, size) float32, ImageNet-normalised, to
    ``logits`` (N, K). Its metadata says what a user must know: see `onnx_metadata`. It holds no
    path of this machine.

    Args:
        model: Any network of such images.
        path: The file to write.
        size: Side of the images, px.
        classes: K names in the order of the logits; empty where they are not known.
        ranges: Kind of pixels with more than 8 bits → the values that are black and white; None
            where all images have 8 bits.

    Returns:
        The largest difference of a logit between ONNX Runtime and PyTorch on random images.

    Raises:
        UserError: If a package is missing, the path cannot be written, or the difference exceeds
            ``PARITY``; then no file is left.
    """
    path = Path(path)
    if not onnx_available():
        raise UserError(f"ONNX needs the packages {', '.join(PACKAGES)}: pip install -e '.[onnx]'")
    if path.suffix != ".onnx" or not path.parent.is_dir():
        raise UserError(
            f"the ONNX file must be a name that ends in .onnx in a folder that exists, got '{path}'"
        )
    images = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(0))
    model = copy.deepcopy(model).cpu()  # ONNX Runtime's standard package runs on the CPU
    try:
        with atomic_path(path) as temporary:
            _write(model, images[:2], temporary, onnx_metadata(size, classes, ranges))
            difference = parity(model, onnx_model(temporary), images)
            if not difference <= PARITY:
                raise UserError(
                    f"the ONNX file of {network_name(model)} is refused: its logits differ by "
                    f"{difference:.2g} from PyTorch's (accepted: {PARITY:g})"
                )
    except OSError as error:
        raise UserError(
            f"'{path}' cannot be written ({error.strerror}): choose another place"
        ) from None
    return difference


def onnx_metadata(
    size: int, classes: Sequence[str], ranges: Mapping[str, Sequence[float]] | None = None
) -> dict[str, str]:
    """What the file says of itself: names of classes, and how an image becomes its input.

    Values are JSON. Turn, fill and resize an image as ``orientation``, ``transparency`` and
    ``resize`` say. Divide a pixel of 8 bits by ``scale``; of a kind that ``ranges`` names, black
    becomes 0 and white 1, and what lies outside is clipped. Then take off ``mean`` and divide by
    ``deviation``.

    >>> onnx_metadata(64, ["a", "b"])["classes"], onnx_metadata(64, [])["colour_order"]
    ('["a", "b"]', '"RGB"')
    """
    facts = {
        "classes": list(classes),
        "image_size": size,
        "colour_order": "RGB",
        "layout": "NCHW",
        "orientation": "turned as the EXIF of its file says",
        "transparency": "over black",
        "resize": RESIZE,
        "scale": 255,
        "ranges": dict(ranges or {}),
        "mean": MEAN,
        "deviation": STD,
        "made_by": f"kdnb {kdnb.__version__}",
        "use": "study and teaching only, not for clinical use",
    }
    return {name: json.dumps(value, ensure_ascii=False) for name, value in facts.items()}


def _write(model: nn.Module, images: Tensor, path: Path, facts: Mapping[str, str]) -> None:
    # torch lists every package that it could use and does not
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with evaluating(model):
        program = torch.onnx.export(
            model,
            (images,),
            input_names=["images"],
            output_names=["logits"],
            dynamo=True,
            verbose=False,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )
    _forget_places(program.model)
    program.model.metadata_props.update(facts)
    program.save(str(path), external_data=False)


def _forget_places(model: Any) -> None:
    """Take away what the exporter notes of this machine: of each node, the lines of our files."""
    model.metadata_props.clear()
    graphs = [model.graph, *model.functions.values()]
    for graph in graphs:
        graph.metadata_props.clear()
        for node in graph:
            node.metadata_props.clear()
            node.doc_string = None


def onnx_model(path: Path | str) -> Callable[[Tensor], np.ndarray]:
    """The network in an ONNX file: images (N, 3, S, S) → logits (N, K), on torch's CPU threads."""
    import onnxruntime as runtime  # optional: only who deploys needs it

    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # idle threads that spin would slow down what is timed next
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> np.ndarray:
        (logits,) = session.run(None, {"images": images.contiguous().numpy()})
        return logits

    return run


def parity(model: nn.Module, exported: Callable[[Tensor], np.ndarray], images: Tensor) -> float:
    """Largest absolute difference of a logit, for all images in one batch and the first alone."""
    with evaluating(model), torch.inference_mode():
        together = np.abs(exported(images) - model(images).numpy())
        alone = np.abs(exported(images[:1]) - model(images[:1]).numpy())
    return float(max(together.max(), alone.max()))


def onnx_latency(
    model: nn.Module, path: Path | str, images: Tensor, protocol: Protocol
) -> pd.DataFrame:
    """PyTorch against the model's ONNX file, in turn and on as many CPU threads, at batch 1 and 32.

    Args:
        model: The network that the file was made from.
        path: The ONNX file.
        images: (≥ 1, 3, S, S), repeated to fill the batch, as in `latency`.
        protocol: How long to measure.

    Returns:
        Index ``batch``; ratio (PyTorch's time / ONNX Runtime's) with interval, median and quartiles
        of both in ms, rounds, and the largest difference of a logit on these images.
    """
    model = copy.deepcopy(model).cpu()
    exported = onnx_model(path)
    rows = {}
    with evaluating(model):
        for batch in BATCHES:
            x = filled(images.cpu(), batch)
            plain = x.contiguous()  # each side gets the memory order that it works in
            sides = {"pytorch": forward_of(model, x), "onnx": partial(exported, plain)}
            rows[batch] = compared(sides, protocol)
            rows[batch]["logit_difference"] = parity(model, exported, plain)
    return pd.DataFrame(rows).T.rename_axis("batch")
