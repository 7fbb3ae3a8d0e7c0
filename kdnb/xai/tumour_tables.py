"""What the grades of tumour_localisation say: tables, sentences, a list (notebook 05)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import pandas as pd

from kdnb.core.intervals import Interval
from kdnb.core.statistics import grade_interval, group_bootstrap
from kdnb.feature_maps.mask_metrics import LOCALISATION
from kdnb.xai.tumour_localisation import (
    BEST,
    BRIGHTNESS,
    COMPARED_MAPS,
    DRAWN,
    INPUT,
    LAYER_MAPS,
    MASKS,
    MEAN_MASK,
    Localisation,
)

__all__ = [
    "POINTING",
    "SHOWN",
    "layer_summary",
    "localisation_parts",
    "localisation_table",
    "right_reasons",
    "say_localisation",
    "say_right_reasons",
    "shortcut_candidates",
]

POINTING = "pointing game"
SIZES = ("small", "medium", "large")  # thirds of the images by the area of their mask
SHOWN = (BRIGHTNESS, MEAN_MASK, "centre", "Sobel", "random")  # baselines that a summary shows


def localisation_table(found: Sequence[Localisation], mask: str = DRAWN) -> pd.DataFrame:
    """Every grade of every map over all images.

    Args:
        found: Of `localise`, one per seed of a kind of network, on the same images.
        mask: "as drawn" or "dilated".

    Returns:
        Index (explanation, tap, metric); ``value`` with its 95 % interval over seeds and groups
        (low, high), and on how many ``images`` it is known.
    """
    return _table(found, np.ones(len(found[0].images), bool), mask, tuple(LOCALISATION))


def localisation_parts(
    found: Sequence[Localisation], metrics: Sequence[str] = (POINTING, "ROC AUC")
) -> pd.DataFrame:
    """The grades by mask, and by class and size of what is marked (thirds of the images).

    Returns:
        Index (mask, part, explanation, tap, metric), columns as `localisation_table`.
    """
    tables = {}
    for part, chosen in _parts(found[0].images):
        for mask in MASKS:
            tables[mask, part] = _table(found, chosen, mask, metrics)
    return pd.concat(tables, names=["mask", "part"])


def _parts(images: pd.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
    """Names of parts of the images, and (N,) bool which images are in it."""
    yield "all", np.ones(len(images), bool)
    for label in images["label"].unique():
        yield label, (images["label"] == label).to_numpy()
    third = pd.qcut(images["area"].rank(method="first"), 3, labels=False) if len(images) > 2 else 0
    for number, name in enumerate(SIZES):
        chosen = np.broadcast_to(third == number, len(images))
        if chosen.any():
            yield name, chosen


def _table(
    found: Sequence[Localisation], chosen: np.ndarray, mask: str, metrics: Sequence[str]
) -> pd.DataFrame:
    """Grades of chosen images (N,) bool by one kind of mask."""
    of_mask = [one.grades.xs(mask, level="mask") for one in found]
    groups = found[0].groups[chosen]
    rows = {}
    for key in of_mask[0].index:
        if key[-1] not in metrics:
            continue
        values = np.stack([grades.loc[key].to_numpy(float) for grades in of_mask])[:, chosen]
        value, low, high = grade_interval(values, groups)
        known = int((~np.isnan(values).any(axis=0)).sum())
        rows[key] = {"value": value, "low": low, "high": high, "images": known}
    table = pd.DataFrame(rows).T.astype({"images": int})
    return table.rename_axis(["explanation", "tap", "metric"])


def layer_summary(table: pd.DataFrame, tap: str) -> pd.DataFrame:
    """The maps of one layer beside the baselines: what fits a screen of `localisation_table`.

    Returns:
        Index explanation; the mean of each metric, and ``interval`` of the pointing game as text.
    """
    names = [(name, tap) for name in (*LAYER_MAPS, BEST)]
    names += [(name, INPUT) for name in SHOWN]
    wide = table["value"].unstack("metric").loc[names, list(LOCALISATION)]
    ends = table.xs(POINTING, level="metric").loc[names, ["low", "high"]]
    said = [f"{low:.2f} to {high:.2f}" for low, high in ends.to_numpy()]
    wide.insert(1, "interval", [one if "nan" not in one else "" for one in said])
    return wide.droplevel("tap").rename_axis(columns=None)


def say_localisation(found: Sequence[Localisation], table: pd.DataFrame) -> str:
    """One sentence: how often each map's peak lies inside, at its best layer and without any."""
    pointing = table.xs(POINTING, level="metric")
    said = []
    for name in COMPARED_MAPS:
        best = pointing.loc[name]["value"].idxmax()
        said.append(f"{name} {_percent(pointing.loc[name, best])} ({best})")
    nothing = [f"{name} {_percent(pointing.loc[name, INPUT])}" for name in (BRIGHTNESS, MEAN_MASK)]
    where = "whose patients may have been seen" if found[0].seen else "of unseen patients"
    return (
        f"The peak lies inside the mask in so many of {len(found[0].images)} images {where}, each "
        f"map at the layer that is best on them: {', '.join(said)}; without any network: "
        f"{', '.join(nothing)}."
    )


