"""What data and augmentation cost: every claim with both sides in one run.

- batches:  an epoch's augmented batches from the decoded cache against torchvision ImageFolder +
            DataLoader with two workers (written as JPEG files of twice the side first). Both turn,
            shift, zoom and mirror alike, read between pixels bilinearly, and change the light.
- share:    data and augmentation as a share of a student's training epoch.
- search:   near-duplicate search over 1x, 4x and 16x as many thumbnails of phantoms, and the
            exponent of its growth.

Run: python benchmarks/data.py [batches|share|search]
         [--images 2000] [--repeats 5] [--sizes 64 128 224]

Without --images, search starts from 7000; without --sizes, share leaves 224 px out.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from common import drain, image_set, ratio, write_files
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from kdnb.data import duplicates, leakage, phantoms
from kdnb.data.transforms import MEAN, STD, augment, batches
from kdnb.efficiency.timing import interleaved
from kdnb.training.fit import label_loss, train_step
from kdnb.training.students import make_student

BATCH = 32
LEAST_SEARCHED = 64  # images: 8 phantom patients with 8 slices each
BILINEAR = v2.InterpolationMode.BILINEAR


def bench_batches(images: int, repeats: int, sizes: list[int]) -> None:
    for size in sizes:
        found = image_set(images, size)
        rows = np.arange(images)
        transform = v2.Compose(
            [
                v2.RGB(),
                v2.Resize((size, size)),
                v2.RandomAffine(10, (0.05, 0.05), (0.9, 1.1), interpolation=BILINEAR),
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(0.1, 0.1),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(MEAN, STD),
            ]
        )
        with tempfile.TemporaryDirectory() as folder:
            write_files(found, Path(folder))
            loader = torch.utils.data.DataLoader(
                ImageFolder(folder, transform), BATCH, shuffle=True, num_workers=2
            )
            times = interleaved(
                lambda loader=loader: drain(loader),
                lambda found=found, rows=rows: drain(
                    batches(found, rows, BATCH, seed=0, epoch=0, view=0)
                ),
                repeats=repeats,
                warm_up=1,
            )
        per_second = [images / np.median(t) for t in times]
        threads = torch.get_num_threads()
        print(
            f"{size} px: ImageFolder + DataLoader, 2 workers / decoded cache = {ratio(*times)}; "
            f"{per_second[0]:.0f} against {per_second[1]:.0f} images/s, {threads} threads"
        )


def bench_share(images: int, repeats: int, sizes: list[int]) -> None:
    for size in sizes:
        found, rows = image_set(images, size), np.arange(images)
        model = make_student(4).train()
        optimizer = torch.optim.AdamW(model.parameters(), fused=True)

        def epoch(found=found, rows=rows, model=model, optimizer=optimizer) -> None:
            for batch in batches(found, rows, BATCH, seed=0, epoch=0, view=0):
                loss = partial(label_loss, batch=batch)
                train_step(model, optimizer, batch.images, loss)

        data, whole = interleaved(
            lambda found=found, rows=rows: drain(
                batches(found, rows, BATCH, seed=0, epoch=0, view=0)
            ),
            epoch,
            repeats=repeats,
            warm_up=1,
        )
        print(
            f"{size} px: data and augmentation / student epoch = {ratio(data, whole)}; "
            f"{images / np.median(whole):.0f} images/s in training"
        )


def views(base: np.ndarray, count: int) -> np.ndarray:
    """Thumbnails of `count` images: the base and augmented views of it.

    Every 20th is a nearly equal copy.
    """
    thumbs = []
    for view in range(count // len(base)):
        keys = np.random.default_rng(view).integers(0, 2**63, len(base)).astype(np.uint64)
        for start in range(0, len(base), 500):
            images = torch.from_numpy(base[start : start + 500]).permute(0, 3, 1, 2) / 255
            seen = augment(images, keys[start : start + 500]) if view else images
            pixels = (seen.permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8)
            pixels[1::20] = pixels[::20] ^ 1
            thumbs.append(duplicates.thumbnails(pixels))
    return np.concatenate(thumbs)


def bench_search(images: int, repeats: int) -> None:
    base, _ = phantoms.render_all(phantoms.PhantomPlan(patients=images // 8, slices=8), 64)
    counts, medians = [len(base), 4 * len(base), 16 * len(base)], []
    for count in counts:
        thumbs, times = views(base, count), []
        for _ in range(repeats):
            start = time.perf_counter()
            found = leakage.near_duplicates(thumbs)
            times.append(time.perf_counter() - start)
        medians.append(np.median(times))
        print(
            f"near-duplicate search over {count:,} thumbnails: {np.median(times):.1f} s "
            f"[{min(times):.1f}, {max(times):.1f}], {len(found):,} pairs",
            flush=True,
        )
    growth = np.polyfit(np.log(counts), np.log(medians), 1)[0]
    print(f"growth: time ~ n^{growth:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", choices=["batches", "share", "search", []], default=[])
    parser.add_argument("--images", type=int)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="+", help="px, of batches and share")
    options = parser.parse_args()
    what = options.what or ["batches", "share", "search"]
    if "search" in what and options.images is not None and options.images < LEAST_SEARCHED:
        parser.error(
            f"--images must be at least {LEAST_SEARCHED} for search, got {options.images}; "
            "name more, or what to run without it: batches share"
        )
    if "batches" in what:
        bench_batches(options.images or 2000, options.repeats, options.sizes or [64, 128, 224])
    if "share" in what:
        bench_share(options.images or 2000, options.repeats, options.sizes or [64, 128])
    if "search" in what:
        bench_search(options.images or 7000, options.repeats)


if __name__ == "__main__":
    main()
