"""What the tables say of tested explanations and of cost, in sentences (07)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from kdnb.core.method_names import graded_name
from kdnb.core.model_names import KD_STUDENT
from kdnb.core.number_text import counted, percent, percent_range, times
from kdnb.core.profiles import PAPER_TEACHER
from kdnb.results.differences import main_teacher
from kdnb.results.finding_words import SEVERAL, TEACHER_NAMES, interval_of, joined
from kdnb.results.places import first_place
from kdnb.xai.baselines import BASELINES

__all__ = ["average_maps_of_phantoms", "cheating", "cost", "cost_briefly", "likeness", "trusted"]

NAMES_WHAT_MATTERS = "names what matters"
SHAP_CLAIM = "SHAP, teacher's time / student's time"  # as ``claims`` calls it
SHAP = "shap_gradient"
FEW_ROUNDS = 5  # of timing: an interval from fewer is too narrow, see docs/results.md
SAME_STEPS = 1.1  # how far the numbers of forward passes may differ, as a factor
Tables = Mapping[str, pd.DataFrame]


def trusted(tables: Tables) -> str:
    """Which explanations of the student beat maps that explain nothing?"""
    if "verdicts" not in tables:
        return ""
    table = tables["verdicts"]
    rows = table[(table["model"] == KD_STUDENT) & ~table["explanation"].isin(BASELINES)]
    rows = first_place(rows.dropna(subset=[NAMES_WHAT_MATTERS]))
    if rows.empty:
        return ""
    runs = rows["run"].nunique()
    passed = rows.groupby("explanation", sort=False)[NAMES_WHAT_MATTERS].sum()
    always = [graded_name(name) for name in passed.index[passed == runs]]
    seeds = "in one seed" if runs == 1 else f"in each of {runs} seeds"
    count = len(always) or "none"
    verb = "beats" if count == 1 else "beat"
    listed = f": {joined(always)}" if always else ""
    circular = ""
    if graded_name("occlusion") in always:
        circular = " Occlusion is itself made by covering pixels, which favours it here."
    return (
        "**Which explanations beat maps that explain nothing?** In tests that take "
        f"pixels away or put them back, {count} of {len(passed)} explanations of the distilled "
        f"student {verb} all of these maps ({'; '.join(BASELINES)}) {seeds}{listed}.{circular} "
        "This asks what the network uses, not where the tumour is."
    )


def average_maps_of_phantoms(tables: Tables) -> str:
    """Does the average map point at what means nothing?"""
    if "distractor" not in tables:
        return ""
    table = tables["distractor"]
    average = table[table["map"] == "average map"]
    evidence = table[table["map"] == "class evidence"]
    answer = "It is not shown"
    if (average["low"] > average["chance"]).all():
        several = len(average) >= SEVERAL
        answer = "Yes" if several else f"In {counted(len(average), 'seed')}, yes"
    return (
        "**Is the first layer's average map lured by what means nothing?** "
        f"{answer}. On phantoms with a bright blob that no class owns, that of students on labels "
        f"alone points at the blob in {_range(average['share'])} of the images (a random pixel: "
        f"{_range(average['chance'])}). Class evidence of that layer does so in "
        f"{_range(evidence['share'])}{_made_of(average)}; evidence of either sign was not counted."
    )


def _range(shares: pd.Series) -> str:
    """Shares of several runs in percent, from the smallest to the largest."""
    least, most = shares.min(), shares.max()
    return percent(least) if least == most else percent_range(least, most)


def _made_of(rows: pd.DataFrame) -> str:
    """Seeds and images behind rows of several runs, in brackets."""
    runs = rows["teacher_seed"].nunique()
    trained = "one seed" if runs == 1 else f"{runs} seeds"
    return f" ({trained}, {rows['images'].iloc[0]} images)"


def cheating(tables: Tables) -> str:
    """Would an explanation reveal a student that cheats?"""
    if "shortcut" not in tables:
        return ""
    table = tables["shortcut"]
    rows = table[~table["explanation"].isin(BASELINES)]
    always = rows.groupby("explanation", sort=False)["reveals"].min() == 1
    silent = [graded_name(name) for name in always.index[~always]]
    told = f" For these it is not shown: {joined(silent)}." if silent else ""
    every = "" if rows["run"].nunique() == 1 else " in every seed"
    return (
        "**Would an explanation reveal a student that cheats?** On phantoms with a mark that "
        f"names the class, {always.sum()} of {len(always)} explanations do{every}"
        f"{_made_of(rows)}.{told}"
    )


def likeness(tables: Tables) -> str:
    """Do the distilled student's reasons come nearer to the teacher's?"""
    if "kd_question" not in tables:
        return ""
    table = tables["kd_question"]
    rows = first_place(table[table["measure"] != "accuracy"].dropna(subset=["low", "high"]))
    if rows.empty:
        return ""
    runs = rows["run"].nunique()
    ends = rows.groupby("measure")[["low", "high"]]
    in_every_run = ends.size() == runs
    nearer = ends.min()["low"][(ends.min()["low"] > 0) & in_every_run].index
    farther = ends.max()["high"][(ends.max()["high"] < 0) & in_every_run].index
    seeds = "one seed" if runs == 1 else f"each of {runs} seeds"
    change = rows.groupby("measure")["difference"].mean()
    count = rows["measure"].nunique()
    left = ""
    if len(nearer) + len(farther) < count:
        left = f" The others stay open{_of_average_maps(change.index, [*nearer, *farther])}."
    return (
        "**Does distillation bring the student's reasons nearer to the teacher's?** Of "
        f"{counted(count, 'measure')}, each from 0 (or -1) to 1, in {seeds}: nearer by "
        f"{len(nearer)}, farther by {len(farther)}.{_moved('Nearer', nearer, change)}"
        f"{_moved('Farther', farther, change)}{left}"
    )


def _moved(how: str, measures: Sequence[str], change: pd.Series) -> str:
    """The explanations that some measures are of, and how far they move; a sentence."""
    if not len(measures):
        return ""
    methods = dict.fromkeys(graded_name(measure.partition(": ")[2]) for measure in measures)
    moved = change[list(measures)]
    least, most = f"{moved.min():+.2f}", f"{moved.max():+.2f}"
    by = least if least == most else f"{least} to {most}"
    return f" {how}: {joined(list(methods))}, by {by}."


def _of_average_maps(measures: Sequence[str], decided: Sequence[str]) -> str:
    """That no average map is among the measures that decide, where it is so."""
    of_average_maps = {measure for measure in measures if "average map" in measure}
    if not of_average_maps or of_average_maps & set(decided):
        return ""
    return ", those of every average map among them"


def cost(tables: Tables) -> str:
    """What does the student save?"""
    if "explanation_times" not in tables:
        return ""
    ranges = []
    shap = []
    more_steps: dict[str, list[str]] = {}  # method -> how much longer, by size
    for size, rows in tables["explanation_times"].groupby("size_px"):
        ratios = rows[rows["method"] != "forward"].dropna(subset=["ratio"]).set_index("method")
        shap.append(f"{_factor(interval_of(ratios.loc[SHAP], 'ratio'))} at {size} px")
        takes_more = (
            ratios["teacher_forwards_flops"] > SAME_STEPS * ratios["student_forwards_flops"]
        )
        for method, ratio in ratios.loc[takes_more, "ratio"].items():
            told = f"{times(ratio)} times at {size} px"
            more_steps.setdefault(graded_name(method), []).append(told)
        alike = ratios.loc[~takes_more, "ratio"]
        ranges.append(f"{times(alike.min())} to {times(alike.max())} times as long at {size} px")
    work = tables["work"].pivot(index="size_px", columns="model", values="macs")
    share = (work["student"] / work["teacher"]).mean()  # nearly the same at every size
    apart = ""
    if more_steps:
        told = [f"{name} {joined(ratios)}" for name, ratios in more_steps.items()]
        apart = f" Apart stands what takes more steps on DenseNet121: {'; '.join(told)}."
    return (
        f"**What does the student save?** It needs {percent(share)} of the MACs of DenseNet121, "
        "the paper's teacher. The same explanation of one image takes DenseNet121 "
        f"{joined(ranges)}. Gradient SHAP alone: {joined(shap)}{_few_rounds(tables)}."
        f"{_told_elsewhere(tables)}{apart}{_own_teacher(tables)}"
    )


def cost_briefly(tables: Tables) -> str:
    """The same of Gradient SHAP at the largest size."""
    if "explanation_times" not in tables:
        return ""
    table = tables["explanation_times"]
    largest = table[table["size_px"] == table["size_px"].max()].set_index("method")
    ratio = interval_of(largest.loc[SHAP], "ratio")
    answer = "Than DenseNet121, the paper's teacher, yes" if ratio.low > 1 else "It is not shown"
    own = _of_own_teacher(tables)
    if own and own.share_of_macs < 1 and ratio.low > 1:
        answer = "It depends on the teacher: than DenseNet121, the paper's, yes"
    return (
        f"**Is it cheaper to explain?** {answer}. The same explanation (Gradient SHAP, "
        f"{largest['size_px'].iloc[0]} px) takes DenseNet121 {_factor(ratio)} times as long"
        f"{_few_rounds(tables)}.{_told_elsewhere(tables)}{_own_teacher(tables)}"
    )


def _told_elsewhere(tables: Tables) -> str:
    """What is claimed of the paper's SHAP, and what the measured interval says of it."""
    if "claims" not in tables:
        return ""
    table = tables["claims"]
    rows = table[(table["measure"] == SHAP_CLAIM) & table["claimed"].notna()]
    if rows.empty:
        return ""
    row = rows.iloc[0]
    return f" Of the paper, {row['source']} gives {row['claimed']} times: {row['verdict']} here."


