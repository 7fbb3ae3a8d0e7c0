"""Explanations and their tests: methods, metrics, verdicts, shortcuts (notebook 05)."""

from kdnb.feature_maps.mask_metrics import LOCALISATION, energy_in_mask
from kdnb.xai.answer import (
    cheat_sentence,
    faithfulness_sentence,
    likeness_table,
    measure_name,
    published_verdicts,
    reasons_sentence,
    score_overview,
    verdict_sentence,
    verdicts_to_show,
)
from kdnb.xai.attribution import Attribution, Context, Raw
from kdnb.xai.baselines import BASELINES
from kdnb.xai.evaluation import evaluated_rows, is_quick_look, train_students
from kdnb.xai.image_grades import image_grades
from kdnb.xai.map_agreement import AGREEMENTS, rank_correlation
from kdnb.xai.methods import METHODS, explain
from kdnb.xai.metrics import METRICS
from kdnb.xai.plots import attribution_grid, pointing_curves, tau_heatmap, verdict_grid
from kdnb.xai.sanity_checks import randomisation, runner_up
from kdnb.xai.shortcuts import (
    CHEATED,
    LURING,
    SMALL,
    TrapMaps,
    cheat_maps,
    distractor_maps,
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
from kdnb.xai.trap_plots import trap_grid
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
from kdnb.xai.verdicts import (
    TESTS,
    explanation_quality,
    explanation_verdicts,
    grade_explanations,
    margins,
)

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
    "TESTS",
    "TrapMaps",
    "agreement_table",
    "agreement_with_teacher",
    "attribution_grid",
    "cheat_maps",
    "cheat_sentence",
    "faithfulness_sentence",
    "cka_with_teacher",
    "distractor_maps",
    "distractor_test",
    "evaluated_rows",
    "energy_in_mask",
    "explain",
    "explanation_quality",
    "grade_explanations",
    "explanation_verdicts",
    "image_grades",
    "is_quick_look",
    "kd_question",
    "layer_summary",
    "likeness_table",
    "localisation_parts",
    "localisation_table",
    "localise",
    "margins",
    "masked_rows",
    "measure_name",
    "pointing_curves",
    "published_verdicts",
    "randomisation",
    "rank_correlation",
    "reasons_sentence",
    "right_reasons",
    "runner_up",
    "say_localisation",
    "say_right_reasons",
    "score_overview",
    "shortcut_candidates",
    "shortcut_test",
    "tau_heatmap",
    "train_cheating",
    "train_lured",
    "train_students",
    "trap_grid",
    "verdict_grid",
    "verdict_sentence",
    "verdicts_to_show",
]
