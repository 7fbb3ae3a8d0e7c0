"""Charts of the published results: differences, accuracy, set size, schedule (notebook 07)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.ticker import PercentFormatter

from kdnb.core.intervals import Difference, Interval
from kdnb.core.method_names import method_name
from kdnb.core.model_names import KD_STUDENT, LABEL_ONLY, TEACHER
from kdnb.core.pareto import pareto_front
from kdnb.core.plots import MODEL_COLOURS, PALETTE, Picture, error_bars, legend_once
from kdnb.core.profiles import PAPER_TEACHER
from kdnb.results.answered_runs import ALL
from kdnb.results.differences import main_teacher
from kdnb.results.finding_words import NAMES, TEACHER_NAMES, told_honest
from kdnb.xai.tumour_localisation import INPUT

__all__ = [
    "accuracy_by_split",
    "difference_panels",
    "energy_spread",
    "schedule_curves",
    "size_curves",
    "worth_rows",
]

SUMMARY_MARKS = {
    TEACHER: ("s", MODEL_COLOURS[TEACHER]),
    KD_STUDENT: ("o", MODEL_COLOURS[KD_STUDENT]),
    LABEL_ONLY: ("D", MODEL_COLOURS[LABEL_ONLY]),
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
# the maps that the spread inside tumours is shown of, and the number of their layer; 0: the input
SPREAD_ROWS = (
    ("average map", 1),
    ("average map", 3),
    ("average map", 5),
    ("Grad-CAM", 5),
    ("LayerCAM", 1),
    ("class evidence", 1),
    ("class evidence", 3),
    ("SHAP gradient", 0),
    ("integrated gradients", 0),
    ("occlusion", 0),
    ("mean training mask", 0),
    ("centre", 0),
    ("brightness", 0),
    ("random", 0),
)
GUESSES = {  # what sees no network -> what a reader sees
    "mean training mask": "the usual place of such tumours",
    "centre": "the image's centre",
    "brightness": "the image's brightness",
    "random": "chance",
}
SPREAD_SHIFT = {TEACHER: -0.22, KD_STUDENT: 0.0, LABEL_ONLY: 0.22}  # within a row


def accuracy_by_split(table: pd.DataFrame) -> Picture:
    """Accuracy from the split that leaks most to the strictest, one panel per data set.

    Splits whose parts are as large as those by patient say so; a hollow mark is of one seed.
    Columns: dataset, split, sizes_of, teacher, model, accuracy with accuracy_low and accuracy_high,
    memory, seeds. Of several teachers only the one of most places is shown.
    """
    table = table[table["teacher"] == main_teacher(table)]
    names = list(table["dataset"].unique())
    size = (2.2 + 3.1 * len(names), 3.9)
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
        axes.set_xticklabels(labels, fontsize=8)
        axes.set_xlim(-0.5, len(splits) - 0.5)
    panels[0][0].set_ylabel("accuracy on the test part, all classes")
    hollow = {"mfc": "white", "mec": "#444444", "ms": 5, "label": "hollow: one seed"}
    panels[0][-1].plot([], [], "o", **hollow)
    panels[0][0].yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    panels[0][-1].legend(frameon=False, fontsize=8, bbox_to_anchor=(1, 1), loc="upper left")
    figure.tight_layout()
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


def _places(axes: plt.Axes, rows: pd.DataFrame) -> list[str]:
    """Draw one data set at the column ``place``; returns its numbers in words."""
    said = []
    memory = rows.drop_duplicates("place").sort_values("place")
    axes.plot(
        memory["place"], memory["memory"], color="#777777", ls="--", marker="x", label=MEMORY_LINE
    )
    for number, (model, of_model) in enumerate(rows.groupby("model")):
        of_model = of_model.sort_values("place")
        shape, colour = SUMMARY_MARKS[model]
        axes.errorbar(
            of_model["place"] + 0.08 * (number - 1),
            of_model["accuracy"],
            yerr=error_bars(of_model, "accuracy", "accuracy_low", "accuracy_high"),
            marker=shape,
            ms=5,
            capsize=3,
            color=colour,
            label=model,
        )
        one_seed = of_model[of_model["seeds"] == 1]
        shifted = one_seed["place"] + 0.08 * (number - 1)
        hollow = {"mfc": "white", "mec": colour, "ms": 5, "zorder": 3}
        axes.plot(shifted, one_seed["accuracy"], shape, **hollow)
        for row in of_model.itertuples():
            interval = Interval((row.accuracy, row.accuracy_low, row.accuracy_high))
            trained = "one seed" if row.seeds == 1 else f"{row.seeds} seeds"
            said.append(f"{_split_name(row)}, {model}: {interval}, {trained}")
    said += [f"{_split_name(row)}, memory: {row.memory:.3f}" for row in memory.itertuples()]
    return said


def _split_name(row: Any) -> str:
    """Data set and split of a row."""
    return f"{row.dataset}, {row.split}{', equal size' if row.sizes_of else ''}"


def energy_spread(table: pd.DataFrame) -> Picture:
    """How much of each map lies in the tumour: the spread over images.

    One row per map of `SPREAD_ROWS` and layer, one mark per model; what sees no network stands
    below. Columns: model, explanation, tap, q10, q25, median, q75, q90.
    """
    of_layers = table[table["tap"] != INPUT]
    order = of_layers.groupby("model")["tap"].transform(lambda taps: pd.factorize(taps)[0] + 1)
    table = table.assign(layer=order.reindex(table.index, fill_value=0))
    rows = [row for row in SPREAD_ROWS if len(_of_row(table, *row))]
    figure, axes = plt.subplots(figsize=(8, 0.34 * len(rows) + 1.4))
    said = []
    for place, (explanation, layer) in enumerate(rows):
        marks = _of_row(table, explanation, layer)
        if explanation in GUESSES:
            marks = marks.head(1)  # it is the same for every model
        for mark in marks.itertuples():
            said.append(_draw_spread(axes, place, mark, _spread_name(explanation, layer)))
    names = [_spread_name(*row) for row in rows]
    axes.set(yticks=range(len(names)), yticklabels=names, xlim=(0, None))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_xlabel("share of the map inside the tumour (mark: median, bar: middle half of images)")
    axes.invert_yaxis()
    legend_once(axes, columns=4)
    figure.tight_layout()
    return Picture(
        figure, f"Share of each map that lies inside the tumour, over images. {'; '.join(said)}."
    )


def _of_row(table: pd.DataFrame, explanation: str, layer: int) -> pd.DataFrame:
    """The models' spreads of one explanation at the layer of that number; 0: at the input."""
    return table[(table["explanation"] == explanation) & (table["layer"] == layer)]


