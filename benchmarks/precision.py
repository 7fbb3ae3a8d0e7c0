"""How much faster is a training step in bfloat16? Both sides in one run, interleaved.

`precision = "auto"` goes by the hardware's instructions, never by a time. This tells what that is
worth on the machine at hand: for teacher and student the ratio of medians of a training step,
float32 over bfloat16, with its 95 % bootstrap interval; above 1 bfloat16 is faster.

Run: python benchmarks/precision.py [--size 64] [--batch 32] [--repeats 10] [--teacher densenet121]
"""

from __future__ import annotations

import argparse

import torch
from common import ratio, training_step

from kdnb.core.settings import Settings
from kdnb.efficiency.timing import interleaved
from kdnb.training.precision import resolve_precision
from kdnb.training.students import make_student
from kdnb.training.teachers import make_teacher

CLASSES = 4


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--teacher", default="densenet121")
    options = parser.parse_args()
    settings = Settings.checked({"teacher": options.teacher})
    device = settings.activate()
    print(
        f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}: "
        f"precision 'auto' is {resolve_precision(settings, device, options.teacher)}"
    )
    images = torch.randn(options.batch, 3, options.size, options.size, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    models = {
        options.teacher: make_teacher(CLASSES, name=options.teacher),
        "student": make_student(CLASSES),
    }
    for name, model in models.items():
        model = model.to(device).train()
        plain = training_step(model, images, "float32")
        rounded = training_step(model, images, "bfloat16")
        times = interleaved(plain, rounded, repeats=options.repeats, warm_up=2)
        print(
            f"{name}, batch {options.batch}, {options.size} px: "
            f"step in float32 / step in bfloat16 = {ratio(*times)}",
            flush=True,
        )


if __name__ == "__main__":
    main()
