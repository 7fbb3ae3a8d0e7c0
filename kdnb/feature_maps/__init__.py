"""What each layer shows and how it decides: maps, CAMs, ledger, probes, CKA (notebook 04)."""

from kdnb.feature_maps.ablation import channel_means, probabilities_without
from kdnb.feature_maps.cam import CAMS, cams
from kdnb.feature_maps.cka import gram_cka, grams
from kdnb.feature_maps.layer_analysis import (
    COMPARED,
    LayerAnalysis,
    analyse_layers,
    find_layer_analysis,
)
from kdnb.feature_maps.layer_report import ImageReport, class_report, image_report
from kdnb.feature_maps.ledger import decision_ledger, ledgers
from kdnb.feature_maps.maps import average_map, average_maps, to_size
from kdnb.feature_maps.plots import (
    ablation_curves,
    cka_heatmaps,
    ledger_bars,
    map_grid,
    probe_curves,
)
from kdnb.feature_maps.probes import early_decisions
from kdnb.feature_maps.receptive_field import field_box, receptive_fields

__all__ = [
    "CAMS",
    "COMPARED",
    "ImageReport",
    "LayerAnalysis",
    "ablation_curves",
    "analyse_layers",
    "average_map",
    "average_maps",
    "cams",
    "channel_means",
    "cka_heatmaps",
    "class_report",
    "decision_ledger",
    "early_decisions",
    "field_box",
    "find_layer_analysis",
    "gram_cka",
    "grams",
    "image_report",
    "ledger_bars",
    "ledgers",
    "map_grid",
    "probabilities_without",
    "probe_curves",
    "receptive_fields",
    "to_size",
]
