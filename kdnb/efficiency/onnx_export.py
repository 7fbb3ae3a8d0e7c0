"""The student as an ONNX file for those who deploy it: written, checked, timed (notebook 06)."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from kdnb.core.errors import UserError
from kdnb.core.runs import atomic_path
from kdnb.efficiency.timing import BATCHES, Protocol, compared, filled, forward_of
from kdnb.training.modules import evaluating

__all__ = ["PARITY", "export_onnx", "onnx_available", "onnx_latency", "onnx_model", "parity"]

PACKAGES = ("onnx", "onnxruntime", "onnxscript")
PARITY = 1e-4  # largest accepted difference of a logit between ONNX Runtime and PyTorch


def onnx_available() -> bool:
    """Whether the packages of the extra ``onnx`` are installed."""
    return all(find_spec(package) for package in PACKAGES)


def export_onnx(model: nn.Module, path: Path | str, size: int) -> float:
    """Write a model as ONNX, for batches of any size, and check the file against the model.

    The file is a network from ``images`` (N, 3, size, size) float32, ImageNet-normalised, to
    ``logits`` (N, K).

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
            _write(model, images[:2], temporary)
            difference = parity(model, onnx_model(temporary), images)
            if not difference <= PARITY:
                raise UserError(
                    f"the ONNX file of {type(model).__name__} is refused: its logits differ by "
                    f"{difference:.2g} from PyTorch's (accepted: {PARITY:g})"
                )
    except OSError as error:
        raise UserError(
            f"'{path}' cannot be written ({error.strerror}): choose another place"
        ) from None
    return difference


def _write(model: nn.Module, images: Tensor, path: Path) -> None:
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
    program.save(str(path), external_data=False)


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
