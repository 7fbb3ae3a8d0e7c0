"""What splits hide that do not keep relatives apart: comparisons, and sentences on them (07)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from kdnb.core.differences import unpaired_difference
from kdnb.core.intervals import Interval
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

__all__ = ["ComparedSplits", "compared_splits", "hides", "hides_briefly"]

MEMORY = "memory"
ALL_FOLDS = "(all folds)"  # how a place ends that stands beside them
Tables = Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class ComparedSplits:
    """How much more is right under one split than under one that keeps relatives apart.

    Attributes:
        place: The data set and the two splits, in words.
        of_model: Model, or "memory" → the difference of accuracies.
        seeds: Behind the first split, and behind the second.
    """

    place: str
    of_model: Mapping[str, Interval]
    seeds: tuple[int, int]

    def is_shown(self, model: str) -> bool:
        """Whether the interval leaves out zero; of a network, over several seeds on both sides."""
        _, low, high = self.of_model[model]
        enough = model == MEMORY or min(self.seeds) >= SEVERAL
        return enough and (low > 0 or high < 0)

    @property
    def told_seeds(self) -> str:
        """Both numbers of seeds."""
        return f"{self.seeds[0]} and {self.seeds[1]}"


def compared_splits(tables: Tables) -> list[ComparedSplits]:
    """Every told split of a set beside its strictest one, then beside all folds of the brain set.

    Args:
        tables: The published tables by name: ``leaks``, and ``folds`` and ``accuracy`` for the
            folds.
    """
    if "leaks" not in tables:
        return []
    found = []
    places = tables["leaks"].groupby(["dataset", "split", "sizes_of", "honest"], sort=False)
    for (dataset, split, sizes_of, honest), rows in places:
        if not _is_told(split, sizes_of):
            continue
        of_model = rows.set_index("model").to_dict("index")
        apart = told_honest(dataset, honest)
        if honest == "patients":
            apart += f" (fold {TEST_FOLD})"
        row = of_model[KD_STUDENT]
        found.append(
            ComparedSplits(
                f"{NAMES.get(dataset, dataset)}, {_told(split, sizes_of)} − {apart}",
                {model: interval_of(row, "difference") for model, row in of_model.items()},
                (row["seeds"], row["seeds_honest"]),
            )
        )
    return [*found, *_beside_all_folds(tables)]


def hides(tables: Tables) -> str:
    """What do splits hide that do not keep patients or copies apart?"""
    line = hides_briefly(tables)
    found = [one for one in compared_splits(tables) if not one.place.endswith(ALL_FOLDS)]
    if not line or not found:
        return line
    of_memory = sum(one.is_shown(MEMORY) for one in found)
    of_networks = [one.is_shown(model) for one in found for model in MODEL_WORDS]
    return (
        f"{line} Of all sets and splits (the table of splits), the interval leaves out zero for "
        f"memory on {of_memory} of {len(found)}, and for the three networks in {sum(of_networks)} "
        f"of {len(of_networks)} comparisons."
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
    networks = [f"{name} {points(of_model[model])}" for model, name in MODEL_WORDS.items()]
    return (
        f"**What does the usual split hide?** Of all brain images, this much more is right {split} "
        f"than by patient: {', '.join(networks)}{_both_seeds(of_model[KD_STUDENT])}. Memory, the "
        f"method that only looks up: {points(of_model[MEMORY])}."
    )


def _beside_all_folds(tables: Tables) -> list[ComparedSplits]:
    """The splits of the brain set beside all its folds together, once all of these are there."""
    if "folds" not in tables or "accuracy" not in tables:
        return []
    over_folds = over_all_folds(tables["folds"], ALL)
    if over_folds["folds"].iloc[0] < FOLDS:
        return []
    table = tables["accuracy"].query("dataset == 'brain_tumor' and counted == @ALL")
    table = table[table["teacher"] == main_teacher(table)]
    found = []
    for (split, sizes_of), rows in table.groupby(["split", "sizes_of"], sort=False):
        if not _is_told(split, sizes_of):
            continue
        of_split = rows.set_index("model")
        of_model = {
            MEMORY: unpaired_difference(
                interval_of(of_split.loc[KD_STUDENT], "leak_meter_mirrored"),
                interval_of(over_folds.loc[MEMORY_ALONE], "accuracy"),
            )
        }
        for model in MODEL_WORDS:
            of_model[model] = unpaired_difference(
                interval_of(of_split.loc[model], "accuracy"),
                interval_of(over_folds.loc[model], "accuracy"),
            )
        place = f"{NAMES['brain_tumor']}, {_told(split, sizes_of)} − by patient {ALL_FOLDS}"
        found.append(ComparedSplits(place, of_model, (of_split.loc[KD_STUDENT, "seeds"], 1)))
    return found


def _is_told(split: str, sizes_of: str) -> bool:
    """Whether a split is told that may leak; with parts of another one's sizes, random alone."""
    return split == "random" if sizes_of else split in TOLD_SPLITS


def _told(split: str, sizes_of: str) -> str:
    """Such a split in words."""
    return f"{TOLD_SPLITS[split]}{', parts of equal size' if sizes_of else ''}"


def _both_seeds(row: Mapping[str, Any]) -> str:
    """The seeds under two splits that are compared, in brackets, where they are not as many."""
    if row["seeds"] == row["seeds_honest"]:
        return seeds(row)
    first = "one seed" if row["seeds"] == 1 else f"{row['seeds']} seeds"
    last = "one" if row["seeds_honest"] == 1 else f"the mean of {row['seeds_honest']}"
    return f" ({first} against {last})"
