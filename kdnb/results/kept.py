"""Published tables that runs of notebooks 05 and 06 have written: cost and explanations (07)."""

from __future__ import annotations

import json

import pandas as pd

from kdnb.efficiency import as_graded
from kdnb.results.records import Records
from kdnb.settings import Settings
from kdnb.trust.planted import CHEATED, LURING, SMALL

__all__ = ["kept"]

PLACE = ("dataset", "split", "fraction")  # fraction: the share of the training patients
CHOSEN = "average map|Grad-CAM|SHAP deep|centre|Sobel"  # the paper's map, its two checks, two that explain nothing
# these are about phantoms, whatever the data set
PLANTED = {"05_shortcut_accuracy": CHEATED, "05_shortcut": CHEATED, "05_distractor": LURING}
KEPT = {"e_work": "06_work", "e_latency": "06_latency", "e_explanations": "06_explanations", "e_claims": "06_claims",
        "f_grades": "05_grades", "f_margins": "05_margins", "f_verdicts": "05_verdicts",
        "f_kd_question": "05_kd_question", "f_shortcut_accuracy": "05_shortcut_accuracy", "f_shortcut": "05_shortcut",
        "f_distractor": "05_distractor"}  # fmt: skip


def kept(records: Records) -> dict[str, pd.DataFrame]:
    """The tables by file name, each with where it was measured in front, and what the time of an explanation buys."""
    tables = {name: (planted if table in PLANTED else beside)(records, table)
              for name, table in KEPT.items() if table in records}  # fmt: skip
    explained = {"d_explained": by_size(tables["f_grades"])} if "f_grades" in tables else {}
    return tables | explained | {"f_worth": worth(records)}


def by_size(grades: pd.DataFrame) -> pd.DataFrame:
    """(d) Do explanations of the distilled student need many patients? ROAD of some, by the share of them."""
    rows = grades.query("model == 'KD student' and metric == 'ROAD' and explanation.str.match(@CHOSEN)")
    rows = rows.rename(columns={"value": "ROAD", "low": "ROAD_low", "high": "ROAD_high"})
    return rows.drop(columns="metric").sort_values("fraction", kind="stable")


def beside(records: Records, name: str) -> pd.DataFrame:
    """The table ``name`` of every run that has it, with ``PLACE`` in front."""
    places = [json.loads(text) for text in records["runs"]["parameters"]]
    front = pd.DataFrame([{k: p.get(k) for k in PLACE} for p in places], index=records["runs"]["run"])
    table = records[name]
    return pd.concat([front.loc[table["run"]].reset_index(drop=True), table.reset_index(drop=True)], axis=1)


def planted(records: Records, name: str) -> pd.DataFrame:
    """A table about phantoms with a trap, under their name: they are the same whatever set a run is about."""
    runs = records["runs"]
    first = runs.loc[(runs["part"] == "explanations") & runs["run"].isin(records[name]["run"]), "run"].head(1)
    table = records[name][records[name]["run"].isin(first)]
    place = {"dataset": PLANTED[name], "split": SMALL["split"], "fraction": SMALL["fraction"]}
    return pd.concat([pd.DataFrame(place, index=table.index), table], axis=1)


def worth(records: Records) -> pd.DataFrame:
    """(f) What the time of an explanation buys: its quality in notebook 05, with interval, beside its ms in 06.

    Sampled explanations are timed with fewer samples than they are graded with; here their ms is that of as many.
    """
    if not {"05_quality", "06_explanations"} <= set(records):
        return pd.DataFrame()
    graded = beside(records, "05_quality").melt([*PLACE, "run", "method", "model", "low", "high"], var_name="metric",
                                                value_name="quality").dropna(subset=["quality"])  # fmt: skip
    timed = beside(records, "06_explanations").set_index([*PLACE, "method"])
    times = timed.rename(columns=lambda name: name.removesuffix("_ms"))[["teacher", "student"]]
    ms = times.stack().rename_axis([*PLACE, "method", "model"]).rename("ms")
    more = _settings(records, "05_xai").shap_samples / _settings(records, "06_efficiency").timed_samples
    return graded.join(as_graded(ms, more), on=ms.index.names, how="inner")


def _settings(records: Records, notebook: str) -> Settings:
    """Settings of the first run of a notebook; the numbers of samples are the plan's, the same in all."""
    runs = records["runs"]
    chosen = json.loads(runs.loc[runs["notebook"] == notebook, "parameters"].iloc[0])
    return Settings.checked({name: value for name, value in chosen.items() if name in Settings.model_fields})
