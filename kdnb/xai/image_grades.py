"""Grades of single images by their masks, as a table that can be kept and pooled (05, for 07)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from kdnb.core.statistics import Groups
from kdnb.xai.tumour_localisation import DRAWN, Localisation

__all__ = ["KEPT", "image_grades", "read_image_grades"]

KEPT = ("pointing game", "energy in mask")
KEY = ["model", "explanation", "tap", "metric"]
ABOUT = ("group", "class", "widening")  # rows about the images, without a metric


def image_grades(found: Mapping[str, Localisation], mask: str = DRAWN) -> pd.DataFrame:
    """The grades of every image, one text per explanation.

    Args:
        found: Model → its grades, all on the same images.
        mask: "as drawn" or "dilated".

    Returns:
        Columns model, explanation, tap, metric, and ``values``: the grades of all images with three
        digits, nan where one is not known. The first rows tell each image's group and class, and
        the widening of the groups.
    """
    first = next(iter(found.values()))
    groups = Groups.of(first.groups)
    about = {
        "group": np.unique(groups.names, return_inverse=True)[1],
        "class": first.images["label"].str.replace(" ", "_"),
        "widening": [groups.widening],
    }
    rows = [("", name, "", "", " ".join(map(str, about[name]))) for name in ABOUT]
    for model, one in found.items():
        grades = one.grades.xs(mask, level="mask")
        for explanation, tap, metric in grades.index:
            if metric not in KEPT:
                continue
            values = grades.loc[(explanation, tap, metric)].to_numpy(float)
            text = " ".join(f"{value:.3g}" for value in values)
            rows.append((model, explanation, tap, metric, text))
    return pd.DataFrame(rows, columns=[*KEY, "values"])


def read_image_grades(table: pd.DataFrame) -> tuple[pd.DataFrame, Groups, np.ndarray]:
    """What `image_grades` kept.

    Returns:
        Grades with index (model, explanation, tap, metric), one column per image; the groups (N,)
        of the images; and their classes (N,) str.
    """
    text = table.fillna("").set_index(KEY)["values"]
    about = {name: text["", name, "", ""].split() for name in ABOUT}
    groups = Groups(names=np.array(about["group"], int), widening=float(about["widening"][0]))
    kept = text[text.index.get_level_values("metric") != ""]
    grades = np.array([values.split() for values in kept], dtype=float)
    return pd.DataFrame(grades, index=kept.index), groups, np.array(about["class"])
