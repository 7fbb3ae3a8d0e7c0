"""What the published tables say, in sentences for a tired reader (07, README, docs)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from kdnb.core.method_names import method_name
from kdnb.core.model_names import KD_STUDENT, LABEL_ONLY, TEACHER
from kdnb.core.number_text import percent
from kdnb.core.profiles import PAPER_TEACHER
from kdnb.results.differences import main_teacher
from kdnb.results.effect_findings import (
    beside_paper,
    choice_of_alpha,
    earlier_code,
    errors_passed_on,
    every_patient,
    few_patients,
    left_where_apart,
    other_teachers,
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
    LEVEL,
    NAMES,
    TEACHER_NAMES,
    TOLD_HONEST,
    TOLD_SPLITS,
    joined,
    points,
    seeds,
    verdict,
)
from kdnb.xai.tumour_localisation import INPUT, MEAN_MASK

__all__ = ["at_once", "findings"]

BRAIN_BY_PATIENT = "dataset == 'brain_tumor' and split == 'patients'"
PEAKS_OF_STUDENT = "model == 'KD student' and metric == 'pointing game'"
AVERAGE_MAP = "average map"
LAYERS = ("conv1", "conv3", "conv5")  # whose average maps were planned to be compared
SHAP = "SHAP gradient"


def findings(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """One line per question, from the tables of `kdnb.results.build`.

    A question that the tables cannot answer yet has no line.
    """
    makers = (
        _keeps,
        _helps_also_elsewhere,
        _untrained,
        _teacher_helps,
        errors_passed_on,
        every_patient,
        _show_why,
        _finds,
        cost,
        _hides,
        left_where_apart,
        beside_paper,
        other_teachers,
        choice_of_alpha,
        few_patients,
        earlier_code,
        trusted,
        average_maps_of_phantoms,
        cheating,
        likeness,
    )
    lines = [make(tables) for make in makers]
    return [line for line in lines if line]


def at_once(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """What the README tells first: accuracy kept, what the teacher adds, where maps look, cost."""
    makers = (_keeps, _helps_briefly, _show_why_briefly, cost_briefly)
    lines = [make(tables) for make in makers]
    return [line for line in lines if line]


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
        f"{points(loss)}{seeds(loss)}.{_of_paper_teacher(tables, known)}"
    )


def _of_paper_teacher(tables: Mapping[str, pd.DataFrame], known: pd.DataFrame) -> str:
    """The same with the paper's architecture as the teacher, where it stands beside another one."""
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


def _helps_also_elsewhere(tables: Mapping[str, pd.DataFrame]) -> str:
    """The same, and on how many other splits and sets."""
    line = _helps(tables)
    return f"{line}{_elsewhere(tables, KD_STUDENT)}" if line else ""


def _helps_briefly(tables: Mapping[str, pd.DataFrame]) -> str:
    """The same, and where several seeds of another set or split tell more or less than zero."""
    line = _helps(tables)
    if not line:
        return ""
    elsewhere = _several_seeds_elsewhere(tables, KD_STUDENT)
    surely = elsewhere[(elsewhere["difference_low"] > 0) | (elsewhere["difference_high"] < 0)]
    for row in surely.to_dict("records"):
        line += f" On {_place(row, tables)}, all classes: {points(row)}{seeds(row)}."
    return line


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
    return f"{line}{_elsewhere(tables, TEACHER)}" if line else ""


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


def _elsewhere(tables: Mapping[str, pd.DataFrame], model: str) -> str:
    """On how many other splits and sets a model is ahead of the student on labels alone."""
    table = tables["differences"].query(
        "counted == 'all classes' and model == @model and rival == @LABEL_ONLY "
        f"and not ({BRAIN_BY_PATIENT})"
    )
    if table.empty:
        return ""
    ahead = (table["difference"] > 0).sum()
    told = [f" On the other splits and sets, all classes, it is ahead on {ahead} of {len(table)}."]
    several = _several_seeds_elsewhere(tables, model)
    if len(several) < len(table):
        told.append("One seed decides nothing.")
    for row in several.to_dict("records"):
        told.append(f"Of several seeds, {_place(row, tables)}: {points(row)}{seeds(row)}.")
    return " ".join(told)


def _several_seeds_elsewhere(tables: Mapping[str, pd.DataFrame], model: str) -> pd.DataFrame:
    """A model minus the student on labels alone, on other splits and sets with several seeds."""
    return tables["differences"].query(
        "counted == 'all classes' and model == @model and rival == @LABEL_ONLY and seeds > 1 "
        f"and not ({BRAIN_BY_PATIENT})"
    )