def _spread_name(explanation: str, layer: int) -> str:
    """What a row of the figure is called."""
    if explanation in GUESSES:
        return GUESSES[explanation]
    return method_name(explanation, f"layer {layer}" if layer else "")


def _draw_spread(axes: plt.Axes, place: int, mark: Any, name: str) -> str:
    """Draw one model's spread in a row; returns it in words."""
    shape, colour = "o", "#777777"
    model = "no network"
    shift = 0.0
    if mark.explanation not in GUESSES:
        model = mark.model
        shape, colour = SUMMARY_MARKS[model]
        shift = SPREAD_SHIFT[model]
    axes.plot([mark.q25, mark.q75], [place + shift] * 2, color=colour, lw=4, alpha=0.4)
    axes.plot(mark.median, place + shift, shape, color=colour, ms=5, label=model, clip_on=False)
    return (
        f"{name}, {model}: median {mark.median:.3f}, middle half {mark.q25:.3f} to {mark.q75:.3f}"
    )


def difference_panels(table: pd.DataFrame) -> Picture:
    """Differences of accuracy with their 95 % intervals: a panel per comparison, a row per place.

    All classes counted. Grey marks: the interval holds zero. Hollow marks: one seed. Columns:
    dataset, split, sizes_of, teacher, counted, model, rival, difference with its ends, seeds.
    """
    table = table[table["counted"] == ALL]
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
            said.append(f"{model} minus {rival}, {name}: {_draw_difference(panel, names, row)}")
        panel.set_title(f"{model}\nminus {rival}".replace(" of an", "\nof an"), fontsize=9)
        panel.locator_params(axis="x", nbins=4)
        panel.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
    axes[0][0].set(yticks=range(len(names)), yticklabels=names)
    axes[0][0].set_ylim(len(names) - 0.5, -0.5)
    figure.supxlabel(
        "difference of accuracy (all classes) in points, with 95 % interval; "
        "grey: it holds zero; hollow: one seed",
        size=9,
    )
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
    colour = PALETTE[0] if leaves_out_zero else "#777777"
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
    axes.plot(memory["fraction"], memory["memory"], color="#777777", ls="--", label=MEMORY_LINE)
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
            label=model,
        )
        for row in rows.itertuples():
            said.append(f"{model} {row.accuracy:.3f} at {row.fraction:.0%}")
    shares = sorted(table["fraction"].unique())
    axes.set(xscale="log", xticks=shares, xticklabels=[f"{share:.0%}" for share in shares])
    size = "/".join(str(size) for size in table["size_px"].unique())
    axes.set(ylabel=f"accuracy on the test part, {size} px")
    axes.set(xlabel="share of the training patients")
    axes.minorticks_off()
    axes.legend(frameon=False, fontsize=8, bbox_to_anchor=(1, 1), loc="upper left")
    figure.tight_layout()
    return Picture(
        figure,
        f"Accuracy against the share of training patients, with 95 % intervals. {'; '.join(said)}.",
    )


