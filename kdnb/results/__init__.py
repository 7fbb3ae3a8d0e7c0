"""From many runs to published tables, plots and findings (notebook 07, ``kdnb figures``)."""

from kdnb.results.answer import results_answer
from kdnb.results.build import PATIENTS, RESULTS, build_tables, published, write_findings
from kdnb.results.collected_runs import collect_runs
from kdnb.results.patient_findings import patient_findings
from kdnb.results.plain_words import findings_html, plain_findings
from kdnb.results.plots import (
    accuracy_by_split,
    accuracy_summary,
    difference_panels,
    energy_spread,
    schedule_curves,
    size_curves,
    worth_pareto,
)
from kdnb.results.short_tables import accuracy_rows, gain_rows

__all__ = [
    "PATIENTS",
    "RESULTS",
    "accuracy_by_split",
    "accuracy_rows",
    "accuracy_summary",
    "build_tables",
    "collect_runs",
    "difference_panels",
    "energy_spread",
    "findings_html",
    "gain_rows",
    "patient_findings",
    "plain_findings",
    "published",
    "results_answer",
    "schedule_curves",
    "size_curves",
    "worth_pareto",
    "write_findings",
]
