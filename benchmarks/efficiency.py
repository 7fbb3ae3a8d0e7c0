"""What the student saves, at several image sizes: forward, every explanation, the ONNX file.

All sides are interleaved. Untrained networks: time does not depend on the weights. A ratio is
repeated until its 95 % interval reaches no further than 10 % to either side, for --seconds, or for
ten times --repeats; "wide" marks those that did not get there.

Run: python benchmarks/efficiency.py [--sizes 64 128 224] [--repeats 30] [--seconds 60]
         [--samples 20] [--threads 0] [--teacher densenet121]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from kdnb.core.errors import ends_in_one_line
from kdnb.efficiency.explanation_cost import end_to_end, explanation_methods, explanation_times
from kdnb.efficiency.onnx_export import export_onnx, onnx_latency
from kdnb.efficiency.timing import Protocol, latency, reach
from kdnb.training.model_cost import cost_table
from kdnb.training.students import make_student
from kdnb.training.teachers import make_teacher
from kdnb.xai.attribution import Context


def report(name: str, table: pd.DataFrame, protocol: Protocol) -> None:
    for row in table.dropna(subset=["ratio"]).itertuples():
        further = reach(row.ratio, row.ratio_low, row.ratio_high)
        wide = " wide" if further > protocol.half_width else ""
        print(
            f"  {name}, {row.Index}: {row.ratio:.2f} [{row.ratio_low:.2f}, {row.ratio_high:.2f}], "
            f"±{further:.0%} at most{wide}, {row.rounds:.0f} rounds"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 224])
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--teacher", default="densenet121")
    options = parser.parse_args()
    torch.set_num_threads(options.threads or torch.get_num_threads())
    protocol = Protocol(options.repeats, options.seconds)
    student = make_student(4).eval()
    for size in options.sizes:
        teacher = make_teacher(4, name=options.teacher, image_size=size).eval()
        pixels = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)
        image = torch.randn(1, 3, size, size)
        context = Context(torch.randn(16, 3, size, size), samples=options.samples)
        work = cost_table({"teacher": teacher, "student": student}, size)
        apart = (work["macs"] / work["macs_by_hand"] - 1).abs().max()
        flops = work["flops"]
        print(
            f"{size} px, teacher {options.teacher}, {torch.get_num_threads()} threads: "
            "student's share of FLOPs "
            f"{flops['student'] / flops['teacher']:.3f}, counters differ by {apart:.2%}"
        )
        times = latency(teacher, student, image, protocol)
        report("forward, teacher / student, batch", times, protocol)
        methods = explanation_methods(image, torch.tensor([0]), context)
        times = explanation_times(teacher, student, methods, image, protocol)
        report("explanation, teacher / student", times, protocol)
        whole = end_to_end(pixels, context)
        times = explanation_times(teacher, student, whole, image, protocol)
        report("end to end, teacher / student", times, protocol)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "student.onnx"
            apart = export_onnx(student, path, size)
            print(f"  largest difference of a logit, ONNX Runtime and PyTorch: {apart:.1g}")
            times = onnx_latency(student, path, image, protocol)
            report("PyTorch / ONNX Runtime, batch", times, protocol)


if __name__ == "__main__":
    with ends_in_one_line("efficiency.py"):
        main()
