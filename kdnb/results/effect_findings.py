"""What the tables say of what moves a student, in sentences (07)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from kdnb.core.model_names import KD_STUDENT, LABEL_ONLY
from kdnb.core.number_text import counted, percent
from kdnb.results.answered_runs import ALL
from kdnb.results.differences import main_teacher
from kdnb.results.finding_words import (
    NAMES,
    SEVERAL,
    is_above,
    joined,
    places_excluding_zero,
    points,
    points_of,
    seeds,
    strictest,
    told_honest,
    verdict,
)

__all__ = [
    "choice_of_alpha",
    "errors_passed_on",
    "few_patients",
    "small_teachers",
    "left_where_apart",
    "other_teachers",
]

CONTROLS = {  # what stands in the teacher's place -> how it is told
    "shuffled": "the teacher's answers to other images of the class",
    "smoothing": "smoothed labels",
    "random": "an untrained network",
}
Tables = Mapping[str, pd.DataFrame]


def left_where_apart(tables: Tables) -> str:
    """How good is the student on the strictest split of every set, beside knowing nothing?"""
    if "accuracy" not in tables:
        return ""
    table = tables["accuracy"]
    rows = table[
        (table["counted"] == ALL)
        & (table["model"] == KD_STUDENT)
        & (table["teacher"] == main_teacher(table))
        & (table["sizes_of"] == "")
    ]
    said = []
    for dataset, of_set in rows.groupby("dataset", sort=False):
        split = strictest(of_set["split"])
        if not split:
            continue
        row = of_set[of_set["split"] == split].iloc[0]
        ends = f"[{percent(row['accuracy_low'])}, {percent(row['accuracy_high'])}]"
        shown = "" if row["over_majority_low"] > 0 else ": not shown to be more"
        place = f"{NAMES.get(dataset, dataset).capitalize()} {told_honest(dataset, split)}"
        said.append(
            f"{place}: right in {percent(row['accuracy'])} {ends}, where naming the largest class "
            f"is right in {percent(row['majority'])}{shown}{seeds(row)}."
        )
    if not said:
        return ""
    return (
        "**What is left where relatives are kept apart?** The distilled student, all classes. "
        f"{' '.join(said)}"
    )


def errors_passed_on(tables: Tables) -> str:
    """Do the students repeat the teacher's errors?"""
    if "errors" not in tables:
        return ""
    table = tables["errors"].query("dataset == 'brain_tumor' and split == 'patients'")
    rows = table[table["teacher"] == main_teacher(tables["errors"])].set_index("model")
    if not {KD_STUDENT, LABEL_ONLY} <= set(rows.index):
        return ""
    taught = rows.loc[KD_STUDENT]
    alone = rows.loc[LABEL_ONLY]
    answer = verdict(
        taught, more="Yes", less="No, fewer than without", open_="It is not shown", name="more"
    )
    return (
        f"**Do the teacher's errors pass on?** {answer}. Of {taught['errors']} errors of teachers, "
        f"all classes, the distilled student makes {percent(taught['same'])} in the same way. The "
        f"student on labels alone, which no teacher taught, makes {percent(alone['same'])}. Each "
        f"counted above chance, they differ by {points(taught, 'more')}{seeds(taught)}."
        f"{_errors_elsewhere(tables['errors'])}"
    )


def _errors_elsewhere(errors: pd.DataFrame) -> str:
    """On how many other splits and sets the distilled student repeats more, and how surely."""
    is_here = (errors["dataset"] == "brain_tumor") & (errors["split"] == "patients")
    others = errors[~is_here & (errors["model"] == KD_STUDENT)]
    if others.empty:
        return ""
    more = (others["more"] > 0).sum()
    apart = places_excluding_zero(others.to_dict("records"), main_teacher(errors), "more")
    return (
        f" On the other splits and sets it repeats more on {more} of {len(others)}. The interval "
        f"leaves out zero on {apart}."
    )


def other_teachers(tables: Tables) -> str:
    """Would something else in the teacher's place teach as well?"""
    if "gains" not in tables:
        return ""
    whole = tables["gains"].query("fraction == 1")
    rivals = whole[whole["against"].isin(CONTROLS)].to_dict("records")
    if not rivals:
        return ""
    said = [f"{CONTROLS[row['against']]} {points(row)} ({_taught_by(row)})" for row in rivals]
    return (
        "**Would something else in the teacher's place do as well?** "
        f"{_beside_controls(rivals)}, at {rivals[0]['size_px']} px and over all classes. The "
        f"teacher's student minus that of: {'; '.join(said)}."
    )


def _beside_controls(rivals: list[dict[str, Any]]) -> str:
    """Which controls are shown to be worse than the teacher or better, at every alpha and T."""
    there = dict.fromkeys(row["against"] for row in rivals)
    not_worse = {row["against"] for row in rivals if not is_above(row)}
    not_better = {row["against"] for row in rivals if not _is_below(row)}
    worse = [CONTROLS[name] for name in there if name not in not_worse]
    better = [CONTROLS[name] for name in there if name not in not_better]
    if len(worse) == len(CONTROLS):
        return "No"
    told = []
    if worse:
        told.append(f"Shown to be worse: {joined(worse)}")
    if better:
        told.append(f"Shown to be better: {joined(better)}")
    if told and len(worse) + len(better) < len(there):
        told.append("nothing else")
    if told:
        return "; ".join(told)
    if any(is_above(row) or _is_below(row) for row in rivals):
        return "Not shown to be worse at every α and T"
    return "No difference from the teacher was found"


def _is_below(row: Mapping[str, Any]) -> bool:
    """Whether a difference is below zero with its whole interval, over several seeds."""
    return row["seeds"] >= SEVERAL and row["difference_high"] < 0


