"""Explanations and their tests: methods, metrics, verdicts, shortcuts (notebook 05)."""

from kdnb.xai.attribution import Attribution, Context, Raw
from kdnb.xai.baselines import BASELINES
from kdnb.xai.evaluation import train_students
from kdnb.xai.localisation import LOCALISATION, energy_in_mask
from kdnb.xai.map_agreement import AGREEMENTS, rank_correlation
from kdnb.xai.methods import METHODS, explain
from kdnb.xai.metrics import METRICS
from kdnb.xai.plots import attribution_grid, pointing_curves, tau_heatmap
from kdnb.xai.sanity_checks import randomisation, runner_up
from kdnb.xai.shortcuts import (
    CHEATED,
    LURING,
    SMALL,
    distractor_test,
    shortcut_test,
    train_cheating,
    train_lured,
)
from kdnb.xai.teacher_agreement import (
    agreement_table,
    agreement_with_teacher,
    cka_with_teacher,
    kd_question,
)
from kdnb.xai.tumour_localisation import Localisation, localise, masked_rows
from kdnb.xai.tumour_tables import (
    layer_summary,
    localisation_parts,
    localisation_table,
    right_reasons,
    say_localisation,
    say_right_reasons,
    shortcut_candidates,
)
from kdnb.xai.verdicts import explanation_quality, explanation_scores, explanation_verdicts, margins

__all__ = [
    "AGREEMENTS",
    "Attribution",
    "BASELINES",
    "CHEATED",
    "Context",
    "LOCALISATION",
    "LURING",
    "Localisation",
    "METHODS",
    "METRICS",
    "Raw",
    "SMALL",
    "agreement_table",
    "agreement_with_teacher",
    "attribution_grid",
    "cka_with_teacher",
    "distractor_test",
    "energy_in_mask",
    "explain",
    "explanation_quality",
    "explanation_scores",
    "explanation_verdicts",
    "kd_question",
    "layer_summary",
    "localisation_parts",
    "localisation_table",
    "localise",
    "margins",
    "masked_rows",
    "pointing_curves",
    "randomisation",
    "rank_correlation",
    "right_reasons",
    "runner_up",
    "say_localisation",
    "say_right_reasons",
    "shortcut_candidates",
    "shortcut_test",
    "tau_heatmap",
    "train_cheating",
    "train_lured",
    "train_students",
]
