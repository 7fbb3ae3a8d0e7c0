"""What the tables say of the paper's numbers and of its earlier code, in sentences (07)."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from kdnb.core.model_names import KD_STUDENT
from kdnb.core.number_text import counted, percent
from kdnb.results.differences import main_teacher
from kdnb.results.finding_words import NAMES, SEVERAL, joined, points, seeds, verdict

__all__ = ["beside_paper", "beside_paper_at_length", "earlier_code"]

# sets of which the paper's version is another one
OTHER_THERE = {"alzheimer": "the paper's set is made of augmented copies of these images"}
Tables = Mapping[str, pd.DataFrame]


def beside_paper(tables: Tables) -> str:
    """How far is the distilled student from the paper's, under its kind of split?"""
    if "accuracy" not in tables:
        return ""
    table = tables["accuracy"]
    rows = table[(table["model"] == KD_STUDENT) & (table["sizes_of"] == "")]
    rows = rows.dropna(subset=["paper"])
    rows = rows[rows["teacher"] == main_teacher(table)]
    said = []
    below = 0  # sets, over several seeds
    below_once = 0  # sets, in one or two seeds
    for row in rows.to_dict("records"):
        for end in ("", "_low", "_high"):
            row[f"difference{end}"] = row[f"accuracy{end}"] - row["paper"]
        name = NAMES.get(row["dataset"], row["dataset"]).capitalize()
        said.append(
            f"{name}: {row['accuracy']:.1%} here, {row['paper']:.1%} there, "
            f"{points(row)}{seeds(row)}{_other_there(row['dataset'])}."
        )
        is_below = row["difference_high"] < 0
        below += is_below and row["seeds"] >= SEVERAL
        below_once += is_below and row["seeds"] < SEVERAL
    if not said:
        return ""
    size = joined([str(size) for size in sorted(rows["size_px"].unique())])
    epochs = joined([str(epochs) for epochs in sorted(rows["epochs"].unique())])
    if below:
        answer = f"No, on {below} of {counted(len(said), 'set')}"
        if below_once:
            answer += f"; {below_once} more came out below, too few seeds each for a verdict"
    elif below_once:
        sets = counted(len(said), "set")
        answer = f"It came out below on {below_once} of {sets}, too few seeds each for a verdict"
    else:
        answer = f"It is not shown to lie below, on {counted(len(said), 'set')}"
    return (
        f"**Is the distilled student as accurate as the paper says?** {answer}, under the paper's "
        f"kind of split. But images ({size} px), epochs ({epochs}) and teacher differ from the "
        f"paper's, whose numbers are taken as exact. {' '.join(said)}"
    )


def beside_paper_at_length(tables: Tables) -> str:
    """`beside_paper`, and how much of the training and validation images is learned at the end."""
    line = beside_paper(tables)
    if not line or "schedule" not in tables:
        return line
    table = tables["accuracy"].dropna(subset=["paper"])
    places = table.loc[table["sizes_of"] == "", ["dataset", "split"]].drop_duplicates()
    curves = tables["schedule"]
    main = main_teacher(tables["accuracy"])
    curves = curves[
        (curves["model"] == KD_STUDENT) & (curves["sizes_of"] == "") & (curves["teacher"] == main)
    ]
    told = []
    for dataset, split in places.itertuples(index=False):
        curve = curves[(curves["dataset"] == dataset) & (curves["split"] == split)]
        if curve.empty:
            continue
        last = curve.sort_values("epoch").iloc[-1]
        told.append(
            f"{percent(last['train_accuracy'])} and {percent(last['val_accuracy'])} "
            f"({NAMES.get(dataset, dataset)})"
        )
    if not told:
        return line
    return (
        f"{line} At the last epoch it is right in this share of its training images and of the "
        f"validation images: {', '.join(told)}; the curves are in `schedule.png`."
    )


def _other_there(dataset: str) -> str:
    """That the paper's set is another one, as the end of a sentence."""
    return f"; {OTHER_THERE[dataset]}" if dataset in OTHER_THERE else ""


def earlier_code(tables: Tables) -> str:
    """Is the network of the earlier public code as good as the five-layer one?"""
    if "as_coded" not in tables:
        return ""
    row = tables["as_coded"].iloc[0].to_dict()
    answer = verdict(row, more="It is better", less="It is worse", open_="It cannot be told")
    return (
        "**And the network of the authors' earlier public code?** "
        f"{answer}. On labels alone it is right in {percent(row['as_coded'])}, the five-layer one "
        f"in {percent(row['five_conv'])}: {points(row)}{seeds(row)}. "
        f"All classes, at {row['size_px']} px."
    )
