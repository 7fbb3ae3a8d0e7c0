"""What an explanation costs, model × method: two factors that a headline must not mix (06).

*Model factor*: the same method on teacher and on student. *Method factor*: the same model,
explanation against one forward pass, in time and in FLOPs ("forward-equivalents"). A method is any
function of a model; three scopes differ in what it does: a forward pass alone, an explanation from
a ready tensor, or all from stored pixels to a map. What is measured is the bare computation: the
study's own checks of inputs and promises are made before, unmeasured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from torch import Tensor, nn

from kdnb.core.errors import UserError
from kdnb.core.method_names import ATTRIBUTIONS
from kdnb.core.progress import track
from kdnb.data.transforms import to_tensor
from kdnb.efficiency.memory import peak_memory
from kdnb.efficiency.timing import Protocol, forward_of, quartiles_ms, ratio_interval, timed
from kdnb.feature_maps.cam import CAMS, cams
from kdnb.feature_maps.maps import average_maps, to_size
from kdnb.training.model_cost import flops_of, macs
from kdnb.training.modules import evaluating
from kdnb.xai.attribution import Context, Raw
from kdnb.xai.methods import METHODS, explain

__all__ = [
    "Unchecked",
    "Computation",
    "SLOW",
    "both_factors",
    "end_to_end",
    "explanation_methods",
    "explanation_times",
    "explanation_work",
]

Computation = Callable[[nn.Module], object]
SIDES = ("teacher", "student")
SLOW = ("shap_partition", "integrated_gradients", "occlusion")  # seconds per call where large
# no map; a map from one pass; from one forward and one backward; from many
END_TO_END_METHODS = ("forward", "average_map", "gradcam", "shap_gradient")


@dataclass(frozen=True)
class Unchecked:
    """A method whose checks are no part of what is measured; a call computes and checks nothing.

    Attributes:
        compute: model → result: all that clock, counter and memory meter see.
        check: Called with the model once before, unmeasured; a UserError refuses the model.
    """

    compute: Computation
    check: Computation

    def __call__(self, model: nn.Module) -> object:
        """The result for this model, unchecked."""
        return self.compute(model)


def explanation_methods(image: Tensor, target: Tensor, context: Context) -> dict[str, Computation]:
    """Every method of the study, ready to be called with a model.

    Average maps and the CAM family give maps of all taps. All explain the logit of class ``target``
    (1,) for ``image`` (1, 3, S, S), with the background images (M, 3, S, S) and the samples of
    ``context`` where they need them.
    """
    given = {"images": image, "targets": target, "context": context}
    methods: dict[str, Computation] = {
        "forward": lambda model: forward_of(model, image)(),
        "average_map": Unchecked(
            compute=partial(average_maps, images=image),
            check=partial(explain, "average map", **given),
        ),
    }
    for name in CAMS:
        methods[name] = Unchecked(
            compute=partial(cams, images=image, targets=target, method=name),
            check=partial(explain, name, **given),
        )
    for key, name in ATTRIBUTIONS.items():
        methods[key] = Unchecked(
            compute=partial(METHODS[name].compute, **given),
            check=partial(explain, name, **given),
        )
    return methods


def end_to_end(pixels: np.ndarray, context: Context) -> dict[str, Computation]:
    """One method of each kind, from pixels (1, S, S, 3) uint8 to maps (S, S) on the CPU.

    Each normalises the pixels, asks the model for its class, explains that class, and resizes the
    map of the last tap.
    """

    def prepared(name: str, model: nn.Module) -> Computation:
        image = to_tensor(pixels).to(context.background.device)
        target = forward_of(model, image)().argmax(dim=1)
        return explanation_methods(image, target, context)[name]

    def whole(name: str, model: nn.Module) -> np.ndarray:
        method = prepared(name, model)
        return _finished(method(model), pixels.shape[1])

    def check(name: str, model: nn.Module) -> None:
        _check(prepared(name, model), model)

    return {
        name: Unchecked(compute=partial(whole, name), check=partial(check, name))
        for name in END_TO_END_METHODS
    }


def _finished(result: object, size: int) -> np.ndarray:
    """What a method returns as the last map alone (N, S, S), on the CPU."""
    if isinstance(result, Raw):
        return result.values.sum(axis=1)
    if isinstance(result, Mapping):  # tap → maps
        result = to_size(list(result.values())[-1], size)
    return result.cpu().numpy()


def explanation_times(
    teacher: nn.Module,
    student: nn.Module,
    methods: Mapping[str, Computation],
    image: Tensor,
    protocol: Protocol,
) -> pd.DataFrame:
    """Time of every method on both models; a method that refuses a model has no number there.

    Whether it refuses is found out before the clock runs. In every round both models explain and
    both make a plain forward pass of ``image`` (1, 3, S, S), so that all ratios share the machine's
    mood.

    Returns:
        Index method: ``ratio`` (teacher's time / student's) with ``_low`` and ``_high``,
        ``rounds``, and for each side ``_ms`` with quartiles and ``_forwards_time`` with interval.
    """
    models = {"teacher": teacher, "student": student}
    rows = {}
    with evaluating(teacher), evaluating(student):
        for name, method in track(methods.items(), "time of explanations", len(methods)):
            able = {side: model for side, model in models.items() if not _refuses(method, model)}
            rows[name] = _times(method, able, image, protocol) if able else {}
    return pd.DataFrame(rows).T.rename_axis("method")


def _check(method: Computation, model: nn.Module) -> None:
    """Try a method on a model, unmeasured; a UserError refuses the model."""
    check = method.check if isinstance(method, Unchecked) else method
    check(model)


def _refuses(method: Computation, model: nn.Module) -> bool:
    """Whether a method refuses a model."""
    try:
        _check(method, model)  # also pays for what later calls reuse
    except UserError:
        return True
    return False


def _times(
    method: Computation, models: Mapping[str, nn.Module], image: Tensor, protocol: Protocol
) -> dict[str, float]:
    """One row of `explanation_times`, for the models (side → model) that do not refuse."""
    explanations = [partial(method, model) for model in models.values()]
    forwards = [forward_of(model, image) for model in models.values()]
    times = timed(*explanations, *forwards, protocol=protocol)  # (2 · models, rounds)
    explaining = times[: len(models)]
    passing = times[len(models) :]
    row: dict[str, float] = {"rounds": times.shape[1]}
    if len(models) == len(SIDES):
        of_teacher, of_student = explaining
        row |= ratio_interval(of_teacher, of_student).named("ratio")
    for i, side in enumerate(models):
        for name, value in quartiles_ms(explaining[i]).items():
            row[f"{side}_{name}"] = value
        row |= ratio_interval(explaining[i], passing[i]).named(f"{side}_forwards_time")
    return row


def explanation_work(
    teacher: nn.Module, student: nn.Module, methods: Mapping[str, Computation], image: Tensor
) -> pd.DataFrame:
    """FLOPs and peak memory of every method on both models: counted, not timed.

    Arguments as in `explanation_times`, and no number where a method refuses. Torch counts
    convolutions and matrix products, forward and backward; the decomposition in Eigen-CAM is
    neither.

    Returns:
        Index method: for each side ``_flops``, ``_forwards_flops`` (in plain forward passes of the
        same model) and ``_peak_mb`` (beyond weights and inputs).
    """
    rows: dict[str, dict[str, float]] = {name: {} for name in methods}
    models = {"teacher": teacher, "student": student}
    for side, model in models.items():
        forward = 2 * macs(model, image.shape[-1])
        with evaluating(model):
            for name, method in methods.items():
                if _refuses(method, model):
                    continue
                call = partial(method, model)
                work = flops_of(call)
                rows[name][f"{side}_flops"] = work
                rows[name][f"{side}_forwards_flops"] = work / forward
                rows[name][f"{side}_peak_mb"] = peak_memory(call, image.device) / 1e6
    return pd.DataFrame(rows).T.rename_axis("method")


def both_factors(table: pd.DataFrame) -> pd.DataFrame:
    """A table of `explanation_times`, joined with `explanation_work` or not, by (method, model)."""
    parts = {}
    for side in SIDES:
        of_side = table.filter(regex=f"^{side}_")
        parts[side] = of_side.rename(columns=lambda column: column.partition("_")[2])
    stacked = pd.concat(parts, names=["model"]).swaplevel()
    return stacked.loc[list(table.index)].dropna(subset=["ms"])
