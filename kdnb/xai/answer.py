"""What notebook 05 shows first and answers last: a short table, verdicts, sentences."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from kdnb.core.intervals import Interval
from kdnb.core.method_names import graded_name
from kdnb.core.model_names import KD_STUDENT
from kdnb.core.number_text import counted
from kdnb.core.p_values import holm, p_of_interval
from kdnb.core.settings import project_root
from kdnb.core.statistics import CONFIDENCE, FEW
from kdnb.core.tables import read_table, with_intervals
from kdnb.xai.baselines import BASELINES
from kdnb.xai.metrics import METRICS
from kdnb.xai.verdicts import FAITHFULNESS, TESTS

__all__ = [
    "Verdicts",
    "cheat_sentence",
    "faithfulness_sentence",
    "likeness_table",
    "measure_name",
    "published_verdicts",
    "reasons_sentence",
    "score_overview",
    "verdict_sentence",
    "verdicts_to_show",
]

LARGE = ("average map, first layer", "Grad-CAM", "class evidence, middle", "SHAP gradient")
ON_PHANTOMS = "In a test on drawn images with a tag (phantoms, not the images of this study)"
PAIR = ("class evidence, middle", "HiResCAM, middle")  # the second is the first above zero
PUBLISHED = "brain_tumor"  # the data set whose verdicts are shown where there are none here


def score_overview(scores: pd.DataFrame, model: str = KD_STUDENT) -> pd.DataFrame:
    """Every metric of the four explanations that figures show large, beside the best baseline.

    Args:
        scores: Of `kdnb.xai.verdicts.grade_explanations`.
        model: Whose explanations.

    Returns:
        Index ``metric``; which scores are ``good``, one column per explanation, and the ``best
        baseline``: of the four maps that explain nothing, the score that is hardest to beat.
    """
    values = scores["value"].loc[model].unstack("metric")
    rows = {}
    for metric in scores.index.unique("metric"):
        of_metric = values[metric]
        row: dict[str, object] = {"good": METRICS[metric].good}
        for name in LARGE:
            row[graded_name(name)] = of_metric.get(name)
        nothing = of_metric.reindex(list(BASELINES)).dropna()
        row["best baseline"] = float("nan")
        if len(nothing):
            row["best baseline"] = nothing[METRICS[metric].turned(nothing).idxmax()]
        rows[metric] = row
    table = pd.DataFrame(rows).T.rename_axis("metric")
    numbers = table.columns.drop("good")
    table[numbers] = table[numbers].astype(float)
    return table[table[numbers].notna().any(axis=1)]


def published_verdicts() -> pd.DataFrame:
    """Verdicts on the brain set in ``figures/results``, as `explanation_verdicts`; or no rows.

    A test counts as passed where it is passed in every seed.
    """
    columns = [*TESTS, "passed", "seeds"]
    path = project_root() / "figures" / "results" / "verdicts.csv"
    if not path.is_file():
        return pd.DataFrame(columns=columns)
    table = read_table(path)
    table = table[(table["dataset"] == PUBLISHED) & ~table["explanation"].isin(BASELINES)]
    of_seeds = table.groupby(["model", "explanation"], sort=False)
    in_every_seed = of_seeds[list(TESTS)].agg(lambda seeds: seeds.min(skipna=False))
    passed = in_every_seed.sum(axis=1)
    return in_every_seed.assign(passed=passed, seeds=of_seeds["run"].nunique())[columns]


class Verdicts(NamedTuple):
    """Verdicts to show: which, and whether they are this run's own."""

    table: pd.DataFrame  #: index (model, explanation), without baselines; no rows if none is known
    own: bool  #: False: they are published ones
    said: str  #: what is shown, in a sentence


def verdicts_to_show(passed: pd.DataFrame) -> Verdicts:
    """The verdicts of this run where there is any, else the published ones.

    Args:
        passed: Of `kdnb.xai.verdicts.explanation_verdicts`.
    """
    own = passed.drop(index=list(BASELINES), level="explanation", errors="ignore")
    if own[list(TESTS)].notna().any(axis=None):
        return Verdicts(table=own, own=True, said="The verdicts of this run:")
    none = f"No verdict here: an interval needs {FEW} patients, and so more graded_images."
    published = published_verdicts()
    if len(published):
        none += " Below are the published verdicts, on the real brain images."
    return Verdicts(table=published, own=False, said=none)


def likeness_table(reasons: pd.DataFrame, model: str = KD_STUDENT) -> pd.DataFrame:
    """How alike a student's maps are to the teacher's, as text: a row per explanation.

    Args:
        reasons: Of `kdnb.xai.teacher_agreement.agreement_table`.
        model: Which student.

    Returns:
        Rank correlations with their 95 % intervals: a column for each kind of case.
    """
    rows = reasons.xs("Spearman", level="measure").loc[model]
    cases = rows.columns.unique(0)
    table = pd.DataFrame({case: with_intervals(rows[case]) for case in cases})
    return table.rename(index=graded_name)


def measure_name(measure: str) -> str:
    """What a reader sees of a measure of `kd_question`.

    >>> measure_name("Spearman with the teacher: Grad-CAM")
    'Spearman with the teacher: Grad-CAM (last layer)'
    """
    start, colon, name = measure.partition(": ")
    return f"{start}{colon}{graded_name(name)}" if colon else measure


