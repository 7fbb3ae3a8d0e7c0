"""Every plot of the study: functions that return a figure with its alt text (all notebooks)."""

from kdnb.figures.charts import (
    class_balance,
    confusion_heatmap,
    grid_heatmap,
    ladder,
    leak_dots,
    learning_curves,
    reliability,
    score_bars,
    tau_heatmap,
)
from kdnb.figures.costs import cost_ratios_live, pareto, pareto_live
from kdnb.figures.layers import ablation_curves, cka_heatmaps, ledger_bars, probe_curves
from kdnb.figures.output import Picture, Results, png_of, png_uri, show
from kdnb.figures.pictures import attribution_grid, map_grid, sample_grid
from kdnb.figures.results import accuracy_summary, schedule_curves, size_curves, worth_pareto

__all__ = [
    "Picture",
    "Results",
    "ablation_curves",
    "accuracy_summary",
    "attribution_grid",
    "cka_heatmaps",
    "class_balance",
    "confusion_heatmap",
    "cost_ratios_live",
    "grid_heatmap",
    "ladder",
    "leak_dots",
    "learning_curves",
    "ledger_bars",
    "map_grid",
    "pareto",
    "pareto_live",
    "png_of",
    "png_uri",
    "probe_curves",
    "reliability",
    "sample_grid",
    "schedule_curves",
    "score_bars",
    "show",
    "size_curves",
    "tau_heatmap",
    "worth_pareto",
]
