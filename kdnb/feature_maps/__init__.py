"""What each layer shows and how it decides: maps, CAMs, ledger, probes, CKA (notebook 04)."""

from kdnb.feature_maps.ablation import channel_means, probabilities_without
from kdnb.feature_maps.answer import layers_answer, map_answer
from kdnb.feature_maps.cam import CAMS, cams
from kdnb.feature_maps.cka import gram_cka, grams
from kdnb.feature_maps.layer_analysis import (
    CKA_IMAGES,
    LayerAnalysis,
    analyse_layers,
    find_layer_analysis,
)
from kdnb.feature_maps.layer_report import (
    ClassChannels,
    ImageReport,
    class_channels,
    class_report,
    image_report,
)
from kdnb.feature_maps.ledger import decision_ledger, ledgers
from kdnb.feature_maps.maps import average_map, average_maps, to_size
from kdnb.feature_maps.plots import (
    ablation_curves,
    channel_grid,
    cka_heatmaps,
    ledger_bars,
    map_grid,
    probe_curves,
)
from kdnb.feature_maps.probes import early_decisions
from kdnb.feature_maps.receptive_field import field_box, receptive_fields

__all__ = [
    "CAMS",
    "CKA_IMAGES",
    "ClassChannels",
    "ImageReport",
    "LayerAnalysis",
    "ablation_curves",
    "analyse_layers",
    "average_map",
    "average_maps",
    "cams",
    "channel_grid",
    "channel_means",
    "cka_heatmaps",
    "class_channels",
    "class_report",
    "decision_ledger",
    "early_decisions",
    "field_box",
    "find_layer_analysis",
    "gram_cka",
    "grams",
    "image_report",
    "layers_answer",
    "ledger_bars",
    "ledgers",
    "map_answer",
    "map_grid",
    "probabilities_without",
    "probe_curves",
    "receptive_fields",
    "to_size",
]
