"""Peak memory of a call: what its tensors need at worst, beyond weights and inputs (06)."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from kdnb.efficiency.timing import BATCHES, filled, forward_of
from kdnb.training.model_cost import Call
from kdnb.training.modules import evaluating

__all__ = ["memory_table", "peak_memory"]


def peak_memory(call: Call, device: torch.device) -> int:
    """Bytes on ``device`` that the call holds at its worst moment, beyond what was there before it.

    On the CPU torch's profiler records every block that torch takes or gives back, and the largest
    running sum is the answer: unlike the size of a process it is the same in every run, and free of
    what the program and other calls keep. On a GPU it is ``torch.cuda.max_memory_allocated``. What
    libraries allocate past torch is in neither; what a first call makes and keeps counts, so
    measure a second one.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return torch.cuda.max_memory_allocated() - before
    # else the profiler complains that there is no GPU
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    events = profiler.profiler.kineto_results.events()
    taken = [event.nbytes() for event in events if event.name() == "[memory]"]
    return max(0, int(np.cumsum(taken or [0]).max()))


def memory_table(models: Mapping[str, nn.Module], image: Tensor) -> pd.DataFrame:
    """Weights and peak memory of one forward pass, in MB (10⁶ bytes).

    Args:
        models: Name → model.
        image: (1, 3, S, S), on the models' device.

    Returns:
        Index ``model``; ``weights``, then the peak at each batch size.
    """
    rows = {}
    for name, model in models.items():
        row = {"weights": sum(weight.nbytes for weight in model.parameters()) / 1e6}
        with evaluating(model):
            for batch in BATCHES:
                forward = forward_of(model, filled(image, batch))
                forward()  # what a first call makes and keeps is not measured
                row[f"batch {batch}"] = peak_memory(forward, image.device) / 1e6
        rows[name] = row
    return pd.DataFrame(rows).T.rename_axis("model")
