"""Explanations and their tests: methods, metrics, verdicts, shortcuts, agreement with the teacher (notebook 05)."""

from kdnb.xai.attribution import Attribution, Context, Raw
from kdnb.xai.baselines import BASELINES
from kdnb.xai.evaluation import EXPLANATIONS, evaluated, explanations, train_students, trained_runs
from kdnb.xai.localisation import distractor_shares, energy_in_mask, overlap_with_mask, peak_in_mask
from kdnb.xai.map_agreement import AGREEMENTS, rank_correlation, structural_similarity, top_overlap
from kdnb.xai.methods import METHODS, Method, explain
from kdnb.xai.metrics import METRICS, explanation_metrics
from kdnb.xai.pixel_removal import FILLS, curve, deletion, impute, insertion, road
from kdnb.xai.sanity_checks import (
    Explainer,
    class_switch,
    randomisation,
    randomised,
    runner_up,
    stability,
)
from kdnb.xai.shortcuts import distractor_test, shortcut_test, train_cheating, train_lured
from kdnb.xai.teacher_agreement import (
    agreement_table,
    agreement_with_teacher,
    cka_with_teacher,
    kd_question,
)
from kdnb.xai.verdicts import explanation_quality, explanation_scores, margins, verdicts

__all__ = [
    "AGREEMENTS",
    "Attribution",
    "BASELINES",
    "Context",
    "EXPLANATIONS",
    "Explainer",
    "FILLS",
    "METHODS",
    "METRICS",
    "Method",
    "Raw",
    "agreement_with_teacher",
    "agreement_table",
    "class_switch",
    "curve",
    "deletion",
    "distractor_test",
    "distractor_shares",
    "energy_in_mask",
    "explain",
    "explanations",
    "explanation_metrics",
    "evaluated",
    "impute",
    "insertion",
    "kd_question",
    "cka_with_teacher",
    "margins",
    "overlap_with_mask",
    "peak_in_mask",
    "explanation_quality",
    "randomisation",
    "randomised",
    "rank_correlation",
    "road",
    "runner_up",
    "explanation_scores",
    "shortcut_test",
    "stability",
    "structural_similarity",
    "top_overlap",
    "train_cheating",
    "train_lured",
    "train_students",
    "trained_runs",
    "verdicts",
]
