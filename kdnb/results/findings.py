"""What the published tables say, one line per finding, with intervals (07, README, docs)."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from kdnb.core.statistics import Difference, Interval, unpaired_difference
from kdnb.xai.baselines import BASELINES

__all__ = ["BRAIN", "CONTROLS", "LEAKY", "NAMES", "WHOLE", "distilled", "findings", "interval_of"]

NAMES = {
    "brain_tumor": "brain",
    "eye_disease": "eye",
    "alzheimer": "Alzheimer",
    "shap_gradient": "SHAP (gradient)",
}
SHOWN = ("average map, first layer", "Grad-CAM", "SHAP deep")  # the paper's map, and its two checks
LIKENESS = (
    "Spearman with the teacher: Grad-CAM",
    "Spearman with the teacher: SHAP gradient",
    "CKA with the teacher: conv5, final",
)
CONTROLS = {
    "random": "an untrained teacher",
    "shuffled": "shuffled answers",
    "smoothing": "smoothed labels",
}
WHOLE = "fraction == 1 and split == 'grouped'"
BRAIN = f"{WHOLE} and dataset == 'brain_tumor'"
APART = "copies and known patients kept apart"  # nobody knows the patients of the brain set
LEAKY = {"brain_tumor": "published", "eye_disease": "random", "alzheimer": "random"}


def findings(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """One line per finding, from the tables of `kdnb.results.build`; none where one is missing.

    The first five are those for the README. A difference is bold where its whole interval is on
    one side of zero, and more than one seed is behind it.
    """
    tables = dict(tables)
    if "c_larger" in tables:
        both = [tables["c_gains"], tables["c_larger"]]
        tables["c_gains"] = pd.concat(both, ignore_index=True)
    makers = {
        _paper: "a_larger" if "a_larger" in tables else "a_accuracy",
        _leaks: "a_accuracy",
        _gain: "c_gains",
        _tested: "d_explained",
        _cost: "e_explanations",
        _memory: "a_accuracy",
        _passed: "f_verdicts",
        _teacher: "c_gains",
        _reasons: "f_kd_question",
        _average_map: "f_distractor",
        _cheat: "f_shortcut",
    }
    lines = [make(tables[needed]) for make, needed in makers.items() if needed in tables]
    return [line for line in lines if line]


def _paper(table: pd.DataFrame) -> str:
    rows = distilled(table, LEAKY).dropna(subset=["paper"])
    minus = rows.copy()
    for column in ("accuracy", "accuracy_low", "accuracy_high"):
        minus[column] = rows[column] - rows["paper"]
    size = " or ".join(map(str, sorted(rows["size_px"].unique())))
    epochs = " or ".join(map(str, sorted(rows["epochs"].unique())))
    return _line(
        "Beside the paper",
        "The distilled student's accuracy minus the paper's, under its kind of split. "
        f"Here from scratch at {size} px in {epochs} epochs; "
        "the paper's Alzheimer images are augmented copies of these",
        _listed(minus, "accuracy", "+"),
    )


def _leaks(table: pd.DataFrame) -> str:
    leaky = distilled(table, LEAKY)
    honest = distilled(table)
    said = []
    for dataset in LEAKY:
        if dataset not in leaky.index or dataset not in honest.index:
            continue
        before = leaky.loc[dataset]
        after = honest.loc[dataset]
        student = unpaired_difference(
            interval_of(before, "accuracy"), interval_of(after, "accuracy")
        )
        memory = unpaired_difference(
            interval_of(before, "leak_meter_mirrored"), interval_of(after, "leak_meter_mirrored")
        )
        seeds = min(before["seeds"], after["seeds"])
        said.append(f"{_told(dataset, student, '+', seeds)}, {_told('memory', memory, '+')}")
    return _line(
        "Leaks",
        f"Accuracy under the paper's kind of split minus that with {APART}, on other test images. "
        "First the distilled student, then memory: the nearest training image, mirrored or not",
        said,
    )


def _memory(table: pd.DataFrame) -> str:
    return _line(
        "Above memory",
        f"The distilled student's accuracy minus that of the nearest training image, with {APART}",
        _listed(distilled(table), "above", "+"),
    )


def _gain(table: pd.DataFrame) -> str:
    size = table["size_px"]
    whole = table[size == size.min()].query(f"{WHOLE} and against == 'labels alone'")
    taught = whole.query("taught_by not in @CONTROLS").set_index("dataset")
    control = whole.query(f"{BRAIN} and taught_by in @CONTROLS").set_index("taught_by")
    larger = table[size > size.min()].set_index("dataset")
    parts = {
        f"At {size.min()} px, with {APART}": taught,
        "Brain, with something else in the teacher's place": control.rename(index=CONTROLS),
        f"At {size.max()} px, under the paper's kind of split": larger,
    }
    said = []
    for place, rows in parts.items():
        if len(rows):
            said.append(f"{place}: {'; '.join(_listed(rows, 'difference', '+'))}")
    return _line(
        "What distillation adds",
        "Accuracy of its student minus that of labels alone",
        [". ".join(said)],
    )


def _teacher(table: pd.DataFrame) -> str:
    rows = table.query(f"{BRAIN} and against in @CONTROLS").set_index("against")
    return _line(
        "The teacher's part",
        "Brain: accuracy of its student minus that of a student with this in its place",
        _listed(rows.rename(index=CONTROLS), "difference", "+"),
    )


def _reasons(table: pd.DataFrame) -> str:
    rows = table.query(BRAIN).set_index("measure").drop(index="accuracy", errors="ignore")
    more = (rows["low"] > 0).sum()
    less = (rows["high"] < 0).sum()
    return _line(
        "Reasons",
        "Brain: likeness to the teacher, of the distilled student minus that on labels alone. "
        f"Of {len(rows)} measures {more} say more, {less} less",
        _listed(rows.loc[rows.index.intersection(LIKENESS)], "difference", "+"),
    )


def _tested(table: pd.DataFrame) -> str:
    return _line(
        "Tested on pixels",
        "Brain, distilled student: probability of the true class lost with a map's strongest "
        "pixels, minus with its weakest. Centre and Sobel explain nothing",
        _listed(table.query(BRAIN).set_index("explanation"), "ROAD"),
    )


def _passed(table: pd.DataFrame) -> str:
    rows = table.query(f"{BRAIN} and explanation not in @BASELINES")
    said = []
    for model, tested in rows.groupby("model", sort=False):
        note = " (one seed)" if (tested["seeds"] == 1).all() else ""
        passed = tested.loc[tested["names what matters"] == 1, "explanation"]
        said.append(f"{model}{note}, of {len(tested)}: {' · '.join(passed) or 'none'}")
    return _line(
        "Better than maps that explain nothing",
        "Brain: which explanations beat them all on the same images, in three measures and with "
        "the whole interval",
        said,
    )


def _average_map(table: pd.DataFrame) -> str:
    return _line(
        "Average maps",
        "Share of phantoms in which the first layer points at a blob that means nothing",
        _listed(table.set_index("map"), "share"),
    )


def _cheat(table: pd.DataFrame) -> str:
    rows = table.set_index("explanation")
    reveals = rows.loc[rows.index.difference(BASELINES), "reveals"]
    return _line(
        "A student that cheats",
        "Energy of its map in the mark that it cheats by, minus an honest student's. "
        f"{reveals.sum():.0f} of {len(reveals)} explanations are shown to reveal it",
        _listed(rows.loc[rows.index.intersection(SHOWN)], "difference", "+"),
    )


def _cost(table: pd.DataFrame) -> str:
    rows = table.set_index("method").drop(index="forward", errors="ignore")
    rows = rows.dropna(subset=["ratio"])
    return _line(
        "Cost",
        "The teacher's time over the student's, for the same explanation of one image. "
        f"All {len(rows)} lie between {rows['ratio'].min():.1f} and {rows['ratio'].max():.1f}",
        _listed(rows.loc[["shap_gradient"]], "ratio"),
    )


def distilled(table: pd.DataFrame, splits: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Rows of the distilled student by data set: under the split of each, or the grouped one."""
    rows = table.query("model == 'KD student' and counted == 'all classes'")
    split = "grouped" if splits is None else rows["dataset"].map(splits)
    return rows[rows["split"] == split].set_index("dataset")


