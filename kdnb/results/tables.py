"""Published tables from the record of all runs: accuracy, grid, gain, size, cost, explanations, schedule (07).

The tables look for parts of ``sweeps/results.toml`` by name: paper, teachers, as_coded, larger, grid, controls, size,
explanations, cost.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score

from kdnb.data.registry import registered
from kdnb.errors import UserError
from kdnb.leakage import MEMORY, skill
from kdnb.metrics import paired_test, seed_interval, share_interval
from kdnb.results.answers import LABELS
from kdnb.results.kept import kept
from kdnb.results.records import LARGER, Records

__all__ = ["Answered", "answered", "make_tables"]

TAUGHT = "the teacher"
MODERATE = "ModerateDemented"


@dataclass(frozen=True)
class Answered:
    """What one run of notebook 03 answered on its test part.

    Attributes:
        run: The run's id.
        part: The part of the plan.
        parameters: Those of the notebook.
        trainings: Index model, see `kdnb.results.answers.trainings`.
        values: Column of `kdnb.results.answers.answers` → (N,) whole numbers.
    """

    run: str
    part: str
    parameters: Mapping[str, Any]
    trainings: pd.DataFrame
    values: Mapping[str, np.ndarray]

    @property
    def place(self) -> dict[str, Any]:
        """Data set and split, the first columns of most tables."""
        return {name: self.parameters[name] for name in ("dataset", "split")}

    @property
    def cells(self) -> dict[tuple[float, float], list[str]]:
        """(alpha, T) → its students, by seed; (1, 1) is labels alone."""
        students = self.trainings.groupby(["alpha", "temperature"])  # a teacher has neither
        return {cell: list(of.sort_values("seed").index) for cell, of in students}

    @property
    def teachers(self) -> list[str]:
        """Its teachers: one, but for `drawn` runs."""
        return list(self.trainings.index[self.trainings["alpha"].isna()])

    @property
    def kinds(self) -> dict[str, list[str]]:
        """Its models by what they are, students by seed."""
        named = {"teacher": self.teachers}
        for cell, students in self.cells.items():
            named["label-only student" if cell == LABELS else "KD student"] = students
        return named

    def right(self, *models: str) -> np.ndarray:
        """(S, N) float64: whether each model names each image's class."""
        return np.stack([self.values[model] == self.values["target"] for model in models]).astype(float)

    @property
    def memory(self) -> str:
        """The stronger of memory alone and memory that also knows mirrored images."""
        return max(MEMORY, key=lambda name: self.right(name).mean())


def answered(records: Records, *parts: str) -> list[Answered]:
    """The runs of notebook 03 in some parts of the plan."""
    runs = records["runs"]
    chosen = runs[(runs["notebook"] == "03_distillation") & runs["part"].isin(parts)]
    trained = dict(list(records["03_trainings"].groupby("run")))
    said = dict(list(records["03_answers"].groupby("run")))
    return [
        Answered(row.run, row.part, json.loads(row.parameters), trained[row.run].set_index("model").drop(columns="run"),
                 {m: np.array(v.split(), dtype=np.int64) for m, v in said[row.run][["model", "values"]].to_numpy()})
        for row in chosen.itertuples()
    ]  # fmt: skip


def drawn(records: Records) -> list[Answered]:
    """The runs of the part "paper"; where "teachers" has more of the same test part, all of them as one.

    There every teacher counts with one student: that of its own seed. So no two draws share a teacher.
    """
    more = answered(records, "teachers")
    return [_together([one, *(o for o in more if o.place == one.place)]) for one in answered(records, "paper")]


def _together(runs: list[Answered]) -> Answered:
    first, trainings, values = runs[0], [], dict(runs[0].values)
    if len(runs) == 1:
        return first
    for one in runs:
        if not np.array_equal(one.values["target"], first.values["target"]):
            raise UserError(f"runs {first.run} and {one.run} have other test images: give them the same seed")
        own = one.trainings[one.trainings["alpha"].isna() | (one.trainings["seed"] == one.parameters["teacher_seed"])]
        names = {"teacher": f"teacher, seed {one.parameters['teacher_seed']}"}
        trainings.append(own.rename(names))
        values |= {names.get(name, name): one.values[name] for name in own.index}
    ids = " ".join(one.run for one in runs)
    return Answered(ids, first.part, first.parameters, pd.concat(trainings), values)


