"""How much faster is a training step in bfloat16? Both sides in one run, interleaved.

`precision = "auto"` goes by the hardware's instructions, never by a time. This tells what that is
worth on the machine at hand: for teacher and student the ratio of medians of a training step,
float32 over bfloat16, with its 95 % bootstrap interval; above 1 bfloat16 is faster.

Run: python benchmarks/precision.py [--size 64] [--batch 32] [--repeats 10] [--teacher densenet121]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from common import ratio
from torch import nn
from torch.nn.functional import cross_entropy

from kdnb.core.settings import TEACHERS, Settings
from kdnb.efficiency.timing import interleaved
from kdnb.training.precision import autocast, resolve_precision
from kdnb.training.students import make_student
from kdnb.training.teachers import make_teacher

CLASSES = 4


def stepper(model: nn.Module, images: torch.Tensor, precision: str) -> Callable[[], None]:
    """One training step of a model in a number format; images (N, 3, S, S) float32."""
    targets = torch.arange(len(images), device=images.device) % CLASSES
    optimizer = torch.optim.AdamW(model.parameters())

    def step() -> None:
        with autocast(precision, images.device):
            logits = model(images)
        optimizer.zero_grad(set_to_none=True)
        cross_entropy(logits.float(), targets).backward()
        optimizer.step()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--teacher", choices=TEACHERS, default="densenet121")
    options = parser.parse_args()
    settings = Settings.checked({})
    device = settings.activate()
    print(
        f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}: "
        f"precision 'auto' is {resolve_precision(settings, device)}"
    )
    images = torch.randn(options.batch, 3, options.size, options.size, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    models = {
        options.teacher: make_teacher(CLASSES, name=options.teacher),
        "student": make_student(CLASSES),
    }
    for name, model in models.items():
        model = model.to(device).train()
        plain = stepper(model, images, "float32")
        rounded = stepper(model, images, "bfloat16")
        times = interleaved(plain, rounded, repeats=options.repeats, warm_up=2)
        print(
            f"{name}, batch {options.batch}, {options.size} px: "
            f"step in float32 / step in bfloat16 = {ratio(*times)}",
            flush=True,
        )


if __name__ == "__main__":
    main()
