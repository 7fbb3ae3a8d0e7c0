"""Published tables that notebooks 05 and 06 wrote: tests of explanations, and costs (07)."""

from __future__ import annotations

import json

import pandas as pd

from kdnb.core.method_names import with_more_samples
from kdnb.core.settings import Settings
from kdnb.results.collected_runs import Records
from kdnb.results.places import by_run
from kdnb.xai.shortcuts import CHEATED, LURING, SMALL

__all__ = ["cost_tables", "graded_tables", "worth"]

# published name -> the table of notebook 05
TESTS = {
    "grades": "05_grades",
    "margins": "05_margins",
    "verdicts": "05_verdicts",
    "kd_question": "05_kd_question",
}
# the same of phantoms with a trap, which are the same in every run -> and the phantoms' name
TRAPS = {
    "shortcut_accuracy": ("05_shortcut_accuracy", CHEATED),
    "shortcut": ("05_shortcut", CHEATED),
    "distractor": ("05_distractor", LURING),
}
# published name -> the table of notebook 06
COSTS = {
    "work": "06_work",
    "latency": "06_latency",
    "explanation_times": "06_explanations",
    "claims": "06_claims",
    "machine": "06_machine",
}


def graded_tables(records: Records) -> dict[str, pd.DataFrame]:
    """How every explanation did in the tests of notebook 05, run by run, and on phantoms."""
    tables = {name: by_run(records, source) for name, source in TESTS.items()}
    for name, (source, phantoms) in TRAPS.items():
        tables[name] = _of_trap(records, source, phantoms)
    if len(tables["kd_question"]):  # CKA is one number per student: of one seed it has no interval
        tables["kd_question"] = tables["kd_question"].dropna(subset=["low", "high"])
    return tables


def _of_trap(records: Records, name: str, phantoms: str) -> pd.DataFrame:
    """A table about phantoms with a trap, under their name, run by run: each has own students."""
    table = by_run(records, name)
    if len(table):
        table = table.assign(dataset=phantoms, split=SMALL["split"])
    return table.drop(columns="teacher", errors="ignore")  # these students learn from labels alone


def cost_tables(records: Records) -> dict[str, pd.DataFrame]:
    """What the paper's teacher and the student cost, by image size.

    The paper's claims are held against the largest size: it worked at 224 px.
    """
    tables = {name: _by_size(records, source) for name, source in COSTS.items()}
    work = tables["work"]
    if len(work):  # the notebook counts at 224 px, too, whatever its own size
        own = work["image size"] == work["size_px"]
        tables["work"] = work[own].drop(columns="image size")
    claims = tables["claims"]
    if len(claims):
        tables["claims"] = claims[claims["size_px"] == claims["size_px"].max()]
    return tables


def _by_size(records: Records, name: str) -> pd.DataFrame:
    """A table of notebook 06 of all runs with the image size in front, small sizes first."""
    if name not in records:
        return pd.DataFrame()
    table = records[name].reset_index(drop=True)
    size = [_settings_of(records, run).image_size for run in table["run"]]
    front = pd.DataFrame({"size_px": size})
    return pd.concat([front, table], axis=1).sort_values("size_px", kind="stable")


def worth(records: Records) -> pd.DataFrame:
    """What the time of the student's explanations buys: quality in 05 beside milliseconds in 06.

    Both at the same image size. The quality has its interval. Sampled explanations are timed with
    fewer samples than they are graded with; here their ms is that of as many.
    """
    if "05_quality" not in records or "06_explanations" not in records:
        return pd.DataFrame()
    times = _by_size(records, "06_explanations")
    tables = []
    for run, quality in records["05_quality"].groupby("run", sort=False):
        graded = _settings_of(records, run)
        same = times[times["size_px"] == graded.image_size]
        if not len(same):
            continue
        timed = _settings_of(records, same["run"].iloc[0])
        of_student = quality[quality["model"] == "student"]
        long = of_student.melt(
            id_vars=["run", "method", "model", "low", "high"],
            var_name="metric",
            value_name="quality",
        ).dropna(subset=["quality"])
        ms = same.set_index("method")["student_ms"].rename("ms")
        graded_ms = with_more_samples(ms, graded.shap_samples / timed.timed_samples)
        joined = long.join(graded_ms, on="method", how="inner")
        joined["run"] = f"{run} {same['run'].iloc[0]}"
        place = {"dataset": graded.dataset, "split": graded.split, "size_px": graded.image_size}
        front = pd.DataFrame(place, index=joined.index)
        tables.append(front.join(joined.assign(teacher_seed=graded.teacher_seed)))
    return pd.concat(tables) if tables else pd.DataFrame()


def _settings_of(records: Records, run: str) -> Settings:
    """The settings of a recorded run."""
    runs = records["runs"].set_index("run")
    parameters = json.loads(runs.loc[run, "parameters"])
    known = {name: value for name, value in parameters.items() if name in Settings.model_fields}
    return Settings.checked(known)
