"""What models and explanations cost: work, time, memory; the student as an ONNX file (06)."""

from kdnb.efficiency.claims import check_claims, verdict
from kdnb.efficiency.counting import closed_form_macs, cost_table, flops_of, macs
from kdnb.efficiency.explaining import (
    ATTRIBUTIONS,
    SLOW,
    as_graded,
    both_factors,
    end_to_end,
    explanation_methods,
    explanation_times,
    explanation_work,
    pareto_front,
)
from kdnb.efficiency.export import PARITY, export_onnx, onnx_available, onnx_latency, onnx_model
from kdnb.efficiency.measuring import cost_tables, measure_costs, timing_protocol
from kdnb.efficiency.memory import memory_table, peak_memory
from kdnb.efficiency.timing import WARM_UP, Protocol, interleaved, latency, ratio_interval

__all__ = [
    "ATTRIBUTIONS",
    "PARITY",
    "SLOW",
    "WARM_UP",
    "Protocol",
    "as_graded",
    "both_factors",
    "check_claims",
    "closed_form_macs",
    "cost_table",
    "cost_tables",
    "end_to_end",
    "explanation_methods",
    "explanation_times",
    "explanation_work",
    "export_onnx",
    "flops_of",
    "interleaved",
    "latency",
    "macs",
    "measure_costs",
    "memory_table",
    "onnx_available",
    "onnx_latency",
    "onnx_model",
    "pareto_front",
    "peak_memory",
    "ratio_interval",
    "timing_protocol",
    "verdict",
]
