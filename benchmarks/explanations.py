"""Grad-CAM at all five taps at once beside five calls of captum and of pytorch-grad-cam.

The five calls are one per tap. Prints one line per model, batch and library: the ratio of medians
with its 95 % bootstrap interval, and the largest difference of the maps relative to their largest
value. Both sides run in turn in one process.

Run: python benchmarks/explanations.py [--size 64] [--repeats 50] [--batches 1 8]
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from captum.attr import LayerGradCam
from common import ratio
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from kdnb.efficiency.timing import interleaved
from kdnb.feature_maps.cam import cams
from kdnb.training.modules import modules_at
from kdnb.training.students import make_student
from kdnb.training.teachers import make_teacher


def by_captum(model, images, targets):
    """Five explainers, one forward and one backward pass each."""
    return [
        LayerGradCam(model, module)
        .attribute(images, targets, relu_attributions=True)[:, 0]
        .detach()
        for module in modules_at(model).values()
    ]


def by_grad_cam(model, images, targets):
    """Five explainers; maps are not stretched to [0, 1] or to the image's size, as on our side."""
    maps = []
    wanted = [ClassifierOutputTarget(int(target)) for target in targets]
    for module in modules_at(model).values():
        with GradCAM(model, [module]) as cam:

            def keep_raw(x, goals, smooth, cam=cam, module=module):
                captured = cam.activations_and_grads
                activations = captured.activations[0].numpy()
                gradients = captured.gradients[0].numpy()
                raw = cam.get_cam_image(x, module, goals, activations, gradients, smooth)
                maps.append(raw.clip(0))

            cam.compute_cam_per_layer = keep_raw
            cam.aggregate_multi_layers = lambda found: None
            cam(images, wanted)
    return maps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    options = parser.parse_args()
    for name, model in (("student", make_student(4).eval()), ("teacher", make_teacher(4).eval())):
        for batch in options.batches:
            images = torch.randn(batch, 3, options.size, options.size).contiguous(
                memory_format=torch.channels_last
            )
            given = model, images, torch.arange(batch) % 4
            ours = [maps.numpy() for maps in cams(*given).values()]
            for library, call in (("captum", by_captum), ("pytorch-grad-cam", by_grad_cam)):
                pairs = zip(ours, map(np.asarray, call(*given)), strict=True)
                apart = max(np.abs(a - b).max() / max(np.abs(b).max(), 1e-12) for a, b in pairs)
                times = interleaved(
                    lambda c=call, g=given: c(*g), lambda g=given: cams(*g), repeats=options.repeats
                )
                print(
                    f"{name}, batch {batch}, {options.size} px: "
                    f"five calls of {library} / all taps at once = {ratio(*times)}, "
                    f"ours {1e3 * np.median(times[1]):.1f} ms, maps differ by {apart:.0e}, "
                    f"{torch.get_num_threads()} threads"
                )


if __name__ == "__main__":
    main()
