"""Does distillation change the reasons? Layers and maps of the students beside the teacher's (notebook 05)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain, product

import numpy as np
import pandas as pd

from kdnb.core.progress import say
from kdnb.core.protocols import TrainedStudy
from kdnb.core.runs import Run, get_or_make
from kdnb.core.statistics import seed_interval
from kdnb.feature_maps.cka import gram_cka, grams
from kdnb.feature_maps.layer_analysis import COMPARED
from kdnb.training.fit import saved_logits
from kdnb.xai.baselines import BASELINES
from kdnb.xai.evaluation import (
    STUDENTS,
    TEACHER,
    evaluated,
    evaluated_rows,
    explanations,
    model_of,
    trained_runs,
)
from kdnb.xai.map_agreement import AGREEMENTS

__all__ = ["agreement_with_teacher", "agreement_table", "kd_question", "cka_with_teacher"]


def cka_with_teacher(study: TrainedStudy) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Debiased CKA of every tap of the students with the teacher's tap of like depth, on the images of notebook 04.

    Computed once and kept.

    Returns:
        "CKA with the teacher: …" → one number per seed of the KD students (S,) and of the label-only students (S,), as
        `kd_question` takes them; empty where there are fewer than the 4 test images that CKA needs.
    """
    runs = trained_runs(study)
    rows = study.sample(COMPARED)
    if len(rows) < 4:
        return {}

    def make(made: Run) -> None:
        batch = max(
            64, 2**20 // study.settings.image_size**2
        )  # small images at once: each is then seen once
        theirs, found = grams(study.teacher_model, study.images(rows), batch=batch), {}
        for kind in STUDENTS:
            for run in runs[kind]:
                say(f"  comparing layers: {kind}")
                cka = gram_cka(
                    grams(model_of(study, kind, run), study.images(rows), batch=batch), theirs
                )
                pairs = zip(cka.index, cka.columns, strict=True)
                found[kind, run.id] = {f"{ours}, {its}": cka.loc[ours, its] for ours, its in pairs}
        pd.DataFrame(found).T.rename_axis(["student", "run"]).to_csv(
            made.path("cka.csv"), float_format="%.6g"
        )

    upstream = [study.image_set.hash, *(run.id for kind in runs.values() for run in kind)]
    done = get_or_make(
        "likeness", {"rows": rows.tolist()}, make, root=study.settings.runs, upstream=upstream
    )
    table = pd.read_csv(done.path("cka.csv"), index_col=[0, 1])
    return {
        f"CKA with the teacher: {taps}": tuple(
            table.loc[kind, taps].to_numpy() for kind in STUDENTS
        )
        for taps in table
    }


def agreement_with_teacher(study: TrainedStudy) -> dict[tuple[str, str, str], np.ndarray]:
    """(student, explanation, measure) → (S, N): how alike the maps of teacher and student are, seed by seed."""
    models = trained_runs(study)
    found = {}
    for name in [n for n in explanations(TEACHER) if n not in BASELINES]:
        theirs = evaluated(study, TEACHER, study.teacher, name)["maps"]
        for kind in STUDENTS:
            maps = [evaluated(study, kind, run, name)["maps"] for run in models[kind]]
            for measure, alike in AGREEMENTS.items():
                found[kind, name, measure] = np.stack([alike(theirs, ours) for ours in maps])
    return found


def agreement_table(
    study: TrainedStudy, found: Mapping[tuple[str, str, str], np.ndarray]
) -> pd.DataFrame:
    """`agreement_with_teacher` on images on which teacher and all students are right, and on which at least one is wrong.

    Returns:
        Index (student, explanation, measure), columns (cases, value · low · high).
    """
    place = np.searchsorted(study.image_set.rows("test"), evaluated_rows(study))  # in the test part
    runs = chain.from_iterable(trained_runs(study).values())
    answers = np.stack([saved_logits(run)[place].argmax(1) for run in runs])
    right = (answers == study.test_targets[place]).all(axis=0)
    groups = study.test_groups[place]
    rows: dict[tuple[str, str, str], dict[tuple[str, str], float]] = {key: {} for key in found}
    for (key, values), (case, chosen) in product(
        found.items(), {"all right": right, "one wrong": ~right}.items()
    ):
        ends = seed_interval(values[:, chosen], groups[chosen], bounds=(-1, 1))
        rows[key] |= dict(zip(product([case], ("value", "low", "high")), ends, strict=True))
    return pd.DataFrame(rows).T.rename_axis(["student", "explanation", "measure"])


def kd_question(
    study: TrainedStudy,
    found: Mapping[tuple[str, str, str], np.ndarray],
    more: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
) -> pd.DataFrame:
    """Does distillation change what the student gets right, or why? KD student minus label-only student.

    Args:
        study: The models.
        found: Of `agreement_with_teacher`.
        more: Further measures, name → (KD (S,), label-only (S,)): one number per seed, such as the CKA of a tap.

    Returns:
        Index ``measure``; columns KD student, label-only student, difference with its 95 % interval, paired over
        images and seeds (low, high), seeds.
    """
    runs = trained_runs(study)
    groups = study.groups(evaluated_rows(study))
    right = [
        np.stack([saved_logits(r).argmax(1) == study.test_targets for r in runs[k]]).astype(float)
        for k in STUDENTS
    ]
    pairs = {"accuracy": (*right, study.test_groups)}
    for name, measure in dict.fromkeys(key[1:] for key in found):
        pairs[f"{measure} with the teacher: {name}"] = (
            *(found[k, name, measure] for k in STUDENTS),
            groups,
        )
    for name, (ours, theirs) in (more or {}).items():
        pairs[name] = np.reshape(ours, (-1, 1)), np.reshape(theirs, (-1, 1)), np.zeros(1)
    rows = {}
    for name, (ours, theirs, of) in pairs.items():
        value, low, high = seed_interval(ours - theirs, of)
        known = ~np.isnan(ours - theirs).any(axis=0)
        means = [float(part[:, known].mean()) if known.any() else np.nan for part in (ours, theirs)]
        rows[name] = {
            **dict(zip(STUDENTS, means, strict=True)),
            "difference": value,
            "low": low,
            "high": high,
            "seeds": len(ours),
        }
    return pd.DataFrame(rows).T.astype({"seeds": int}).rename_axis("measure")