def verdict_sentence(passed: pd.DataFrame, model: str = KD_STUDENT) -> str:
    """Which explanations of a model pass most tests, of how many that could be decided.

    Args:
        passed: Of `kdnb.xai.verdicts.explanation_verdicts`.
        model: Whose explanations.
    """
    verdicts = passed.loc[model].drop(index=list(BASELINES), errors="ignore")[list(TESTS)]
    decided = verdicts.notna().any()
    if not decided.any():
        return (
            f"Which explanation of the {model} can be trusted, this run cannot tell: too few "
            "patients for any verdict."
        )
    count = int(decided.sum())
    passes = verdicts.sum(axis=1).astype(int)
    most = int(passes.max())
    if most == 0:
        return f"No explanation of the {model} passes any test that was decided ({count})."
    best = passes.index[passes == most]
    names = _listed(best)
    whole = "all" if most == count > 1 else f"{most} of"
    said = f"Of {len(verdicts)} explanations of the {model}, {names} "
    verb = "pass" if (passes == most).sum() > 1 else "passes"
    said += f"{verb} most: {whole} {counted(count, 'test')}."
    if set(PAIR) <= set(best):
        said += " HiResCAM is the positive part of class evidence, so these two agree."
    nobody = verdicts.columns[decided & (verdicts.sum() == 0)]
    if len(nobody):
        said += f" None passes “{'”, “'.join(nobody)}”."
    return said


def faithfulness_sentence(above: pd.DataFrame, model: str = KD_STUDENT) -> str:
    """By which scores explanations beat every map that explains nothing.

    Args:
        above: Of `kdnb.xai.verdicts.margins`.
        model: Whose explanations.
    """
    rows = above.loc[model, list(FAITHFULNESS)]
    known = rows.notna().all(axis=1)
    if not known.any():
        return "By which scores explanations beat maps of nothing is not known: too few patients."
    beaten = (rows[known] > 0).sum()
    parts = [f"{number or 'none'} by {name}" for name, number in beaten.items()]
    every = int((rows[known] > 0).all(axis=1).sum())
    return (
        f"Of {counted(int(known.sum()), 'explanation')}, so many beat every map of nothing: "
        f"{'; '.join(parts)}. By all of these: {every or 'none'}."
    )


def cheat_sentence(marked: pd.DataFrame) -> str:
    """Which explanations reveal the student that cheats.

    Args:
        marked: The second table of `kdnb.xai.shortcuts.shortcut_test`.
    """
    marked = marked.drop(index=list(BASELINES), errors="ignore")
    revealing = marked[marked["reveals"] == 1]
    if revealing.empty:
        return f"{ON_PHANTOMS}, no explanation is shown to reveal the student that cheats."
    best = revealing["difference"].idxmax()
    row = revealing.loc[best]
    share = Interval(100 * row[name] for name in ("difference", "low", "high"))
    return (
        f"{ON_PHANTOMS}, of {counted(len(marked), 'explanation')} {len(revealing)} "
        f"{'reveals' if len(revealing) == 1 else 'reveal'} the student that cheats, "
        f"{graded_name(best)} most clearly: {share:.0f} percentage points more of it lie on the "
        "tag than with the honest student."
    )


def reasons_sentence(question: pd.DataFrame, measure: str = "Spearman") -> str:
    """How many of the student's maps distillation brings nearer to the teacher's.

    Changes count that remain after Holm's correction.

    Args:
        question: Of `kdnb.xai.teacher_agreement.kd_question`.
        measure: Of likeness; its rows begin so.
    """
    rows = question[question.index.str.startswith(measure)]
    known = rows.dropna(subset=["low", "high"])
    if known.empty:
        return "Whether distillation changes the reasons, this run cannot tell: too few patients."
    changes = known[["difference", "low", "high"]].itertuples(index=False)
    p_values = [p_of_interval(Interval(change)) for change in changes]
    is_found = holm(p_values) < 1 - CONFIDENCE
    nearer = known.index[is_found & (known["difference"] > 0)]
    farther = known.index[is_found & (known["difference"] < 0)]
    widest = known.loc[known["difference"].abs().idxmax()]
    largest = Interval(widest[["difference", "low", "high"]])
    kinds = counted(len(known), "kind")
    corrected = f" (corrected for {len(known)} comparisons)" if len(known) > 1 else ""
    name = graded_name(_map_of(str(widest.name)))
    tail = f"The largest change is {largest:+z.2f} in rank correlation, of {name}."
    if not is_found.any():
        return (
            f"Distillation is not shown to change the reasons: of {kinds} of map none comes nearer "
            f"to the teacher's or goes farther from it{corrected}. {tail}"
        )
    still_open = len(known) - len(nearer) - len(farther)
    told = (
        f"Of {kinds} of map, distillation brings {len(nearer)} nearer to the teacher's and takes "
        f"{len(farther)} farther; {still_open} {'stays' if still_open == 1 else 'stay'} "
        f"open{corrected}. "
    )
    for word, measures in {"Nearer": nearer, "Farther": farther}.items():
        if len(measures):
            told += f"{word}: {_listed(measures.map(_map_of))}. "
    return told + tail


def _map_of(measure: str) -> str:
    """The map that a measure of likeness is of."""
    return measure.partition(": ")[2]


def _listed(keys: pd.Index, most: int = 4) -> str:
    """Names of explanations as a list of words; of many only the first."""
    names = [graded_name(key) for key in keys]
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join(names) if len(names) < 3 else f"{', '.join(names[:-1])} and {names[-1]}"
