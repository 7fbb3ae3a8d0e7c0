"""What the published tables say, in sentences for a tired reader (07, README, docs)."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from kdnb.core.method_names import method_name
from kdnb.core.number_text import percent
from kdnb.results.effect_findings import (
    beside_paper,
    choice_of_alpha,
    earlier_code,
    errors_passed_on,
    every_patient,
    few_patients,
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
from kdnb.results.finding_words import LEVEL, NAMES, joined, points, seeds, verdict
from kdnb.xai.tumour_localisation import INPUT, MEAN_MASK

__all__ = ["at_once", "findings"]

# how the paper's kind of split is told
TOLD_SPLITS = {"published": "the published split", "random": "a random split"}
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
        _helps,
        _untrained,
        _teacher_helps,
        errors_passed_on,
        every_patient,
        _show_why,
        _finds,
        cost,
        _hides,
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
    lines = [make(tables) for make in (_keeps, _helps, _show_why_briefly, cost_briefly)]
    return [line for line in lines if line]


def _keeps(tables: Mapping[str, pd.DataFrame]) -> str:
    """Does the student keep the teacher's accuracy?"""
    loss = _difference(tables, "KD student", "teacher")
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
    return (
        "**Does the small network keep the accuracy?** On brain tumours of unseen patients the "
        f"teacher is right in {percent(accuracy['teacher'])}, the distilled student in "
        f"{percent(accuracy['KD student'])}. {answer}: student minus teacher "
        f"{points(loss)}{seeds(loss)}."
    )


def _helps(tables: Mapping[str, pd.DataFrame]) -> str:
    """Does distillation add anything beyond labels?"""
    gain = _difference(tables, "KD student", "label-only student")
    if gain is None:
        return ""
    answer = verdict(
        gain,
        more="Yes, here",
        less="No, it harms here",
        open_="It cannot be told here",
    )
    return (
        f"**Does the teacher help?** {answer}. Against the same student on labels alone: "
        f"{points(gain)}{seeds(gain)}."
    )


def _untrained(tables: Mapping[str, pd.DataFrame]) -> str:
    """Is it the teacher's knowledge that helps, or would any soft answer?"""
    control = _difference(tables, "KD student", "student of an untrained teacher")
    if control is None:
        return ""
    answer = verdict(
        control,
        more="Yes",
        less="No, an untrained one teaches better",
        open_="It is not shown",
    )
    return (
        f"**Is it what the teacher knows?** {answer}. Against the student of an untrained "
        f"network: {points(control)}{seeds(control)}."
    )


def _teacher_helps(tables: Mapping[str, pd.DataFrame]) -> str:
    """Is the teacher one?"""
    lead = _difference(tables, "teacher", "label-only student")
    if lead is None:
        return ""
    answer = verdict(
        lead,
        more="Yes",
        less="No, its student on labels alone is better",
        open_="It is not shown",
    )
    return (
        f"**Has the teacher something to teach?** {answer}. Teacher minus student on labels "
        f"alone: {points(lead)}{seeds(lead)}.{_elsewhere(tables)}"
    )


def _elsewhere(tables: Mapping[str, pd.DataFrame]) -> str:
    """At how many other places the teacher is ahead of the student on labels alone."""
    table = tables["differences"].query(
        "counted == 'all classes' and model == 'teacher' and rival == 'label-only student' "
        f"and not ({BRAIN_BY_PATIENT})"
    )
    if table.empty:
        return ""
    ahead = (table["difference"] > 0).sum()
    told = ((table["seeds"] > 1) & (table["difference_low"] > 0)).sum()
    return (
        f" Under the other splits and on the other sets it is ahead in {ahead} of {len(table)} "
        f"places, and in {told} of them by more than chance over several seeds."
    )


def _show_why(tables: Mapping[str, pd.DataFrame]) -> str:
    """Do the student's average maps look at the tumour?"""
    margins = {layer: _margin(tables, f"{AVERAGE_MAP}, {layer}") for layer in LAYERS}
    margins = {layer: margin for layer, margin in margins.items() if margin is not None}
    if not margins:
        return ""
    shares = [percent(_peaks(tables, AVERAGE_MAP, layer)) for layer in margins]
    told = [
        f"layer {layer.removeprefix('conv')} {points(margin)}" for layer, margin in margins.items()
    ]
    return (
        f"**Do its average maps show why?** {_maps_verdict(margins)} The map of layer "
        f"{joined([layer.removeprefix('conv') for layer in margins])} is brightest inside the "
        f"tumour in {joined(shares)} of the images. Always pointing where such tumours usually "
        f"lie hits {percent(_peaks(tables, MEAN_MASK, INPUT))}. The difference: {joined(told)}"
        f"{seeds(next(iter(margins.values())))}."
    )