def interval_of(row: pd.Series, name: str) -> Interval:
    """A value of a row with the ends of its interval, which may go without the name."""
    ends = ["low", "high"] if "low" in row else [f"{name}_low", f"{name}_high"]
    return Interval(row[[name, *ends]])


def _listed(rows: pd.DataFrame, value: str, sign: str = "") -> list[str]:
    """A column of rows in words, row by row."""
    said = []
    for name, row in rows.iterrows():
        said.append(_told(name, interval_of(row, value), sign, row.get("seeds")))
    return said


def _told(name: str, interval: Interval, sign: str = "", seeds: int | None = None) -> str:
    """One number in words.

    Args:
        name: What it is of.
        interval: The number.
        sign: "+" for a difference, which is bold where it is sure.
        seeds: How many are behind it, where that is known.
    """
    if sign:
        interval = Difference(interval)
    text = f"{NAMES.get(name, name)} {interval:{sign}z.3f}"
    if seeds == 1:  # its interval is of patients alone: other seeds may well have the other sign
        return f"{text} (one seed)"
    _, low, high = interval
    return f"**{text}**" if sign and low * high > 0 else text


def _line(title: str, what: str, said: list[str]) -> str:
    """The finding; empty where there is nothing to say."""
    return f"**{title}.** {what}. {'; '.join(said)}." if said else ""
