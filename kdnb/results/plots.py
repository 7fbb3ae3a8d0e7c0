"""Charts of the published results: differences, accuracy, set size, schedule (notebook 07)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.ticker import PercentFormatter

from kdnb.core.intervals import Difference, Interval
from kdnb.core.model_names import KD_STUDENT, LABEL_ONLY, TEACHER
from kdnb.core.plots import GREY, MODEL_COLOURS, MODEL_SHAPES, Picture, error_bars
from kdnb.core.profiles import PAPER_TEACHER
from kdnb.results.answered_runs import ALL
from kdnb.results.differences import main_teacher
from kdnb.results.finding_words import (
    MODEL_WORDS,
    NAMES,
    SEVERAL,
    TEACHER_NAMES,
    told_honest,
)

__all__ = [
    "accuracy_by_split",
    "difference_panels",
    "schedule_curves",
    "size_curves",
]

SUMMARY_MARKS = {
    name: (MODEL_SHAPES[name], MODEL_COLOURS[name]) for name in (TEACHER, KD_STUDENT, LABEL_ONLY)
}
# from the split that leaks most to the strictest; how it is written below a chart
STRICTER = {
    "random": "random\nimages",
    "published": "as\npublished",
    "deduplicated": "copies\nleft out",
    "grouped": "copies\napart",
    "patients": "patients\napart",
}
MEMORY_LINE = "memory alone (1-NN)"
MAJORITY_LINE = "always the largest class"
PAPER_MARK = "student in the paper"
BESIDE = 0.13  # how far apart the marks of one place are drawn


def accuracy_by_split(table: pd.DataFrame) -> Picture:
    """Accuracy from the split that leaks most to the strictest, one panel per data set.

    Splits whose parts are as large as those by patient say so; a hollow mark is of one seed.
    Columns: dataset, split, sizes_of, teacher, model, seeds, majority, paper (NaN where the paper
    has no such split), and accuracy and memory, each with its ends ``_low`` and ``_high``. Of
    several teachers only that of most places is shown.
    """
    table = table[table["teacher"] == main_teacher(table)]
    names = list(table["dataset"].unique())
    size = (1 + 3.1 * len(names), 4.6)
    columns = ["dataset", "split", "sizes_of"]
    widths = [1 + len(table[table["dataset"] == name].drop_duplicates(columns)) for name in names]
    figure, panels = plt.subplots(
        1,
        len(names),
        figsize=size,
        squeeze=False,
        sharey=True,
        gridspec_kw={"width_ratios": widths},
    )
    said = []
    for axes, name in zip(panels[0], names, strict=True):
        of_set = table[table["dataset"] == name]
        splits = list(of_set[["split", "sizes_of"]].drop_duplicates().itertuples(index=False))
        splits.sort(key=lambda one: (list(STRICTER).index(one.split), one.sizes_of))
        drawn = zip(of_set["split"], of_set["sizes_of"], strict=True)
        said += _places(axes, of_set.assign(place=[splits.index(one) for one in drawn]))
        labels = [
            _split_label(name, one.split) + ("\n(equal size)" if one.sizes_of else "")
            for one in splits
        ]
        axes.set(title=NAMES.get(name, name), xticks=range(len(splits)))
        axes.set_xticklabels(labels, fontsize=9)
        axes.set_xlim(-0.5, len(splits) - 0.5)
    panels[0][0].set_ylabel("accuracy on the test part, all classes")
    if (table["seeds"] == 1).any():
        hollow = {"mfc": "white", "mec": "#444444", "ms": 5, "label": "hollow: one seed"}
        panels[0][0].plot([], [], "o", **hollow)
    panels[0][0].yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    named = panels[0][0].get_legend_handles_labels()
    figure.tight_layout(rect=(0, 0, 1, 0.9))
    figure.legend(*named, frameon=False, ncols=3, loc="upper center")
    return Picture(
        figure,
        "Accuracy on the test part with 95 % intervals, from the split that leaks most to the "
        f"strictest. {'; '.join(said)}.",
    )


def _split_label(dataset: str, split: str) -> str:
    """How a split is written below a chart, in two lines."""
    if told_honest(dataset, split) == "by person":
        return "people\napart"
    return STRICTER[split]


def _paper_marks(axes: plt.Axes, rows: pd.DataFrame) -> list[str]:
    """What the paper reports of its student, beside the split of its kind; returns it in words."""
    known = rows[rows["model"] == KD_STUDENT].dropna(subset=["paper"])
    style = {"mfc": "white", "mec": "black", "ms": 6, "ls": ""}
    axes.plot(known["place"] - 2 * BESIDE, known["paper"], "D", label=PAPER_MARK, **style)
    return [f"{_split_name(row)}, {PAPER_MARK}: {row.paper:.3f}" for row in known.itertuples()]


def _places(axes: plt.Axes, rows: pd.DataFrame) -> list[str]:
    """Draw one data set at the column ``place``; returns its numbers in words."""
    said = []
    memory = rows.drop_duplicates("place").sort_values("place")
    for number, row in enumerate(memory.itertuples()):
        ends = [row.place - 0.35, row.place + 0.35]
        label = MAJORITY_LINE if number == 0 else None
        axes.plot(ends, [row.majority] * 2, color=GREY, ls=":", lw=1.5, label=label)
        said.append(f"{_split_name(row)}, {MAJORITY_LINE}: {row.majority:.3f}")
    axes.errorbar(
        memory["place"] + 2 * BESIDE,
        memory["memory"],
        yerr=error_bars(memory, "memory", "memory_low", "memory_high"),
        color=GREY,
        ls="--",
        marker="x",
        capsize=3,
        label=MEMORY_LINE,
    )
    for number, (model, (shape, colour)) in enumerate(SUMMARY_MARKS.items()):
        of_model = rows[rows["model"] == model].sort_values("place")
        axes.errorbar(
            of_model["place"] + BESIDE * (number - 1),
            of_model["accuracy"],
            yerr=error_bars(of_model, "accuracy", "accuracy_low", "accuracy_high"),
            marker=shape,
            ms=5,
            capsize=3,
            color=colour,
            label=MODEL_WORDS[model],
        )
        one_seed = of_model[of_model["seeds"] == 1]
        shifted = one_seed["place"] + BESIDE * (number - 1)
        hollow = {"mfc": "white", "mec": colour, "ms": 5, "zorder": 3}
        axes.plot(shifted, one_seed["accuracy"], shape, **hollow)
        for row in of_model.itertuples():
            interval = Interval((row.accuracy, row.accuracy_low, row.accuracy_high))
            trained = "one seed" if row.seeds == 1 else f"{row.seeds} seeds"
            said.append(f"{_split_name(row)}, {MODEL_WORDS[model]}: {interval}, {trained}")
    said += _paper_marks(axes, rows)
    for row in memory.itertuples():
        interval = Interval((row.memory, row.memory_low, row.memory_high))
        said.append(f"{_split_name(row)}, memory: {interval}")
    return said


def _split_name(row: Any) -> str:
    """Data set and split of a row."""
    return f"{row.dataset}, {row.split}{', equal size' if row.sizes_of else ''}"


def difference_panels(table: pd.DataFrame) -> Picture:
    """Differences of accuracy with their 95 % intervals: a panel per comparison, a row per place.

    All classes counted. Black marks: three seeds or more, and an interval without zero. Hollow
    marks: one seed. A comparison of one place has no panel beside those of more.

    Columns: dataset, split, sizes_of, teacher, counted, model, rival, difference with its ends,
    seeds.
    """
    table = table[table["counted"] == ALL]
    places = table.groupby(["model", "rival"])["model"].transform("size")
    table = table[(places > 1) | (places.max() == 1)]
    names = _in_order(table)
    panels = table.groupby(["model", "rival"], sort=False)
    size = (2.3 * len(panels) + 2.6, 0.5 * len(names) + 1.6)
    figure, axes = plt.subplots(
        1, len(panels), figsize=size, squeeze=False, sharex=True, sharey=True
    )
    said = []
    for panel, ((model, rival), rows) in zip(axes[0], panels, strict=True):
        panel.axvline(0, color="#555555", lw=1)
        for row in rows.itertuples():
            name = _place_name(row)
            minus = f"{MODEL_WORDS[model]} minus {MODEL_WORDS.get(rival, rival)}"
            said.append(f"{minus}, {name}: {_draw_difference(panel, names, row)}")
        less = MODEL_WORDS.get(rival, rival)
        panel.set_title(f"{MODEL_WORDS[model]}\nminus {less}", fontsize=10)
        panel.locator_params(axis="x", nbins=4)
        panel.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
    axes[0][0].set(yticks=range(len(names)), yticklabels=names)
    axes[0][0].set_ylim(len(names) - 0.5, -0.5)
    marks = "black: three seeds or more, and zero is left out; grey: not shown"
    if (table["seeds"] == 1).any():
        marks += "; hollow: one seed"
    measure = "difference of accuracy (all classes) in points, with 95 % interval"
    figure.supxlabel(f"{measure}\n{marks}", size=9)
    figure.tight_layout()
    return Picture(figure, f"Differences of accuracy with 95 % intervals. {'; '.join(said)}.")


def _in_order(table: pd.DataFrame) -> list[str]:
    """The names of the places, those of one data set and split beside each other."""
    places = table.drop_duplicates(["dataset", "split", "sizes_of", "teacher"])
    datasets = list(dict.fromkeys(places["dataset"]))
    splits = list(dict.fromkeys(places["split"]))
    rows = sorted(
        places.itertuples(),
        key=lambda row: (datasets.index(row.dataset), splits.index(row.split)),
    )
    return [_place_name(row) for row in rows]


def _place_name(row: Any) -> str:
    """Data set and split as a reader says them, and the teacher where it is the paper's."""
    split = _split_label(row.dataset, row.split).replace("\n", " ")
    place = f"{NAMES.get(row.dataset, row.dataset)}, {split}"
    if row.sizes_of:
        place += ", equal sizes"
    return place if row.teacher != PAPER_TEACHER else f"{place}, {TEACHER_NAMES[row.teacher]}"


