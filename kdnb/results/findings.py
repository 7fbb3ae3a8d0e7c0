"""What the published tables say, in one line per finding, each with its interval (README, docs, notebook 07)."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from kdnb.faithfulness import BASELINES
from kdnb.metrics import Interval, unpaired_difference

__all__ = ["findings"]

NAMES = {"brain_tumor": "brain", "eye_disease": "eye", "alzheimer": "Alzheimer", "shap_gradient": "SHAP (gradient)"}
SHOWN = ("average map, first layer", "Grad-CAM", "SHAP deep")  # the paper's map, and its two checks
LIKENESS = ("Spearman with the teacher: Grad-CAM", "Spearman with the teacher: SHAP gradient",
            "CKA with the teacher: conv5, final")  # fmt: skip
CONTROLS = {"random": "an untrained teacher", "shuffled": "shuffled answers", "smoothing": "smoothed labels"}
WHOLE = "fraction == 1 and split == 'grouped'"
BRAIN = f"{WHOLE} and dataset == 'brain_tumor'"
APART = "copies and known patients kept apart"  # nobody knows the patients of the brain set
LEAKY = {"brain_tumor": "published", "eye_disease": "random", "alzheimer": "random"}


def findings(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """One line per finding, from the numbers of `kdnb.results.tables.make_tables`; none where one is missing.

    The first five are those for the README. A difference is bold where its whole interval is on one side of zero.
    """
    makers = {_paper: "a_larger" if "a_larger" in tables else "a_accuracy", _leaks: "a_accuracy", _gain: "c_gains",
              _tested: "d_explained", _cost: "e_explanations", _memory: "a_accuracy", _passed: "f_verdicts",
              _teacher: "c_gains", _reasons: "f_kd_question", _average_map: "f_distractor",
              _cheat: "f_shortcut"}  # fmt: skip
    if "c_larger" in tables:
        tables = {**tables, "c_gains": pd.concat([tables["c_gains"], tables["c_larger"]], ignore_index=True)}
    return [line for make, needed in makers.items() if needed in tables and (line := make(tables[needed]))]


def _read(row: pd.Series, name: str) -> Interval:
    return Interval(row[[name, *(["low", "high"] if "low" in row else [f"{name}_low", f"{name}_high"])]])


def _told(name: str, interval: Interval, row: pd.Series, sign: str = "") -> str:
    text = f"{NAMES.get(name, name)} {interval:{sign}.3f}{' (one seed)' if row.get('seeds') == 1 else ''}"
    return f"**{text}**" if sign and interval[1] * interval[2] > 0 else text  # a difference of which the sign is known


def _listed(rows: pd.DataFrame, value: str, sign: str = "") -> list[str]:
    return [_told(name, _read(row, value), row, sign) for name, row in rows.iterrows()]


def _of(table: pd.DataFrame, split: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Rows of the distilled student by data set: under the grouped split, or under those named."""
    rows = table.query("model == 'KD student' and counted == 'all classes'")
    return rows[rows["split"] == (rows["dataset"].map(split) if split else "grouped")].set_index("dataset")


def _paper(table: pd.DataFrame) -> str:
    rows = _of(table, LEAKY).dropna(subset=["paper"])
    minus = rows.assign(**rows.filter(regex="^accuracy").sub(rows["paper"], axis=0))
    size, epochs = (" or ".join(map(str, sorted(rows[column].unique()))) for column in ("size_px", "epochs"))
    return _line("Beside the paper", "The distilled student's accuracy minus the paper's, under its kind of split. "
                 f"Here from scratch at {size} px in {epochs} epochs; the paper's Alzheimer images are augmented "
                 "copies of these", _listed(minus, "accuracy", "+"))  # fmt: skip


def _leaks(table: pd.DataFrame) -> str:
    leaky, honest, said = _of(table, LEAKY), _of(table), []
    for name in [name for name in LEAKY if name in leaky.index and name in honest.index]:
        fall = unpaired_difference(*(_read(rows.loc[name], "accuracy") for rows in (leaky, honest)))
        said.append(f"{_told(name, fall, leaky.loc[name], '+')}, memory {(leaky.memory - honest.memory)[name]:+.3f}")
    return _line("Leaks", f"Accuracy under the paper's kind of split minus that with {APART}, on other test images. "
                 "First the distilled student, then memory alone", said)  # fmt: skip


