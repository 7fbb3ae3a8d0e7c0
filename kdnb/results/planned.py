"""The comparisons that docs/results.md wrote down before the runs, and only those (07)."""

from __future__ import annotations

import pandas as pd

from kdnb.core.p_values import holm
from kdnb.results.collected_runs import Records
from kdnb.results.differences import PLANNED, differences, main_teacher
from kdnb.results.places import KNOWN, PATIENTS
from kdnb.results.tumour_maps import PLANNED_MAPS, map_margins

__all__ = ["planned"]

COUNT = len(PLANNED) + len(PLANNED_MAPS)
SEEDS = {"accuracy": 5, "peak inside": 3}  # that docs/results.md has planned, by measure


def planned(records: Records) -> pd.DataFrame:
    """The planned comparisons of the brain set by patient, with Holm's correction over all.

    Those of accuracy are on tumour images of known origin, those of maps on their masks. A
    comparison of which the record holds nothing yet has no row; until all are there, every p is
    multiplied by the number of all.

    Columns: place, ``model`` minus ``rival``, measure, difference with its 95 % interval over seeds
    and groups, p, p_holm, seeds, seeds_planned, images, groups, run.
    """
    of_accuracy = differences(records)
    rows = []
    if len(of_accuracy):
        main = of_accuracy[of_accuracy["counted"] == KNOWN]
        teacher = main_teacher(of_accuracy)
        main = _main(main, teacher)
        for model, rival in PLANNED:
            of_pair = main[(main["model"] == model) & (main["rival"] == rival)]
            rows.append(of_pair.assign(measure="accuracy"))
        rows.append(_main(map_margins(records), teacher).assign(measure="peak inside"))
    found = pd.concat([table for table in rows if len(table)] or [pd.DataFrame()])
    if not len(found):
        return found
    columns = ["dataset", "split", "teacher", "model", "rival", "measure"]
    values = ["difference", "difference_low", "difference_high", "p"]
    counts = ["seeds", "images", "groups", "run"]
    found = found[[*columns, *values, *counts]].reset_index(drop=True)
    place = found.columns.get_loc("p") + 1
    found.insert(place, "p_holm", holm(found["p"], COUNT))
    place = found.columns.get_loc("seeds") + 1
    found.insert(place, "seeds_planned", found["measure"].map(SEEDS))
    return found


def _main(table: pd.DataFrame, teacher: str) -> pd.DataFrame:
    """The rows of the brain set by patient with the main teacher, of the largest images."""
    if not len(table):
        return table
    rows = table[
        (table["dataset"] == "brain_tumor")
        & (table["split"] == PATIENTS)
        & (table["sizes_of"] == "")
        & (table["teacher"] == teacher)
    ]
    return rows[rows["size_px"] == rows["size_px"].max()]
