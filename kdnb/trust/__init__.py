"""Which explanation of which model can be trusted, and does distillation change the reasons? (notebook 05)"""

from kdnb.trust.planted import distractor, shortcut
from kdnb.trust.tables import (
    EXPLANATIONS,
    agreement,
    agreement_table,
    explanations,
    graded,
    kd_question,
    likeness,
    quality,
    scores,
    trained,
    verdicts,
)

__all__ = ["EXPLANATIONS", "agreement", "agreement_table", "distractor", "explanations", "graded", "kd_question",
           "likeness", "quality", "scores", "shortcut", "trained", "verdicts"]  # fmt: skip
