"""Which epoch every network was kept at, and what that choice does to a comparison (07).

A network is that of the epoch with the lowest validation loss. Of two networks one may be kept
early and the other late: then they differ by when they were stopped, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from kdnb.core.model_names import KD_STUDENT, LABEL_ONLY
from kdnb.results.answered_runs import Answered, answered
from kdnb.results.collected_runs import Records
from kdnb.results.finding_words import (
    NAMES,
    SEVERAL,
    joined,
    points_of,
    strictest,
    told_honest,
)
from kdnb.results.places import is_main, main_runs, named, place_of
from kdnb.training.evaluation import kept_epoch

__all__ = ["kept_epochs", "which_epoch"]

TURN = 0.01  # accuracy; of a smaller change the sign says nothing
COLUMNS = ["epoch", "val_loss", "val_accuracy"]


def kept_epochs(records: Records) -> pd.DataFrame:
    """The epochs at which networks were kept, and the validation accuracy there and at the end.

    At every place, and on every share of the training patients. Columns: place, fraction, model,
    epochs (of the schedule), ``kept`` (the epoch of each seed), val_accuracy (mean over seeds at
    these epochs), val_accuracy_last (at the last one), ``over_labels`` and ``over_labels_last``
    (both minus those of labels alone), seeds, size_px, run.
    """
    if "03_curves" not in records:
        return pd.DataFrame()
    curves = dict(list(records["03_curves"].groupby("run")))
    runs = [one for one in main_runs(records) if is_main(one)]
    runs += answered(records, "base", "size")
    of_place: dict[tuple[Any, ...], list[Answered]] = {}
    for one in runs:
        place = (*place_of(one), one.parameters["fraction"])
        of_place.setdefault(place, []).append(one)
    rows = []
    for (*place, fraction), same in of_place.items():
        front = {**named(tuple(place)), "fraction": fraction}
        found = [{**front, **row} for row in _rows(same, curves)]
        [alone] = [row for row in found if row["model"] == LABEL_ONLY]
        for row in found:
            row["over_labels"] = row["val_accuracy"] - alone["val_accuracy"]
            row["over_labels_last"] = row["val_accuracy_last"] - alone["val_accuracy_last"]
            row["size_px"] = same[0].parameters["image_size"]
            row["run"] = " ".join(one.run for one in same)
        rows += found
    return pd.DataFrame(rows)


def _rows(runs: list[Answered], curves: Mapping[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """One row per kind of model at one place, without what compares them."""
    rows = []
    for model in runs[0].kinds:
        kept = []
        last = []
        for one in runs:
            of_run = curves[one.run]
            for name in one.kinds[model]:
                curve = of_run.loc[of_run["model"] == name, COLUMNS].astype(float)
                kept.append(kept_epoch(curve))
                last.append(curve.sort_values("epoch").iloc[-1])
        rows.append(
            {
                "model": model,
                "epochs": int(last[0]["epoch"]),
                "kept": ", ".join(f"{row['epoch']:.0f}" for row in kept),
                "val_accuracy": np.mean([row["val_accuracy"] for row in kept]),
                "val_accuracy_last": np.mean([row["val_accuracy"] for row in last]),
                "seeds": len(kept),
            }
        )
    return rows


def which_epoch(tables: Mapping[str, pd.DataFrame]) -> str:
    """Does the comparison with labels alone depend on the epoch that is kept?

    Told of the strictest split of every set, with the teacher of most places.
    """
    if "kept_epochs" not in tables:
        return ""
    table = tables["kept_epochs"]
    main = table["teacher"].value_counts().index[0]
    whole = table[(table["teacher"] == main) & (table["fraction"] == 1) & (table["sizes_of"] == "")]
    largest = whole[whole["size_px"] == whole.groupby("dataset")["size_px"].transform("max")]
    said = []
    turned = []
    turned_once = []  # of too few seeds
    several = 0  # places with enough seeds
    for dataset, of_set in largest.groupby("dataset", sort=False):
        split = strictest(of_set["split"])
        if not split:
            continue
        models = of_set[of_set["split"] == split].set_index("model")
        row = models.loc[KD_STUDENT]
        place = f"{NAMES.get(dataset, dataset)} {told_honest(dataset, split)}"
        first, last = row["over_labels"], row["over_labels_last"]
        turns = np.sign(first) != np.sign(last) and abs(last - first) >= TURN
        if row["seeds"] >= SEVERAL:
            several += 1
            if turns:
                turned.append(place)
        elif turns:
            turned_once.append(place)
        trained = "one seed" if row["seeds"] == 1 else f"{row['seeds']} seeds"
        said.append(
            f"{place[0].upper()}{place[1:]}: "
            f"{points_of(first)} and {points_of(last)} points "
            f"({trained}; labels alone kept at epoch {_spread(models.loc[LABEL_ONLY, 'kept'])} of "
            f"{row['epochs']}, the distilled student at {_spread(row['kept'])})"
        )
    if not said:
        return ""
    answer = "The sign stays"
    if several < len(said):
        answer += " where there are three seeds or more"
    if turned:
        answer = f"It may: the difference changes its sign, by a point or more, on {joined(turned)}"
    elif not several:
        answer = "It cannot be told from one or two seeds"
    if turned_once and several:
        answer += f". With one or two seeds it also turns on {joined(turned_once)}"
    return (
        f"**Does the result depend on the epoch that is kept?** {answer}. On the validation part, "
        "distilled student minus labels alone, at the epochs that are kept (lowest validation "
        f"loss) and at the last one, without an interval. {'. '.join(said)}."
    )


def _spread(kept: str) -> str:
    """The epochs of several seeds, the earliest and the latest.

    >>> _spread("7, 3, 20"), _spread("4")
    ('3 to 20', '4')
    """
    epochs = sorted(int(epoch) for epoch in str(kept).split(", "))
    return f"{epochs[0]}" if epochs[0] == epochs[-1] else f"{epochs[0]} to {epochs[-1]}"