def _memory(table: pd.DataFrame) -> str:
    return _line("Above memory", "The distilled student's accuracy minus that of the nearest image on raw pixels, "
                 f"mirrored or not, with {APART}", _listed(_of(table), "above", "+"))  # fmt: skip


def _gain(table: pd.DataFrame) -> str:
    rows = table.query(f"{WHOLE} and against == 'labels alone'")
    taught = (", taught by " + rows["taught_by"].replace(CONTROLS)).where(rows["taught_by"] != "the teacher", "")
    said = _listed(rows.set_axis(rows["dataset"].map(NAMES) + taught), "difference", "+")
    larger = table[table["size_px"] > table["size_px"].min()]
    places = larger["dataset"].map(NAMES) + " at " + larger["size_px"].map(str) + " px, the paper's kind of split"
    said += _listed(larger.set_axis(places), "difference", "+")
    return _line("What distillation adds", f"Accuracy of its student minus that of labels alone, with {APART}", said)


def _teacher(table: pd.DataFrame) -> str:
    rows = table.query(f"{BRAIN} and against in @CONTROLS")
    return _line("The teacher's part", "Brain: accuracy of its student minus that of a student with this in its place",
                 _listed(rows.set_axis(rows["against"].map(CONTROLS)), "difference", "+"))  # fmt: skip


def _reasons(table: pd.DataFrame) -> str:
    rows = table.query(BRAIN).set_index("measure").drop(index="accuracy", errors="ignore")
    more, less = (rows["low"] > 0).sum(), (rows["high"] < 0).sum()
    return _line("Reasons", "Brain: likeness to the teacher, of the distilled student minus that on labels alone. Of "
                 f"{len(rows)} measures {more} say more, {less} less",
                 _listed(rows.loc[rows.index.intersection(LIKENESS)], "difference", "+"))  # fmt: skip


def _tested(table: pd.DataFrame) -> str:
    return _line("Tested on pixels", "Brain, distilled student: probability of the true class lost with a map's "
                 "strongest pixels, minus with its weakest. Centre and Sobel explain nothing",
                 _listed(table.query(BRAIN).set_index("explanation"), "ROAD"))  # fmt: skip


def _passed(table: pd.DataFrame) -> str:
    rows = table.query(f"{BRAIN} and explanation not in @BASELINES")
    named = rows[rows["names what matters"] == 1].groupby("model")["explanation"].agg(" · ".join)
    return _line("Better than maps that explain nothing", "Brain: which explanations beat them all on the same images, "
                 f"in three measures and with the whole interval, of {rows['explanation'].nunique()}",
                 [f"{model}: {named.get(model, 'none')}" for model in rows["model"].unique()])  # fmt: skip


def _average_map(table: pd.DataFrame) -> str:
    return _line("Average maps", "Share of phantoms in which the first layer points at a blob that means nothing",
                 _listed(table.set_index("map"), "share"))  # fmt: skip


def _cheat(table: pd.DataFrame) -> str:
    rows = table.set_index("explanation")
    reveal = rows.loc[rows.index.difference(BASELINES), "reveals"]
    return _line("A student that cheats", "Energy of its map in the mark that it cheats by, minus an honest student's. "
                 f"{reveal.sum():.0f} of {len(reveal)} explanations are shown to reveal it",
                 _listed(rows.loc[rows.index.intersection(SHOWN)], "difference", "+"))  # fmt: skip


def _cost(table: pd.DataFrame) -> str:
    rows = table.set_index("method").drop(index="forward", errors="ignore")
    return _line("Cost", "The teacher's time over the student's, for the same explanation of one image. All "
                 f"{len(rows)} lie between {rows['ratio'].min():.1f} and {rows['ratio'].max():.1f}",
                 _listed(rows.loc[["shap_gradient"]], "ratio"))  # fmt: skip


def _line(title: str, what: str, said: list[str]) -> str:
    return f"**{title}.** {what}. {'; '.join(said)}." if said else ""
