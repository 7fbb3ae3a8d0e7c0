"""Published tables cut down to what fits a screen; figures/results holds them whole (07)."""

from __future__ import annotations

import pandas as pd

from kdnb.core.intervals import Difference, Interval
from kdnb.results.answered_runs import ALL
from kdnb.results.finding_words import TEACHER_NAMES

__all__ = ["accuracy_rows", "gain_rows"]


def accuracy_rows(table: pd.DataFrame) -> pd.DataFrame:
    """A table of accuracies, all classes counted: index data set, split, teacher, model.

    Columns accuracy and above memory with their 95 % intervals, memory, the paper's accuracy (empty
    where it has none) and the number of seeds.
    """
    rows = table[table["counted"] == ALL]

    def in_order(names: pd.Series) -> pd.Series:
        """Their places among those of the whole table."""
        return names.map(list(table[names.name].unique()).index)

    rows = rows.sort_values(["dataset", "split"], key=in_order, kind="stable")
    short = pd.DataFrame(
        {
            "data set": rows["dataset"],
            "split": rows["split"] + rows["sizes_of"].map(_sizes),
            "teacher": rows["teacher"].map(lambda name: TEACHER_NAMES.get(name, name)),
            "model": rows["model"],
            "accuracy": _with_ends(rows, "accuracy", Interval),
            "memory": rows["memory"].map("{:.3f}".format),
            "above memory": _with_ends(rows, "above", Difference),
            "paper": rows["paper"].map("{:.3f}".format, na_action="ignore").fillna(""),
            "seeds": rows["seeds"],
        }
    )
    return short.set_index(["data set", "split", "teacher", "model"])


def _sizes(split: str) -> str:
    """How a split is told whose parts are as large as those of another one."""
    return f", sizes of {split}" if split else ""


def gain_rows(table: pd.DataFrame) -> pd.DataFrame:
    """A table of gains: index who taught, against whom.

    Columns share (of the training patients), difference with its 95 % interval, p over
    patients for these very seeds, size and seeds.
    """
    short = pd.DataFrame(
        {
            "taught by": table["taught_by"],
            "against": table["against"],
            "share": table["fraction"].map("{:.0%}".format),
            "difference": _with_ends(table, "difference", Difference),
            "p (patients)": table["p_patients"].map("{:.2g}".format),
            "px": table["size_px"],
            "seeds": table["seeds"],
        }
    )
    return short.set_index(["taught by", "against"])


def _with_ends(rows: pd.DataFrame, name: str, kind: type[Interval]) -> list[str]:
    """A column as text, with the ends of its intervals."""
    sign = "+" if kind is Difference else ""
    ends = rows[[name, f"{name}_low", f"{name}_high"]]
    return [format(kind(row), f"{sign}z.3f") for row in ends.itertuples(index=False)]