def schedule_curves(table: pd.DataFrame) -> Picture:
    """Validation accuracy per epoch, one panel per place.

    Columns: dataset, split, sizes_of, teacher, model, epoch, val_accuracy.
    """
    place = pd.Series([_place_name(row) for row in table.itertuples()], index=table.index)
    grid = sns.relplot(
        table.assign(place=place),
        x="epoch",
        y="val_accuracy",
        hue="model",
        style="model",
        col="place",
        col_wrap=3,
        kind="line",
        markers={name: shape for name, (shape, _) in SUMMARY_MARKS.items()},
        palette={name: colour for name, (_, colour) in SUMMARY_MARKS.items()},
        dashes=False,
        height=2.6,
    )
    grid.set_titles("{col_name}").set_axis_labels("epoch", "accuracy, validation part")
    for axes in grid.axes.flat:
        axes.xaxis.get_major_locator().set_params(integer=True)
    sns.move_legend(grid, "lower center", bbox_to_anchor=(0.5, 1), ncols=3, title=None)
    said = []
    for (name, model), went in table.groupby([place, "model"], sort=False)["val_accuracy"]:
        half_way = went.iloc[len(went) // 2 - 1]
        said.append(f"{name}, {model}: {half_way:.3f} half-way, {went.iloc[-1]:.3f} at the end")
    return Picture(
        grid.figure, f"Accuracy on the validation part after every epoch. {'; '.join(said)}."
    )


def worth_rows(table: pd.DataFrame) -> Picture:
    """Time and quality of every explanation, side by side, the fastest first.

    The quality is the mean over seeds, its bar spans all their intervals. Grey marks: another
    explanation is both faster and better. Columns: method, metric, quality with low and high, ms.
    """
    metric = table["metric"].iloc[0]
    of_seeds = table.groupby("method")
    rows = of_seeds.agg({"quality": "mean", "low": "min", "high": "max", "ms": "mean"})
    rows = rows.sort_values("ms").rename(index=method_name)
    rows["front"] = pareto_front(rows["ms"].to_numpy(), rows["quality"].to_numpy())
    figure, (times, qualities) = plt.subplots(
        1, 2, figsize=(8, 0.32 * len(rows) + 1.2), sharey=True, gridspec_kw={"wspace": 0.08}
    )
    said = []
    for place, row in enumerate(rows.itertuples()):
        look = {"color": PALETTE[0] if row.front else "#777777", "ms": 7}
        times.plot(row.ms, place, "o", **look)
        ends = [[row.quality - row.low], [row.high - row.quality]]
        qualities.errorbar(row.quality, place, xerr=ends, fmt="o", capsize=3, **look)
        said.append(f"{row.Index} {row.ms:.3g} ms, {row.quality:.3f}")
    times.set(xscale="log", xlabel="time, ms (SHAP: extrapolated)")
    times.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    times.set(yticks=range(len(rows)), yticklabels=rows.index)
    times.set_ylim(len(rows) - 0.5, -0.5)
    qualities.set_xlabel(f"{metric}, mean over images")
    if rows["low"].min() >= 0 and rows["high"].max() <= 1:
        qualities.set_xlim(0, None)
        qualities.xaxis.set_major_formatter(PercentFormatter(1))
    times.set_title("grey: another one is both faster and better", loc="left", fontsize=9)
    not_beaten = ", ".join(rows.index[rows["front"]])
    return Picture(
        figure,
        f"Time of one explanation, and {metric}: {'; '.join(said)}. Not beaten: {not_beaten}.",
    )
