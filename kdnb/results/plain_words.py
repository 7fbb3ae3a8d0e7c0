"""What the published tables say in plain words: a question, a sentence, and its numbers (07).

`kdnb.results.findings` says the same with every interval.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from kdnb.core.method_names import graded_name
from kdnb.core.number_text import percent, times
from kdnb.core.statistics import unpaired_difference
from kdnb.results.findings import BRAIN, CONTROLS, LEAKY, NAMES, WHOLE, distilled, interval_of
from kdnb.xai.baselines import BASELINES

__all__ = ["PlainFinding", "findings_html", "joined", "plain_findings", "told_at_once", "verdict"]

COLUMNS = ["value", "low", "high", "seeds"]
MEMORY_SEEDS = 0  # memory is counted, not trained


@dataclass(frozen=True)
class PlainFinding:
    """One thing that came out."""

    question: str
    answer: str  #: a few short sentences
    panel: str = ""  #: what its differences are, for the picture; empty where it has none
    #: index: what each difference is of; columns value, low, high (95 % interval), seeds
    differences: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=COLUMNS))


def plain_findings(tables: Mapping[str, pd.DataFrame]) -> list[PlainFinding]:
    """One finding per question, from the tables of `kdnb.results.build`.

    None of a question whose table is missing or holds no row for it.
    """
    makers = (
        (_gain, "c_gains"),
        (_control, "c_gains"),
        (_memory, "a_accuracy"),
        (_leaks, "a_accuracy"),
        (_paper, "a_larger" if "a_larger" in tables else "a_accuracy"),
        (_passed, "f_verdicts"),
        (_average_map, "f_distractor"),
        (_cheat, "f_shortcut"),
        (_reasons, "f_kd_question"),
        (_cost, "e_explanations"),
    )
    found = [make(tables[name]) for make, name in makers if name in tables]
    return [finding for finding in found if finding is not None]


def told_at_once(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """What the README tells first of cost."""
    told = []
    if "e_explanations" in tables:
        ratio = tables["e_explanations"].set_index("method").loc["shap_gradient"]
        value, low, high = (times(number) for number in interval_of(ratio, "ratio"))
        told.append(
            "**Is it cheaper to explain?** Yes. The same explanation (Gradient SHAP) takes "
            f"DenseNet121, the paper's teacher, {value} [{low}, {high}] times as long."
        )
    return told


def verdict(row: pd.Series) -> str:
    """What an interval says of a difference: "more", "less", "open", or "one seed".

    One seed knows nothing of other seeds: its intervals are too narrow.

    >>> verdict(pd.Series({"value": 0.2, "low": 0.1, "high": 0.3, "seeds": 3}))
    'more'
    """
    if row["low"] > 0:
        told = "more"
    elif row["high"] < 0:
        told = "less"
    else:
        return "open"
    return "one seed" if row["seeds"] == 1 else told


def _sentences(rows: pd.DataFrame, more: str, less: str) -> str:
    """Differences in words, those with the same verdict together.

    Args:
        rows: As `PlainFinding.differences`; at least one.
        more: What is so where the difference is above zero, up to "on".
        less: The same below zero.
    """
    verdicts = rows.apply(verdict, axis=1)
    told = []
    for name, words in (("more", more), ("less", less)):
        chosen = rows[verdicts == name]
        if len(chosen):
            told.append(f"{words} on {_names(chosen)}.")
    once = rows[verdicts == "one seed"]
    for chosen, words in ((once[once["value"] > 0], more), (once[once["value"] < 0], less)):
        if len(chosen):
            told.append(f"{words} on {_names(chosen)}, but with one seed only.")
    unknown = rows[verdicts == "open"]
    if len(unknown):
        told.append(f"On {_names(unknown)} this study cannot tell.")
    return " ".join(told)


def _names(rows: pd.DataFrame) -> str:
    """What differences are of, with their values.

    >>> _names(pd.DataFrame({"value": [0.1, -0.02, 0.3]}, index=["brain", "eye", "lung"]))
    'brain (+0.100), eye (-0.020) and lung (+0.300)'
    """
    return joined([f"{name} ({value:+z.3f})" for name, value in rows["value"].items()])


def joined(words: Sequence[str]) -> str:
    """Words as a list in a sentence.

    >>> joined(["1", "3", "5"]), joined(["1"])
    ('1, 3 and 5', '1')
    """
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _differences(rows: pd.DataFrame, value: str) -> pd.DataFrame:
    """Rows as `PlainFinding.differences`, from a column and the ends of its intervals."""
    found = {}
    for name, row in rows.iterrows():
        found[NAMES.get(name, name)] = [*interval_of(row, value), row["seeds"]]
    return pd.DataFrame(found, index=COLUMNS).T


def _by_dataset(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows named by their data set, and by alpha and T where it has several."""
    named = []
    for row in rows.itertuples():
        name = NAMES.get(row.dataset, row.dataset)
        several = (rows["dataset"] == row.dataset).sum() > 1
        named.append(f"{name}, alpha {row.alpha:g}, T {row.temperature:g}" if several else name)
    return rows.set_index(pd.Index(named))


