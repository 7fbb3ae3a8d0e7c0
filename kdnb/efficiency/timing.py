"""Times on a noisy machine: calls in turn, until the ratio of their times is known (notebook 06).

All sides run in one loop, there and back (A B B A A B B A …), so that a slow moment hits each
alike. What is reported is the ratio of medians with a bootstrap interval over rounds; seconds alone
belong to one machine on one day.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from kdnb.core.intervals import Interval
from kdnb.training.model_cost import Call
from kdnb.training.modules import evaluating

__all__ = [
    "BATCHES",
    "Protocol",
    "WARM_UP",
    "compared",
    "filled",
    "forward_of",
    "interleaved",
    "latency",
    "quartiles_ms",
    "ratio_interval",
    "reach",
    "timed",
]

WARM_UP = 10  # untimed rounds before the first timed one
LEAST = 3  # rounds of one measurement
MOST = 10  # times the rounds that the protocol asks for
BATCHES = (1, 32)


@dataclass(frozen=True)
class Protocol:
    """How long a ratio is measured.

    Attributes:
        repeats: Rounds to time at least; as many again and again until the ratio is known, ten
            times as many at most.
        seconds: What a measurement may take: then it ends with the interval it has (after 3 rounds
            at least).
        warm_up: Untimed rounds before, or fewer where they take a tenth of ``seconds``.
        half_width: The ratio is known once its 95 % interval reaches no further than this share of
            it to either side.
    """

    repeats: int = 30
    seconds: float = 30.0
    warm_up: int = WARM_UP
    half_width: float = 0.1


def interleaved(*calls: Call, repeats: int, warm_up: int = WARM_UP) -> np.ndarray:
    """Seconds (calls, repeats) in the order A B B A A B B A …, after ``warm_up`` untimed rounds."""
    for _ in range(warm_up):
        _round(calls, 0)
    return np.array([_round(calls, number) for number in range(repeats)]).T


def timed(*calls: Call, protocol: Protocol) -> np.ndarray:
    """Seconds of each call, in the same order, until the ratio of the first two is known.

    It also ends where the time of the protocol is used up, and after ten times its rounds.

    Args:
        calls: At least two.
        protocol: When the ratio is known, and how long it is measured.

    Returns:
        Seconds (calls, rounds).
    """
    start = time.perf_counter()
    for _ in range(protocol.warm_up):
        _round(calls, 0)
        if time.perf_counter() - start > protocol.seconds / 10:
            break
    rounds: list[list[float]] = []
    while len(rounds) < MOST * protocol.repeats:
        rounds.append(_round(calls, len(rounds)))
        if len(rounds) >= LEAST and time.perf_counter() - start > protocol.seconds:
            break
        if len(rounds) % protocol.repeats == 0:
            first, second = np.array(rounds).T[:2]
            if reach(*ratio_interval(first, second)) <= protocol.half_width:
                break
    return np.array(rounds).T


def _round(calls: tuple[Call, ...], number: int) -> list[float]:
    """Seconds of each call once; the last call comes first where the number is odd."""
    accelerated = torch.accelerator.is_available()
    synchronize = torch.accelerator.synchronize if accelerated else _nothing
    seconds = [0.0] * len(calls)
    places = list(range(len(calls)))
    if number % 2 == 1:
        places.reverse()
    for place in places:
        synchronize()
        start = time.perf_counter()
        calls[place]()
        synchronize()
        seconds[place] = time.perf_counter() - start
    return seconds


def _nothing() -> None:
    """Stands in for waiting where calls end when their work is done."""


def ratio_interval(first: np.ndarray, second: np.ndarray) -> Interval:
    """Ratio of medians with its 95 % bootstrap interval over rounds.

    ``first`` and ``second`` (rounds,) are positive and of the same rounds.

    >>> print(ratio_interval(np.array([2.0, 2.0, 2.0]), np.array([1.0, 1.0, 1.0])))
    2.000 [2.000, 2.000]
    """
    draws = np.random.default_rng(0).integers(len(first), size=(2000, len(first)))
    ratios = np.median(first[draws], axis=1) / np.median(second[draws], axis=1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    ratio = np.median(first) / np.median(second)
    return Interval((float(ratio), float(low), float(high)))


def reach(
    value: float | pd.Series, low: float | pd.Series, high: float | pd.Series
) -> float | pd.Series:
    """How far an interval reaches to its further side, as a share of its value.

    Args:
        value: A positive number, or many.
        low: The interval's lower end.
        high: Its upper end.

    Returns:
        A share, of each value where there are many; NaN where there is no interval.

    >>> print(f"{reach(1.0, 1.0, 1.198):.3f}")
    0.198
    """
    return np.maximum(high - value, value - low) / value


def quartiles_ms(seconds: np.ndarray) -> dict[str, float]:
    """Median and quartiles in milliseconds.

    >>> quartiles_ms(np.array([0.001, 0.002, 0.003]))
    {'ms': 2.0, 'q25_ms': 1.5, 'q75_ms': 2.5}
    """
    low, middle, high = 1e3 * np.quantile(seconds, [0.25, 0.5, 0.75])
    return {"ms": float(middle), "q25_ms": float(low), "q75_ms": float(high)}


def forward_of(model: nn.Module, images: Tensor) -> Call:
    """The plain forward pass as a call; the model should be in eval mode."""

    def call() -> Tensor:
        with torch.inference_mode():
            return model(images)

    return call


def filled(images: Tensor, batch: int) -> Tensor:
    """(batch, 3, S, S), channels last: the images again and again."""
    times = math.ceil(batch / len(images))
    repeated = images.repeat(times, 1, 1, 1)[:batch]
    return repeated.contiguous(memory_format=torch.channels_last)


def latency(
    teacher: nn.Module, student: nn.Module, images: Tensor, protocol: Protocol
) -> pd.DataFrame:
    """Forward time of both models at batch 1 and 32.

    Args:
        teacher: The first of the two.
        student: The second.
        images: (≥ 1, 3, S, S), repeated to fill the batch.
        protocol: How long to measure.

    Returns:
        Index ``batch``; ratio (teacher's time / student's) with its 95 % interval, median and
        quartiles of both in ms, rounds.
    """
    rows = {}
    for batch in BATCHES:
        x = filled(images, batch)
        with evaluating(teacher), evaluating(student):
            sides = {"teacher": forward_of(teacher, x), "student": forward_of(student, x)}
            rows[batch] = compared(sides, protocol)
    return pd.DataFrame(rows).T.rename_axis("batch")


def compared(sides: dict[str, Call], protocol: Protocol) -> dict[str, float]:
    """Two named calls timed in turn: ratio of first to second, quartiles of both, rounds."""
    times = timed(*sides.values(), protocol=protocol)
    first, second = times
    row = ratio_interval(first, second).named("ratio")
    for name, seconds in zip(sides, times, strict=True):
        for key, value in quartiles_ms(seconds).items():
            row[f"{name}_{key}"] = value
    row["rounds"] = times.shape[1]
    return row
