"""How much do the five average maps cost beside one plain forward pass? Both sides in one run, interleaved.

Prints one line per model and batch: the ratio of medians with its 95 % bootstrap interval.
Run: python benchmarks/average_maps.py [--size 64] [--repeats 100]
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from common import ratio

from kdnb.efficiency.timing import interleaved
from kdnb.feature_maps.average_maps import average_maps
from kdnb.training.students import make_student
from kdnb.training.teachers import make_teacher


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=100)
    options = parser.parse_args()
    for name, model in (("student", make_student(4).eval()), ("teacher", make_teacher(4).eval())):
        for batch in (1, 32):
            images = torch.randn(batch, 3, options.size, options.size).contiguous(
                memory_format=torch.channels_last
            )

            @torch.inference_mode()
            def plain(model=model, images=images):
                return model(images)

            times = interleaved(
                lambda m=model, x=images: average_maps(m, x), plain, repeats=options.repeats
            )
            print(
                f"{name}, batch {batch}, {options.size} px: five average maps / plain forward = {ratio(*times)}, "
                f"plain {1e3 * np.median(times[1]):.2f} ms, {torch.get_num_threads()} threads"
            )


if __name__ == "__main__":
    main()
