"""Whether explanations point at drawn tumours, in sentences (07)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from kdnb.core.method_names import method_name
from kdnb.core.model_names import KD_STUDENT, LABEL_ONLY
from kdnb.core.number_text import percent
from kdnb.results.differences import main_teacher
from kdnb.results.finding_words import SEVERAL, SIGNIFICANCE, joined, points, seeds
from kdnb.results.planned import COUNT
from kdnb.xai.baselines import BASELINES
from kdnb.xai.tumour_localisation import INPUT, MEAN_MASK

__all__ = ["average_maps", "average_maps_briefly", "first_map_in_short", "other_maps"]

PLACE = "dataset == 'brain_tumor' and split == 'patients'"
PEAK = "pointing game"
SHARE = "energy in mask"
AVERAGE_MAP = "average map"
LAYERS = ("conv1", "conv3", "conv5")  # whose average maps were planned to be compared
OTHERS = (  # the other planned maps
    ("Grad-CAM", "conv5"),
    ("class evidence", "conv3"),
    ("SHAP gradient", INPUT),
    ("integrated gradients", INPUT),
)
UNPLANNED = ("class evidence", "conv1")  # as good as the best, and of the student's own layers
# rows of the table that see no network, and the map whose peaks are those of class evidence
NO_NETWORK = (MEAN_MASK, "brightness", "best possible", *BASELINES)
SAME_PEAKS = "HiResCAM"
Margin = Mapping[str, object]
Tables = Mapping[str, pd.DataFrame]


def average_maps(tables: Tables) -> str:
    """Do the student's average maps point at the tumour?"""
    margins = _average_margins(tables)
    if not margins:
        return ""
    peaks = [f"{_peaks(tables, AVERAGE_MAP, layer):.1%}" for layer in margins]
    told = [f"layer {_number(layer)} {points(margin)}" for layer, margin in margins.items()]
    return (
        f"**Do its average maps show why?** {_verdict(margins)} The map of layer "
        f"{joined([_number(layer) for layer in margins])} is brightest inside the tumour in "
        f"{joined(peaks)} of the images{_random_pixel(tables)}. A guess that knows the class and "
        "not the image, and points where tumours of that class usually lie, hits "
        f"{_peaks(tables, MEAN_MASK, INPUT):.1%}{_middle(tables)}. Map minus guess: {joined(told)}"
        f"{seeds(next(iter(margins.values())))}. {COUNT} comparisons "
        "were planned together, and each must pass a stricter test for it. So an interval without "
        "zero can still mean that it cannot be told."
    )


def average_maps_briefly(tables: Tables) -> str:
    """The verdict of `average_maps` with the numbers of the first layer alone."""
    margins = _average_margins(tables)
    if LAYERS[0] not in margins:
        return ""
    first = margins[LAYERS[0]]
    return (
        f"**Do its average maps show why?** {_verdict(margins)} The first layer's map is "
        f"brightest inside the tumour in {_peaks(tables, AVERAGE_MAP, LAYERS[0]):.1%} of the "
        f"images{_random_pixel(tables)}. A guess that is told the class and never looks at the "
        "image, and points at the usual place of such tumours, hits "
        f"{_peaks(tables, MEAN_MASK, INPUT):.1%}{_middle(tables)}. Map minus guess: "
        f"{points(first)}{seeds(first)}."
    )


def first_map_in_short(tables: Tables) -> str:
    """The verdict on the first layer's average map in one sentence, or nothing."""
    margins = _average_margins(tables)
    if LAYERS[0] not in margins:
        return ""
    first = margins[LAYERS[0]]
    if not _is_found(first):
        return (
            "Whether the average map of its first layer points at the tumour more often than a "
            "blind guess cannot be told."
        )
    often = "more" if first["difference"] > 0 else "less"
    return (
        f"The average map of its first layer points at the tumour {often} often than a guess that "
        "is told the class and never looks at the image."
    )


def other_maps(tables: Tables) -> str:
    """Do the other planned explanations point at it?"""
    said = []
    better = []
    for explanation, layer in OTHERS:
        name = explanation if layer == INPUT else f"{explanation}, {layer}"
        margin = _margin(tables, name)
        if margin is None or pd.isna(margin["difference"]):
            continue
        told = method_name(explanation, "" if layer == INPUT else f"layer {_number(layer)}")
        if _is_found(margin) and margin["difference"] > 0:
            better.append(told)
        hits = _peaks(tables, explanation, layer)
        said.append(
            f"{told[0].upper()}{told[1:]}: {percent(hits)} of {margin['images']} images, guess "
            f"{percent(hits - margin['difference'])}, {points(margin)}{seeds(margin)}."
        )
    if not said:
        return ""
    answer = f"Yes: {joined(better)}" if better else "Of the planned ones, none is shown to"
    return (
        f"**Do other explanations point at the tumour?** {answer}. How often each is brightest "
        f"inside it, and how often the same guess hits. {' '.join(said)}{_unplanned(tables)}"
    )


def _unplanned(tables: Tables) -> str:
    """How many maps lie above the guess that nobody had planned to look at; says so."""
    explanation, layer = UNPLANNED
    row = _student_row(tables, explanation, layer)
    if row is None or pd.isna(row["over_usual"]):
        return ""
    above, of_student = _above_the_guess(tables, KD_STUDENT)
    name = method_name(explanation, f"layer {_number(layer)}")
    told = (
        f" Not planned, so only a hint: of {of_student} other maps {above} lie above the guess "
        f"with their whole interval, such as {name} with {percent(row['value'])}, map minus guess "
        f"{points(row, 'over_usual')}."
    )
    above, of_alone = _above_the_guess(tables, LABEL_ONLY)
    if of_alone:
        told += f" Of the student on labels alone {above} of {of_alone} such maps do."
    told += f" {SAME_PEAKS} is not counted: it peaks where class evidence does."
    return f"{told}{_of_labels_alone(tables)}"


