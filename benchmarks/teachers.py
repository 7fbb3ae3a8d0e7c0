"""How long does a teacher train? Each against the student, interleaved in one run.

For each image size and teacher: parameters, MACs of an image, images per second in training
(forward, backward, optimizer; no data), and the ratio of medians of a training step, teacher over
student, with its 95 % bootstrap interval. Time does not depend on the weights: none are loaded.

Run: python benchmarks/teachers.py [--sizes 64 96 128] [--batch 32] [--repeats 20]
         [--precision float32] [--out teachers.csv] [--teachers densenet121 timm:resnet18 ...]
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
import torch
from common import ratio, training_step

from kdnb.core.profiles import LITE0
from kdnb.core.settings import Settings
from kdnb.efficiency.timing import interleaved, ratio_interval
from kdnb.training.model_cost import macs
from kdnb.training.modules import count_parameters
from kdnb.training.students import make_student
from kdnb.training.teachers import make_teacher

COMPARED = ("densenet121", LITE0, "timm:resnet18", "resnet50")


def measured(name: str, images: torch.Tensor, precision: str, repeats: int) -> dict[str, object]:
    """What training a teacher on images (N, 3, S, S) takes, beside the student."""
    count, _, size, _ = images.shape
    teacher = make_teacher(4, name=name, image_size=size).to(images.device)
    student = make_student(4).to(images.device)
    steps = [training_step(model.train(), images, precision) for model in (teacher, student)]
    times = interleaved(*steps, repeats=repeats, warm_up=3)
    of_teacher, of_student = np.median(times, axis=1)
    return {
        "size": size,
        "teacher": name,
        "parameters": count_parameters(teacher),
        "macs": macs(teacher, size),
        "macs_student": macs(student, size),
        "images_per_second": count / of_teacher,
        "images_per_second_student": count / of_student,
        **ratio_interval(*times).named("ratio"),
        "text": ratio(*times),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 96, 128])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--out", default="", help="a CSV for the table")
    parser.add_argument("--teachers", nargs="+", default=COMPARED)
    options = parser.parse_args()
    device = Settings.checked({}).activate()
    print(
        f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"batch {options.batch}, {options.precision}"
    )
    rows = []
    for size in options.sizes:
        images = torch.randn(options.batch, 3, size, size, device=device)
        images = images.contiguous(memory_format=torch.channels_last)
        for name in options.teachers:
            row = measured(name, images, options.precision, options.repeats)
            print(
                f"{size} px, {name}: {row['parameters'] / 1e6:.1f} M parameters, "
                f"{row['macs'] / 1e6:.0f} M MACs (student {row['macs_student'] / 1e6:.0f} M), "
                f"{row['images_per_second']:.0f} images/s "
                f"(student {row['images_per_second_student']:.0f}), "
                f"step / student's step = {row.pop('text')}",
                flush=True,
            )
            rows.append(row)
    if options.out:
        pd.DataFrame(rows).to_csv(options.out, index=False, float_format="%.6g")


if __name__ == "__main__":
    main()