def _few_rounds(tables: Tables) -> str:
    """That an interval is too narrow, where Gradient SHAP at the largest size was timed rarely."""
    table = tables["explanation_times"]
    largest = table[table["size_px"] == table["size_px"].max()].set_index("method")
    rounds = int(largest.loc[SHAP, "rounds"])
    if rounds >= FEW_ROUNDS:
        return ""
    return (
        f" (timed only {rounds} times at {largest['size_px'].iloc[0]} px, so the true interval is "
        "wider)"
    )


class _OwnTeacher(NamedTuple):
    """The teacher of the other sentences, which is not the paper's, beside the student."""

    name: str
    share_of_macs: float  #: of the student's
    has_more_weights: bool


def _of_own_teacher(tables: Tables) -> _OwnTeacher | None:
    """That teacher, of the largest images; None where it is the paper's or not told."""
    if "teachers" not in tables:
        return None
    table = tables["teachers"]
    main = main_teacher(table)
    rows = table[(table["teacher"] == main) & (table["size_px"] == table["size_px"].max())]
    both = rows.drop_duplicates("model").set_index("model")[["macs", "parameters"]]
    if main == PAPER_TEACHER or main not in both.index:
        return None
    teacher = both.loc[main]
    student = both.drop(main).iloc[0]
    return _OwnTeacher(
        name=TEACHER_NAMES.get(main, main),
        share_of_macs=teacher["macs"] / student["macs"],
        has_more_weights=teacher["parameters"] > student["parameters"],
    )


def _own_teacher(tables: Tables) -> str:
    """What that teacher needs; a sentence or nothing."""
    own = _of_own_teacher(tables)
    if own is None:
        return ""
    told = f" {own.name}, the teacher of the accuracies above, needs "
    told += f"{percent(own.share_of_macs)} of the student's MACs"
    if own.share_of_macs >= 1:
        return f"{told}."
    weights = ", though it has more weights" if own.has_more_weights else ""
    return f"{told}{weights}. Fewer MACs need not take less time."


def _factor(ratio: tuple[float, float, float]) -> str:
    """A factor with its interval."""
    value, low, high = (times(number) for number in ratio)
    return f"{value} [{low}, {high}]"
