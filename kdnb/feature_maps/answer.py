"""The answer of notebook 04: where the class can be read, and what the average map cannot show."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kdnb.core.model_names import KD_STUDENT
from kdnb.core.number_text import counted, percent, probability

__all__ = ["decided_sentence", "layers_answer", "map_answer"]


def layers_answer(probes: pd.DataFrame, early: pd.DataFrame, model: str = KD_STUDENT) -> str:
    """From which layer on training made the class readable, and where images are decided.

    Args:
        probes: The table of a layer analysis: columns model, tap, accuracy, low, high, untrained,
            above_untrained_low, chance.
        early: Columns image_id and layer: the first from which on all probes agree with the model.
        model: Whose layers.
    """
    of_model = probes[probes["model"] == model].reset_index(drop=True)
    last = len(of_model)
    if of_model["low"].isna().all():
        said = "From which layer on the class can be read, so few patients cannot tell. "
    else:
        said = _readable(of_model)
    decided = early["layer"].to_numpy()
    if not len(decided):
        return said.strip()
    return said + decided_sentence(decided, last, f"the {len(decided)} images")


def decided_sentence(decided: np.ndarray, layers: int, images: str) -> str:
    """At which layer at least half of some images are decided.

    Args:
        decided: (N,) the first layer, from 1, from which on all probes agree with the network; one
            more than there are layers where the last one disagrees.
        layers: How many there are.
        images: What the N images are called.

    >>> decided_sentence(np.array([1, 2, 2, 3]), 3, "the 4 images")
    '75% of the 4 images are decided at layer 2 or before.'
    """
    if (decided > layers).mean() > 0.5:
        return f"On most of {images} even the last probe names another class than the network."
    half = min(int(np.quantile(decided, 0.5, method="higher")), layers)
    share = percent((decided <= half).mean())
    where = "layer 1" if half == 1 else f"layer {half} or before"
    return f"{share} of {images} are decided at {where}."


def _readable(layers: pd.DataFrame) -> str:
    """From which layer on the class can be read better than by chance and without training."""
    is_better = (layers["low"] > layers["chance"]) & (layers["above_untrained_low"] > 0)
    if not is_better.any():
        return (
            "At no layer is a probe of the trained network shown to read the class better than "
            "one of an untrained network: where training put it, this run cannot tell. "
        )
    from_here_on = is_better[::-1].cummin()[::-1]  # at this layer, and at every later one
    first = int(from_here_on.idxmax() if from_here_on.any() else is_better.idxmax())
    row = layers.iloc[first]
    where = f"layer {first + 1} of {len(layers)} ({row['tap']})"
    told = f"From {where} on" if from_here_on.any() else f"At {where}, but not at the last one"
    ends = f"[{percent(row['low'])}, {percent(row['high'])}]"
    return (
        f"{told}, training has made the class readable: a probe is right on "
        f"{percent(row['accuracy'])} {ends}, on an untrained network on "
        f"{percent(row['untrained'])}. "
    )


def map_answer(switch: pd.DataFrame, inside: pd.DataFrame | None, drawn: int) -> str:
    """What the average map cannot show, beside Grad-CAM at the last layer.

    Args:
        switch: Index tap, column "Grad-CAM": rank correlation of the maps of two classes.
        inside: Index tap, columns "average map" and "the mask's share": of the map's values, and of
            the image; None where nobody drew a mask.
        drawn: Images with a mask.
    """
    last = switch["Grad-CAM"].iloc[-1]
    said = "The average map is the same for every class"
    if not np.isnan(last):
        said += (
            ", where Grad-CAM's maps of two classes may differ (at the last layer their "
            f"correlation is {probability(last)})"
        )
    said += ": it shows where a layer is active, not why."
    if inside is None or inside["average map"].isna().all():
        return said
    best = inside["average map"].idxmax()
    share = inside.loc[best, "average map"]
    area = inside.loc[best, "the mask's share"]
    return said + (
        f" On {counted(drawn, 'image')} with a mask, the map of {best} lies most on what defines "
        f"the class: {percent(share)} of it, where that fills {percent(area)} of the image. Chosen "
        "among the layers on so few images, that is no test: notebook 05 has one."
    )
