"""What replaying a cached teacher saves: every claim with both sides in one run, interleaved.

- epoch:    a KD epoch from the cache against a label-only epoch of the same student (the floor).
- sweep:    12 students from one cache against 12 with an online teacher, from the measured cost of
            one epoch of each; also the ceiling (teacher's forward costs nothing) and a single first
            run.
- port:     images/s against a plain training loop that works as the authors' earlier public code
            does: images decoded in every epoch, teacher asked for every batch of 16, the
            eight-convolution student. Written for this. Ours is the five-layer student as profile
            "standard" trains it, in batches of 32, from a cache that is there before. What making
            the cache takes, once per view, is told beside and not counted.

Run: python benchmarks/distillation.py [epoch|sweep|port]
         [--size 64] [--images 320] [--repeats 5] [--teacher densenet121]
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
from common import drain, image_set, ratio, write_files
from torch import Tensor
from torch.nn.functional import cross_entropy
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from kdnb.core.errors import ends_in_one_line
from kdnb.core.settings import PROFILES
from kdnb.data.transforms import Batch, batches
from kdnb.distillation.losses import kd_loss
from kdnb.efficiency.timing import interleaved
from kdnb.training.fit import train_step
from kdnb.training.students import make_student
from kdnb.training.teachers import make_teacher

BATCH = 16


class Trainer:
    """One student's epochs over random images, with whatever teaches it."""

    def __init__(
        self, images: int, size: int, teaching: str, teacher: str, batch_size: int = BATCH
    ) -> None:
        self.found = image_set(images, size)
        self.rows = np.arange(images)
        self.teaching = teaching
        self.batch_size = batch_size
        self.student = make_student(4).train()
        self.teacher = make_teacher(4, name=teacher, image_size=size).eval()
        self.optimizer = torch.optim.AdamW(self.student.parameters(), fused=True)
        self.cache = torch.randn(images, 4)

    def epoch(self) -> None:
        for batch in batches(self.found, self.rows, self.batch_size, seed=0, epoch=0, view=0):
            loss = partial(self.loss, batch=batch)
            train_step(self.student, self.optimizer, batch.images, loss)

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        if self.teaching == "labels":
            return cross_entropy(logits, batch.targets)
        return kd_loss(logits, self.answers(batch), batch.targets, 0.7, 10.0)

    def answers(self, batch: Batch) -> Tensor:
        if self.teaching == "cache":
            return self.cache[batch.rows]
        with torch.inference_mode():
            return self.teacher(batch.images)

    def fill(self) -> None:
        """What the cache costs once per view."""
        with torch.inference_mode():
            drain(
                self.teacher(b.images)
                for b in batches(self.found, self.rows, 2 * BATCH, seed=0, view=0)
            )


def bench_epoch(size: int, images: int, repeats: int, teacher: str) -> None:
    sides = [Trainer(images, size, teaching, teacher).epoch for teaching in ("cache", "labels")]
    times = interleaved(*sides, repeats=repeats, warm_up=1)
    print(
        f"{size} px: KD epoch from the cache / label-only epoch = {ratio(*times)}; "
        f"{images / np.median(times[1]):.0f} images/s"
    )


def bench_sweep(size: int, images: int, repeats: int, teacher: str) -> None:
    cells, epochs, views = 12, 8, 4
    cached = Trainer(images, size, "cache", teacher)
    online = Trainer(images, size, "online", teacher)
    slow, fast = interleaved(online.epoch, cached.epoch, repeats=repeats, warm_up=1)
    fill, _ = interleaved(cached.fill, lambda: None, repeats=repeats, warm_up=1)
    for runs, name in ((cells, f"{cells} cells"), (1, "a first single run")):
        theirs = runs * epochs * slow
        ours = runs * epochs * fast + views * fill
        print(
            f"{size} px, {epochs} epochs, {views} views, {name}: "
            f"online / cached = {ratio(theirs, ours)}"
        )
    print(
        f"  ceiling (no teacher at all) {np.median(slow) / np.median(fast):.2f}; teacher's view "
        f"{np.median(fill) / np.median(fast):.2f} of a student epoch"
    )


def bench_port(size: int, images: int, repeats: int, teacher: str) -> None:
    """The port: float32, contiguous, no cache of any kind, decoded in the training process."""
    ours = Trainer(images, size, "cache", teacher, PROFILES["standard"]["batch_size"])
    contiguous = torch.contiguous_format
    student = make_student(4, name="as_coded", image_size=size).train()
    student = student.to(memory_format=contiguous)
    asked = make_teacher(4, name=teacher, image_size=size).eval().to(memory_format=contiguous)
    optimizer = torch.optim.Adam(student.parameters(), lr=1e-4)
    transform = v2.Compose(
        [
            v2.RGB(),
            v2.Resize((size, size)),
            v2.RandomAffine(0.2, (0.05, 0.05), (0.8, 1.2)),
            v2.RandomHorizontalFlip(),
            v2.RandomVerticalFlip(),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )
    with tempfile.TemporaryDirectory() as folder:
        write_files(ours.found, Path(folder))
        loader = torch.utils.data.DataLoader(ImageFolder(folder, transform), BATCH, shuffle=True)

        def port() -> None:
            for pixels, targets in loader:
                with torch.no_grad():
                    answers = asked(pixels)
                loss = partial(
                    kd_loss, teacher=answers, targets=targets, alpha=0.7, temperature=10.0
                )
                train_step(student, optimizer, pixels, loss)

        theirs, replayed, filling = interleaved(
            port, ours.epoch, ours.fill, repeats=repeats, warm_up=1
        )
    print(
        f"{size} px: plain port of the earlier training loop / ours = {ratio(theirs, replayed)}; "
        f"{images / np.median(theirs):.0f} against {images / np.median(replayed):.0f} images/s; "
        "not counted: making the cache, which takes "
        f"{np.median(filling) / np.median(replayed):.2f} of an epoch of ours, once per view"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    choices = {"epoch": bench_epoch, "sweep": bench_sweep, "port": bench_port}
    parser.add_argument("what", nargs="*", choices=[*choices, []], default=[])
    parser.add_argument("--size", type=int, nargs="+", default=[64])
    parser.add_argument("--images", type=int, default=320)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--teacher", default="densenet121")
    options = parser.parse_args()
    print(
        f"teacher {options.teacher}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    for what in options.what or choices:
        for size in options.size:
            choices[what](size, options.images, options.repeats, options.teacher)


if __name__ == "__main__":
    with ends_in_one_line("distillation.py"):
        main()
