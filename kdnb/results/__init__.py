"""From many runs to published tables, plots and findings (notebook 07, ``kdnb figures``)."""

from kdnb.results.build import PATIENTS, RESULTS, build_tables, published, write_findings
from kdnb.results.collected_runs import collect_runs
from kdnb.results.plots import (
    accuracy_by_split,
    accuracy_summary,
    schedule_curves,
    size_curves,
    worth_pareto,
)

__all__ = [
    "PATIENTS",
    "RESULTS",
    "accuracy_by_split",
    "accuracy_summary",
    "build_tables",
    "collect_runs",
    "published",
    "schedule_curves",
    "size_curves",
    "worth_pareto",
    "write_findings",
]
