"""Deletion of all images at once beside a plain loop that flips pixel after pixel of image after image.

The loop is written here as a reference: one image, one pixel and one forward pass at a time. It is not Quantus, whose
pixel flipping walks the same way but could not be installed beside this study's libraries. Two lines per model: the
same steps on both sides, where the results must be equal; and the loop with an answer after *every* pixel against our
steps, where the areas under both curves must agree.
Run: python benchmarks/pixel_flipping.py [--size 32] [--images 8] [--steps 64] [--repeats 5]
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from common import ratio

from kdnb.efficiency import interleaved
from kdnb.faithfulness import FILLS, curve
from kdnb.faithfulness.perturbation import ranks
from kdnb.models import make_student


@torch.no_grad()
def flipped_one_by_one(model, start, end, targets, maps, steps, seed=0):
    """As `curve`: (N, steps + 1) probabilities of the target."""
    found, pixels = [], maps[0].size
    for image, other, target, place in zip(start, end, targets, ranks(maps, seed), strict=True):
        image, order, row, done = image.clone(), place.argsort(), [], 0
        for taken in torch.linspace(0, pixels, steps + 1).round().long().tolist():
            for pixel in order[done:taken].tolist():
                y, x = divmod(pixel, image.shape[-1])
                image[:, y, x] = other[:, y, x]
            done = taken
            row.append(model(image[None]).softmax(dim=1)[0, target].item())
        found.append(row)
    return np.array(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    size, pixels = options.size, options.size**2
    images = torch.nn.functional.interpolate(torch.randn(options.images, 3, 8, 8), (size, size), mode="bicubic")
    maps, targets = images.sum(1).numpy(), torch.arange(options.images) % 4
    model = make_student(4).eval()
    given = model, images, FILLS["blur"](images), targets, maps
    for steps in (options.steps, pixels):
        sides = (lambda s=steps: flipped_one_by_one(*given, s)), (lambda: curve(*given, options.steps))
        curves = [side() for side in sides]
        areas = [np.trapezoid(c, dx=1 / (c.shape[1] - 1), axis=1) for c in curves]
        times = interleaved(*sides, repeats=options.repeats, warm_up=1)
        print(f"student, {options.images} images of {size} px: loop with {steps} answers per image / {options.steps} "
              f"steps at once = {ratio(*times)}, ours {np.median(times[1]):.2f} s, largest difference of an area "
              f"{np.abs(areas[0] - areas[1]).max():.0e}, {torch.get_num_threads()} threads")  # fmt: skip


if __name__ == "__main__":
    main()
