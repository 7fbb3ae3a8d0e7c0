"""What the published tables say, in sentences for a tired reader (07, README, docs)."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from kdnb.core.intervals import in_points
from kdnb.core.model_names import KD_STUDENT, LABEL_ONLY, TEACHER
from kdnb.core.number_text import counted, percent
from kdnb.core.profiles import PAPER_TEACHER
from kdnb.results.differences import main_teacher
from kdnb.results.effect_findings import (
    choice_of_alpha,
    errors_passed_on,
    few_patients,
    left_where_apart,
    other_teachers,
    small_teachers,
)
from kdnb.results.explanation_findings import (
    average_maps_of_phantoms,
    cheating,
    cost,
    cost_briefly,
    likeness,
    trusted,
)
from kdnb.results.finding_words import (
    SEVERAL,
    TEACHER_NAMES,
    excludes_zero,
    places_excluding_zero,
    points,
    seeds,
    verdict,
)
from kdnb.results.fold_findings import (
    accuracy_over_folds,
    every_patient,
    gain_over_folds,
)
from kdnb.results.kept_epochs import which_epoch
from kdnb.results.leak_findings import compared_splits, hides, hides_briefly
from kdnb.results.map_findings import (
    average_maps,
    average_maps_briefly,
    first_map_in_short,
    other_maps,
)
from kdnb.results.paper_findings import beside_paper, beside_paper_at_length, earlier_code

__all__ = ["at_once", "findings", "in_short"]

BRAIN_BY_PATIENT = "dataset == 'brain_tumor' and split == 'patients'"


def findings(tables: Mapping[str, pd.DataFrame]) -> dict[str, list[str]]:
    """One line per question, by topic, from the tables of `kdnb.results.build`.

    A question that the tables cannot answer yet has no line, a topic without lines is left out.
    """
    topics = {
        "Accuracy": (
            _keeps_also_elsewhere,
            beside_paper_at_length,
            every_patient,
            left_where_apart,
            earlier_code,
        ),
        "What relatives hide": (hides,),
        "The teacher": (
            _helps_also_elsewhere,
            _untrained,
            other_teachers,
            _teacher_helps,
            small_teachers,
            few_patients,
            choice_of_alpha,
            which_epoch,
            errors_passed_on,
        ),
        "Explanations": (
            average_maps,
            other_maps,
            trusted,
            average_maps_of_phantoms,
            cheating,
            likeness,
        ),
        "Cost": (cost,),
    }
    told = {}
    for topic, makers in topics.items():
        lines = [make(tables) for make in makers]
        told[topic] = [line for line in lines if line]
    return {topic: lines for topic, lines in told.items() if lines}


def at_once(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """What the README tells first.

    Accuracy kept, also beside the paper's, what the teacher adds, what the usual split hides, where
    maps look, cost.
    """
    makers = (
        _keeps_briefly,
        beside_paper,
        _helps_briefly,
        hides_briefly,
        average_maps_briefly,
        cost_briefly,
    )
    lines = [make(tables) for make in makers]
    return [line for line in lines if line]


def in_short(tables: Mapping[str, pd.DataFrame]) -> str:
    """The story in a few sentences, for who reads no further; empty without a comparison."""
    kept = _difference(tables, KD_STUDENT, TEACHER)
    gain = _difference(tables, KD_STUDENT, LABEL_ONLY)
    if kept is None or gain is None:
        return ""
    no_loss = "we found no loss of accuracy in the small network"
    accuracy = verdict(
        kept,
        more="the small network was right more often than its teacher",
        less="the small network was right less often than its teacher",
        open_=no_loss,
    )
    no_gain = "We found no gain from its teacher"
    if accuracy == no_loss:
        no_gain += " either"
    if gain["difference_high"] > 0:
        no_gain += ", though there may be one"
    teacher = verdict(
        gain, more="Its teacher helped it", less="Its teacher harmed it", open_=no_gain
    )
    told = [
        f"On brain tumours of patients that neither had seen, {accuracy}: small network minus "
        f"teacher {points(kept)}. {teacher}: small network minus the same one on labels alone "
        f"{points(gain)}.",
        first_map_in_short(tables),
        _memory_in_short(tables),
    ]
    return " ".join(sentence for sentence in told if sentence)


def _memory_in_short(tables: Mapping[str, pd.DataFrame]) -> str:
    """What memory alone is worth on the brain set as published and by patient, beside students.

    Memory counts mirrored images here, as where two splits are compared.
    """
    table = tables["accuracy"].query(
        "dataset == 'brain_tumor' and counted == 'all classes' and model == @KD_STUDENT "
        "and sizes_of == ''"
    )
    rows = table[table["teacher"] == main_teacher(tables["accuracy"])].set_index("split")
    if not {"published", "patients"} <= set(rows.index):
        return ""
    published, apart = rows.loc["published"], rows.loc["patients"]
    told = (
        "Of all images, a method that only looks up the most similar training image (mirrored ones "
        "included) is right in "
        f"{published['leak_meter_mirrored']:.1%} as the set is published, and in "
        f"{apart['leak_meter_mirrored']:.1%} once patients are kept apart. The small network is "
        f"right in {published['accuracy']:.1%} and {apart['accuracy']:.1%}"
    )
    for leak in compared_splits(tables):
        is_brain = (leak.dataset, leak.split) == ("brain_tumor", "published")
        if is_brain and not leak.is_over_folds:
            drop = leak.of_model[KD_STUDENT]
            is_shown = leak.is_shown(KD_STUDENT) and drop.low > 0
            unsure = "" if is_shown else ", which is not shown to be a drop"
            return f"{told}: {in_points(drop)} points{unsure}."
    return f"{told}."


def _keeps_also_elsewhere(tables: Mapping[str, pd.DataFrame]) -> str:
    """Does the student keep the teacher's accuracy, and on how many other splits and sets?"""
    line = _keeps(tables)
    if not line:
        return ""
    return f"{line}{_kept_of_paper_teacher(tables)}{_elsewhere(tables, KD_STUDENT, TEACHER)}"


