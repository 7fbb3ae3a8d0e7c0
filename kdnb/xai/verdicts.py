"""What the grades of notebook 05 say: scores with intervals, margins over maps that explain nothing, verdicts.

Every grade is of a run of its own, see `kdnb.xai.evaluation`; what is here reads these runs.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from kdnb.core.method_names import ATTRIBUTIONS
from kdnb.core.progress import say
from kdnb.core.protocols import TrainedStudy
from kdnb.core.statistics import seed_interval, share_interval
from kdnb.xai.baselines import BASELINES
from kdnb.xai.evaluation import (
    EXPLANATIONS,
    STUDENTS,
    TEACHER,
    evaluated,
    evaluated_rows,
    explanations,
    trained_runs,
)
from kdnb.xai.metrics import METRICS

__all__ = ["margins", "explanation_quality", "explanation_scores", "verdicts"]

TIMED = {  # method in notebook 06's table of costs -> the explanation whose grade stands for it
    "average_map": "average map, middle",
    "gradcam": "Grad-CAM",
    "hirescam": "HiResCAM, middle",
    "layercam": "LayerCAM, middle",
    "eigencam": "Eigen-CAM, middle",
    "evidence": "class evidence, middle",
    **ATTRIBUTIONS,
}
SIGNED = ("ROAD", "class switch", "randomisation", "stability")  # in [-1, 1], the others in [0, 1]
AGAINST = (
    "energy in mask",
    "insertion, mean colour",
    "insertion, blur",
    "ROAD",
)  # held against baselines


def explanation_scores(study: TrainedStudy) -> pd.DataFrame:
    """Every metric of every explanation of every model.

    Returns:
        Index (model, explanation, metric); ``value`` with its 95 % interval over seeds and groups (low, high), on how
        many images it is known, and the ``seeds``.
    """
    found, groups = {}, study.groups(evaluated_rows(study))
    for kind, runs in trained_runs(study).items():
        for name in explanations(kind):
            say(f"  grading the {kind}: {name}")
            seeds = [evaluated(study, kind, run, name) for run in runs]
            for metric in METRICS:
                values = np.stack([seed[metric] for seed in seeds])
                if metric == "peak in mask":
                    value, low, high = share_interval(values, groups)
                else:
                    value, low, high = seed_interval(
                        values, groups, bounds=(-1 if metric in SIGNED else 0, 1)
                    )
                known = int((~np.isnan(values).any(0)).sum())
                row = {
                    "value": value,
                    "low": low,
                    "high": high,
                    "images": known,
                    "seeds": len(seeds),
                }
                found[kind, name, metric] = row
    return (
        pd.DataFrame(found)
        .T.astype({"images": int, "seeds": int})
        .rename_axis(["model", "explanation", "metric"])
    )


def margins(study: TrainedStudy) -> pd.DataFrame:
    """How much better every explanation is than each map that explains nothing, on the same images, seed by seed.

    Returns:
        Index (model, explanation); for each metric of ``AGAINST`` the lowest end, over the baselines, of the 95 %
        interval of the paired difference: above 0, it beats them all. NaN where it is not known.
    """
    found, groups = {}, study.groups(evaluated_rows(study))
    for kind, runs in trained_runs(study).items():
        seeds = {
            name: [evaluated(study, kind, run, name) for run in runs] for name in explanations(kind)
        }
        for metric in AGAINST:
            values = {name: np.stack([seed[metric] for seed in of]) for name, of in seeds.items()}
            for name in [n for n in seeds if n in EXPLANATIONS]:
                lows = [seed_interval(values[name] - values[base], groups)[1] for base in BASELINES]
                found[kind, name, metric] = np.min(lows)  # NaN if one is
    return (
        pd.Series(found)
        .rename_axis(["model", "explanation", "metric"])
        .unstack("metric", sort=False)
    )


def verdicts(table: pd.DataFrame, above: pd.DataFrame) -> pd.DataFrame:
    """What each explanation passes, with its whole interval on the right side of the line.

    - points at the lesion: more energy in the mask than each baseline;
    - names what matters: ROAD, and insertion with either fill, better than each baseline;
    - knows the class: the map changes with it (rank correlation below 0.5);
    - knows the weights: random ones give a map that has little to do with it (between −0.5 and 0.5: a map turned round
      is still the image's);
    - stable: it does not change with invisible noise (above 0.5).

    Args:
        table: Of `explanation_scores`.
        above: Of `margins`.

    Returns:
        Index (model, explanation), one column of 1 (passed), 0 (not passed) or NaN (not known, or known without an
        interval) each, how many are ``passed``, and of how many ``seeds``. Baselines are held against none.
    """
    low, high = (table[c].unstack("metric") for c in ("low", "high"))
    above = above.reindex(low.index)
    order = [metric for metric in AGAINST if metric != "energy in mask"]
    upside = pd.concat([high["randomisation"], -low["randomisation"]], axis=1).max(
        axis=1, skipna=False
    )
    ends = {  # the end of the interval that must be on the right side of the line
        "points at the lesion": above["energy in mask"],
        "names what matters": above[order].min(axis=1, skipna=False),
        "knows the class": 0.5 - high["class switch"],
        "knows the weights": 0.5 - upside,
        "stable": low["stability"] - 0.5,
    }
    passed = {name: (end > 0).astype(float).where(end.notna()) for name, end in ends.items()}
    passed = pd.DataFrame(passed).assign(passed=lambda rows: rows.sum(axis=1).astype(int))
    passed["seeds"] = table["seeds"].groupby(["model", "explanation"]).max()
    return passed.reindex(table.index.droplevel("metric").unique())


def explanation_quality(table: pd.DataFrame) -> pd.DataFrame:
    """One quality of each method that notebook 06 times: energy in the mask, or ROAD where nobody drew a mask.

    Maps of a layer are those of the middle one, Grad-CAM that of the last, as it is defined.

    Args:
        table: Of `explanation_scores`.

    Returns:
        Index (method, model: "teacher" or "student") as in notebook 06; the quality, named after its metric, with its
        95 % interval (low, high).
    """
    metric = (
        "energy in mask"
        if table["value"].xs("energy in mask", level="metric").notna().any()
        else "ROAD"
    )
    known = table.xs(metric, level="metric")[["value", "low", "high"]].rename(
        columns={"value": metric}
    )
    kinds = {"teacher": TEACHER, "student": STUDENTS[0]}
    found = {
        (method, model): known.loc[(kind, name)]
        for method, name in TIMED.items()
        for model, kind in kinds.items()
        if (kind, name) in known.index
    }
    return pd.DataFrame(found).T.dropna(subset=[metric]).rename_axis(["method", "model"])
