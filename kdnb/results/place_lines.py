"""All splits and sets side by side, as two tables of a page (docs/results.md, notebook 07).

The first compares the models of each place, the second each leaking split with the strictest one.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from kdnb.core.intervals import Interval
from kdnb.core.model_names import KD_STUDENT, LABEL_ONLY, TEACHER
from kdnb.results.differences import main_teacher
from kdnb.results.finding_words import MODEL_WORDS, is_apart, place_words
from kdnb.results.leak_findings import compared_splits

__all__ = ["side_by_side"]

# what the first table compares: the models, and how the column is headed
COMPARED = {
    (KD_STUDENT, TEACHER): "distilled − teacher",
    (KD_STUDENT, LABEL_ONLY): "distilled − labels alone",
    (TEACHER, LABEL_ONLY): "teacher − labels alone",
}


def side_by_side(tables: Mapping[str, pd.DataFrame]) -> str:
    """Both tables in Markdown, each with a heading and a line on how to read it.

    Args:
        tables: The published tables by name, of which ``differences``, ``errors`` and those of
            `kdnb.results.leak_findings.compared_splits` are read. What is not there is left out.
    """
    parts = {
        "Table of places: how the models differ": _differences(tables),
        "Table of splits: how much more is right where relatives are learned": _leaks(tables),
    }
    return "".join(f"\n### {title}\n\n{part}" for title, part in parts.items() if part)


def _differences(tables: Mapping[str, pd.DataFrame]) -> str:
    """How the models of every set, split and teacher differ, in points; empty without them."""
    if "differences" not in tables:
        return ""
    table = tables["differences"].query("counted == 'all classes'").to_dict("records")
    main = main_teacher(tables["differences"])
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for row in table:
        heading = COMPARED.get((row["model"], row["rival"]))
        if heading:
            place = (place_words(row, main), str(row["seeds"]))
            cells.setdefault(place, {})[heading] = _cell(row, "difference")
    headings = list(COMPARED.values())
    if "errors" in tables:
        headings.append("errors passed on")
        students = tables["errors"].query("model == @KD_STUDENT")
        for row in students.to_dict("records"):
            place = (place_words(row, main), str(row["seeds"]))
            cells.setdefault(place, {})["errors passed on"] = _cell(row, "more")
    rows = []
    for place, of_place in cells.items():
        rows.append([*place, *(of_place.get(name, "") for name in headings)])
    errors = (
        " *Errors passed on*: of the teacher's errors, how many more the distilled student repeats "
        "than the student on labels alone, above chance."
        if "errors" in tables
        else ""
    )
    return (
        f"{_table(['set and split', 'seeds', *headings], rows)}\n"
        "Points of a hundred, all classes, with 95 % intervals over patients and seeds. Bold: "
        f"three seeds or more, and the interval leaves out zero.{errors}\n"
    )


def _leaks(tables: Mapping[str, pd.DataFrame]) -> str:
    """How much more is right where relatives are learned, in points; empty without such splits."""
    found = compared_splits(tables)
    if not found:
        return ""
    rows = []
    for one in found:
        row = [one.place, one.told_seeds]
        for model in ("memory", *MODEL_WORDS):
            told = _in_points(one.of_model[model])
            row.append(f"**{told}**" if one.is_shown(model) else told)
        rows.append(row)
    headings = ["more right", "seeds", "memory", *MODEL_WORDS.values()]
    return (
        f"{_table(headings, rows)}\n"
        "Points of a hundred, all classes; memory counts mirrored images. The first split minus "
        "the second, which keeps relatives apart; the two have other test images. Where sizes are "
        "not said to be equal, the number of training images differs, too. Bold: the interval "
        "leaves out zero, of networks with three seeds or more under both splits.\n"
    )


def _table(headings: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(row: Mapping[str, object], name: str) -> str:
    """A difference in points, bold where it is shown."""
    ends = (row[column] for column in (name, f"{name}_low", f"{name}_high"))
    told = _in_points(Interval(ends))
    return f"**{told}**" if is_apart(row, name) else told


def _in_points(interval: Interval) -> str:
    """An interval in points of a hundred."""
    return f"{Interval(100 * value for value in interval):+z.1f}"