def _keeps_briefly(tables: Mapping[str, pd.DataFrame]) -> str:
    """The same, over all folds of the brain set, and on the other splits and sets."""
    line = _keeps(tables)
    if not line:
        return ""
    return f"{line}{accuracy_over_folds(tables)}{_hints_elsewhere(tables, KD_STUDENT, TEACHER)}"


def _keeps(tables: Mapping[str, pd.DataFrame]) -> str:
    """Does the student keep the teacher's accuracy?"""
    loss = _difference(tables, KD_STUDENT, TEACHER)
    if loss is None:
        return ""
    known = tables["accuracy"].query(f"{BRAIN_BY_PATIENT} and counted == 'known patients'")
    accuracy = known[known["teacher"] == loss["teacher"]].set_index("model")["accuracy"]
    answer = verdict(
        loss,
        more="The small network is the better one",
        less="The small network loses",
        open_="A loss is not shown",
    )
    main = TEACHER_NAMES.get(loss["teacher"], loss["teacher"])
    return (
        "**Does the small network keep the accuracy?** On brain tumours of unseen patients the "
        f"teacher ({main}) is right in {percent(accuracy['teacher'])}, the distilled student in "
        f"{percent(accuracy['KD student'])}. {answer}: student minus teacher "
        f"{points(loss)}{seeds(loss)}."
    )


def _kept_of_paper_teacher(tables: Mapping[str, pd.DataFrame]) -> str:
    """The same with the paper's architecture as the teacher, where it stands beside another one."""
    if "differences" in tables and main_teacher(tables["differences"]) == PAPER_TEACHER:
        return ""
    known = tables["accuracy"].query(f"{BRAIN_BY_PATIENT} and counted == 'known patients'")
    accuracy = known[known["teacher"] == PAPER_TEACHER].set_index("model")["accuracy"]
    loss = _difference(tables, KD_STUDENT, TEACHER, PAPER_TEACHER)
    if accuracy.empty or loss is None:
        return ""
    return (
        f" With {TEACHER_NAMES[PAPER_TEACHER]} from scratch as the teacher: "
        f"{percent(accuracy['teacher'])} and {percent(accuracy['KD student'])}, "
        f"{points(loss)}{seeds(loss)}."
    )


def _helps(tables: Mapping[str, pd.DataFrame]) -> str:
    """Does distillation add anything beyond labels?"""
    return _compared(
        tables,
        (KD_STUDENT, LABEL_ONLY),
        "Does the teacher help?",
        "Against the same student on labels alone",
        more="Yes, here",
        less="No, it harms here",
        open_="It cannot be told here",
    )


def _helped_by_paper_teacher(tables: Mapping[str, pd.DataFrame]) -> str:
    """The same with the paper's architecture as the teacher, where it stands beside another one."""
    gain = _difference(tables, KD_STUDENT, LABEL_ONLY, PAPER_TEACHER)
    if gain is None or main_teacher(tables["differences"]) == PAPER_TEACHER:
        return ""
    return f" With {TEACHER_NAMES[PAPER_TEACHER]} as the teacher: {points(gain)}{seeds(gain)}."


def _helps_also_elsewhere(tables: Mapping[str, pd.DataFrame]) -> str:
    """The same, and on how many other splits and sets."""
    line = _helps(tables)
    if not line:
        return ""
    return f"{line}{_helped_by_paper_teacher(tables)}{_elsewhere(tables, KD_STUDENT, LABEL_ONLY)}"


