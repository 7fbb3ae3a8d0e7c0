"""The decision ledger at all five taps beside one Grad-CAM of a single tap, for student and teacher.

Prints the ratio of medians with its 95 % bootstrap interval, and the largest residual. Grad-CAM is the plain one: one
forward pass, and one backward pass down to its tap. At the first tap that is the whole network, as for the ledger; at
the last tap it is next to nothing. Both sides run in turn in one process.
Run: python benchmarks/ledger.py [--size 64] [--batch 32] [--repeats 30] [--threads 2]
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from common import ratio

from kdnb.efficiency.timing import interleaved
from kdnb.feature_maps.cam import cams
from kdnb.feature_maps.decision_ledger import decision_ledger
from kdnb.training.students import make_student
from kdnb.training.teachers import make_teacher


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name, make in ("student", make_student), ("teacher", make_teacher):
        model, images = make(4, seed=1), torch.randn(options.batch, 3, options.size, options.size)
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            model.train()(images)  # batch statistics that are not the initial ones
        model.eval()
        targets = torch.arange(options.batch) % 4
        ledger = decision_ledger(model, images, targets)
        worst = max(np.abs(ledger.residual(tap)).max() for tap in ledger.accounts)
        for where in (0, -1):
            tap = dict([list(model.taps.items())[where]])
            single = lambda tap=tap: cams(model, images, targets, taps=tap)  # noqa: B023, E731
            whole = lambda: decision_ledger(model, images, targets)  # noqa: B023, E731
            times = interleaved(whole, single, repeats=options.repeats)
            print(
                f"{name}, {options.size} px, batch {options.batch}: ledger of 5 taps / Grad-CAM at "
                f"{next(iter(tap))} = {ratio(*times)} (median {1000 * np.median(times[0]):.0f} ms; largest residual "
                f"{worst:.1e})"
            )


if __name__ == "__main__":
    main()