def _gain(table: pd.DataFrame) -> PlainFinding | None:
    smallest = table[table["size_px"] == table["size_px"].min()]
    rows = smallest.query(f"{WHOLE} and against == 'labels alone' and taught_by not in @CONTROLS")
    if rows.empty:
        return None
    differences = _differences(_by_dataset(rows), "difference")
    return PlainFinding(
        question="Does distillation help?",
        answer=_sentences(differences, "It helps", "It harms"),
        panel="with a teacher,\nminus labels alone",
        differences=differences,
    )


def _control(table: pd.DataFrame) -> PlainFinding | None:
    rows = table.query(f"{BRAIN} and against in @CONTROLS").set_index("against")
    if rows.empty:
        return None
    differences = _differences(rows.rename(index=CONTROLS), "difference")
    better = differences[differences.apply(verdict, axis=1) == "more"]
    if better.empty:
        said = (
            f"Not shown. On brain its students do not clearly beat those of {_names(differences)}."
        )
    else:
        said = f"On brain its students beat {_names(better)}."
    return PlainFinding(
        question="Is it the teacher that helps, or would anything soft?", answer=said
    )


def _memory(table: pd.DataFrame) -> PlainFinding | None:
    rows = distilled(table)
    if rows.empty:
        return None
    differences = _differences(rows, "above")
    return PlainFinding(
        question="Does the student know more than the nearest training image?",
        answer=_sentences(differences, "More", "Less"),
        panel="student\nminus memory",
        differences=differences,
    )


def _leaks(table: pd.DataFrame) -> PlainFinding | None:
    leaky = distilled(table, LEAKY)
    honest = distilled(table)
    both = [dataset for dataset in LEAKY if dataset in leaky.index and dataset in honest.index]
    if not both:
        return None
    student = {}
    memory = {}
    for dataset in both:
        name = NAMES.get(dataset, dataset)
        ends = [interval_of(rows.loc[dataset], "accuracy") for rows in (leaky, honest)]
        seeds = min(leaky.at[dataset, "seeds"], honest.at[dataset, "seeds"])
        student[name] = [*unpaired_difference(*ends), seeds]
        ends = [interval_of(rows.loc[dataset], "leak_meter_mirrored") for rows in (leaky, honest)]
        memory[name] = [*unpaired_difference(*ends), MEMORY_SEEDS]
    of_student = pd.DataFrame(student, index=COLUMNS).T
    of_memory = pd.DataFrame(memory, index=COLUMNS).T
    said = _sentences(of_memory, "Memory gains from it", "Memory loses from it")
    said += f" {_sentences(of_student, 'The student gains from it', 'The student loses from it')}"
    return PlainFinding(
        question="Does the paper's kind of split flatter?",
        answer=said,
        panel="student, leaky\nminus honest split",
        differences=of_student,
    )


