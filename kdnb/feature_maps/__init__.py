"""What each layer shows and how it decides: average maps, CAMs, ledger, probes, CKA, ablation (notebook 04)."""

from kdnb.feature_maps.ablation import Tail, channel_means, probabilities_without, top_k_curve
from kdnb.feature_maps.average_maps import average_map, average_maps, to_size
from kdnb.feature_maps.cam import CAMS, cams
from kdnb.feature_maps.cka import gram_cka, grams
from kdnb.feature_maps.decision_ledger import Account, Ledger, decision_ledger, ledgers
from kdnb.feature_maps.layer_analysis import LayerAnalysis, analyse_layers, find_layer_analysis
from kdnb.feature_maps.layer_report import ImageReport, class_report, image_report
from kdnb.feature_maps.probes import (
    Examples,
    control_task,
    early_decisions,
    fit_probes,
    probe_predictions,
    probe_table,
)
from kdnb.feature_maps.receptive_field import field_box, receptive_fields

__all__ = [
    "Account",
    "CAMS",
    "Examples",
    "ImageReport",
    "Ledger",
    "LayerAnalysis",
    "Tail",
    "average_map",
    "average_maps",
    "cams",
    "channel_means",
    "control_task",
    "decision_ledger",
    "early_decisions",
    "field_box",
    "fit_probes",
    "find_layer_analysis",
    "gram_cka",
    "grams",
    "ledgers",
    "probabilities_without",
    "probe_predictions",
    "probe_table",
    "class_report",
    "image_report",
    "analyse_layers",
    "receptive_fields",
    "to_size",
    "top_k_curve",
]
