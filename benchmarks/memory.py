"""What does it cost to give the memory of large tensors back at once? Both sides interleaved.

One process lets glibc do what it does by itself, the other has called
`kdnb.core.freed_memory.keep_freed_memory`; they take turns. Each times the forward pass alone, of
images that are there before. Prints one line per model and batch: the ratio of medians of a forward
pass with its 95 % bootstrap interval. The teacher is DenseNet121. Linux with glibc only.

Run: python benchmarks/memory.py [--size 64] [--repeats 30]
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection

import numpy as np
import torch
from common import ratio

from kdnb.core.freed_memory import keep_freed_memory
from kdnb.efficiency.timing import WARM_UP, interleaved
from kdnb.training.students import make_student
from kdnb.training.teachers import make_teacher

BATCHES = (1, 16, 64)
CASES = [(name, batch) for name in ("student", "teacher") for batch in BATCHES]


@torch.inference_mode()
def passes(asked: Connection, keep: bool, size: int, threads: int) -> None:
    """One forward pass of a case for every message, answered with its seconds."""
    torch.set_num_threads(threads)
    if keep:
        keep_freed_memory()
    models = {"student": make_student(4).eval(), "teacher": make_teacher(4).eval()}
    images = {}
    for batch in BATCHES:
        ones = torch.ones(batch, 3, size, size)
        images[batch] = ones.contiguous(memory_format=torch.channels_last)
    for name, batch in iter(asked.recv, None):
        start = time.perf_counter()
        models[name](images[batch])
        asked.send(time.perf_counter() - start)


def answered(sides: list[Connection], case: tuple[str, int], repeats: int) -> np.ndarray:
    """Seconds (sides, repeats) that the processes measured, asked in the order A B B A A B …"""
    seconds: list[list[float]] = [[] for _ in sides]

    def ask(number: int) -> None:
        sides[number].send(case)
        seconds[number].append(sides[number].recv())

    calls = [partial(ask, number) for number in range(len(sides))]
    interleaved(*calls, repeats=repeats, warm_up=WARM_UP)  # its own times hold the way there, too
    return np.array(seconds)[:, WARM_UP:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=30)
    options = parser.parse_args()
    context = get_context("spawn")
    sides = []
    for keep in (False, True):
        here, there = context.Pipe()
        given = there, keep, options.size, torch.get_num_threads()
        context.Process(target=passes, args=given, daemon=True).start()
        sides.append(here)
    for case in CASES:
        times = answered(sides, case, options.repeats)
        print(
            f"{case[0]}, batch {case[1]}, {options.size} px: given back / kept = {ratio(*times)}, "
            f"{torch.get_num_threads()} threads",
            flush=True,
        )
    for side in sides:
        side.send(None)


if __name__ == "__main__":
    main()