def _paper(table: pd.DataFrame) -> PlainFinding | None:
    rows = distilled(table, LEAKY).dropna(subset=["paper"])
    if rows.empty:
        return None
    minus = rows.copy()
    for column in ("accuracy", "accuracy_low", "accuracy_high"):
        minus[column] = rows[column] - rows["paper"]
    differences = _differences(minus, "accuracy")
    size = joined([f"{size}" for size in sorted(rows["size_px"].unique())])
    epochs = joined([f"{epochs}" for epochs in sorted(rows["epochs"].unique())])
    return PlainFinding(
        question="Is it as accurate as the paper says?",
        answer=_sentences(differences, "It is more accurate", "It is less accurate")
        + f" Here the networks start from scratch, at {size} px, and learn for {epochs} epochs.",
        panel="student minus\nthe paper's",
        differences=differences,
    )


def _passed(table: pd.DataFrame) -> PlainFinding | None:
    rows = table.query(f"{BRAIN} and model == 'KD student' and explanation not in @BASELINES")
    if rows.empty:
        return None
    passed = rows.loc[rows["names what matters"] == 1, "explanation"]
    said = "none does"
    if len(passed):
        said = joined([graded_name(name) for name in passed])
    return PlainFinding(
        question="Which explanations of the student beat maps that explain nothing?",
        answer=f"On brain, of {len(rows)} explanations: {said}.",
    )


def _average_map(table: pd.DataFrame) -> PlainFinding | None:
    rows = table.set_index("map")
    if not {"average map", "class evidence"} <= set(rows.index):
        return None
    shares = rows["share"]
    lured = rows.at["average map", "low"] > rows.at["average map", "chance"]
    return PlainFinding(
        question="Does the average map show what matters?",
        answer=("Not by itself. " if lured else "")
        + "On phantoms it points at a bright blob that means nothing in "
        f"{percent(shares['average map'])} of the images. Class evidence does so in "
        f"{percent(shares['class evidence'])}.",
    )


def _cheat(table: pd.DataFrame) -> PlainFinding | None:
    rows = table[~table["explanation"].isin(BASELINES)]
    if rows.empty:
        return None
    revealing = rows.loc[rows["reveals"] == 1, "explanation"]
    names = f": {joined([graded_name(name) for name in revealing])}" if len(revealing) else ""
    return PlainFinding(
        question="Would an explanation reveal a student that cheats?",
        answer=f"{len(revealing)} of {len(rows)} explanations do{names}.",
    )


def _reasons(table: pd.DataFrame) -> PlainFinding | None:
    rows = table.query(f"{BRAIN} and measure != 'accuracy'")
    if rows.empty:
        return None
    more = (rows["low"] > 0).sum()
    less = (rows["high"] < 0).sum()
    return PlainFinding(
        question="Does distillation change the student's reasons?",
        answer=f"On brain, {more} of {len(rows)} measures say that they come nearer to the "
        f"teacher's, and {less} that they go away from them. {len(rows) - more - less} stay open.",
    )


def _cost(table: pd.DataFrame) -> PlainFinding | None:
    rows = table[table["method"] != "forward"].dropna(subset=["ratio"])
    if rows.empty:
        return None
    least = times(rows["ratio"].min())
    most = times(rows["ratio"].max())
    yes = "Yes. " if rows["ratio_low"].min() > 1 else ""
    return PlainFinding(
        question="Is the student's explanation cheaper?",
        answer=f"{yes}The same explanation takes the teacher {least} to {most} times as long.",
    )


def findings_html(found: Sequence[PlainFinding]) -> str:
    """Questions and answers as HTML for a notebook, two beside each other where there is room."""
    cards = []
    for finding in found:
        cards.append(
            f"<div><dt><strong>{html.escape(finding.question)}</strong></dt>"
            f'<dd style="margin:0">{html.escape(finding.answer)}</dd></div>'
        )
    style = (
        "display:grid;grid-template-columns:repeat(auto-fit,minmax(20em,1fr));"
        "gap:.8em 2em;margin:.5em 0"
    )
    return f'<dl style="{style}">{"".join(cards)}</dl>'
