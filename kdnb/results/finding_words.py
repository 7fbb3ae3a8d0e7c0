"""Words that all findings share: differences in points, verdicts, numbers of seeds (07)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kdnb.core.intervals import Interval
from kdnb.core.intervals import points as interval_in_points
from kdnb.core.model_names import KD_STUDENT, LABEL_ONLY, TEACHER
from kdnb.core.profiles import LITE0, PAPER_TEACHER

__all__ = [
    "MODEL_WORDS",
    "NAMES",
    "SEVERAL",
    "SIGNIFICANCE",
    "TEACHER_NAMES",
    "TOLD_HONEST",
    "TOLD_SPLITS",
    "interval_of",
    "is_above",
    "excludes_zero",
    "joined",
    "place_words",
    "places_excluding_zero",
    "points",
    "points_of",
    "seeds",
    "strictest",
    "told_honest",
    "verdict",
]

NAMES = {"brain_tumor": "brain", "eye_disease": "eye", "alzheimer": "Alzheimer"}
# our models in tables -> in sentences and charts
MODEL_WORDS = {TEACHER: "teacher", KD_STUDENT: "distilled student", LABEL_ONLY: "labels alone"}
TEACHER_NAMES = {LITE0: "EfficientNet-Lite0", PAPER_TEACHER: "DenseNet121"}
# how the paper's kind of split is told, and how the strict ones, the strictest first
TOLD_SPLITS = {"published": "as published", "random": "at random"}
TOLD_HONEST = {"patients": "by patient", "grouped": "with copies apart"}
OF_PEOPLE = ("alzheimer",)  # sets whose images that belong together are those of one person
SIGNIFICANCE = 0.05  # level of all planned comparisons together
SEVERAL = 3  # seeds that a verdict needs: two may agree by chance, and then tell of no spread
Row = Mapping[str, Any]


def interval_of(row: Row, name: str) -> Interval:
    """A value of a row, with the ends of its 95 % interval."""
    return Interval(row[column] for column in (name, f"{name}_low", f"{name}_high"))


def points(row: Row, name: str = "difference") -> str:
    """A difference of shares in points of a hundred, with its 95 % interval.

    >>> points({"difference": 0.1, "difference_low": -0.02, "difference_high": 0.2})
    '+10.0 [-2.0, +20.0] points'
    """
    return interval_in_points(interval_of(row, name))


def points_of(value: float) -> str:
    """A difference of shares in points of a hundred.

    >>> points_of(0.012), points_of(-0.2)
    ('+1.2', '-20.0')
    """
    return f"{100 * value:+z.1f}"


def seeds(row: Row) -> str:
    """How many seeds are behind a number, in brackets; of a planned one also if some are missing.

    >>> seeds({"seeds": 1}), seeds({"seeds": 3, "seeds_planned": 5})
    (' (one seed)', ' (3 of 5 planned seeds)')
    """
    if row.get("seeds_planned", 0) > row["seeds"]:
        return f" ({row['seeds']} of {row['seeds_planned']} planned seeds)"
    return " (one seed)" if row["seeds"] == 1 else f" ({row['seeds']} seeds)"


def strictest(splits: Iterable[str]) -> str:
    """Of some splits the one that keeps most apart; empty where none keeps relatives together.

    >>> strictest(["random", "grouped", "patients"]), strictest(["random"])
    ('patients', '')
    """
    there = set(splits)
    return next((split for split in TOLD_HONEST if split in there), "")


def told_honest(dataset: str, split: str) -> str:
    """How a split is told that keeps together what belongs together.

    >>> told_honest("eye_disease", "grouped"), told_honest("alzheimer", "grouped")
    ('with copies apart', 'by person')
    """
    if dataset in OF_PEOPLE and split == "grouped":
        return "by person"
    return TOLD_HONEST.get(split, split)


def place_words(row: Row, teacher: str) -> str:
    """Set and split of a row, and its teacher where it is not ``teacher``, that of most places.

    >>> row = {"dataset": "eye_disease", "split": "random", "sizes_of": ""}
    >>> row["teacher"] = PAPER_TEACHER
    >>> place_words(row, PAPER_TEACHER), place_words(row, LITE0)
    ('eye at random', 'eye at random, DenseNet121')
    """
    split = TOLD_SPLITS.get(row["split"]) or told_honest(row["dataset"], row["split"])
    place = f"{NAMES.get(row['dataset'], row['dataset'])} {split}"
    if row["sizes_of"]:
        place += ", parts of equal size"
    if row["teacher"] != teacher:
        place += f", {TEACHER_NAMES.get(row['teacher'], row['teacher'])}"
    return place


def places_excluding_zero(rows: Sequence[Row], teacher: str, name: str = "difference") -> str:
    """On how many places, and on which, a difference leaves out zero; one or two seeds never do.

    Args:
        rows: One of each place.
        teacher: That of most places.
        name: Of the column.
    """
    several = [row for row in rows if row["seeds"] >= SEVERAL]
    apart = [row for row in several if excludes_zero(row, name)]
    places = [f"{place_words(row, teacher)} {points(row, name)}" for row in apart]
    told = f"{len(places)}: {'; '.join(places)}" if places else "none"
    few = len(rows) - len(several)
    return f"{told}; {few} with one or two seeds not counted" if few else told


def verdict(row: Row, *, more: str, less: str, open_: str, name: str = "difference") -> str:
    """What a difference allows to say; of fewer than `SEVERAL` seeds nothing.

    A planned comparison (one with ``p_holm``) is told by its corrected p, any other by its
    interval. While planned seeds are missing, it is told as of "so far".

    >>> row = {"difference": 0.1, "difference_low": 0.01, "difference_high": 0.2, "seeds": 3}
    >>> words = {"more": "yes", "less": "no", "open_": "not told"}
    >>> verdict(row, **words), verdict(row | {"p_holm": 0.2}, **words)
    ('yes', 'not told')
    """
    sure = row[f"{name}_low"] > 0 or row[f"{name}_high"] < 0
    if "p_holm" in row:
        sure = row["p_holm"] < SIGNIFICANCE
    if not sure or row["seeds"] < SEVERAL:
        return open_
    told = more if row[name] > 0 else less
    return f"{told}, so far" if row.get("seeds_planned", 0) > row["seeds"] else told


def excludes_zero(row: Row, name: str = "difference") -> bool:
    """Whether the whole interval of a difference leaves out zero, over `SEVERAL` seeds or more."""
    return row["seeds"] >= SEVERAL and (row[f"{name}_low"] > 0 or row[f"{name}_high"] < 0)


def is_above(row: Row) -> bool:
    """Whether a difference is above zero with its whole interval, over `SEVERAL` seeds or more."""
    return row["seeds"] >= SEVERAL and row["difference_low"] > 0


def joined(words: Sequence[str]) -> str:
    """Words as a list in a sentence.

    >>> joined(["1", "3", "5"]), joined(["1"])
    ('1, 3 and 5', '1')
    """
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