def _helps_briefly(tables: Mapping[str, pd.DataFrame]) -> str:
    """The same, over all folds of the brain set, and on the other splits and sets."""
    line = _helps(tables)
    if not line:
        return ""
    return f"{line}{gain_over_folds(tables)}{_hints_elsewhere(tables, KD_STUDENT, LABEL_ONLY)}"


def _untrained(tables: Mapping[str, pd.DataFrame]) -> str:
    """Is it the teacher's knowledge that helps, or would any soft answer?"""
    return _compared(
        tables,
        (KD_STUDENT, "student of an untrained teacher"),
        "Is it the teacher's knowledge that counts?",
        "Against the student of an untrained network",
        more="Yes",
        less="No, an untrained one teaches better",
        open_="It is not shown",
    )


def _teacher_helps(tables: Mapping[str, pd.DataFrame]) -> str:
    """Is the teacher one?"""
    line = _compared(
        tables,
        (TEACHER, LABEL_ONLY),
        "Has the teacher something to teach?",
        "Teacher minus student on labels alone",
        more="Yes",
        less="No, its student on labels alone is better",
        open_="It is not shown",
    )
    return f"{line}{_elsewhere(tables, TEACHER, LABEL_ONLY)}" if line else ""


def _compared(
    tables: Mapping[str, pd.DataFrame],
    models: tuple[str, str],
    question: str,
    told: str,
    **words: str,
) -> str:
    """A question that one model minus another answers; empty without that difference.

    Args:
        tables: The tables by name.
        models: The first minus the second.
        question: What is asked.
        told: What stands before the number.
        words: Of `kdnb.results.finding_words.verdict`.
    """
    row = _difference(tables, *models)
    if row is None:
        return ""
    return f"**{question}** {verdict(row, **words)}. {told}: {points(row)}{seeds(row)}."


def _elsewhere(tables: Mapping[str, pd.DataFrame], model: str, rival: str) -> str:
    """On how many other splits and sets a model is ahead of another one, and behind."""
    table = _other_places(tables, model, rival)
    if table.empty:
        return ""
    ahead = (table["difference"] > 0).sum()
    behind = (table["difference"] < 0).sum()
    main = main_teacher(tables["differences"])
    return (
        f" On the other splits and sets, all classes, it is ahead on {ahead} of {len(table)} and "
        f"behind on {behind} (table of places). The interval leaves out zero on "
        f"{places_excluding_zero(table.to_dict('records'), main)}."
    )


def _hints_elsewhere(tables: Mapping[str, pd.DataFrame], model: str, rival: str) -> str:
    """On how many other splits and sets the interval of a difference leaves out zero.

    Of those with `SEVERAL` seeds or more. All are counted, since among many one may do so by
    chance.
    """
    table = _other_places(tables, model, rival)
    several = table[table["seeds"] >= SEVERAL].to_dict("records")
    if not several:
        return ""
    where = places_excluding_zero(several, main_teacher(tables["differences"]))
    is_hint = any(excludes_zero(row) for row in several)
    hint = "Not planned, so only a hint" if is_hint else "Not planned"
    return (
        f" {hint}: of {counted(len(several), 'other place')} with three seeds "
        f"or more (sets and splits, all classes) the interval leaves out zero on {where}."
    )


def _other_places(tables: Mapping[str, pd.DataFrame], model: str, rival: str) -> pd.DataFrame:
    """One model minus another, all classes, everywhere but on the brain set by patient."""
    return tables["differences"].query(
        "counted == 'all classes' and model == @model and rival == @rival "
        f"and not ({BRAIN_BY_PATIENT})"
    )


def _difference(
    tables: Mapping[str, pd.DataFrame], model: str, rival: str, teacher: str = ""
) -> Mapping[str, object] | None:
    """The row of one model minus another on the brain set by patient; None if there is none.

    Of known patients, with the teacher of most places unless another is named.
    """
    if "differences" not in tables:
        return None
    rows = tables["differences"].query(f"{BRAIN_BY_PATIENT} and counted == 'known patients'")
    main = main_teacher(tables["differences"])
    rows = rows[rows["teacher"] == (teacher or main)]
    chosen = rows[(rows["model"] == model) & (rows["rival"] == rival)]
    if not len(chosen):
        return None
    row = chosen.iloc[0].to_dict()
    if "planned" in tables and row["teacher"] == main:
        same = tables["planned"].query("model == @model and rival == @rival")
        if len(same):
            row |= same.iloc[0][["p_holm", "seeds_planned"]].to_dict()
    return row
