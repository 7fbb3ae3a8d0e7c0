"""What the tables by patient say, in sentences for a tired reader (07, README, docs)."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from kdnb.core.method_names import method_name
from kdnb.core.number_text import percent
from kdnb.core.statistics import Interval
from kdnb.results.plain_words import joined
from kdnb.xai.tumour_localisation import INPUT, MEAN_MASK

__all__ = ["patient_findings", "patients_at_once"]

NAMES = {"brain_tumor": "brain", "eye_disease": "eye", "alzheimer": "Alzheimer"}
# how the paper's kind of split is told
TOLD_SPLITS = {"published": "the published split", "random": "a random split"}
BRAIN_BY_PATIENT = "dataset == 'brain_tumor' and split == 'patients'"
PEAKS_OF_STUDENT = "model == 'KD student' and metric == 'pointing game'"
AVERAGE_MAP = "average map"
LAYERS = ("conv1", "conv3", "conv5")  # whose average maps were planned to be compared
LEVEL = 0.05  # of all planned comparisons together
SHAP = "SHAP gradient"


def patient_findings(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """One line per question, from the tables of `kdnb.results.by_patient`.

    A question that the tables cannot answer yet has no line.
    """
    makers = (_keeps, _helps, _untrained, _teacher_helps, _show_why, _finds, _hides)
    lines = [make(tables) for make in makers]
    return [line for line in lines if line]


def patients_at_once(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """What the README tells first: accuracy kept, what the teacher adds, where maps look."""
    return [line for line in (_keeps(tables), _helps(tables), _show_why_briefly(tables)) if line]


def _keeps(tables: Mapping[str, pd.DataFrame]) -> str:
    """Does the student keep the teacher's accuracy?"""
    loss = _difference(tables, "KD student", "teacher")
    if loss is None:
        return ""
    known = tables["accuracy"].query(f"{BRAIN_BY_PATIENT} and counted == 'known patients'")
    accuracy = known[known["teacher"] == loss["teacher"]].set_index("model")["accuracy"]
    verdict = _verdict(
        loss,
        more="The small network is the better one",
        less="The small network loses",
        open_="No loss is shown",
    )
    return (
        "**Does the small network keep the accuracy?** On brain tumours of unseen patients the "
        f"teacher is right in {percent(accuracy['teacher'])}, the distilled student in "
        f"{percent(accuracy['KD student'])}. {verdict}: {_points(loss)}{_seeds(loss)}."
    )


def _helps(tables: Mapping[str, pd.DataFrame]) -> str:
    """Does distillation add anything beyond labels?"""
    gain = _difference(tables, "KD student", "label-only student")
    if gain is None:
        return ""
    verdict = _verdict(
        gain,
        more="Yes, here",
        less="No, it harms here",
        open_="It cannot be told here",
    )
    return (
        f"**Does the teacher help?** {verdict}. Against the same student on labels alone: "
        f"{_points(gain)}{_seeds(gain)}."
    )


def _untrained(tables: Mapping[str, pd.DataFrame]) -> str:
    """Is it the teacher's knowledge that helps, or would any soft answer?"""
    control = _difference(tables, "KD student", "student of an untrained teacher")
    if control is None:
        return ""
    verdict = _verdict(
        control,
        more="Yes",
        less="No, an untrained one teaches better",
        open_="It is not shown",
    )
    return (
        f"**Is it what the teacher knows?** {verdict}. Against the student of an untrained "
        f"network: {_points(control)}{_seeds(control)}."
    )


def _teacher_helps(tables: Mapping[str, pd.DataFrame]) -> str:
    """Is the teacher one?"""
    lead = _difference(tables, "teacher", "label-only student")
    if lead is None:
        return ""
    verdict = _verdict(
        lead,
        more="Yes",
        less="No, its student on labels alone is better",
        open_="It is not shown",
    )
    return (
        f"**Has the teacher something to teach?** {verdict}. Teacher minus student on labels "
        f"alone: {_points(lead)}{_seeds(lead)}."
    )


def _show_why(tables: Mapping[str, pd.DataFrame]) -> str:
    """Do the student's average maps look at the tumour?"""
    margins = {layer: _margin(tables, f"{AVERAGE_MAP}, {layer}") for layer in LAYERS}
    margins = {layer: margin for layer, margin in margins.items() if margin is not None}
    if not margins:
        return ""
    shares = [percent(_peaks(tables, AVERAGE_MAP, layer)) for layer in margins]
    told = [
        f"layer {layer.removeprefix('conv')} {_points(margin)}" for layer, margin in margins.items()
    ]
    return (
        f"**Do its average maps show why?** {_maps_verdict(margins)} The map of layer "
        f"{joined([layer.removeprefix('conv') for layer in margins])} is brightest inside the "
        f"tumour in {joined(shares)} of the images. Always pointing where such tumours usually "
        f"lie hits {percent(_peaks(tables, MEAN_MASK, INPUT))}. The difference: {joined(told)}"
        f"{_seeds(next(iter(margins.values())))}."
    )


def _show_why_briefly(tables: Mapping[str, pd.DataFrame]) -> str:
    """The verdict of `_show_why` with the numbers of the first layer alone."""
    margins = {layer: _margin(tables, f"{AVERAGE_MAP}, {layer}") for layer in LAYERS}
    if any(margin is None for margin in margins.values()):
        return ""
    first = margins[LAYERS[0]]
    return (
        f"**Do its average maps show why?** {_maps_verdict(margins)} The first layer's map: "
        f"{_points(first)}{_seeds(first)}."
    )


def _maps_verdict(margins: Mapping[str, Mapping[str, object]]) -> str:
    """What the planned comparisons of average maps with a blind guess find, corrected by Holm."""
    found = {layer: margin for layer, margin in margins.items() if margin["p_holm"] < LEVEL}
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
    verdict = _verdict(margin, more="Yes", less="No", open_="It cannot be told here")
    hits = _peaks(tables, SHAP, INPUT)
    return (
        f"**Does {method_name(SHAP)} find the tumour?** {verdict}. It is brightest inside the "
        f"tumour in {percent(hits)} of {margin['images']} images, where the same guess hits "
        f"{percent(hits - margin['difference'])}: {_points(margin)}{_seeds(margin)}."
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
            f"That split adds {_points(row)} to the distilled student{_seeds(row)}."
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
    return chosen.iloc[0].to_dict() if len(chosen) else None


def _points(row: Mapping[str, object]) -> str:
    """A difference of accuracies in points of a hundred, with its interval."""
    interval = Interval(
        100 * row[name] for name in ("difference", "difference_low", "difference_high")
    )
    return f"{interval:+z.1f} points"


def _seeds(row: Mapping[str, object]) -> str:
    """How many seeds are behind a number."""
    return " (one seed)" if row["seeds"] == 1 else f" ({row['seeds']} seeds)"


def _verdict(row: Mapping[str, object], *, more: str, less: str, open_: str) -> str:
    """What an interval allows to say; of one seed nothing, as others may have the other sign."""
    if row["seeds"] > 1 and row["difference_low"] > 0:
        return more
    if row["seeds"] > 1 and row["difference_high"] < 0:
        return less
    return open_
