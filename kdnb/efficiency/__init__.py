"""What models and explanations cost: time, memory, work, the ONNX file (notebook 06)."""

from kdnb.efficiency.answer import cost_answer
from kdnb.efficiency.claims import check_claims, published_claim
from kdnb.efficiency.costs import cost_tables, measure_costs, timing_protocol
from kdnb.efficiency.explanation_cost import both_factors
from kdnb.efficiency.onnx_export import export_onnx
from kdnb.efficiency.paper_teacher import PAPER_TEACHER, beside_paper, of_paper, work_sentence
from kdnb.efficiency.plots import cost_ratios_live, headline_steps, pareto_live
from kdnb.efficiency.timing import reach

__all__ = [
    "PAPER_TEACHER",
    "beside_paper",
    "both_factors",
    "check_claims",
    "cost_answer",
    "cost_ratios_live",
    "cost_tables",
    "export_onnx",
    "headline_steps",
    "measure_costs",
    "of_paper",
    "pareto_live",
    "published_claim",
    "reach",
    "timing_protocol",
    "work_sentence",
]
