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

    The first five are those for the README. A difference is bold where its whole interval is on one side of zero, and
    more than one seed is behind it.
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
    text = f"{NAMES.get(name, name)} {interval:{sign}z.3f}"
    if row.get("seeds") == 1:  # its interval is of patients alone: other seeds may well have the other sign
        return f"{text} (one seed)"
    return f"**{text}**" if sign and interval[1] * interval[2] > 0 else text


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
        ends = [rows.loc[name] for rows in (leaky, honest)]
        falls = [unpaired_difference(*(_read(end, of) for end in ends)) for of in ("accuracy", "leak_meter_mirrored")]
        student = _told(name, falls[0], min(ends, key=lambda end: end["seeds"]), "+")
        said.append(f"{student}, {_told('memory', falls[1], pd.Series(), '+')}")
    return _line("Leaks", f"Accuracy under the paper's kind of split minus that with {APART}, on other test images. "
                 "First the distilled student, then memory: the nearest training image, mirrored or not",
                 said)  # fmt: skip


def _memory(table: pd.DataFrame) -> str:
    return _line("Above memory", "The distilled student's accuracy minus that of the nearest training "
                 f"image, with {APART}", _listed(_of(table), "above", "+"))  # fmt: skip


def _gain(table: pd.DataFrame) -> str:
    size = table["size_px"]
    rows = table[size == size.min()].query(f"{WHOLE} and against == 'labels alone'")
    parts = {f"At {size.min()} px, with {APART}": rows.query("taught_by not in @CONTROLS").set_index("dataset"),
             "Brain, with something else in the teacher's place":
                 rows.query(f"{BRAIN} and taught_by in @CONTROLS").set_index("taught_by").rename(CONTROLS),
             f"At {size.max()} px, under the paper's kind of split":
                 table[size > size.min()].set_index("dataset")}  # fmt: skip
    said = [f"{place}: {'; '.join(_listed(part, 'difference', '+'))}" for place, part in parts.items() if len(part)]
    return _line("What distillation adds", "Accuracy of its student minus that of labels alone", [". ".join(said)])


def _teacher(table: pd.DataFrame) -> str:
    return _line("The teacher's part", "Brain: accuracy of its student minus that of a student with this in its place",
                 _listed(table.query(f"{BRAIN} and against in @CONTROLS").set_index("against").rename(CONTROLS),
                         "difference", "+"))  # fmt: skip


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
    said = [f"{model}{' (one seed)' if (of['seeds'] == 1).all() else ''}, of {len(of)}: "
            f"{' · '.join(of.loc[of['names what matters'] == 1, 'explanation']) or 'none'}"
            for model, of in rows.groupby("model", sort=False)]  # fmt: skip
    return _line("Better than maps that explain nothing", "Brain: which explanations beat them all on the same images, "
                 "in three measures and with the whole interval", said)  # fmt: skip


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
    rows = table.set_index("method").drop(index="forward", errors="ignore").dropna(subset=["ratio"])
    return _line("Cost", "The teacher's time over the student's, for the same explanation of one image. All "
                 f"{len(rows)} lie between {rows['ratio'].min():.1f} and {rows['ratio'].max():.1f}",
                 _listed(rows.loc[["shap_gradient"]], "ratio"))  # fmt: skip


def _line(title: str, what: str, said: list[str]) -> str:
    return f"**{title}.** {what}. {'; '.join(said)}." if said else ""
