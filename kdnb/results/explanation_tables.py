"""Published tables that notebooks 05 and 06 wrote: cost and explanations (07)."""

from __future__ import annotations

import json

import pandas as pd

from kdnb.core.method_names import as_graded
from kdnb.core.settings import Settings
from kdnb.results.collected_runs import Records
from kdnb.xai.shortcuts import CHEATED, LURING, SMALL

__all__ = ["explanation_tables"]

PLACE = ("dataset", "split", "fraction")  # fraction: the share of the training patients
# the paper's map, its two checks, and two that explain nothing
CHOSEN = "average map|Grad-CAM|SHAP deep|centre|Sobel"
# these are about phantoms, whatever the data set
PLANTED = {
    "05_shortcut_accuracy": CHEATED,
    "05_shortcut": CHEATED,
    "05_distractor": LURING,
}
# published name -> the notebook's
COLLECTED_TABLES = {
    "e_work": "06_work",
    "e_latency": "06_latency",
    "e_explanations": "06_explanations",
    "e_claims": "06_claims",
    "f_grades": "05_grades",
    "f_margins": "05_margins",
    "f_verdicts": "05_verdicts",
    "f_kd_question": "05_kd_question",
    "f_shortcut_accuracy": "05_shortcut_accuracy",
    "f_shortcut": "05_shortcut",
    "f_distractor": "05_distractor",
}


def explanation_tables(records: Records) -> dict[str, pd.DataFrame]:
    """The tables by file name, each with where it was measured in front.

    Besides those of the notebooks: the effect of size on explanations, and what the time of one
    buys.
    """
    tables = {}
    for name, table in COLLECTED_TABLES.items():
        if table not in records:
            continue
        if table in PLANTED:
            tables[name] = planted(records, table)
        else:
            tables[name] = beside(records, table)
    if "f_grades" in tables:
        tables["d_explained"] = by_size(tables["f_grades"])
    tables["f_worth"] = worth(records)
    return tables


def by_size(grades: pd.DataFrame) -> pd.DataFrame:
    """(d) ROAD of some explanations of the distilled student, by the share of training patients.

    Do explanations need many patients?
    """
    rows = grades.query(
        "model == 'KD student' and metric == 'ROAD' and explanation.str.match(@CHOSEN)"
    )
    rows = rows.rename(columns={"value": "ROAD", "low": "ROAD_low", "high": "ROAD_high"})
    return rows.drop(columns="metric").sort_values("fraction", kind="stable")


def beside(records: Records, name: str) -> pd.DataFrame:
    """The table ``name`` of every run that has it, with ``PLACE`` in front."""
    runs = records["runs"]
    table = records[name]
    places = []
    for text in runs["parameters"]:
        parameters = json.loads(text)
        places.append({column: parameters.get(column) for column in PLACE})
    place_of_run = pd.DataFrame(places, index=runs["run"])
    front = place_of_run.loc[table["run"]].reset_index(drop=True)
    return pd.concat([front, table.reset_index(drop=True)], axis=1)


def planted(records: Records, name: str) -> pd.DataFrame:
    """A table about phantoms with a trap, under their name, from the first run that has it.

    They are the same whatever set a run is about.
    """
    runs = records["runs"]
    table = records[name]
    has_it = (runs["part"] == "explanations") & runs["run"].isin(table["run"])
    table = table[table["run"].isin(runs.loc[has_it, "run"].head(1))]
    place = {"dataset": PLANTED[name], "split": SMALL["split"], "fraction": SMALL["fraction"]}
    return pd.concat([pd.DataFrame(place, index=table.index), table], axis=1)


def worth(records: Records) -> pd.DataFrame:
    """(f) What the time of an explanation buys: quality in notebook 05 beside its ms in 06.

    The quality has its interval. Sampled explanations are timed with fewer samples than they are
    graded with; here their ms is that of as many.
    """
    if "05_quality" not in records or "06_explanations" not in records:
        return pd.DataFrame()
    quality = beside(records, "05_quality").melt(
        id_vars=[*PLACE, "run", "method", "model", "low", "high"],
        var_name="metric",
        value_name="quality",
    )
    quality = quality.dropna(subset=["quality"])
    timed = beside(records, "06_explanations").set_index([*PLACE, "method"])
    times = timed.rename(columns={"teacher_ms": "teacher", "student_ms": "student"})
    ms = times[["teacher", "student"]].stack()
    ms = ms.rename_axis([*PLACE, "method", "model"]).rename("ms")
    graded_samples = _settings(records, "05_xai").shap_samples
    timed_samples = _settings(records, "06_efficiency").timed_samples
    graded_ms = as_graded(ms, graded_samples / timed_samples)
    return quality.join(graded_ms, on=ms.index.names, how="inner")


def _settings(records: Records, notebook: str) -> Settings:
    """Settings of the first run of a notebook; the numbers of samples are the same in all."""
    runs = records["runs"]
    first = runs.loc[runs["notebook"] == notebook, "parameters"].iloc[0]
    parameters = json.loads(first)
    known = {name: value for name, value in parameters.items() if name in Settings.model_fields}
    return Settings.checked(known)
