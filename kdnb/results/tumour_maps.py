"""Where explanations look in real tumours: pooled over seeds, against what knows nothing (07)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from kdnb.core.errors import UserError
from kdnb.core.intervals import Interval
from kdnb.core.model_names import KD_STUDENT
from kdnb.core.p_values import p_over_seeds
from kdnb.core.statistics import Groups, grade_interval, seed_interval
from kdnb.results.answered_runs import check_seeds
from kdnb.results.collected_runs import PLACE_OF_RUN, Records
from kdnb.results.places import by_run, named
from kdnb.xai.image_grades import read_image_grades
from kdnb.xai.tumour_localisation import INPUT, MEAN_MASK
from kdnb.xai.tumour_tables import POINTING

__all__ = [
    "PLANNED_MAPS",
    "localisation_by_run",
    "localisation_parts",
    "map_energies",
    "map_margins",
    "right_reasons",
    "tumour_maps",
]

TABLE = "05_image_grades"
ENERGY = "energy in mask"
# what is compared with the class's mean training mask: written down before the runs
PLANNED_MAPS = (
    ("average map", "conv1"),
    ("average map", "conv3"),
    ("average map", "conv5"),
    ("Grad-CAM", "conv5"),
    ("class evidence", "conv3"),
    ("SHAP gradient", INPUT),
    ("integrated gradients", INPUT),
)
QUANTILES = {"q10": 0.1, "q25": 0.25, "median": 0.5, "q75": 0.75, "q90": 0.9}


@dataclass(frozen=True)
class _Pool:
    """The grades of all seeds of one place.

    Attributes:
        place: Data set, split and teacher.
        grades: By seed; index (model, explanation, tap, metric), one column per image.
        groups: Of the images.
        run: Ids of the runs.
    """

    place: Mapping[str, Any]
    grades: list[pd.DataFrame]
    groups: Groups
    size_px: int
    run: str

    def values(self, key: tuple[str, str, str, str]) -> np.ndarray:
        """(S, N) grades of one explanation."""
        return np.stack([grades.loc[key].to_numpy(float) for grades in self.grades])


def _pools(records: Records) -> list[_Pool]:
    """The runs of notebook 05 by their place (see `PLACE_OF_RUN`); their seeds in order.

    Raises:
        UserError: If two seeds have other images, or two runs one seed.
    """
    if TABLE not in records:
        return []
    parameters = records["runs"].set_index("run")["parameters"].map(json.loads)
    found: dict[tuple[str, ...], list[tuple[int, str, pd.DataFrame]]] = {}
    for run, table in records[TABLE].groupby("run", sort=False):
        chosen = parameters[run]
        place = tuple(chosen[name] for name in PLACE_OF_RUN)
        found.setdefault(place, []).append((chosen["teacher_seed"], run, table))
    pools = []
    for place, of_seeds in found.items():
        of_seeds.sort(key=lambda one: one[0])
        check_seeds([seed for seed, _, _ in of_seeds], [run for _, run, _ in of_seeds])
        read = [read_image_grades(table.drop(columns="run")) for _, _, table in of_seeds]
        first, groups, classes = read[0]
        for _, other_groups, other_classes in read[1:]:
            same = np.array_equal(groups.names, other_groups.names)
            if not same or not np.array_equal(classes, other_classes):
                runs = " and ".join(run for _, run, _ in of_seeds)
                raise UserError(f"runs {runs} graded other images: give them the same seed")
        pools.append(
            _Pool(
                place=named(place),
                size_px=dict(zip(PLACE_OF_RUN, place, strict=True))["image_size"],
                grades=[grades.loc[first.index] for grades, _, _ in read],
                groups=groups,
                run=" ".join(run for _, run, _ in of_seeds),
            )
        )
    return pools


def tumour_maps(records: Records) -> pd.DataFrame:
    """How often each map's peak lies in the tumour, and how much of the map does.

    Columns: place, model, explanation, tap, metric, value with its 95 % interval
    over seeds and groups; of peaks also ``over_usual``, how much more often than the class's mean
    training mask on the same images, with its interval; images (on which it is known), seeds, run.
    """
    rows = []
    for pool in _pools(records):
        for key in pool.grades[0].index:
            values = _of_known_seeds(pool.values(key))
            known = ~np.isnan(values).any(axis=0)
            if not len(values) or not known.any():
                continue
            rows.append(
                {
                    **pool.place,
                    **dict(zip(("model", "explanation", "tap", "metric"), key, strict=True)),
                    **grade_interval(values, pool.groups).named("value"),
                    **_over_usual(pool, key),
                    "images": int(known.sum()),
                    "seeds": len(values),
                    "size_px": pool.size_px,
                    "run": pool.run,
                }
            )
    return pd.DataFrame(rows)


def _over_usual(pool: _Pool, key: tuple[str, str, str, str]) -> dict[str, float]:
    """Peaks of a map minus those of the class's mean training mask; unknown of other metrics."""
    model, explanation, _, metric = key
    usual = (model, MEAN_MASK, INPUT, metric)
    interval = Interval([np.nan, np.nan, np.nan])
    if metric == POINTING and explanation != MEAN_MASK and usual in pool.grades[0].index:
        margin = _of_known_seeds(pool.values(key) - pool.values(usual))
        interval = seed_interval(margin, pool.groups, bounds=(-1, 1))
    return interval.named("over_usual")


