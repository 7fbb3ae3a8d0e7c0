"""Fidelity of a student to its teacher: agreement and KL divergence (notebook 03)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import rel_entr

from kdnb.core.statistics import (
    Groups,
    interval_table,
    seed_interval,
    share_interval,
    softmax,
)

__all__ = ["fidelity", "fidelity_by", "kl_divergence"]


def kl_divergence(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """KL(p ‖ q) of probabilities (N, K), in nats: (N,)."""
    return rel_entr(p, np.clip(q, 1e-12, None)).sum(1)  # the floor keeps it finite


def fidelity(student: np.ndarray, teacher: np.ndarray, groups: Groups | np.ndarray) -> pd.DataFrame:
    """How alike student and teacher answer, with 95 % intervals.

    Top-1 agreement and KL(teacher ‖ student) in nats. ``student`` and ``teacher`` are (N, K)
    logits, ``groups`` (N,) the patient or family of each row.
    """
    same = student.argmax(1) == teacher.argmax(1)
    divergence = kl_divergence(softmax(teacher), softmax(student))
    return interval_table(
        {
            "agreement": share_interval(same[None].astype(float), groups),
            "kl": seed_interval(divergence[None], groups, bounds=(0, np.inf)),
        }
    )


def fidelity_by(
    student: np.ndarray, teacher: np.ndarray, targets: np.ndarray, classes: tuple[str, ...]
) -> pd.DataFrame:
    """Agreement with the teacher and accuracy of both, per class and where the teacher is wrong.

    ``student`` and ``teacher`` are (N, K) logits, ``targets`` (N,) class indices, ``classes`` K
    names.

    Returns:
        Index ``images of``; columns images, agreement, student (accuracy), teacher (accuracy); nan
        where there is no image.
    """
    by_student = student.argmax(1)
    by_teacher = teacher.argmax(1)
    holds = pd.DataFrame(
        {
            "agreement": by_student == by_teacher,
            "student": by_student == targets,
            "teacher": by_teacher == targets,
        }
    )
    parts = {name: targets == k for k, name in enumerate(classes)}
    parts["teacher wrong"] = by_teacher != targets
    rows = {}
    for name, part in parts.items():
        rows[name] = {"images": part.sum(), **holds[part].mean()}
    return pd.DataFrame(rows).T.astype({"images": int}).rename_axis("images of")
