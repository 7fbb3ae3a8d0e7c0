"""What each layer shows and how it decides: maps, ledger, ablation, probes, CKA (notebook 04)."""

from kdnb.feature_maps.ablation import Tail, channel_means, probabilities_without, top_k_curve
from kdnb.feature_maps.ledger import Account, Ledger, decision_ledger, ledgers
from kdnb.feature_maps.maps import (
    average_map,
    average_maps,
    capture,
    check_targets,
    features,
    gradients_at_taps,
    logits_and_taps,
    to_size,
)
from kdnb.feature_maps.probes import (
    Examples,
    control_task,
    early_decisions,
    fit_probes,
    probe_predictions,
    probe_table,
)
from kdnb.feature_maps.receptive import field_box, receptive_fields
from kdnb.feature_maps.similarity import gram_cka, grams

__all__ = [
    "Account",
    "Examples",
    "Ledger",
    "Tail",
    "average_map",
    "average_maps",
    "capture",
    "channel_means",
    "check_targets",
    "control_task",
    "decision_ledger",
    "early_decisions",
    "features",
    "field_box",
    "fit_probes",
    "gradients_at_taps",
    "gram_cka",
    "grams",
    "ledgers",
    "logits_and_taps",
    "probabilities_without",
    "probe_predictions",
    "probe_table",
    "receptive_fields",
    "to_size",
    "top_k_curve",
]