def _of_known_seeds(values: np.ndarray) -> np.ndarray:
    """Values (S, N) without seeds that know nothing, as where an explanation was refused."""
    return values[~np.isnan(values).all(axis=1)]


def map_margins(records: Records) -> pd.DataFrame:
    """The planned maps of the distilled student minus the class's mean training mask.

    Share of images whose peak lies in the tumour, on the images that both are known on. Columns:
    place, model (the map and its layer), rival, difference with its 95 % interval
    over seeds and groups, p (of both, too), seeds, images, groups, run.
    """
    rows = []
    for pool in _pools(records):
        usual = pool.values((KD_STUDENT, MEAN_MASK, INPUT, POINTING))
        for explanation, tap in PLANNED_MAPS:
            key = (KD_STUDENT, explanation, tap, POINTING)
            if key not in pool.grades[0].index:
                continue
            margin = _of_known_seeds(pool.values(key) - usual)
            if not len(margin):
                continue
            known = ~np.isnan(margin).any(axis=0)
            interval = seed_interval(margin, pool.groups, bounds=(-1, 1))
            rows.append(
                {
                    **pool.place,
                    "model": explanation if tap == INPUT else f"{explanation}, {tap}",
                    "rival": MEAN_MASK,
                    **interval.named("difference"),
                    "p": p_over_seeds(margin, pool.groups),
                    "seeds": len(margin),
                    "images": int(known.sum()),
                    "groups": len(np.unique(pool.groups.names[known])),
                    "size_px": pool.size_px,
                    "run": pool.run,
                }
            )
    return pd.DataFrame(rows)


def localisation_by_run(records: Records) -> pd.DataFrame:
    """Every score of every map of the distilled student against the masks, run by run.

    Columns: dataset, split, teacher, teacher_seed, then those of the table of notebook 05:
    explanation, tap, metric, value with its 95 % interval over groups, images; run.
    """
    return by_run(records, "05_localisation")


def localisation_parts(records: Records) -> pd.DataFrame:
    """The same by part of the images: a class, a size of the tumour; the mask as drawn and dilated.

    Columns: those of `localisation_by_run`, with mask and part; two of the metrics.
    """
    return by_run(records, "05_localisation_parts")


def right_reasons(records: Records) -> pd.DataFrame:
    """How much of the distilled student's evidence lies in the tumour, by right and wrong answers.

    Columns: dataset, split, teacher, teacher_seed, then those of the table of notebook 05: tap,
    right, wrong (mean shares), their difference with its 95 % interval over groups, how many
    answers were right and wrong, and how many images had no evidence at all; run.
    """
    return by_run(records, "05_right_reasons")


def map_energies(records: Records) -> pd.DataFrame:
    """How the share of a map that lies in the tumour is spread over images, for a chart.

    Columns: place, model, explanation, tap, the quantiles 10 to 90 %, images,
    seeds, run.
    """
    rows = []
    for pool in _pools(records):
        for model, explanation, tap, metric in pool.grades[0].index:
            if metric != ENERGY:
                continue
            values = pool.values((model, explanation, tap, metric))
            if np.isnan(values).all():
                continue
            spread = {name: np.nanquantile(values, share) for name, share in QUANTILES.items()}
            rows.append(
                {
                    **pool.place,
                    "model": model,
                    "explanation": explanation,
                    "tap": tap,
                    **spread,
                    "images": int((~np.isnan(values).any(axis=0)).sum()),
                    "seeds": len(values),
                    "size_px": pool.size_px,
                    "run": pool.run,
                }
            )
    return pd.DataFrame(rows)
