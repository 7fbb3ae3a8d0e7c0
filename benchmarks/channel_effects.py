"""How long does ranking all channels of a tap take, and what does running only the part after the tap save?

Prints one line per model and tap: milliseconds for the effects of all channels on one image, and the ratio of medians,
with its 95 % bootstrap interval, of the whole model to the part after the tap, on the same batch of activations.
Run: python benchmarks/channel_effects.py [--size 64] [--repeats 20] [--threads 1]
"""

from __future__ import annotations

import argparse
from copy import copy
from time import perf_counter

import numpy as np
import torch
from common import ratio

from kdnb.efficiency.timing import interleaved
from kdnb.feature_maps.ablation import Tail, channel_means, probabilities_without
from kdnb.training.students import make_student
from kdnb.training.teachers import make_teacher


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    images = torch.randn(16, 3, options.size, options.size)
    for name, model in (("student", make_student(4)), ("teacher", make_teacher(4))):
        means = channel_means(model, images)
        for tap, mean in means.items():
            effects, masks = [], torch.eye(len(mean), dtype=torch.bool)
            for _ in range(options.repeats):
                start = perf_counter()
                probabilities_without(model, images[:1], tap, masks, mean=mean)
                effects.append(1e3 * (perf_counter() - start))
            part = Tail(model, images, tap)
            whole, activations = copy(part), part.activations(images)
            whole.chain = None
            sides = [lambda t=t, a=activations: t(a, images) for t in (whole, part)]
            low, middle, high = np.quantile(effects, [0.25, 0.5, 0.75])
            print(
                f"{name} {tap}, {len(mean)} channels, {options.size} px: {middle:.1f} ms "
                f"[IQR {low:.1f}, {high:.1f}]; "
                f"whole / part = {ratio(*interleaved(*sides, repeats=options.repeats))}, "
                f"{options.threads} threads"
            )


if __name__ == "__main__":
    main()