def _percent(row: pd.Series) -> str:
    return f"{Interval(row[['value', 'low', 'high']]):.0%}"


def right_reasons(found: Sequence[Localisation]) -> pd.DataFrame:
    """How much of the evidence for an answer lies inside the mask, for right and wrong answers.

    Returns:
        Index tap; means ``right`` and ``wrong``, their ``difference`` with its 95 % interval over
        groups (low, high), how many answers are known to be ``right_answers`` and
        ``wrong_answers`` with evidence, and how many have none (``without``), over all seeds.
    """
    right = np.stack([one.images["right"].to_numpy() for one in found])  # (S, N)
    rows = {}
    for tap in found[0].inside.index:
        inside = np.stack([one.inside.loc[tap].to_numpy(float) for one in found])
        known = ~np.isnan(inside)
        of_right = np.where(right & known, inside, np.nan)
        of_wrong = np.where(~right & known, inside, np.nan)

        gap = partial(_gap, of_right, of_wrong)
        difference, low, high = group_bootstrap(gap, found[0].groups, bounds=(-1, 1))
        rows[tap] = {
            "right": _mean(of_right),
            "wrong": _mean(of_wrong),
            "difference": difference,
            "low": low,
            "high": high,
            "right_answers": int((right & known).sum()),
            "wrong_answers": int((~right & known).sum()),
            "without": int((~known).sum()),
        }
    counts = {"right_answers": int, "wrong_answers": int, "without": int}
    return pd.DataFrame(rows).T.astype(counts).rename_axis("tap")


def _gap(of_right: np.ndarray, of_wrong: np.ndarray, rows: np.ndarray) -> float:
    """Mean of the first (S, N) minus the mean of the second, over some rows (R,)."""
    return _mean(of_right[:, rows]) - _mean(of_wrong[:, rows])


def _mean(values: np.ndarray) -> float:
    """Mean of what is known; NaN of nothing."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else np.nan


def shortcut_candidates(found: Localisation, tap: str) -> pd.DataFrame:
    """Images answered rightly with less evidence inside the mask than the mask's share of them.

    The evidence lies elsewhere: a reason to look, not a proof. Where nothing at all speaks for the
    answer at this layer, nothing is known of its place, and the image is left out.

    Returns:
        Columns image_id, label, inside (of the evidence) and area (of the image), the lowest ratio
        of both first.
    """
    table = found.images.assign(inside=found.inside.loc[tap].to_numpy(float))
    ratio = table["inside"] / table["area"]
    table = table.assign(ratio=ratio)[table["right"] & (ratio < 1)].sort_values("ratio")
    return table[["image_id", "label", "inside", "area"]].reset_index(drop=True)


def say_right_reasons(table: pd.DataFrame, tap: str, candidates: pd.DataFrame) -> str:
    """What `right_reasons` and `shortcut_candidates` say of a layer, in two sentences."""
    row = table.loc[tap]
    right, wrong, without = row[["right_answers", "wrong_answers", "without"]].astype(int)
    of_right = f"{row['right']:.0%} of the evidence for a right answer lies inside the mask"
    if not right:
        said = f"At {tap} no right answer has evidence to look at ({wrong} wrong ones have). "
    elif not wrong:
        said = f"At {tap} {of_right}; no wrong answer has evidence to compare with. "
    else:
        difference = Interval((row["difference"], row["low"], row["high"]))
        said = (
            f"At {tap} {of_right}, of that for a wrong one {row['wrong']:.0%}: a difference of "
            f"{difference:z.2f} ({right} right answers, {wrong} wrong). "
        )
    if without:
        said += f"Left out, as nothing there speaks for the answer: {without}. "
    said += "Right answers with less evidence inside than the mask's share of the image: "
    many = len(candidates)
    return said + (f"{many}. Look at them for shortcuts." if many else "none.")
