"""Which explanation of which model can be trusted, and does distillation change the reasons? (notebook 05)"""

from kdnb.trust.grading import (
    EXPLANATIONS,
    explanations,
    graded,
    train_students,
    trained_runs,
)
from kdnb.trust.judging import margins, quality, scores, verdicts
from kdnb.trust.planted import distractor, shortcut, train_cheating, train_lured
from kdnb.trust.reasons import agreement, agreement_table, kd_question, likeness

__all__ = [
    "EXPLANATIONS",
    "agreement",
    "agreement_table",
    "distractor",
    "explanations",
    "graded",
    "kd_question",
    "likeness",
    "margins",
    "quality",
    "scores",
    "shortcut",
    "train_cheating",
    "train_lured",
    "train_students",
    "trained_runs",
    "verdicts",
]
