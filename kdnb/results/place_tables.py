"""All splits and sets side by side, as three tables of a page (docs/results.md, notebook 07).

The first holds how often each model is right, the second how the models of one place differ, the
third how much more is right where relatives of the test images are learned.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from kdnb.core.errors import UserError
from kdnb.core.intervals import Interval, in_points
from kdnb.core.model_names import KD_STUDENT, LABEL_ONLY, TEACHER
from kdnb.results.accuracy_tables import MEMORY_ALONE
from kdnb.results.answered_runs import ALL
from kdnb.results.differences import main_teacher
from kdnb.results.finding_words import MODEL_WORDS, excludes_zero, interval_of, place_words
from kdnb.results.leak_findings import compared_splits

__all__ = ["place_tables"]

# what the second table compares: the models, and how the column is headed
COLUMNS = {
    (KD_STUDENT, TEACHER): "distilled − teacher",
    (KD_STUDENT, LABEL_ONLY): "distilled − labels alone",
    (TEACHER, LABEL_ONLY): "teacher − labels alone",
}
ERRORS = "errors passed on"
Tables = Mapping[str, pd.DataFrame]


def place_tables(tables: Tables) -> str:
    """The three tables in Markdown, each with a heading and a line on how to read it.

    Args:
        tables: The published tables by name, of which ``accuracy``, ``differences``, ``errors`` and
            those of `kdnb.results.leak_findings.compared_splits` are read. What is not there is
            left out.
    """
    parts = {
        "Table of accuracies: how often each is right": _accuracies(tables),
        "Table of places: how the models differ": _differences(tables),
        "Table of splits: how much more is right where relatives are learned": _splits(tables),
    }
    return "".join(f"\n### {title}\n\n{part}" for title, part in parts.items() if part)


def _accuracies(tables: Tables) -> str:
    """Accuracy of every model of every set, split and teacher; empty without it."""
    if "accuracy" not in tables:
        return ""
    table = tables["accuracy"][tables["accuracy"]["counted"] == ALL]
    main = main_teacher(table)
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for row in table[table["model"].isin(MODEL_WORDS)].to_dict("records"):
        place = (place_words(row, main), str(row["seeds"]))
        accuracy = Interval(100 * end for end in interval_of(row, "accuracy"))
        _put(rows, place, MODEL_WORDS[row["model"]], f"{accuracy:.1f}")
        of_place = rows[place]
        of_place["largest class"] = f"{100 * row['majority']:.1f}"
        of_place[MEMORY_ALONE] = f"{100 * row['memory']:.1f}"
        if row["model"] == KD_STUDENT and pd.notna(row["paper"]):
            of_place["student in the paper"] = f"{100 * row['paper']:.1f}"
    headings = ["largest class", MEMORY_ALONE, *MODEL_WORDS.values(), "student in the paper"]
    return (
        f"{_table(headings, rows)}\n"
        "Percent right, all classes, with 95 % intervals over patients and seeds. *Largest "
        "class*: always naming it. *Memory*: the most similar training image, mirrored ones "
        "included where that is better. Two models whose intervals overlap may still differ: see "
        "the next table.\n"
    )


def _differences(tables: Tables) -> str:
    """How the models of every set, split and teacher differ, in points; empty without them."""
    if "differences" not in tables:
        return ""
    table = tables["differences"][tables["differences"]["counted"] == ALL]
    main = main_teacher(table)
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for row in table.to_dict("records"):
        heading = COLUMNS.get((row["model"], row["rival"]))
        if heading:
            place = (place_words(row, main), str(row["seeds"]))
            _put(rows, place, heading, _difference(row, "difference"))
    headings = list(COLUMNS.values())
    about_errors = ""
    if "errors" in tables:
        headings.append(ERRORS)
        about_errors = (
            f" *{ERRORS.capitalize()}*: of the teacher's errors, how many more the distilled "
            "student repeats than the student on labels alone, above chance."
        )
        students = tables["errors"][tables["errors"]["model"] == KD_STUDENT]
        for row in students.to_dict("records"):
            place = (place_words(row, main), str(row["seeds"]))
            _put(rows, place, ERRORS, _difference(row, "more"))
    return (
        f"{_table(headings, rows)}\n"
        "Points, all classes, with 95 % intervals over patients and seeds. Bold: three seeds or "
        f"more, and the interval leaves out zero.{about_errors}\n"
    )


def _splits(tables: Tables) -> str:
    """How much more is right where relatives are learned, in points; empty without such splits."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for one in compared_splits(tables):
        of_place = rows.setdefault((one.place, f"{one.seeds[0]} and {one.seeds[1]}"), {})
        for model, heading in {MEMORY_ALONE: MEMORY_ALONE, **MODEL_WORDS}.items():
            told = in_points(one.of_model[model])
            of_place[heading] = f"**{told}**" if one.is_shown(model) else told
    if not rows:
        return ""
    return (
        f"{_table([MEMORY_ALONE, *MODEL_WORDS.values()], rows)}\n"
        "Points, all classes; here memory always counts mirrored images. The first split minus the "
        "second, which keeps relatives apart; their test images are taken as independent. Where "
        "sizes are not said to be equal, the number of training images differs, too. Bold: the "
        "interval leaves out zero, of networks with three seeds or more under both splits. *All "
        "folds*: made from `accuracy.csv` and `folds.csv`; one seed. They test "
        "nearly all images, so those of the other split, too. Images of unknown patients stand in "
        "every fold, and are tested once in each.\n"
    )


def _put(
    rows: dict[tuple[str, str], dict[str, str]], place: tuple[str, str], heading: str, cell: str
) -> None:
    """Put a cell into its row.

    Raises:
        UserError: If one is there: two places of the same name differ in image size.
    """
    of_place = rows.setdefault(place, {})
    if heading in of_place:
        raise UserError(
            f"two rows for {place[0]} ({place[1]} seeds): a table holds one image size of a place"
        )
    of_place[heading] = cell


def _table(headings: list[str], rows: Mapping[tuple[str, str], Mapping[str, str]]) -> str:
    """A table in Markdown: place and seeds, then a column per heading, empty where unknown."""
    lines = [["set and split", "seeds", *headings], ["---"] * (len(headings) + 2)]
    for place, of_place in rows.items():
        lines.append([*place, *(of_place.get(heading, "") for heading in headings)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _difference(row: Mapping[str, object], name: str) -> str:
    """A difference in points, bold where it is shown."""
    told = in_points(interval_of(row, name))
    return f"**{told}**" if excludes_zero(row, name) else told
