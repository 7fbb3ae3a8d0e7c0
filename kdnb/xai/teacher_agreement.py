"""Does distillation change the reasons? Layers and maps beside the teacher's (notebook 05)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from kdnb.core.model_names import TEACHER
from kdnb.core.progress import tell
from kdnb.core.protocols import TrainedStudy
from kdnb.core.runs import Run, get_or_make
from kdnb.core.statistics import Groups, interval_of_seeds, seed_interval
from kdnb.feature_maps.cka import gram_cka, grams
from kdnb.feature_maps.layer_analysis import CKA_IMAGES
from kdnb.training.fit import saved_logits
from kdnb.xai.baselines import BASELINES
from kdnb.xai.evaluation import (
    STUDENT_KINDS,
    evaluated_rows,
    explanations_to_grade,
    grade_explanation,
    model_of,
    trained_runs,
)
from kdnb.xai.map_agreement import AGREEMENTS

__all__ = ["agreement_table", "agreement_with_teacher", "cka_with_teacher", "kd_question"]

Key = tuple[str, str, str]  # student, explanation, measure


def cka_with_teacher(study: TrainedStudy) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Debiased CKA of every tap of the students with the teacher's tap of like depth.

    On the images of notebook 04; computed once and kept.

    Returns:
        "CKA with the teacher: …" → one number per seed of the KD students (S,) and of the
        label-only students (S,), as `kd_question` takes them; empty where there are fewer than the
        4 test images that CKA needs.
    """
    runs = trained_runs(study)
    rows = study.sample(CKA_IMAGES)
    if len(rows) < 4:
        return {}

    def make(made: Run) -> None:
        table = _compare_taps(study, runs, rows)
        table.to_csv(made.path("cka.csv"), float_format="%.6g")

    upstream = [study.image_set.hash]
    for of_kind in runs.values():
        upstream += [run.id for run in of_kind]
    done = get_or_make(
        "likeness", {"rows": rows.tolist()}, make, root=study.settings.runs, upstream=upstream
    )
    table = pd.read_csv(done.path("cka.csv"), index_col=[0, 1])
    found = {}
    for taps in table:
        found[f"CKA with the teacher: {taps}"] = tuple(
            table.loc[kind, taps].to_numpy() for kind in STUDENT_KINDS
        )
    return found


def _compare_taps(
    study: TrainedStudy, runs: Mapping[str, Sequence[Run]], rows: np.ndarray
) -> pd.DataFrame:
    """CKA of paired taps: index (student, run), one column for each pair of taps."""
    images = study.images(rows)
    batch = max(64, 2**20 // study.settings.image_size**2)  # small images go all at once
    of_teacher = grams(study.teacher_model, images, batch=batch)
    found = {}
    for kind in STUDENT_KINDS:
        for run in runs[kind]:
            tell(f"comparing layers: {kind}")
            of_student = grams(model_of(study, kind, run), images, batch=batch)
            cka = gram_cka(of_student, of_teacher)
            row = {}
            for own, its in zip(cka.index, cka.columns, strict=True):
                row[f"{own}, {its}"] = cka.loc[own, its]
            found[kind, run.id] = row
    return pd.DataFrame(found).T.rename_axis(["student", "run"])


def agreement_with_teacher(study: TrainedStudy) -> dict[Key, np.ndarray]:
    """How alike the maps of teacher and student are, seed by seed.

    On the images that the teacher is graded on, which are the first of the KD student's.

    Returns:
        (student, explanation, measure) → (S, N).
    """
    runs = trained_runs(study)
    found = {}
    for name in explanations_to_grade(study, TEACHER):
        if name in BASELINES:
            continue
        of_teacher = grade_explanation(study, TEACHER, study.teacher, name)["maps"]
        for kind in STUDENT_KINDS:
            of_students = []
            for run in runs[kind]:
                maps = grade_explanation(study, kind, run, name)["maps"]
                of_students.append(maps[: len(of_teacher)])
            for measure, alike in AGREEMENTS.items():
                values = [alike(of_teacher, of_student) for of_student in of_students]
                found[kind, name, measure] = np.stack(values)
    return found


def agreement_table(study: TrainedStudy, found: Mapping[Key, np.ndarray]) -> pd.DataFrame:
    """`agreement_with_teacher` on images that all get right, and on those that one gets wrong.

    All are the teacher and all students.

    Returns:
        Index (student, explanation, measure), columns (cases, value · low · high).
    """
    rows = evaluated_rows(study, TEACHER)
    place = np.searchsorted(study.image_set.rows("test"), rows)  # in the test part
    right = np.full(len(place), True)
    for runs in trained_runs(study).values():
        right &= _right(study, runs)[:, place].all(axis=0)
    groups = study.test_groups[place]
    cases = {"all right": right, "one wrong": ~right}
    rows = {}
    for key, values in found.items():
        row = {}
        for case, chosen in cases.items():
            value, low, high = seed_interval(values[:, chosen], groups[chosen], bounds=(-1, 1))
            row[case, "value"] = value
            row[case, "low"] = low
            row[case, "high"] = high
        rows[key] = row
    return pd.DataFrame(rows).T.rename_axis(["student", "explanation", "measure"])


def kd_question(
    study: TrainedStudy,
    found: Mapping[Key, np.ndarray],
    more: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
) -> pd.DataFrame:
    """Does distillation change what the student gets right, or why?

    KD student minus label-only student.

    Args:
        study: The models.
        found: Of `agreement_with_teacher`.
        more: Further measures, name → (KD (S,), label-only (S,)): one number per seed, such as the
            CKA of a tap.

    Returns:
        Index ``measure``; columns KD student, label-only student, difference with its 95 %
        interval, paired over images and seeds (low, high), seeds.
    """
    distilled, alone = STUDENT_KINDS
    runs = trained_runs(study)
    rows = {
        "accuracy": _difference(
            _right(study, runs[distilled]).astype(float),
            _right(study, runs[alone]).astype(float),
            study.test_groups,
        )
    }
    groups = study.groups(evaluated_rows(study, TEACHER))
    for student, name, measure in found:
        if student == distilled:
            rows[f"{measure} with the teacher: {name}"] = _difference(
                found[distilled, name, measure], found[alone, name, measure], groups
            )
    for name, (of_distilled, of_alone) in (more or {}).items():
        rows[name] = _difference(of_distilled[:, None], of_alone[:, None], None)
    return pd.DataFrame(rows).T.astype({"seeds": int}).rename_axis("measure")


def _right(study: TrainedStudy, runs: Sequence[Run]) -> np.ndarray:
    """(S, N) bool: whether the model of each run names the class of each test image."""
    return np.stack([saved_logits(run).argmax(1) == study.test_targets for run in runs])


def _difference(
    distilled: np.ndarray, alone: np.ndarray, groups: Groups | np.ndarray | None
) -> dict[str, float]:
    """A measure (S, N) of the KD students and the label-only ones, and what lies between them.

    Without ``groups`` it is one number per seed (S, 1).
    """
    difference = distilled - alone
    if groups is None:
        value, low, high = interval_of_seeds(difference[:, 0])
    else:
        value, low, high = seed_interval(difference, groups)
    known = ~np.isnan(difference).any(axis=0)
    means = dict.fromkeys(STUDENT_KINDS, np.nan)
    if known.any():
        for kind, values in zip(STUDENT_KINDS, (distilled, alone), strict=True):
            means[kind] = float(values[:, known].mean())
    return {**means, "difference": value, "low": low, "high": high, "seeds": len(difference)}
