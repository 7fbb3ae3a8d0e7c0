"""Which explanation of which model can be trusted, and does distillation change the reasons? (notebook 05)"""

from kdnb.trust.grading import EXPLANATIONS, explanations, graded, trained
from kdnb.trust.judging import margins, quality, scores, verdicts
from kdnb.trust.planted import distractor, shortcut
from kdnb.trust.reasons import agreement, agreement_table, kd_question, likeness

__all__ = ["EXPLANATIONS", "agreement", "agreement_table", "distractor", "explanations", "graded", "kd_question",
           "likeness", "margins", "quality", "scores", "shortcut", "trained", "verdicts"]  # fmt: skip
