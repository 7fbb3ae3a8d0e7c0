"""What splits hide that do not keep relatives apart, in sentences (07)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from kdnb.core.differences import unpaired_difference
from kdnb.core.intervals import points as in_points
from kdnb.core.model_names import KD_STUDENT
from kdnb.data.patient_split import TEST_FOLD
from kdnb.results.accuracy_tables import MEMORY_ALONE
from kdnb.results.answered_runs import ALL
from kdnb.results.differences import main_teacher
from kdnb.results.finding_words import (
    MODEL_WORDS,
    NAMES,
    SEVERAL,
    TOLD_SPLITS,
    interval_of,
    points,
    seeds,
    told_honest,
)
from kdnb.results.fold_findings import FOLDS, over_all_folds

__all__ = ["hides", "hides_briefly"]

Tables = Mapping[str, pd.DataFrame]


def hides(tables: Tables) -> str:
    """What do splits hide that do not keep patients or copies apart?"""
    if "leaks" not in tables:
        return ""
    table = tables["leaks"]
    said = []
    for place, rows in table.groupby(["dataset", "split", "sizes_of", "honest"], sort=False):
        dataset, split, sizes_of, honest = place
        is_told = (split == "random") if sizes_of else (split in TOLD_SPLITS)
        if not is_told:
            continue
        of_model = rows.set_index("model").to_dict("index")
        equal = ", parts of equal size" if sizes_of else ""
        said.append(
            f"{NAMES.get(dataset, dataset).capitalize()}, {TOLD_SPLITS[split]} minus "
            f"{told_honest(dataset, honest)}{equal}: memory {points(of_model['memory'])}; "
            f"{_of_networks(of_model)}."
        )
    if not said:
        return ""
    return (
        "**What does the usual split hide?** How much more is right where relatives of the test "
        "images are learned, all classes; memory counts mirrored images. Where sizes are not said "
        f"to be equal, the number of training images differs, too. {' '.join(said)}"
        f"{_beside_all_folds(tables)}"
    )


def hides_briefly(tables: Tables) -> str:
    """What a random split of the brain set hides, with parts as large as those by patient.

    Of too few seeds, what the published split hides stands for it.
    """
    if "leaks" not in tables:
        return ""
    brain = tables["leaks"].query("dataset == 'brain_tumor' and honest == 'patients'")
    random = brain.query("split == 'random' and sizes_of == 'patients'")
    published = brain.query("split == 'published' and sizes_of == ''")
    if len(random) and random["seeds"].min() >= SEVERAL:
        rows = random
        split = "at random, in parts of equal size,"
    elif len(published):
        rows = published
        split = "as published"
    else:
        return ""
    of_model = rows.set_index("model").to_dict("index")
    return (
        f"**What does the usual split hide?** Of all brain images, this much more is right {split} "
        f"than by patient: {_of_networks(of_model)}. Memory, the method that only looks up: "
        f"{points(of_model['memory'])}."
    )


def _of_networks(of_model: Mapping[str, Mapping[str, Any]]) -> str:
    """The difference of every network, and the seeds behind them."""
    told = [f"{name} {points(of_model[model])}" for model, name in MODEL_WORDS.items()]
    return f"{', '.join(told)}{_both_seeds(of_model[KD_STUDENT])}"


def _beside_all_folds(tables: Tables) -> str:
    """What splits hide beside all folds of the brain set together; a sentence or nothing."""
    if "folds" not in tables or "accuracy" not in tables:
        return ""
    over_folds = over_all_folds(tables["folds"], ALL)
    if over_folds["folds"].iloc[0] < FOLDS:
        return ""
    table = tables["accuracy"].query("dataset == 'brain_tumor' and counted == @ALL")
    table = table[table["teacher"] == main_teacher(table)]
    accuracy_of = table.set_index(["split", "sizes_of", "model"])
    said = []
    for row in table[table["model"] == KD_STUDENT].to_dict("records"):
        is_told = (row["split"] == "random") if row["sizes_of"] else row["split"] in TOLD_SPLITS
        if not is_told:
            continue
        memory = unpaired_difference(
            interval_of(row, "leak_meter_mirrored"),
            interval_of(over_folds.loc[MEMORY_ALONE], "accuracy"),
        )
        networks = []
        for model, name in MODEL_WORDS.items():
            here = accuracy_of.loc[(row["split"], row["sizes_of"], model)]
            difference = unpaired_difference(
                interval_of(here, "accuracy"), interval_of(over_folds.loc[model], "accuracy")
            )
            networks.append(f"{name} {in_points(difference)}")
        said.append(
            f"{TOLD_SPLITS[row['split']]}{', parts of equal size' if row['sizes_of'] else ''}: "
            f"memory {in_points(memory)}, {', '.join(networks)}{seeds(row)}"
        )
    if not said:
        return ""
    return (
        f" Of brain by patient, fold {TEST_FOLD} alone is tested here. Against all {FOLDS} folds "
        f"together (one seed of each), {'; '.join(said)}."
    )


def _both_seeds(row: Mapping[str, Any]) -> str:
    """The seeds under two splits that are compared, in brackets, where they are not as many."""
    if row["seeds"] == row["seeds_honest"]:
        return seeds(row)
    first = "one seed" if row["seeds"] == 1 else f"{row['seeds']} seeds"
    last = "one" if row["seeds_honest"] == 1 else f"the mean of {row['seeds_honest']}"
    return f" ({first} against {last})"