def accuracy(records: Records) -> pd.DataFrame:
    """(a) The paper's accuracies beside ours, under its splits and under honest ones, and the leak meter beside each.

    One row per data set, split, way to count the classes, and model: paper, accuracy with its 95 % interval over seeds
    and groups, macro_f1, majority (share of the largest class of the test part), leak_meter (1-NN),
    leak_meter_mirrored (the same with mirrored images, and its interval), memory (the stronger of the two), accuracy
    ``above`` memory with interval, skill, seeds, teachers, images, groups, size_px, epochs, run.
    Alzheimer's "Moderate" class is two people: a three-class count merges it into "Mild", and its recall stands apart.
    """
    return _scored([*drawn(records), *answered(records, "as_coded")])


def larger(records: Records) -> pd.DataFrame:
    """(a) The same of larger images and a longer schedule: how much of the way to the paper is a matter of compute?"""
    return _scored(answered(records, LARGER))


def _scored(runs: list[Answered]) -> pd.DataFrame:
    rows = []
    for one in runs:
        models = one.kinds if one.part != "as_coded" else {"as-coded student": next(iter(one.cells.values()))}
        for counted, of in _counts(one):
            rows += [_score(one, of, counted, kind, names) for kind, names in models.items()]
    order = ["teacher", "KD student", "label-only student", "as-coded student"]
    rows.sort(key=lambda row: (row["dataset"], row["split"], row["counted"], order.index(row["model"])))
    return pd.DataFrame(rows)


def _counts(one: Answered) -> Iterator[tuple[str, Answered]]:
    """The answers as they are; for Alzheimer also with three classes, and those on the smallest class alone."""
    yield "all classes", one
    classes = [name.lower() for name in registered().get(one.parameters["dataset"], {}).get("classes", [])]
    if MODERATE.lower() in classes:
        small, mild = classes.index(MODERATE.lower()), classes.index("milddemented")
        merged = {k: v if k == "group" else np.where(v == small, mild, v) for k, v in one.values.items()}
        yield "three classes", Answered(one.run, one.part, one.parameters, one.trainings, merged)
        alone = {k: v[one.values["target"] == small] for k, v in one.values.items()}
        if len(alone["target"]):
            yield "Moderate alone", Answered(one.run, one.part, one.parameters, one.trainings, alone)


def _score(one: Answered, of: Answered, counted: str, kind: str, names: list[str]) -> dict[str, Any]:
    entry, target, groups = registered().get(one.parameters["dataset"], {}), of.values["target"], of.values["group"]
    claimed = entry.get("paper", {}).get({"teacher": "teacher", "KD student": "student"}.get(kind, ""), np.nan)
    told = claimed if entry.get("protocol") == one.parameters["split"] and counted == "all classes" else np.nan
    right, memory = of.right(*names), of.right(of.memory)
    return {
        **one.place, "counted": counted, "model": kind, "paper": told,
        **share_interval(right, groups).named("accuracy"),
        "macro_f1": np.mean([f1_score(target, of.values[n], average="macro", zero_division=0.0) for n in names])
        if len(np.unique(target)) > 1 else np.nan,
        "majority": np.bincount(target).max() / len(target) if len(np.unique(target)) > 1 else np.nan,
        "leak_meter": of.right("1-NN").mean(),
        **share_interval(of.right("1-NN mirrored"), groups).named("leak_meter_mirrored"),
        "memory": memory.mean(), **seed_interval(right - memory, groups, bounds=(-1, 1)).named("above"),
        "skill": skill(right.mean(), memory.mean()), "seeds": len(names), "teachers": len(one.teachers),
        "images": len(target), "groups": len(np.unique(groups)), "size_px": one.parameters["image_size"],
        "epochs": one.parameters["teacher_epochs" if kind == "teacher" else "student_epochs"], "run": one.run,
    }  # fmt: skip


def grid(records: Records) -> pd.DataFrame:
    """(b) Every cell of α × T: accuracy, its gain over labels alone, p, and the distilled cell that the validation part
    chooses (the first, where two are as good)."""
    rows = []
    for one in answered(records, "grid"):
        groups, alone = one.values["group"], one.cells[LABELS]
        found = [
            {**one.place, "alpha": cell[0], "temperature": cell[1], "seeds": len(names),
             "val_accuracy": one.trainings.loc[names, "val_accuracy"].astype(float).mean(),
             **share_interval(one.right(*names), groups).named("accuracy"),
             **_difference("gain", one.right(*names) - one.right(*alone), groups), "run": one.run}
            for cell, names in one.cells.items()
        ]  # fmt: skip
        best = max((row for row in found if row["alpha"] < 1), key=lambda row: row["val_accuracy"])
        rows += [row | {"chosen": int(row is best)} for row in found]
    return pd.DataFrame(rows)