def _place(row: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> str:
    """Set and split of a row, and its teacher where it is not the one of most places."""
    split = (TOLD_SPLITS | TOLD_HONEST).get(row["split"], row["split"])
    place = f"{NAMES.get(row['dataset'], row['dataset'])} {split}"
    if row["sizes_of"]:
        place += ", parts of equal size"
    if row["teacher"] != main_teacher(tables["differences"]):
        place += f", {TEACHER_NAMES.get(row['teacher'], row['teacher'])}"
    return place


def _show_why(tables: Mapping[str, pd.DataFrame]) -> str:
    """Do the student's average maps look at the tumour?"""
    margins = _map_margins(tables)
    if not margins:
        return ""
    peaks = [f"{_peaks(tables, AVERAGE_MAP, layer):.1%}" for layer in margins]
    told = [f"layer {_number(layer)} {points(margin)}" for layer, margin in margins.items()]
    return (
        f"**Do its average maps show why?** {_maps_verdict(margins)} The map of layer "
        f"{joined([_number(layer) for layer in margins])} is brightest inside the tumour in "
        f"{joined(peaks)} of the images. A guess that looks at no image, and points where tumours "
        f"of that kind usually lie, hits {_peaks(tables, MEAN_MASK, INPUT):.1%}. Map minus guess: "
        f"{joined(told)}{seeds(next(iter(margins.values())))}. The verdict is corrected for all "
        "planned comparisons."
    )


def _show_why_briefly(tables: Mapping[str, pd.DataFrame]) -> str:
    """The verdict of `_show_why` with the numbers of the first layer alone."""
    margins = _map_margins(tables)
    if LAYERS[0] not in margins:
        return ""
    first = margins[LAYERS[0]]
    return (
        f"**Do its average maps show why?** {_maps_verdict(margins)} The first layer's map is "
        f"brightest inside the tumour in {_peaks(tables, AVERAGE_MAP, LAYERS[0]):.1%} of the "
        "images. Pointing where tumours of that kind usually lie, without a look at the image, "
        f"hits {_peaks(tables, MEAN_MASK, INPUT):.1%}: {points(first)}{seeds(first)}."
    )


def _map_margins(tables: Mapping[str, pd.DataFrame]) -> dict[str, Mapping[str, object]]:
    """The planned comparisons of average maps with a blind guess, by layer."""
    margins = {layer: _margin(tables, f"{AVERAGE_MAP}, {layer}") for layer in LAYERS}
    return {layer: margin for layer, margin in margins.items() if margin is not None}


def _number(layer: str) -> str:
    return layer.removeprefix("conv")


def _found(margins: Mapping[str, Mapping[str, object]]) -> list[str]:
    """The layers whose comparison is found, corrected by Holm, over several seeds."""
    found = []
    for layer, margin in margins.items():
        if margin["p_holm"] < LEVEL and margin["seeds"] > 1:
            found.append(layer)
    return found


def _maps_verdict(margins: Mapping[str, Mapping[str, object]]) -> str:
    """In a few words what the planned comparisons of average maps find."""
    found = _found(margins)
    if not found:
        return "It is not shown."
    above = [_number(layer) for layer in found if margins[layer]["difference"] > 0]
    below = [_number(layer) for layer in found if margins[layer]["difference"] < 0]
    so_far = ""
    if any(margins[layer]["seeds_planned"] > margins[layer]["seeds"] for layer in found):
        so_far = ", so far"
    if len(below) == len(LAYERS):
        return f"No{so_far}."
    told = []
    if above:
        told.append(f"at layer {joined(above)} more than a blind guess would")
    if below:
        told.append(f"at layer {joined(below)}, no")
    if len(found) < len(LAYERS):
        told.append("at the others it cannot be told")
    sentence = f"{'; '.join(told)}{so_far}."
    return sentence[0].upper() + sentence[1:]


def _finds(tables: Mapping[str, pd.DataFrame]) -> str:
    """Does the field's most used attribution find the tumour?"""
    margin = _margin(tables, SHAP)
    if margin is None or pd.isna(margin["difference"]):
        return ""
    answer = verdict(margin, more="Yes", less="No", open_="It cannot be told here")
    hits = _peaks(tables, SHAP, INPUT)
    return (
        f"**Does {method_name(SHAP)} find the tumour?** {answer}. It is brightest inside the "
        f"tumour in {percent(hits)} of {margin['images']} images. On these, the same guess hits "
        f"{percent(hits - margin['difference'])}: {points(margin)}{seeds(margin)}."
    )


def _peaks(tables: Mapping[str, pd.DataFrame], explanation: str, tap: str) -> float:
    """Share of images in which an explanation of the distilled student peaks in the tumour."""
    rows = tables["maps"].query(f"{BRAIN_BY_PATIENT} and {PEAKS_OF_STUDENT}")
    return float(rows.set_index(["explanation", "tap"]).loc[(explanation, tap), "value"])


def _margin(tables: Mapping[str, pd.DataFrame], name: str) -> Mapping[str, object] | None:
    """The planned comparison of one map with the usual place of tumours; None if there is none."""
    if "planned" not in tables:
        return None
    rows = tables["planned"].query(f"{BRAIN_BY_PATIENT} and rival == @MEAN_MASK and model == @name")
    return rows.iloc[0].to_dict() if len(rows) else None


def _hides(tables: Mapping[str, pd.DataFrame]) -> str:
    """What do splits hide that do not keep patients or copies apart?"""
    if "leaks" not in tables:
        return ""
    table = tables["leaks"]
    said = []
    for place, rows in table.groupby(["dataset", "split", "sizes_of", "honest"], sort=False):
        dataset, split, sizes_of, honest = place
        is_told = (split == "random") if sizes_of else (split in TOLD_SPLITS)
        if not is_told:
            continue
        of_model = rows.set_index("model").to_dict("index")
        student = of_model[KD_STUDENT]
        equal = ", parts of equal size" if sizes_of else ""
        said.append(
            f"{NAMES.get(dataset, dataset).capitalize()}, {TOLD_SPLITS[split]} minus "
            f"{TOLD_HONEST[honest]}{equal}: memory {points(of_model['memory'])}, distilled student "
            f"{points(student)}{seeds(student)}."
        )
    if not said:
        return ""
    return (
        "**What does the usual split hide?** How much more is right where relatives of the test "
        "images are learned, all classes; memory counts mirrored images. Where sizes are not said "
        f"to be equal, the number of training images differs, too. {' '.join(said)}"
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