def small_teachers(tables: Tables) -> str:
    """Have the teachers of small images something to teach? Told of all training patients."""
    if "small_teachers" not in tables:
        return ""
    table = tables["small_teachers"]
    whole = table[table["fraction"] == 1].to_dict("records")
    if not whole:
        return ""
    row = whole[0]
    answer = verdict(
        row | {"seeds": min(row["seeds"], row["teachers"])},  # it needs several teachers, too
        more="Yes",
        less="No, they are weaker than the student on labels alone",
        open_="It is not shown",
    )
    few = table[table["fraction"] < 1]
    shares = ""
    if len(few):
        behind = int((few["difference"] < 0).sum())
        each = ", one teacher each," if (few["teachers"] == 1).all() else ""
        shares = f" With fewer patients{each} they are behind at {behind} of {len(few)} shares."
    weak = ""
    if row["difference"] < 0:
        weak = (
            " They came out behind. So what is said at this size (what stands in the teacher's "
            "place, few patients, α and T) may be of weak teachers, and says little of good ones."
        )
    return (
        f"**Have the teachers of the small images something to teach?** {answer}. At "
        f"{row['size_px']} px, all classes, they are right in {percent(row['accuracy'])}, the "
        f"student on labels alone in {percent(row['labels_alone'])}: {points(row)} "
        f"({_taught_by(row)}).{weak}{shares}"
    )


def choice_of_alpha(tables: Tables) -> str:
    """Do alpha and T matter?"""
    if "grid" not in tables:
        return ""
    table = tables["grid"]
    distilled = table[table["alpha"] < 1]
    ahead = int((distilled["gain"] > 0).sum())
    chosen = table[table["chosen"] == 1].iloc[0].to_dict()
    count = int(chosen["seeds"])
    students = "one student" if count == 1 else f"{count} students"
    few = "It cannot be told: " if count < SEVERAL else ""
    each = f"{few}{students} per setting."
    same = "the same student" if count == 1 else f"the same {students}"
    return (
        f"**Do α and T matter?** {each[0].upper()}{each[1:]} All are held against "
        f"{same} on labels alone: {ahead or 'none'} of {len(distilled)} settings "
        f"came out above (from {points_of(distilled['gain'].min())} to "
        f"{points_of(distilled['gain'].max())} points).{_against_the_mean(tables, distilled)} "
        f"The one that the validation part chooses "
        f"(α {chosen['alpha']:g}, T {chosen['temperature']:g}): {points(chosen, 'gain')}"
        f"{seeds(chosen)}. All classes, at {chosen['size_px']} px."
    )


def _against_the_mean(tables: Tables, distilled: pd.DataFrame) -> str:
    """How many settings are above the mean of several students on labels alone, if there are."""
    if "sizes" not in tables:
        return ""
    alone = tables["sizes"].query("model == @LABEL_ONLY and fraction == 1 and seeds > 1")
    if alone.empty:
        return ""
    row = alone.iloc[0]
    above = int((distilled["accuracy"] > row["accuracy"]).sum())
    alone_there = tables["grid"].query("alpha == 1").iloc[0]
    if alone_there["seeds"] >= row["seeds"]:
        return ""
    rival = alone_there["accuracy"]
    return (
        f" But what they are held against is itself {points_of(rival - row['accuracy'])} points "
        f"from the mean of {row['seeds']} such students; {above or 'none'} of the settings are "
        "above that mean."
    )


def few_patients(tables: Tables) -> str:
    """Does distillation help more where patients are few?"""
    if "gains" not in tables:
        return ""
    table = tables["gains"]
    rows = table[(table["against"] == "labels alone") & ~table["taught_by"].isin(CONTROLS)]
    if rows["fraction"].nunique() < 2:
        return ""
    said = []
    for row in rows.sort_values("fraction").to_dict("records"):
        said.append(f"{row['fraction']:.0%} {points(row)} ({_taught_by(row)})")
    some = [row["fraction"] for row in rows.to_dict("records") if is_above(row)]
    answer = "It is not shown at any share"
    if some:
        answer = f"It is shown at {joined([f'{share:.0%}' for share in sorted(some)])}"
    return (
        f"**Does distillation help where patients are few?** {answer}. Gain over labels alone, by "
        f"the share of the training patients that teacher and students saw: {'; '.join(said)}."
        f"{_of_first_teacher(tables, rows)} All classes, at {rows['size_px'].iloc[0]} px."
    )


def _of_first_teacher(tables: Tables, gains: pd.DataFrame) -> str:
    """The gain at all patients of the one teacher in the table of sizes, where there are more."""
    whole = gains[gains["fraction"] == 1]
    if "sizes" not in tables or whole.empty or whole["teachers"].iloc[0] == 1:
        return ""
    of_one = tables["sizes"].query("fraction == 1").set_index("model")
    if not {KD_STUDENT, LABEL_ONLY} <= set(of_one.index):
        return ""
    gain = of_one.loc[KD_STUDENT, "accuracy"] - of_one.loc[LABEL_ONLY, "accuracy"]
    count = of_one.loc[KD_STUDENT, "seeds"]
    return (
        f" The chart shows at 100% the first of these teachers, with {counted(count, 'student')}: "
        f"{points_of(gain)} points."
    )


def _taught_by(row: Mapping[str, Any]) -> str:
    """How many teachers and students are behind a row of the gains."""
    teachers = "one teacher" if row["teachers"] == 1 else f"{row['teachers']} teachers"
    students = "one student" if row["seeds"] == 1 else f"{row['seeds']} students"
    return f"{teachers}, {students}"
