"""Explanations put to the test: localisation, perturbation, sanity, agreement, baselines (05)."""

from kdnb.faithfulness.agreement import (
    AGREEMENTS,
    rank_correlation,
    structural_similarity,
    top_overlap,
)
from kdnb.faithfulness.baselines import BASELINES
from kdnb.faithfulness.grading import METRICS, grade
from kdnb.faithfulness.localisation import (
    distractor_shares,
    energy_in_mask,
    overlap_with_mask,
    peak_in_mask,
)
from kdnb.faithfulness.perturbation import FILLS, curve, deletion, impute, insertion, road
from kdnb.faithfulness.sanity import (
    Explainer,
    class_switch,
    randomisation,
    randomised,
    runner_up,
    stability,
)

__all__ = [
    "AGREEMENTS",
    "BASELINES",
    "FILLS",
    "METRICS",
    "Explainer",
    "class_switch",
    "curve",
    "deletion",
    "distractor_shares",
    "energy_in_mask",
    "grade",
    "impute",
    "insertion",
    "overlap_with_mask",
    "peak_in_mask",
    "randomisation",
    "randomised",
    "rank_correlation",
    "road",
    "runner_up",
    "stability",
    "structural_similarity",
    "top_overlap",
]
