"""From many runs to published tables, plots and findings (notebook 07, ``kdnb figures``)."""

from kdnb.results.answer import results_answer
from kdnb.results.build import build_tables, published, write_findings
from kdnb.results.collected_runs import collect_runs
from kdnb.results.findings import at_once, findings, in_short
from kdnb.results.map_plots import energy_spread, worth_rows
from kdnb.results.place_tables import place_tables
from kdnb.results.plots import accuracy_by_split, difference_panels, schedule_curves, size_curves
from kdnb.results.short_tables import accuracy_rows, gain_rows

__all__ = [
    "accuracy_by_split",
    "accuracy_rows",
    "at_once",
    "build_tables",
    "collect_runs",
    "difference_panels",
    "energy_spread",
    "findings",
    "gain_rows",
    "in_short",
    "published",
    "results_answer",
    "schedule_curves",
    "place_tables",
    "size_curves",
    "worth_rows",
    "write_findings",
]
