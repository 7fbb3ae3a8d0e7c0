"""Published tables of what moves a student: alpha and T, what teaches it, patients, epochs (07).

But for the epochs they are of the parts `kdnb.results.places.EFFECT_PARTS` of
``sweeps/results.toml``: the brain set by patient, at 64 px.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from kdnb.core.model_names import TEACHER
from kdnb.core.p_values import paired_test
from kdnb.core.statistics import Groups, seed_interval, share_interval
from kdnb.distillation.answer import TAUGHT
from kdnb.distillation.grid import LABELS_ALONE
from kdnb.results.answered_runs import Answered, answered, together
from kdnb.results.collected_runs import Records
from kdnb.results.places import is_main, main_runs, named, place_of

__all__ = ["as_coded", "gains", "grid", "schedule", "sizes", "small_teachers"]


def grid(records: Records) -> pd.DataFrame:
    """Every cell of α × T: accuracy, its gain over labels alone, p, and which one is chosen.

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
        "size_px": one.parameters["image_size"],
        "run": one.run,
    }


def gains(records: Records) -> pd.DataFrame:
    """What distillation adds, on the same images, seed by seed: difference, interval, p.

    One row per student that somebody taught, ``against`` labels alone, with the share of the
    training patients; and one per control, in which the student of the teacher stands against that
    of the control: is it the teacher, or would anything soft do?

    Where there are several teachers, each counts with the student of its own seed.
    """
    rows = []
    for one in [*_pooled(_taught(records)), *answered(records, "size")]:
        rows += _over_labels(one)
    for runs in _by_control(records):
        for one in _pooled(runs):
            rows += _over_labels(one)
        for base, control in _beside_their_teachers(records, runs):
            for cell in control.cells:
                if cell in base.cells and cell != LABELS_ALONE and _paired(base, control, cell):
                    rows.append(_over_control(base, control, cell))
    return pd.DataFrame(rows)


def _taught(records: Records) -> list[Answered]:
    """The runs of the part "base" and those of "more_teachers"."""
    return answered(records, "base", "more_teachers")


def _pooled(runs: list[Answered]) -> list[Answered]:
    """Runs of one kind as one; a single run keeps all students of its teacher."""
    return [together(runs)] if len(runs) > 1 else runs


def _by_control(records: Records) -> list[list[Answered]]:
    """The runs of the part "controls", those of one control together, in the record's order."""
    of_control: dict[str, list[Answered]] = {}
    for one in answered(records, "controls"):
        of_control.setdefault(one.parameters["control"], []).append(one)
    return list(of_control.values())


def _beside_their_teachers(
    records: Records, runs: list[Answered]
) -> list[tuple[Answered, Answered]]:
    """(what the teachers taught, some runs), each as one, over the seeds that both have."""
    taught = {one.parameters["teacher_seed"]: one for one in _taught(records)}
    runs = [one for one in runs if one.parameters["teacher_seed"] in taught]
    rivals = [taught[one.parameters["teacher_seed"]] for one in runs]
    return list(zip(_pooled(rivals), _pooled(runs), strict=True))


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


def _over_control(base: Answered, control: Answered, cell: tuple[float, float]) -> dict[str, Any]:
    """The teacher's students of one cell against those of what stands in the teacher's place."""
    row = _gain(
        control,
        cell,
        base.right(*base.cells[cell]) - control.right(*control.cells[cell]),
        taught_by=TAUGHT,
        against=control.parameters["control"],
    )
    row["run"] = f"{base.run} {control.run}"
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
    """Mean of differences (S, N) with its 95 % interval as columns ``name…``, and p_patients.

    That p is over patients alone, for these very seeds; the interval is over seeds, too.
    """
    interval = seed_interval(values, groups, bounds=(-1, 1))
    return {**interval.named(name), "p_patients": paired_test(values, groups)}


def small_teachers(records: Records) -> pd.DataFrame:
    """The teachers of small images minus their students on labels alone, by the share of patients.

    A teacher that is weaker than its student has little to teach. Columns: dataset, split,
    fraction, accuracy of the teacher and that of labels alone, their difference with interval and
    p_patients, seeds, teachers, size_px, run. Of one teacher, the seeds are those of its students.
    """
    rows = []
    for one in [*_pooled(_taught(records)), *answered(records, "size")]:
        teacher = one.right(*one.kinds[TEACHER])
        labels_alone = one.right(*one.cells[LABELS_ALONE])
        rows.append(
            {
                **one.place,
                "fraction": one.parameters["fraction"],
                "accuracy": teacher.mean(),
                "labels_alone": labels_alone.mean(),
                **_difference("difference", teacher - labels_alone, one.groups),
                "seeds": len(labels_alone),
                "teachers": len(one.teachers),
                "size_px": one.parameters["image_size"],
                "run": one.run,
            }
        )
    return pd.DataFrame(rows)


def sizes(records: Records) -> pd.DataFrame:
    """The effect of data set size, by the share of training patients.

    Accuracy and agreement with the teacher, both with interval. One teacher per share.
    """
    rows = []
    for one in answered(records, "size", "base"):
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
        "size_px": one.parameters["image_size"],
        "run": one.run,
    }


def as_coded(records: Records) -> pd.DataFrame:
    """The network of the authors' earlier public code beside the five-layer one on labels alone.

    Its soft loss is dead, so it learns from labels alone. Columns: place, accuracy of
    each with its 95 % interval, their difference seed by seed, seeds, images, size_px, run.
    """
    rows = []
    for base, one in _beside_their_teachers(records, answered(records, "as_coded")):
        if not _paired(base, one, LABELS_ALONE):
            continue
        right = one.right(*one.cells[LABELS_ALONE])
        rival = base.right(*base.cells[LABELS_ALONE])
        rows.append(
            {
                **one.place,
                **share_interval(right, one.groups).named("as_coded"),
                **share_interval(rival, one.groups).named("five_conv"),
                **_difference("difference", right - rival, one.groups),
                "seeds": len(right),
                "images": right.shape[1],
                "size_px": one.parameters["image_size"],
                "run": f"{one.run} {base.run}",
            }
        )
    return pd.DataFrame(rows)


def schedule(records: Records) -> pd.DataFrame:
    """Accuracy after every epoch of the trainings at every place, mean over seeds.

    Would a longer schedule pay? Columns: place, model, epoch, train_accuracy, val_accuracy,
    teachers, run.
    """
    if "03_curves" not in records:
        return pd.DataFrame()
    curves = dict(list(records["03_curves"].groupby("run")))
    of_place: dict[tuple[Any, ...], list[pd.DataFrame]] = {}
    for one in main_runs(records):
        if is_main(one):
            kind_of = {}
            for kind, names in one.kinds.items():
                kind_of |= dict.fromkeys(names, kind)
            curve = curves[one.run].replace({"model": kind_of})
            of_place.setdefault(place_of(one), []).append(curve)
    tables = []
    for place, runs in of_place.items():
        by_epoch = pd.concat(runs).groupby(["model", "epoch"], sort=False)
        mean = by_epoch[["train_accuracy", "val_accuracy"]].mean().reset_index()
        front = pd.DataFrame(named(place), index=mean.index)
        behind = {"teachers": len(runs), "run": " ".join(curve["run"].iloc[0] for curve in runs)}
        tables.append(front.join(mean).assign(**behind))
    return pd.concat(tables) if tables else pd.DataFrame()