def _show_why_briefly(tables: Mapping[str, pd.DataFrame]) -> str:
    """The verdict of `_show_why` with the numbers of the first layer alone."""
    margins = {layer: _margin(tables, f"{AVERAGE_MAP}, {layer}") for layer in LAYERS}
    if any(margin is None for margin in margins.values()):
        return ""
    first = margins[LAYERS[0]]
    return (
        f"**Do its average maps show why?** {_maps_verdict(margins)} The first layer's map: "
        f"{points(first)}{seeds(first)}."
    )


def _maps_verdict(margins: Mapping[str, Mapping[str, object]]) -> str:
    """What the planned comparisons of average maps with a blind guess find, corrected by Holm."""
    found = {}
    for layer, margin in margins.items():
        if margin["p_holm"] < LEVEL and margin["seeds"] > 1:
            found[layer] = margin
    worse = [layer.removeprefix("conv") for layer in found if found[layer]["difference"] < 0]
    better = [layer.removeprefix("conv") for layer in found if found[layer]["difference"] > 0]
    if better:
        return f"They find the tumour more often than a blind guess at layer {joined(better)}."
    if worse:
        return f"No: at layer {joined(worse)} they find the tumour less often than a blind guess."
    return "It is not shown."


def _finds(tables: Mapping[str, pd.DataFrame]) -> str:
    """Does the field's most used attribution find the tumour?"""
    margin = _margin(tables, SHAP)
    if margin is None:
        return ""
    answer = verdict(margin, more="Yes", less="No", open_="It cannot be told here")
    hits = _peaks(tables, SHAP, INPUT)
    return (
        f"**Does {method_name(SHAP)} find the tumour?** {answer}. It is brightest inside the "
        f"tumour in {percent(hits)} of {margin['images']} images, where the same guess hits "
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
    own_sizes = tables["leaks"]["sizes_of"].fillna("") == ""
    rows = tables["leaks"][own_sizes].query("model == 'KD student' and split in @TOLD_SPLITS")
    said = []
    for row in rows.to_dict("records"):
        honest = "by patient" if row["honest"] == "patients" else "with copies apart"
        before, after = (_memory(tables, row["dataset"], row[kind]) for kind in ("split", "honest"))
        said.append(
            f"{NAMES.get(row['dataset'], row['dataset']).capitalize()}: memory alone is right in "
            f"{percent(before)} under {TOLD_SPLITS[row['split']]}, in {percent(after)} {honest}. "
            f"The distilled student, under the first minus under the second: {points(row)}"
            f"{seeds(row)}."
        )
    same = tables["leaks"][~own_sizes].query("model == 'KD student' and split == 'random'")
    for row in same.to_dict("records"):
        said.append(
            f"{NAMES.get(row['dataset'], row['dataset']).capitalize()} images at random, in parts "
            f"of equal size: {points(row)}{seeds(row)}."
        )
    return f"**What does the usual split hide?** {' '.join(said)}" if said else ""


def _memory(tables: Mapping[str, pd.DataFrame], dataset: str, split: str) -> float:
    """Accuracy of the nearest training image under a split of a set."""
    table = tables["accuracy"]
    own = table["sizes_of"].fillna("") == ""
    rows = table[own].query("dataset == @dataset and split == @split and counted == 'all classes'")
    return float(rows["memory"].iloc[0])


def _difference(
    tables: Mapping[str, pd.DataFrame], model: str, rival: str
) -> Mapping[str, object] | None:
    """The row of one model minus another on the brain set by patient; None if there is none."""
    if "differences" not in tables:
        return None
    rows = tables["differences"].query(f"{BRAIN_BY_PATIENT} and counted == 'known patients'")
    main = tables["differences"]["teacher"].value_counts().index[0]
    chosen = rows[(rows["teacher"] == main) & (rows["model"] == model) & (rows["rival"] == rival)]
    if not len(chosen):
        return None
    row = chosen.iloc[0].to_dict()
    if "planned" in tables:
        same = tables["planned"].query("model == @model and rival == @rival")
        if len(same):
            row["p_holm"] = same["p_holm"].iloc[0]
    return row
