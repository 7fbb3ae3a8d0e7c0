"""What the tables say of all folds of the brain set together, in sentences (07)."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from kdnb.core.model_names import KD_STUDENT, TEACHER
from kdnb.core.number_text import percent
from kdnb.data.patient_split import TEST_FOLD
from kdnb.results.accuracy_tables import EVERY_FOLD
from kdnb.results.differences import main_teacher
from kdnb.results.finding_words import MODEL_WORDS, joined, points
from kdnb.results.places import KNOWN

__all__ = ["FOLDS", "accuracy_over_folds", "every_patient", "gain_over_folds", "over_all_folds"]

FOLDS = 5  # of the brain set
Tables = Mapping[str, pd.DataFrame]


def every_patient(tables: Tables) -> str:
    """What comes out where every patient of the brain set is tested once?"""
    if "folds" not in tables:
        return ""
    table = over_all_folds(tables["folds"])
    told = []
    for model, name in MODEL_WORDS.items():
        row = table.loc[model]
        low, high = percent(row["accuracy_low"]), percent(row["accuracy_high"])
        told.append(f"{name} {percent(row['accuracy'])} [{low}, {high}]")
    minus = []
    for model in (TEACHER, KD_STUDENT):
        minus.append(f"{MODEL_WORDS[model]} {points(table.loc[model], 'over_labels')}")
    folds = table["folds"].iloc[0]
    whom = f"Over {folds} of {FOLDS} folds, known patients"
    if folds == FOLDS:
        whom = f"Over all {FOLDS} folds, so every known patient is tested once"
    return (
        f"**And on other patients of the brain set?** {whom}, one seed: {', '.join(told)}. On the "
        f"same images, minus labels alone: {', '.join(minus)}. {_fold_by_fold(tables['folds'])}"
    )


def _fold_by_fold(folds: pd.DataFrame) -> str:
    """How right the distilled student is in each fold, and which one the other sentences test."""
    known = _of_one_teacher(folds, KNOWN)
    of_student = known[(known["model"] == KD_STUDENT) & (known["fold"] != EVERY_FOLD)]
    by_fold = of_student.set_index(of_student["fold"].astype(int))["accuracy"].sort_index()
    told = joined([percent(share) for share in by_fold])
    numbers = joined([str(fold) for fold in by_fold.index])
    place = ""
    if TEST_FOLD in by_fold.index:
        rank = "the hardest" if by_fold.idxmin() == TEST_FOLD else "one"
        place = f" The other sentences on unseen patients test fold {TEST_FOLD}, {rank} of them."
    return f"The distilled student in fold {numbers}: {told}.{place}"


def _of_one_teacher(folds: pd.DataFrame, counted: str) -> pd.DataFrame:
    """The rows that are counted in one way, of the one teacher, or of the study's main one."""
    rows = folds[folds["counted"] == counted]
    if rows["teacher"].nunique() > 1:
        rows = rows[rows["teacher"] == main_teacher(rows)]
    return rows


def over_all_folds(folds: pd.DataFrame, counted: str = KNOWN) -> pd.DataFrame:
    """The rows of all folds together, by model."""
    rows = _of_one_teacher(folds, counted)
    return rows[rows["fold"] == EVERY_FOLD].set_index("model")


def gain_over_folds(tables: Tables) -> str:
    """What distillation adds where every known patient is tested once; a sentence or nothing."""
    if "folds" not in tables:
        return ""
    row = over_all_folds(tables["folds"]).loc[KD_STUDENT]
    if row["folds"] < FOLDS:
        return ""
    return f" With every known patient tested once: {points(row, 'over_labels')} (one seed)."


def accuracy_over_folds(tables: Tables) -> str:
    """How right teacher and student are where every known patient is tested once, or nothing."""
    if "folds" not in tables:
        return ""
    accuracy = over_all_folds(tables["folds"])
    if accuracy["folds"].iloc[0] < FOLDS:
        return ""
    told = [percent(accuracy.loc[model, "accuracy"]) for model in (TEACHER, KD_STUDENT)]
    return f" With every known patient tested once: {told[0]} and {told[1]} (one seed)."
