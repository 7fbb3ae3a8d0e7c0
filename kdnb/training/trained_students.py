"""Trained students, loaded again from their runs (notebooks 03-07)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from kdnb.core.errors import UserError
from kdnb.core.run_files import check_files
from kdnb.core.runs import Run, ended_runs, finished_runs
from kdnb.training.modules import generators_kept, load_weights
from kdnb.training.students import make_student

__all__ = ["image_facts", "load_named_student", "load_student", "named_student"]


def load_student(run: Run, classes: int, device: torch.device) -> nn.Module:
    """The trained student of a run, in eval mode; random generators stay as they are."""
    architecture = run.json("spec.json")["parameters"]["model"]
    with generators_kept():
        model = make_student(classes, **architecture)
    return load_weights(model, run.path("model.safetensors")).to(device)


def load_named_student(root: Path, name: str) -> tuple[nn.Module, int]:
    """A trained student and the side of its images, px, by its run's id.

    See `named_student`.
    """
    run = named_student(root, name)
    model = load_student(run, _saved_classes(run), torch.device("cpu"))
    return model, run.json("spec.json")["parameters"]["model"]["image_size"]


def image_facts(run: Run) -> dict[str, Any]:
    """What a student's run tells of its images; empty where no run does.

    ``classes``: their names in the order of the logits. ``ranges``: what is black and white in
    pixels of more than 8 bits, by their kind; missing where there are none of these.

    The run of a student of an older version does not tell it; an analysis of its layers does.
    """
    told = run.json("metrics.json").get("images", {})
    if "ranges" not in told:
        for analysis in finished_runs(run.folder.parents[1], "reading"):
            facts = analysis.json("facts.json")
            if facts["student"] == run.id:
                told = facts
    return {name: told[name] for name in ("classes", "ranges") if told.get(name)}


def named_student(root: Path, name: str) -> Run:
    """The run of a trained student by its id; ``student/<id>`` or its beginning will do.

    Raises:
        UserError: If not exactly one finished run is meant, or it is damaged.
    """
    wanted = name.removeprefix("student/")
    for run in ended_runs(root, "student"):
        if wanted and run.id.startswith(wanted):
            check_files(run.folder, "loading")
    runs = finished_runs(root, "student")
    found = [run for run in runs if wanted and run.id.startswith(wanted)]
    if len(found) != 1:
        newest = ", ".join(run.id for run in runs[-5:])
        known = newest or "none yet: run the study first (make study)"
        raise UserError(
            f"run must be the id of one student in '{Path(root) / 'student'}', got '{name}', "
            f"which is {len(found) or 'none'} of them: the newest are {known}"
        )
    [run] = found
    return run


def _saved_classes(run: Run) -> int:
    """The number of classes, which only the weights tell."""
    try:
        with safe_open(run.path("model.safetensors"), "pt") as weights:
            return weights.get_slice("classifier.weight").get_shape()[0]
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"the weights in '{run.folder}' cannot be read ({error}): train again"
        ) from None