def _draw_difference(axes: plt.Axes, names: Sequence[str], row: Any) -> str:
    """Draw one difference in the row of its place; returns it in words."""
    leaves_out_zero = row.difference_low > 0 or row.difference_high < 0
    colour = "black" if leaves_out_zero and row.seeds >= SEVERAL else GREY
    ends = [[row.difference - row.difference_low], [row.difference_high - row.difference]]
    axes.errorbar(
        row.difference,
        names.index(_place_name(row)),
        xerr=ends,
        fmt="o",
        ms=7,
        capsize=4,
        color=colour,
        mfc="white" if row.seeds == 1 else colour,
    )
    interval = Difference((row.difference, row.difference_low, row.difference_high))
    return f"{interval:+z.3f}{' (one seed)' if row.seeds == 1 else ''}"


def size_curves(table: pd.DataFrame) -> Picture:
    """Accuracy of every model against the share of the training patients, beside memory.

    Columns: fraction, model, accuracy with accuracy_low and accuracy_high, memory, size_px.
    """
    table = table.sort_values("fraction", kind="stable")
    figure, axes = plt.subplots(figsize=(6.2, 3.6))
    memory = table.drop_duplicates("fraction")
    axes.plot(memory["fraction"], memory["memory"], color=GREY, ls="--", label=MEMORY_LINE)
    said = []
    for number, (model, rows) in enumerate(table.groupby("model", sort=False)):
        shape, colour = SUMMARY_MARKS[model]
        axes.errorbar(
            rows["fraction"] * 1.035**number,  # beside each other
            rows["accuracy"],
            yerr=error_bars(rows, "accuracy", "accuracy_low", "accuracy_high"),
            marker=shape,
            ms=5,
            capsize=3,
            color=colour,
            label=MODEL_WORDS[model],
        )
        for row in rows.itertuples():
            said.append(f"{MODEL_WORDS[model]} {row.accuracy:.3f} at {row.fraction:.0%}")
    shares = sorted(table["fraction"].unique())
    axes.set(xscale="log", xticks=shares, xticklabels=[f"{share:.0%}" for share in shares])
    size = "/".join(str(size) for size in table["size_px"].unique())
    axes.set(ylabel=f"accuracy on the test part, {size} px")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set(xlabel="share of the training patients")
    axes.minorticks_off()
    axes.legend(frameon=False, fontsize=8, bbox_to_anchor=(1, 1), loc="upper left")
    figure.tight_layout()
    return Picture(
        figure,
        f"Accuracy against the share of training patients, with 95 % intervals. {'; '.join(said)}.",
    )