def gains(records: Records) -> pd.DataFrame:
    """(c) What distillation adds, on the same images, seed by seed: difference with its interval, and p.

    One row per student that somebody taught, ``against`` labels alone, with the share of the training patients; and one
    per control, in which the student of the teacher stands against that of the control: is it the teacher, or would
    anything soft do?
    """
    rows = []
    of_teacher = {(str(one.place), cell): (one, names) for one in answered(records, "paper")
                  for cell, names in one.cells.items() if cell != LABELS}  # fmt: skip
    for one in [*drawn(records), *answered(records, "size", "controls")]:
        rows += _over_labels(one)
        for cell, names in one.cells.items():
            control, (other, taught) = one.parameters["control"], of_teacher.get((str(one.place), cell), (None, []))
            if control and other and _same_students(other, taught, one, names):
                rows.append(_gain(one, cell, TAUGHT, control, other.right(*taught), one.right(*names)))
                rows[-1]["run"] = f"{other.run} {one.run}"
    return pd.DataFrame(rows)


def larger_gains(records: Records) -> pd.DataFrame:
    """(c) What distillation adds with larger images and a longer schedule."""
    return pd.DataFrame([row for one in answered(records, LARGER) for row in _over_labels(one)])


def _over_labels(one: Answered) -> list[dict[str, Any]]:
    return [_gain(one, cell, one.parameters["control"] or TAUGHT, "labels alone", one.right(*names),
                  one.right(*one.cells[LABELS])) for cell, names in one.cells.items() if cell != LABELS]  # fmt: skip


def _gain(
    one: Answered, cell: tuple[float, float], taught_by: str, against: str, ours: np.ndarray, theirs: np.ndarray
) -> dict[str, Any]:  # fmt: skip
    return {**one.place, "fraction": one.parameters["fraction"], "taught_by": taught_by, "against": against,
            "alpha": cell[0], "temperature": cell[1], **_difference("difference", ours - theirs, one.values["group"]),
            "seeds": len(ours), "teachers": len(one.teachers), "size_px": one.parameters["image_size"],
            "run": one.run}  # fmt: skip


def _same_students(one: Answered, names: list[str], other: Answered, others: list[str]) -> bool:
    """Whether both have the same test images and students of the same seeds: only then they are paired."""
    seeds = one.trainings.loc[names, "seed"].tolist(), other.trainings.loc[others, "seed"].tolist()
    return seeds[0] == seeds[1] and np.array_equal(one.values["target"], other.values["target"])


def sizes(records: Records) -> pd.DataFrame:
    """(d) The effect of data set size: accuracy and agreement with the teacher, by the share of training patients."""
    rows = []
    for one in [one for one in answered(records, "size", "paper") if one.parameters["split"] == "grouped"]:
        for kind, names in one.kinds.items():
            known = np.nan if kind == "teacher" else 1.0  # with itself it always agrees
            same = known * np.stack([one.values[n] == one.values["teacher"] for n in names])
            rows.append({**one.place, "fraction": one.parameters["fraction"],
                         "images": int(one.trainings.loc["teacher", "images"]), "model": kind,
                         **share_interval(one.right(*names), one.values["group"]).named("accuracy"),
                         **share_interval(same, one.values["group"]).named("agreement"),
                         "memory": one.right(one.memory).mean(), "seeds": len(names), "teachers": len(one.teachers),
                         "run": one.run})  # fmt: skip
    return pd.DataFrame(rows).sort_values(["dataset", "fraction"], kind="stable") if rows else pd.DataFrame()


def schedule(records: Records) -> pd.DataFrame:
    """(g) Accuracy after every epoch of the trainings behind (a), mean over seeds: would a longer schedule pay?"""
    went, rows = dict(list(records["03_curves"].groupby("run"))), []
    for one in answered(records, "paper", LARGER):
        kinds = {name: kind for kind, names in one.kinds.items() for name in names}
        of = went[one.run].replace({"model": kinds})
        mean = of.groupby(["model", "epoch"], sort=False)[["train_accuracy", "val_accuracy"]].mean().reset_index()
        at = {**one.place, "size_px": one.parameters["image_size"]}
        rows.append(pd.DataFrame(at, index=mean.index).join(mean).assign(run=one.run))
    return pd.concat(rows) if rows else pd.DataFrame()


ANSWERED = {"a_accuracy": accuracy, "a_larger": larger, "b_grid": grid, "c_gains": gains, "c_larger": larger_gains,
            "d_sizes": sizes, "g_schedule": schedule}  # fmt: skip


def make_tables(records: Records) -> dict[str, pd.DataFrame]:
    """Every published table of which the record holds something, by file name."""
    made = {name: make(records) for name, make in ANSWERED.items()} | kept(records)
    return {name: table for name, table in made.items() if len(table)}


def _difference(name: str, values: np.ndarray, groups: np.ndarray) -> dict[str, float]:
    return {**seed_interval(values, groups, bounds=(-1, 1)).named(name), "p": paired_test(values, groups)}
