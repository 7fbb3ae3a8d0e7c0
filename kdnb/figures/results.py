"""Charts of the published results: accuracy beside memory, data set size, and the schedule (notebook 07)."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from kdnb.figures.charts import legend_once
from kdnb.figures.costs import pareto
from kdnb.figures.output import PALETTE, Picture
from kdnb.metrics import Interval

__all__ = ["accuracy_summary", "schedule_curves", "size_curves", "worth_pareto"]

MARKS = {"teacher": ("s", PALETTE[1]), "KD student": ("o", PALETTE[0]), "label-only student": ("D", PALETTE[2]),
         "as-coded student": ("^", PALETTE[3])}  # fmt: skip


def accuracy_summary(table: pd.DataFrame) -> Picture:
    """Accuracy of every model under every split, with what memory alone and the largest class reach, and the paper.

    Columns: dataset, split, model, accuracy with accuracy_low and accuracy_high, memory, majority, paper (or NaN).
    """
    places = list(table.groupby(["dataset", "split"], sort=False).groups)
    figure, axes = plt.subplots(figsize=(8, 0.95 * len(places) + 1.5))
    said, half = [], 0.32
    for row, place in enumerate(places):
        part = table[(table["dataset"] == place[0]) & (table["split"] == place[1])]
        memory, largest = part[["memory", "majority"]].iloc[0]
        axes.barh(row, memory, height=2.4 * half, color="#e6e6e6", label="memory alone (1-NN)")
        axes.vlines(largest, row - 1.2 * half, row + 1.2 * half, color="#555555", lw=1, ls=":",
                    label="always the largest class")  # fmt: skip
        words = [f"memory alone {memory:.3f}", f"always the largest class {largest:.3f}"]
        for one in part.itertuples():
            shape, colour = MARKS[one.model]
            at = row + half * (list(MARKS).index(one.model) - 1.5) / 1.5
            reach = np.abs(np.array([[one.accuracy_low], [one.accuracy_high]]) - one.accuracy)
            axes.errorbar(one.accuracy, at, xerr=reach, fmt=shape, ms=5, capsize=3, color=colour, label=one.model)
            words.append(f"{one.model} {Interval((one.accuracy, one.accuracy_low, one.accuracy_high))}")
            if one.paper == one.paper:  # not NaN
                axes.plot(one.paper, at, shape, ms=9, mfc="none", color=colour, label="the paper's (hollow)")
                words.append(f"the paper's {one.paper:.3f}")
        said.append(f"{place[0]}, {place[1]}: {', '.join(words)}")
    legend_once(axes, columns=3)
    axes.set(yticks=range(len(places)), yticklabels=[f"{d.replace('_', ' ')}\n{s}" for d, s in places],
             xlabel="accuracy on the test part (95 % interval)", xlim=(0, 1.01))  # fmt: skip
    axes.invert_yaxis()
    return Picture(figure, f"Accuracy of every model per data set and split. {'; '.join(said)}.")


def size_curves(table: pd.DataFrame, value: str = "accuracy", by: str = "model") -> Picture:
    """A score against the share of the training patients, one panel per data set of which there are several shares.

    Columns: dataset, fraction, ``by``, ``value`` and its ends (accuracy_low, accuracy_high), memory where it is known.
    """
    names = [name for name, rows in table.groupby("dataset", sort=False) if rows["fraction"].nunique() > 1]
    figure, panels = plt.subplots(1, len(names), figsize=(3.4 * len(names) + 2.4, 3.4), squeeze=False, sharey=True)
    said = []
    for axes, name in zip(panels[0], names, strict=True):
        rows = table[table["dataset"] == name].sort_values("fraction", kind="stable")
        if "memory" in rows:
            axes.plot(rows["fraction"], rows["memory"], color="#777777", ls="--", label="memory alone (1-NN)")
        for number, (line, part) in enumerate(rows.groupby(by, sort=False)):
            shape, colour = MARKS.get(line, ("osD^vPX"[number % 7], [*PALETTE, "#777777"][number % 7]))
            reach = np.abs(part[[f"{value}_low", f"{value}_high"]].to_numpy().T - part[value].to_numpy())
            axes.errorbar(part["fraction"] * 1.035**number, part[value], yerr=reach, marker=shape, ms=5, capsize=3,
                          color=colour, label=line)  # fmt: skip
            ends = [f"{getattr(r, value):.3f} at {r.fraction:g}" for r in part.iloc[[0, -1]].itertuples()]
            said.append(f"{name}, {line}: {' to '.join(ends)}")
        shares = sorted(rows["fraction"].unique())
        axes.set(xscale="log", title=name.replace("_", " "), xlabel="share of the training patients",
                 xticks=shares, xticklabels=[f"{share:.0%}" for share in shares])  # fmt: skip
        axes.minorticks_off()
    panels[0][0].set_ylabel(f"{value} on the test part")
    panels[0][-1].legend(frameon=False, fontsize=8, bbox_to_anchor=(1, 1), loc="upper left")
    figure.tight_layout()
    return Picture(figure, f"{value} against the share of training patients, with 95 % intervals. {'; '.join(said)}.")


def schedule_curves(table: pd.DataFrame) -> Picture:
    """Validation accuracy per epoch, one panel per place (columns dataset, split, model, epoch, val_accuracy)."""
    place = table["dataset"].str.replace("_", " ") + ", " + table["split"]
    shapes, colours = ({name: mark[i] for name, mark in MARKS.items()} for i in (0, 1))
    grid = sns.relplot(table.assign(place=place), x="epoch", y="val_accuracy", hue="model", style="model", col="place",
                       col_wrap=3, kind="line", markers=shapes, palette=colours, dashes=False, height=2.6)  # fmt: skip
    grid.set_titles("{col_name}").set_axis_labels("epoch", "accuracy, validation part")
    for axes in grid.axes.flat:
        axes.xaxis.get_major_locator().set_params(integer=True)
    sns.move_legend(grid, "lower center", bbox_to_anchor=(0.5, 1), ncols=3, title=None)
    said = [
        f"{name}, {model}: {went.iloc[len(went) // 2 - 1]:.3f} half-way, {went.iloc[-1]:.3f} at the end"
        for (name, model), went in table.groupby([place, "model"], sort=False)["val_accuracy"]
    ]
    return Picture(grid.figure, f"Accuracy on the validation part after every epoch. {'; '.join(said)}.")


def worth_pareto(table: pd.DataFrame) -> Picture:
    """Quality of every explanation of one data set against its time (columns method, model, metric, quality, ms)."""
    metric = table["metric"].iloc[0]
    return pareto(table.rename(columns={"quality": metric}).set_index(["method", "model"]), metric)
