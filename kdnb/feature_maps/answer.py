"""The answer of notebook 04: where the class can be read, and what the average map cannot show."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kdnb.core.number_text import percent, probability

__all__ = ["layers_answer", "map_answer"]


def layers_answer(probes: pd.DataFrame, early: pd.DataFrame, model: str = "KD student") -> str:
    """From which layer on training made the class readable, and where images are decided.

    Args:
        probes: The table of a layer analysis: columns model, tap, accuracy, low, high, untrained.
        early: Columns image_id and layer: the first from which on all probes agree with the model.
        model: Whose layers.
    """
    of_model = probes[probes["model"] == model].reset_index(drop=True)
    last = len(of_model)
    if of_model["low"].isna().all():
        said = "From which layer on the class can be read, so few patients cannot tell. "
    else:
        better = of_model[of_model["low"] > of_model["untrained"]]
        if better.empty:
            said = (
                "At no layer is a probe of the trained network shown to read the class better than "
                "one of an untrained network: where training put it, this run cannot tell. "
            )
        else:
            row = better.iloc[0]
            ends = f"[{percent(row['low'])}, {percent(row['high'])}]"
            said = (
                f"From layer {better.index[0] + 1} of {last} ({row['tap']}) on, training has made "
                f"the class readable: a probe is right on {percent(row['accuracy'])} {ends}, on an "
                f"untrained network on {percent(row['untrained'])}. "
            )
    decided = early["layer"].to_numpy()
    if not len(decided):
        return said.strip()
    half = int(np.quantile(decided, 0.5, method="higher"))
    if half > last:
        return said + "On most images even the last probe names another class than the network."
    return said + f"Half of the {len(decided)} images are decided at layer {half} or before."


def map_answer(switch: pd.DataFrame, inside: pd.DataFrame | None) -> str:
    """What the average map cannot show, beside Grad-CAM at the last layer.

    Args:
        switch: Index tap, column "Grad-CAM": rank correlation of the maps of two classes.
        inside: Index tap, columns "average map" and "the mask's share": of the map's values, and of
            the image; None where nobody drew a mask.
    """
    last = switch["Grad-CAM"].iloc[-1]
    said = "The average map is the same for every class"
    if not np.isnan(last):
        said += (
            ", where Grad-CAM's maps of two classes differ (at the last layer their correlation "
            f"is {probability(last)})"
        )
    said += ": it shows where a layer is active, not why."
    if inside is None or inside["average map"].isna().all():
        return said
    best = inside["average map"].idxmax()
    share = inside.loc[best, "average map"]
    area = inside.loc[best, "the mask's share"]
    return said + (
        f" At its best layer ({best}) {percent(share)} of it lies on what defines the class, which "
        f"is {percent(area)} of the image."
    )
