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
    points_of,
    seeds,
    told_honest,
)
from kdnb.results.fold_findings import FOLDS, over_all_folds

__all__ = ["ComparedSplits", "compared_splits", "hides", "hides_briefly"]

Tables = Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class ComparedSplits:
    """How much more is right under one split than under one that keeps relatives apart.

    Attributes:
        dataset: The data set.
        split: The first split.
        sizes_of: The split whose sizes its parts have, or empty.
        apart: The second split, in words.
        of_model: Model, or "memory" → the difference of accuracies.
        seeds: Behind the first split, and behind the second.
        is_over_folds: Whether the second one is all folds together.
    """

    dataset: str
    split: str
    sizes_of: str
    apart: str
    of_model: Mapping[str, Interval]
    seeds: tuple[int, int]
    is_over_folds: bool = False

    @property
    def place(self) -> str:
        """The data set and the two splits, in words."""
        told = TOLD_SPLITS.get(self.split) or told_honest(self.dataset, self.split)
        equal = ", parts of equal size" if self.sizes_of else ""
        return f"{NAMES.get(self.dataset, self.dataset)} {told}{equal} − {self.apart}"

    def is_shown(self, model: str) -> bool:
        """Whether the interval leaves out zero; of a network, over several seeds on both sides."""
        _, low, high = self.of_model[model]
        enough = model == MEMORY_ALONE or min(self.seeds) >= SEVERAL
        return enough and (low > 0 or high < 0)


def compared_splits(tables: Tables) -> list[ComparedSplits]:
    """Every other split of a set beside its strictest one, then beside all folds of the brain set.

    Args:
        tables: The published tables by name: ``leaks``, and ``folds`` and ``accuracy`` for the
            folds.
    """
    if "leaks" not in tables:
        return []
    found = []
    places = tables["leaks"].groupby(["dataset", "split", "sizes_of", "honest"], sort=False)
    for (dataset, split, sizes_of, honest), rows in places:
        of_model = rows.set_index("model").to_dict("index")
        apart = told_honest(dataset, honest)
        if honest == "patients":
            apart += f" (fold {TEST_FOLD})"
        row = of_model[KD_STUDENT]
        found.append(
            ComparedSplits(
                dataset=dataset,
                split=split,
                sizes_of=sizes_of,
                apart=apart,
                of_model={name: interval_of(of, "difference") for name, of in of_model.items()},
                seeds=(row["seeds"], row["seeds_honest"]),
            )
        )
    return [*found, *_beside_all_folds(tables)]


def hides(tables: Tables) -> str:
    """What do splits hide that do not keep patients or copies apart?"""
    line = hides_briefly(tables)
    found = [one for one in compared_splits(tables) if not one.is_over_folds]
    if not line or not found:
        return line
    of_memory = sum(one.is_shown(MEMORY_ALONE) for one in found)
    of_networks = [one.is_shown(model) for one in found for model in MODEL_WORDS]
    return (
        f"{line} Of all sets and splits (table of splits, without all folds), the interval leaves "
        f"out zero for memory on {of_memory} of {len(found)}, and for the three networks in "
        f"{sum(of_networks)} of {len(of_networks)} comparisons."
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
    if len(random) and random[["seeds", "seeds_honest"]].min(axis=None) >= SEVERAL:
        rows = random
        equal = ", in parts of equal size,"
    elif len(published):
        rows = published
        equal = ""
    else:
        return ""
    split, sizes_of = rows[["split", "sizes_of"]].iloc[0]
    told = TOLD_SPLITS[split]
    of_model = rows.set_index("model").to_dict("index")
    networks = [f"{name} {points(of_model[model])}" for model, name in MODEL_WORDS.items()]
    behind = _both_seeds(of_model[KD_STUDENT], told)
    return (
        f"**What does the usual split hide?** Of all brain images, this much more is right {told}"
        f"{equal} than by patient: {', '.join(networks)}{behind}. Memory, the method that only "
        f"looks up: {points(of_model[MEMORY_ALONE])}.{_over_all_folds(tables, split, sizes_of)}"
    )


def _over_all_folds(tables: Tables, split: str, sizes_of: str) -> str:
    """What a split hides beside all folds of the brain set, in brief; a sentence or nothing."""
    found = {(one.split, one.sizes_of): one for one in _beside_all_folds(tables)}
    one = found.get((split, sizes_of))
    if one is None:
        return ""
    of_networks = sorted(one.of_model[model].value for model in MODEL_WORDS)
    return (
        f" By patient, that is fold {TEST_FOLD}. Against all {FOLDS} folds together (one seed): "
        f"networks {points_of(of_networks[0])} to {points_of(of_networks[-1])} points, memory "
        f"{points_of(one.of_model[MEMORY_ALONE].value)}."
    )


def _beside_all_folds(tables: Tables) -> list[ComparedSplits]:
    """The splits of the brain set beside all its folds together, once all of these are there."""
    if "folds" not in tables or "accuracy" not in tables:
        return []
    main = main_teacher(tables["accuracy"])
    folds = tables["folds"].query("dataset == 'brain_tumor' and teacher == @main")
    if folds.empty or folds["folds"].max() < FOLDS:
        return []
    over_folds = over_all_folds(folds, ALL)
    table = tables["accuracy"].query("dataset == 'brain_tumor' and counted == @ALL")
    table = table[table["teacher"] == main]
    found = []
    for (split, sizes_of), rows in table.groupby(["split", "sizes_of"], sort=False):
        if split == "patients":
            continue
        of_split = rows.set_index("model")
        of_model = {
            MEMORY_ALONE: unpaired_difference(
                interval_of(of_split.loc[KD_STUDENT], "leak_meter_mirrored"),
                interval_of(over_folds.loc[MEMORY_ALONE], "accuracy"),
            )
        }
        for model in MODEL_WORDS:
            of_model[model] = unpaired_difference(
                interval_of(of_split.loc[model], "accuracy"),
                interval_of(over_folds.loc[model], "accuracy"),
            )
        found.append(
            ComparedSplits(
                dataset="brain_tumor",
                split=split,
                sizes_of=sizes_of,
                apart="by patient (all folds)",
                of_model=of_model,
                seeds=(of_split.loc[KD_STUDENT, "seeds"], 1),
                is_over_folds=True,
            )
        )
    return found


def _both_seeds(row: Mapping[str, Any], split: str) -> str:
    """The seeds under a split, in words, and by patient, in brackets."""
    if row["seeds"] == row["seeds_honest"]:
        return seeds(row)
    first = "one seed" if row["seeds"] == 1 else f"{row['seeds']} seeds"
    return f" ({first} {split}, {row['seeds_honest']} by patient)"
