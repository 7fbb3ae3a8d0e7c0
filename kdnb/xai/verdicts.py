"""What the grades say: scores with intervals, margins over baselines, verdicts (notebook 05).

Every grade is of a run of its own, see `kdnb.xai.evaluation`. `grade_explanations` makes the runs
that are not there yet, which may take an hour; all else reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from kdnb.core.intervals import Interval
from kdnb.core.method_names import ATTRIBUTIONS, graded_name
from kdnb.core.model_names import KD_STUDENT, TEACHER
from kdnb.core.progress import tell
from kdnb.core.protocols import TrainedStudy
from kdnb.core.runs import Run
from kdnb.core.statistics import Groups, seed_interval, share_interval
from kdnb.xai.baselines import BASELINES
from kdnb.xai.evaluation import (
    EXPLANATIONS,
    evaluated_rows,
    explanations_to_grade,
    grade_explanation,
    trained_runs,
)
from kdnb.xai.metrics import METRICS

__all__ = [
    "TESTS",
    "explanation_quality",
    "grade_explanations",
    "explanation_verdicts",
    "margins",
]

TESTS = (
    "points at the lesion",
    "names what matters",
    "knows the class",
    "knows the weights",
    "stable",
)

TIMED = {  # method in notebook 06's table of costs -> the explanation whose grade stands for it
    "average_map": "average map, middle",
    "gradcam": "Grad-CAM",
    "hirescam": "HiResCAM, middle",
    "layercam": "LayerCAM, middle",
    "eigencam": "Eigen-CAM, middle",
    "evidence": "class evidence, middle",
    **ATTRIBUTIONS,
}
ALIKE = 0.5  # rank correlation from which on two maps count as alike; a convention of this study
# metrics that tell whether a map names what matters to the model
FAITHFULNESS = ("insertion, mean colour", "insertion, blur", "ROAD")
# metrics in which an explanation is held against the maps that explain nothing; large is good
AGAINST = ("energy in mask", *FAITHFULNESS)


def grade_explanations(study: TrainedStudy) -> pd.DataFrame:
    """Grade every explanation of every model by every metric, or find it graded.

    Returns:
        Index (model, explanation, metric); ``value`` with its 95 % interval over seeds and groups
        (low, high), on how many ``images`` it is known, and the ``seeds``.
    """
    rows = {}
    for kind, runs in trained_runs(study).items():
        names = explanations_to_grade(study, kind)
        for number, name in enumerate(names, start=1):
            tell(f"grading the {kind}, {number} of {len(names)}: {graded_name(name)}")
            groups = study.groups(evaluated_rows(study, kind, name))
            for metric, values in _by_seed(study, kind, runs, name, METRICS).items():
                value, low, high = _interval(metric, values, groups)
                known = ~np.isnan(values).any(axis=0)
                rows[kind, name, metric] = {
                    "value": value,
                    "low": low,
                    "high": high,
                    "images": int(known.sum()),
                    "seeds": len(runs),
                }
    table = pd.DataFrame(rows).T.astype({"images": int, "seeds": int})
    return table.rename_axis(["model", "explanation", "metric"])


def _by_seed(
    study: TrainedStudy, kind: str, runs: Sequence[Run], name: str, metrics: Iterable[str]
) -> dict[str, np.ndarray]:
    """Metric → (S, N): the grades of one explanation of the models of every seed, by image."""
    seeds = [grade_explanation(study, kind, run, name) for run in runs]
    values = {}
    for metric in metrics:
        values[metric] = np.stack([seed[metric] for seed in seeds])
    return values


def _interval(metric: str, values: np.ndarray, groups: Groups) -> Interval:
    """Mean of values (S, N) of a metric with its 95 % interval over seeds and groups (N,)."""
    about = METRICS[metric]
    if about.hits:
        return share_interval(values, groups)
    return seed_interval(values, groups, bounds=(about.lowest, 1))


def margins(study: TrainedStudy) -> pd.DataFrame:
    """How much better every explanation is than each map that explains nothing.

    On the same images, seed by seed.

    Returns:
        Index (model, explanation); for each metric of ``AGAINST`` the lowest end, over the
        baselines, of the 95 % interval of the paired difference: above 0, it beats them all. NaN
        where it is not known.
    """
    found = {}
    for kind, runs in trained_runs(study).items():
        values = {}  # explanation or baseline → metric → (S, N)
        for name in explanations_to_grade(study, kind):
            values[name] = _by_seed(study, kind, runs, name, AGAINST)
        for name in [name for name in values if name in EXPLANATIONS]:
            groups = study.groups(evaluated_rows(study, kind, name))
            for metric in AGAINST:
                lows = []
                for baseline in BASELINES:
                    # costly explanations may be graded on the first images alone
                    of_baseline = values[baseline][metric][:, : len(groups)]
                    lead = values[name][metric] - of_baseline
                    _, low, _ = seed_interval(lead, groups)
                    lows.append(low)
                found[kind, name, metric] = np.min(lows)  # NaN if one is
    table = pd.Series(found).rename_axis(["model", "explanation", "metric"])
    return table.unstack("metric", sort=False)


def explanation_verdicts(table: pd.DataFrame, above: pd.DataFrame) -> pd.DataFrame:
    """What each explanation passes, with its whole interval on the right side of the line.

    - points at the lesion: more energy in the mask than each baseline;
    - names what matters: ROAD, and insertion with either fill, better than each baseline;
    - knows the class: the map changes with it (rank correlation below 0.5);
    - knows the weights: random ones give a map that has little to do with it (between −0.5 and
      0.5: a map turned round is still the image's);
    - stable: it does not change with invisible noise (above 0.5).

    Args:
        table: Of `grade_explanations`.
        above: Of `margins`.

    Returns:
        Index (model, explanation), one column of 1 (passed), 0 (not passed) or NaN (not known, or
        known without an interval) each, how many are ``passed``, and of how many ``seeds``.
        Baselines are held against none.
    """
    low = table["low"].unstack("metric")
    high = table["high"].unstack("metric")
    above = above.reindex(low.index)
    both_ends = pd.concat([high["randomisation"], -low["randomisation"]], axis=1)
    farthest_from_0 = both_ends.max(axis=1, skipna=False)
    room = {  # between the interval and the line; negative where the interval crosses it
        "points at the lesion": above["energy in mask"],
        "names what matters": above[list(FAITHFULNESS)].min(axis=1, skipna=False),
        "knows the class": ALIKE - high["class switch"],
        "knows the weights": ALIKE - farthest_from_0,
        "stable": low["stability"] - ALIKE,
    }
    passed = pd.DataFrame()
    for name in TESTS:
        left = room[name]
        passed[name] = (left > 0).astype(float).where(left.notna())
    passed["passed"] = passed.sum(axis=1).astype(int)
    passed["seeds"] = table["seeds"].groupby(["model", "explanation"]).max()
    return passed.reindex(table.index.droplevel("metric").unique())


def explanation_quality(table: pd.DataFrame) -> pd.DataFrame:
    """One quality of each method that notebook 06 times.

    That is the energy in the mask, or ROAD where nobody drew a mask. Maps of a layer are those of
    the middle one, Grad-CAM that of the last, as it is defined.

    Args:
        table: Of `grade_explanations`.

    Returns:
        Index (method, model: "teacher" or "student") as in notebook 06; the quality, named after
        its metric, with its 95 % interval (low, high).
    """
    has_masks = table["value"].xs("energy in mask", level="metric").notna().any()
    metric = "energy in mask" if has_masks else "ROAD"
    scores = table.xs(metric, level="metric")[["value", "low", "high"]]
    scores = scores.rename(columns={"value": metric})
    found = {}
    for method, name in TIMED.items():
        for model, kind in {"teacher": TEACHER, "student": KD_STUDENT}.items():
            if (kind, name) in scores.index:
                found[method, model] = scores.loc[(kind, name)]
    return pd.DataFrame(found).T.dropna(subset=[metric]).rename_axis(["method", "model"])
