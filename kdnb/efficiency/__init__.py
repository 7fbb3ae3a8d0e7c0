"""What models and explanations cost: time, memory, work, the ONNX file (notebook 06)."""

from kdnb.efficiency.claims import check_claims, verdict
from kdnb.efficiency.cost_tables import cost_tables, measure_costs, timing_protocol
from kdnb.efficiency.explanation_cost import (
    SLOW,
    both_factors,
    end_to_end,
    explanation_methods,
    explanation_times,
    explanation_work,
)
from kdnb.efficiency.memory import memory_table, peak_memory
from kdnb.efficiency.onnx_export import (
    PARITY,
    export_onnx,
    onnx_available,
    onnx_latency,
    onnx_model,
)
from kdnb.efficiency.timing import WARM_UP, Protocol, interleaved, latency, ratio_interval

__all__ = [
    "PARITY",
    "Protocol",
    "SLOW",
    "WARM_UP",
    "both_factors",
    "check_claims",
    "cost_tables",
    "end_to_end",
    "explanation_methods",
    "explanation_times",
    "explanation_work",
    "export_onnx",
    "interleaved",
    "latency",
    "measure_costs",
    "memory_table",
    "onnx_available",
    "onnx_latency",
    "onnx_model",
    "peak_memory",
    "ratio_interval",
    "timing_protocol",
    "verdict",
]