def _of_labels_alone(tables: Tables) -> str:
    """The maps planned for the distilled student that lie above the guess for labels alone.

    For that student nothing was planned.
    """
    said = []
    for explanation, layer in OTHERS:
        row = _row(tables, LABEL_ONLY, explanation, layer)
        if row is None or row["seeds"] < SEVERAL or not row["over_usual_low"] > 0:
            continue
        told = method_name(explanation, "" if layer == INPUT else f"layer {_number(layer)}")
        said.append(f"{told} {points(row, 'over_usual')}{seeds(row)}")
    if not said:
        return ""
    return (
        " Of the same maps of the student on labels alone, for whom nothing was planned, these lie "
        f"above the guess: {'; '.join(said)}."
    )


def _above_the_guess(tables: Tables, model: str) -> tuple[int, int]:
    """How many unplanned maps of a model hit more often than the guess, surely; of how many."""
    table = _maps(tables).query("model == @model and metric == @PEAK")
    planned = {(AVERAGE_MAP, layer) for layer in LAYERS} | set(OTHERS)
    is_planned = [map_ in planned for map_ in zip(table["explanation"], table["tap"], strict=True)]
    others = table[
        ~table["explanation"].isin([*NO_NETWORK, SAME_PEAKS]) & ~np.array(is_planned, bool)
    ]
    others = others.dropna(subset=["over_usual"])
    return int((others["over_usual_low"] > 0).sum()), len(others)


def _maps(tables: Tables) -> pd.DataFrame:
    """The grades on the brain set by patient, of the largest images and the main teacher."""
    rows = tables["maps"].query(f"{PLACE} and sizes_of == ''")
    rows = rows[rows["size_px"] == rows["size_px"].max()]
    return rows[rows["teacher"] == main_teacher(rows)] if len(rows) else rows


def _random_pixel(tables: Tables) -> str:
    """How often a random pixel lies in the tumour, as the end of a clause.

    That is the share of the image which the tumours fill, and so of noise that lies on them.
    """
    row = _student_row(tables, "random", INPUT, SHARE)
    return "" if row is None else f" (a random pixel: {row['value']:.1%})"


def _middle(tables: Tables) -> str:
    """How often the middle of the image lies in the tumour, as the end of a clause."""
    row = _student_row(tables, "centre", INPUT)
    return "" if row is None else f" (the middle of the image: {row['value']:.1%})"


def _average_margins(tables: Tables) -> dict[str, Margin]:
    """The planned comparisons of average maps with a blind guess, by layer."""
    margins = {layer: _margin(tables, f"{AVERAGE_MAP}, {layer}") for layer in LAYERS}
    return {layer: margin for layer, margin in margins.items() if margin is not None}


def _number(layer: str) -> str:
    return layer.removeprefix("conv")


def _is_found(margin: Margin) -> bool:
    """Whether a comparison is found, corrected by Holm, over several seeds."""
    return margin["p_holm"] < SIGNIFICANCE and margin["seeds"] >= SEVERAL


def _verdict(margins: Mapping[str, Margin]) -> str:
    """In a few words what the planned comparisons of average maps find."""
    found = [layer for layer, margin in margins.items() if _is_found(margin)]
    if not found:
        return "It is not shown."
    above = [_number(layer) for layer in found if margins[layer]["difference"] > 0]
    below = [_number(layer) for layer in found if margins[layer]["difference"] < 0]
    so_far = ""
    if any(margins[layer]["seeds_planned"] > margins[layer]["seeds"] for layer in found):
        so_far = ", so far"
    if len(below) == len(LAYERS):
        return f"No{so_far}."
    told = []
    if above:
        told.append(f"{_layers(above)}: yes, more often than a blind guess{so_far}.")
    if below:
        told.append(f"{_layers(below)}: no, less often than a blind guess{so_far}.")
    left = [_number(layer) for layer in LAYERS if layer not in found]
    if left:
        told.append(f"{_layers(left)}: it cannot be told.")
    return " ".join(told)


def _layers(numbers: Sequence[str]) -> str:
    """Layers by their numbers, at the beginning of a sentence."""
    return f"Layer{'s' if len(numbers) > 1 else ''} {joined(numbers)}"


def _student_row(
    tables: Tables, explanation: str, tap: str, metric: str = PEAK
) -> pd.Series | None:
    """A grade of an explanation of the distilled student by the tumours; None if unknown."""
    return _row(tables, KD_STUDENT, explanation, tap, metric)


def _row(
    tables: Tables, model: str, explanation: str, tap: str, metric: str = PEAK
) -> pd.Series | None:
    """A grade of an explanation of a model by the tumours; None if unknown."""
    rows = _maps(tables).query("model == @model and metric == @metric")
    rows = rows[(rows["explanation"] == explanation) & (rows["tap"] == tap)]
    return rows.iloc[0] if len(rows) else None


def _peaks(tables: Tables, explanation: str, tap: str) -> float:
    """Share of images in which an explanation of the distilled student peaks in the tumour."""
    row = _student_row(tables, explanation, tap)
    return float("nan") if row is None else float(row["value"])


def _margin(tables: Tables, name: str) -> Margin | None:
    """The planned comparison of one map with the usual place of tumours; None if there is none."""
    if "planned" not in tables:
        return None
    rows = tables["planned"].query(f"{PLACE} and rival == @MEAN_MASK and model == @name")
    return rows.iloc[0].to_dict() if len(rows) else None