def schedule_curves(table: pd.DataFrame) -> Picture:
    """Validation accuracy per epoch, mean over seeds, one panel per place.

    Columns: dataset, split, sizes_of, teacher, model, epoch, val_accuracy, teachers.
    """
    place = pd.Series([_panel_name(row) for row in table.itertuples()], index=table.index)
    table = table.replace({"model": MODEL_WORDS})
    marks = {MODEL_WORDS[name]: mark for name, mark in SUMMARY_MARKS.items()}
    grid = sns.relplot(
        table.assign(place=place),
        x="epoch",
        y="val_accuracy",
        hue="model",
        style="model",
        col="place",
        col_wrap=3,
        kind="line",
        markers={name: shape for name, (shape, _) in marks.items()},
        palette={name: colour for name, (_, colour) in marks.items()},
        dashes=False,
        height=2.6,
    )
    grid.set_titles("{col_name}", size=9).set_axis_labels("epoch", "accuracy, validation part")
    for axes in grid.axes.flat:
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    sns.move_legend(grid, "lower center", bbox_to_anchor=(0.5, 1), ncols=3, title=None)
    said = []
    for (name, model), went in table.groupby([place, "model"], sort=False)["val_accuracy"]:
        half_way = went.iloc[len(went) // 2 - 1]
        name = name.replace("\n", ", ")
        said.append(f"{name}, {model}: {half_way:.3f} half-way, {went.iloc[-1]:.3f} at the end")
    return Picture(
        grid.figure, f"Accuracy on the validation part after every epoch. {'; '.join(said)}."
    )


def _panel_name(row: Any) -> str:
    """Place and number of seeds, in two lines."""
    trained = "one seed" if row.teachers == 1 else f"mean of {row.teachers} seeds"
    return f"{_place_name(row)}\n{trained}"
