"""Published tables of what moves the accuracy: alpha and T, teacher, patients, epochs (07).

The tables look for parts of ``sweeps/results.toml`` by name: paper, teachers, larger, grid,
controls, size.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from kdnb.core.statistics import Groups, paired_test, seed_interval, share_interval
from kdnb.distillation.grid import LABELS_ALONE
from kdnb.results.accuracies import Answered, answered, drawn
from kdnb.results.collected_runs import LARGER, Records

__all__ = ["gains", "grid", "larger_gains", "schedule", "sizes"]

TAUGHT = "the teacher"


def grid(records: Records) -> pd.DataFrame:
    """(b) Every cell of α × T: accuracy, its gain over labels alone, p, and which one is chosen.

    The validation part chooses among the distilled cells: the first, where two are as good.
    """
    rows = []
    for one in answered(records, "grid"):
        cells = [_cell(one, cell, names) for cell, names in one.cells.items()]
        distilled = [row for row in cells if row["alpha"] < 1]
        best = max(distilled, key=lambda row: row["val_accuracy"])
        for row in cells:
            row["chosen"] = int(row is best)
        rows += cells
    return pd.DataFrame(rows)


def _cell(one: Answered, cell: tuple[float, float], names: list[str]) -> dict[str, Any]:
    """One cell of the grid, without which one is chosen."""
    alpha, temperature = cell
    groups = one.groups
    right = one.right(*names)
    labels_alone = one.right(*one.cells[LABELS_ALONE])
    return {
        **one.place,
        "alpha": alpha,
        "temperature": temperature,
        "seeds": len(names),
        "val_accuracy": one.trainings.loc[names, "val_accuracy"].astype(float).mean(),
        **share_interval(right, groups).named("accuracy"),
        **_difference("gain", right - labels_alone, groups),
        "run": one.run,
    }


def gains(records: Records) -> pd.DataFrame:
    """(c) What distillation adds, on the same images, seed by seed: difference, interval, p.

    One row per student that somebody taught, ``against`` labels alone, with the share of the
    training patients; and one per control, in which the student of the teacher stands against that
    of the control: is it the teacher, or would anything soft do?
    """
    run_of_paper = {}  # data set, split, cell -> the run of the part "paper"
    for one in answered(records, "paper"):
        for cell in one.cells:
            run_of_paper[(*one.place.values(), cell)] = one
    rows = []
    for one in [*drawn(records), *answered(records, "size", "controls")]:
        rows += _over_labels(one)
        if not one.parameters["control"]:
            continue
        for cell in one.cells:
            paper = run_of_paper.get((*one.place.values(), cell))
            if cell == LABELS_ALONE or paper is None:
                continue
            if _paired(paper, one, cell):
                rows.append(_over_control(paper, one, cell))
    return pd.DataFrame(rows)


def larger_gains(records: Records) -> pd.DataFrame:
    """(c) What distillation adds with larger images and a longer schedule."""
    rows = []
    for one in answered(records, LARGER):
        rows += _over_labels(one)
    return pd.DataFrame(rows)


def _over_labels(one: Answered) -> list[dict[str, Any]]:
    """The distilled students of a run against those on labels alone, one row per cell."""
    labels_alone = one.right(*one.cells[LABELS_ALONE])
    rows = []
    for cell, names in one.cells.items():
        if cell != LABELS_ALONE:
            rows.append(
                _gain(
                    one,
                    cell,
                    one.right(*names) - labels_alone,
                    taught_by=one.parameters["control"] or TAUGHT,
                    against="labels alone",
                )
            )
    return rows


def _paired(one: Answered, other: Answered, cell: tuple[float, float]) -> bool:
    """Whether both have the same test images, and in this cell students of the same seeds."""
    seeds = one.trainings.loc[one.cells[cell], "seed"].tolist()
    other_seeds = other.trainings.loc[other.cells[cell], "seed"].tolist()
    return seeds == other_seeds and np.array_equal(one.values["target"], other.values["target"])


def _over_control(paper: Answered, control: Answered, cell: tuple[float, float]) -> dict[str, Any]:
    """The teacher's students of one cell against those of what stands in the teacher's place."""
    row = _gain(
        control,
        cell,
        paper.right(*paper.cells[cell]) - control.right(*control.cells[cell]),
        taught_by=TAUGHT,
        against=control.parameters["control"],
    )
    row["run"] = f"{paper.run} {control.run}"
    return row


def _gain(
    one: Answered,
    cell: tuple[float, float],
    difference: np.ndarray,
    *,
    taught_by: str,
    against: str,
) -> dict[str, Any]:
    """One row of the table of gains; ``difference`` is (S, N), by seed and image."""
    alpha, temperature = cell
    return {
        **one.place,
        "fraction": one.parameters["fraction"],
        "taught_by": taught_by,
        "against": against,
        "alpha": alpha,
        "temperature": temperature,
        **_difference("difference", difference, one.groups),
        "seeds": len(difference),
        "teachers": len(one.teachers),
        "size_px": one.parameters["image_size"],
        "run": one.run,
    }


def _difference(name: str, values: np.ndarray, groups: Groups) -> dict[str, float]:
    """Mean of differences (S, N) with its 95 % interval as columns ``name…``, and p."""
    interval = seed_interval(values, groups, bounds=(-1, 1))
    return {**interval.named(name), "p": paired_test(values, groups)}


def sizes(records: Records) -> pd.DataFrame:
    """(d) The effect of data set size, by the share of training patients.

    Accuracy and agreement with the teacher, both with interval.
    """
    rows = []
    for one in answered(records, "size", "paper"):
        if one.parameters["split"] == "grouped":
            rows += [_of_size(one, kind, names) for kind, names in one.kinds.items()]
    table = pd.DataFrame(rows)
    return table.sort_values(["dataset", "fraction"], kind="stable") if rows else table


def _of_size(one: Answered, kind: str, names: list[str]) -> dict[str, Any]:
    """One row of the table of sizes."""
    groups = one.groups
    agreement = np.stack([one.values[name] == one.values["teacher"] for name in names])
    agreement = agreement.astype(float)
    if kind == "teacher":
        agreement[:] = np.nan  # with itself it always agrees
    return {
        **one.place,
        "fraction": one.parameters["fraction"],
        "images": int(one.trainings.loc["teacher", "images"]),
        "model": kind,
        **share_interval(one.right(*names), groups).named("accuracy"),
        **share_interval(agreement, groups).named("agreement"),
        "memory": one.right(one.memory).mean(),
        "seeds": len(names),
        "teachers": len(one.teachers),
        "run": one.run,
    }


def schedule(records: Records) -> pd.DataFrame:
    """(g) Accuracy after every epoch of the trainings behind (a), mean over seeds.

    Would a longer schedule pay?
    """
    curves = dict(list(records["03_curves"].groupby("run")))
    tables = []
    for one in answered(records, "paper", LARGER):
        kind_of = {}
        for kind, names in one.kinds.items():
            kind_of |= dict.fromkeys(names, kind)
        curve = curves[one.run].replace({"model": kind_of})
        seeds = curve.groupby(["model", "epoch"], sort=False)
        mean = seeds[["train_accuracy", "val_accuracy"]].mean().reset_index()
        place = {**one.place, "size_px": one.parameters["image_size"]}
        front = pd.DataFrame(place, index=mean.index)
        tables.append(front.join(mean).assign(run=one.run))
    return pd.concat(tables) if tables else pd.DataFrame()
