"""Deletion of all images and steps at once beside Quantus' pixel flipping, same maps and fill.

Quantus goes from step to step with a batch of all images. Two lines: Quantus as it is meant, with
an answer after each pixel, against our steps; and Quantus with our steps. The areas under both
curves must agree. Quantus is not among the requirements, as it asks for a second OpenCV:
pip install --no-deps quantus cachetools

Run: python benchmarks/pixel_flipping.py [--size 48] [--images 8] [--steps 48] [--repeats 5]
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from common import ratio

from kdnb.efficiency.timing import interleaved
from kdnb.training.students import make_student
from kdnb.xai.pixel_removal import curve


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--steps", type=int, default=48)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    try:
        from quantus import PixelFlipping
    except ImportError as error:
        parser.error(f"Quantus is not there ({error}): pip install --no-deps quantus cachetools")
    size, pixels = options.size, options.size**2
    if pixels % options.steps or options.steps % 3:
        parser.error(
            f"--steps must divide the {pixels} pixels and be a multiple of 3 (Quantus), "
            f"got {options.steps}"
        )
    images = torch.nn.functional.interpolate(
        torch.randn(options.images, 3, 8, 8), (size, size), mode="bicubic"
    )
    maps, targets = images.sum(1).numpy(), torch.arange(options.images) % 4
    model, grey = make_student(4).eval(), torch.zeros_like(images)

    def ours() -> np.ndarray:
        return curve(model, images, grey, targets, maps, options.steps)

    for steps in (pixels, options.steps):
        flip = PixelFlipping(
            features_in_step=3 * pixels // steps,  # three colours a pixel
            perturb_baseline=0.0,
            normalise=False,
            disable_warnings=True,
        )

        def theirs(flip: PixelFlipping = flip) -> np.ndarray:
            given = images.numpy(), targets.numpy(), maps[:, None]
            return np.array(flip(model, *given, channel_first=True, batch_size=len(images)))

        curve_ours = ours()
        # Quantus leaves out the answer to the whole image
        curve_theirs = np.hstack([curve_ours[:, :1], theirs()])
        areas = [
            np.trapezoid(c, dx=1 / (c.shape[1] - 1), axis=1) for c in (curve_theirs, curve_ours)
        ]
        times = interleaved(theirs, ours, repeats=options.repeats, warm_up=1)
        print(
            f"student, {options.images} images of {size} px: Quantus with {steps} answers an image "
            f"/ {options.steps} steps at once = {ratio(*times)}, "
            f"ours {np.median(times[1]):.2f} s, "
            f"largest difference of an area {np.abs(areas[0] - areas[1]).max():.0e}, "
            f"{torch.get_num_threads()} threads"
        )


if __name__ == "__main__":
    main()
