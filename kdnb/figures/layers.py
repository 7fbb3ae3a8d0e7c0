"""Charts of what the layers hold: probes, likeness of networks, the ledger, ablation (notebook 04)."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from kdnb.figures.output import PALETTE, Picture

__all__ = ["ablation_curves", "cka_heatmaps", "ledger_bars", "probe_curves"]

MARKS = ("o-", "s--", "^-.", "D:")
PARTS = {  # of the ledger: column, offset and height of its bars, colour, hatch
    "for": ("supporting", -0.12, 0.42, PALETTE[5], ""), "against": ("opposing", -0.12, 0.42, PALETTE[0], "//"),
    "bias": ("bias", 0.25, 0.3, "#999999", ".."),
}  # fmt: skip


def probe_curves(probes: pd.DataFrame, chance: float) -> Picture:
    """Accuracy of a linear probe at every layer, a line per network with its interval; the untrained one beside them.

    Columns: model, tap, accuracy, low, high, untrained, untrained_low, untrained_high; ``chance`` is the accuracy of
    always naming the most frequent class.
    """
    figure, axes = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
    first = probes[probes["model"] == probes["model"].iloc[0]]
    bare = first[["untrained", "untrained_low", "untrained_high"]].set_axis(["accuracy", "low", "high"], axis=1)
    lines = dict(tuple(probes.groupby("model", sort=False))) | {"untrained student": bare}
    said = []
    for i, (name, line) in enumerate(lines.items()):
        x = np.arange(1, len(line) + 1)
        axes.plot(x, line["accuracy"], MARKS[i % 4], color=PALETTE[i], label=name, ms=5)
        axes.fill_between(x, line["low"], line["high"], color=PALETTE[i], alpha=0.12, lw=0)
        said.append(f"{name}: " + ", ".join(f"{v:.2f}" for v in line["accuracy"]))
    axes.axhline(chance, color="#777777", ls=":", lw=1)
    axes.set(xticks=x, xlabel="layer", ylabel="accuracy of a linear probe", ylim=(0, 1.03))
    axes.set_xticklabels([f"{n}\n{tap}" for n, tap in zip(x, first["tap"], strict=True)])
    axes.legend(frameon=False, fontsize=9)
    return Picture(figure, f"Lines: accuracy of a linear probe at layers 1 to {len(x)}. {'; '.join(said)}. "
                           f"Dotted line: most frequent class, {chance:.2f}.")  # fmt: skip


def cka_heatmaps(cka: pd.DataFrame) -> Picture:
    """Debiased linear CKA of the student's layers with those of other networks (columns tap, model, other_tap, cka)."""
    names = cka["model"].unique()
    figure, axes = plt.subplots(1, len(names), figsize=(3.1 * len(names), 3.2), layout="constrained", squeeze=False)
    said = []
    for ax, name in zip(axes[0], names, strict=True):
        part = cka[cka["model"] == name]
        table = part.pivot(index="tap", columns="other_tap", values="cka")
        table = table.loc[part["tap"].unique(), part["other_tap"].unique()]
        sns.heatmap(table, ax=ax, vmin=0, vmax=1, cmap="cividis", annot=True, fmt=".2f", cbar=False,
                    annot_kws={"size": 8})  # fmt: skip
        ax.set(title=name, xlabel="", ylabel="KD student" if ax is axes[0, 0] else "")
        ax.tick_params(axis="x", rotation=45)
        ax.tick_params(axis="y", rotation=0, labelleft=ax is axes[0, 0])
        pairs = zip(table.index, table.columns, strict=False)
        said.append(f"{name}: " + ", ".join(f"{a} with {b} {table.loc[a, b]:.2f}" for a, b in pairs))
    alt = f"Heat maps of the likeness (CKA) of the student's layers to other networks. {'; '.join(said)}."
    return Picture(figure, alt)


def ledger_bars(ledger: pd.DataFrame) -> Picture:
    """What carries the predicted class's logit at each layer, mean over test images: for, against, bias added later.

    Columns: model, tap, logit, supporting, opposing, bias.
    """
    models = dict(tuple(ledger.groupby("model", sort=False)))
    figure, axes = plt.subplots(1, len(models), figsize=(3.3 * len(models), 3), layout="constrained", squeeze=False)
    said = []
    for ax, (name, table) in zip(axes[0], models.items(), strict=True):
        y = np.arange(len(table))
        for label, (column, offset, height, colour, hatch) in PARTS.items():
            ax.barh(y + offset, table[column], height, color=colour, hatch=hatch, edgecolor="white", label=label)
        ax.axvline(0, color="#333333", lw=0.8)
        ax.plot(table["logit"], y, "k|", ms=14, label="logit")
        ax.set(yticks=y, yticklabels=table["tap"], title=name, xlabel="logits")
        ax.invert_yaxis()
        lines = table[["tap", "supporting", "opposing", "bias"]].itertuples(index=False)
        said.append(f"{name}: " + "; ".join("{} for {:.1f}, against {:.1f}, bias {:+.1f}".format(*x) for x in lines))
    axes[0, -1].legend(frameon=False, fontsize=8)
    return Picture(figure, f"Bars: parts of the predicted class's mean logit at each layer. {'. '.join(said)}.")


def ablation_curves(ablation: pd.DataFrame) -> Picture:
    """Fall of the predicted class's probability without its k strongest channels, and without k random ones.

    Columns: tap, k, ranked, ranked_low, ranked_high, random, random_low, random_high.
    """
    taps = ablation["tap"].unique()
    figure, axes = plt.subplots(1, len(taps), figsize=(2.2 * len(taps), 2.7), sharey=True, layout="constrained",
                                squeeze=False)  # fmt: skip
    said = []
    for ax, tap in zip(axes[0], taps, strict=True):
        part = ablation[ablation["tap"] == tap]
        for i, (name, label) in enumerate({"ranked": "strongest", "random": "random"}.items()):
            error = np.clip([part[name] - part[f"{name}_low"], part[f"{name}_high"] - part[name]], 0, None)
            ax.errorbar(part["k"], part[name], error, fmt=MARKS[i], color=PALETTE[i], ms=4, label=label)
        ax.set(xscale="log", xticks=part["k"], xticklabels=part["k"], title=tap, xlabel="channels cut")
        ax.minorticks_off()
        last = part.iloc[-1]
        said.append(f"{tap}, {last['k']:.0f} channels: strongest {last['ranked']:.2f}, random {last['random']:.2f}")
    axes[0, 0].set_ylabel("fall of probability")
    axes[0, 0].legend(frameon=False, fontsize=8)
    alt = f"Curves: fall of the predicted class's probability when channels become their mean. {'; '.join(said)}."
    return Picture(figure, alt)
