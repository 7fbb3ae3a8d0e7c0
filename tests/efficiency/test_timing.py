from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
import torch

from kdnb.efficiency import timing as module
from kdnb.efficiency.timing import Protocol, interleaved, latency, ratio_interval, reach, timed
from kdnb.training.students import FiveConv


class Clock:
    """Stands in for the wall clock: calls take what the test says."""

    def __init__(self, monkeypatch):
        self.now, self.order = 0.0, ""
        monkeypatch.setattr(module.time, "perf_counter", lambda: self.now)

    def call(self, name, *durations):
        turns = iter(durations * 10_000)

        def work():
            self.order += name
            self.now += next(turns)

        return work


def test_order_is_there_and_back(monkeypatch):
    clock = Clock(monkeypatch)
    times = interleaved(
        clock.call("A", 2.0), clock.call("B", 1.0), clock.call("C", 3.0), repeats=3, warm_up=1
    )
    assert clock.order == "ABC" + "ABC" + "CBA" + "ABC"
    assert times.tolist() == [[2.0] * 3, [1.0] * 3, [3.0] * 3]


def test_a_steady_ratio_ends_after_the_repeats(monkeypatch):
    clock = Clock(monkeypatch)
    times = timed(
        clock.call("A", 0.2),
        clock.call("B", 0.1),
        protocol=Protocol(repeats=30, seconds=1000, warm_up=10),
    )
    assert times.shape == (2, 30) and clock.order.count("A") == 40


def test_a_noisy_ratio_goes_on_to_ten_times_the_repeats(monkeypatch):
    clock = Clock(monkeypatch)
    noisy = clock.call("A", *np.random.default_rng(0).lognormal(0, 3, 997))
    times = timed(noisy, clock.call("B", 0.1), protocol=Protocol(repeats=30, seconds=1e9))
    assert times.shape[1] == 300


def test_a_noisy_ratio_goes_on_until_it_is_known(monkeypatch):
    clock = Clock(monkeypatch)
    noisy = clock.call("A", *np.random.default_rng(0).lognormal(0, 0.5, 997))
    times = timed(noisy, clock.call("B", 0.1), protocol=Protocol(repeats=30, seconds=1e9))
    assert 30 < times.shape[1] < 300 and reach(*ratio_interval(*times)) <= 0.1


def test_a_ratio_is_known_once_both_sides_are(monkeypatch):
    """Of 30 rounds the interval is 1 [1, 1.198]: less than 0.2 wide, and 0.198 to one side."""
    clock = Clock(monkeypatch)
    skewed = clock.call("A", 1.0, 1.198, 1.0, 1.198, 1.0)
    times = timed(
        skewed, clock.call("B", 1.0), protocol=Protocol(repeats=30, seconds=1e9, warm_up=0)
    )
    value, low, high = ratio_interval(*times[:, :30])
    assert (value, low, high) == pytest.approx((1, 1, 1.198)) and (high - low) / 2 <= 0.1
    assert 30 < times.shape[1] < 300 and reach(*ratio_interval(*times)) <= 0.1


def test_reach_is_to_the_further_side():
    table = pd.DataFrame(
        {"value": [2.0, 2.0, 2.0], "low": [1.0, 1.9, np.nan], "high": [2.1, 2.5, np.nan]}
    )
    reached = reach(table["value"], table["low"], table["high"])
    assert reached.tolist()[:2] == pytest.approx([0.5, 0.25]) and np.isnan(reached[2])


def test_slow_calls_end_at_the_time_limit(monkeypatch):
    clock = Clock(monkeypatch)
    times = timed(
        clock.call("A", 5.0),
        clock.call("B", 1.0),
        protocol=Protocol(repeats=30, seconds=30, warm_up=10),
    )
    assert times.shape == (2, 5)
    assert clock.order.count("A") == 6  # one warm-up took a tenth of the limit


def test_interval_equals_a_plain_bootstrap_and_covers_the_ratio():
    rng = np.random.default_rng(1)
    a, b = rng.lognormal(1, 0.2, 40), rng.lognormal(0, 0.2, 40)
    value, low, high = ratio_interval(a, b)
    draws = [rng.integers(40, size=40) for _ in range(2000)]
    plain = np.quantile([np.median(a[d]) / np.median(b[d]) for d in draws], [0.025, 0.975])
    assert [low, high] == pytest.approx(plain.tolist(), rel=0.02) and low < value < high
    assert low < np.e < high


def test_slow_machine_changes_no_ratio():
    rng = np.random.default_rng(2)
    a, b = rng.lognormal(1, 0.2, 40), rng.lognormal(0, 0.2, 40)
    assert ratio_interval(3 * a, 3 * b) == pytest.approx(ratio_interval(a, b))


def test_latency_has_both_batches_and_restores_the_mode():
    teacher, student = FiveConv(4, 0.5).train(), FiveConv(4, 0.125).eval()
    table = latency(
        teacher, student, torch.randn(3, 3, 32, 32), Protocol(repeats=3, seconds=1, warm_up=1)
    )
    assert list(table.index) == [1, 32] and (table["ratio_low"] <= table["ratio_high"]).all()
    assert (table["teacher_q25_ms"] <= table["teacher_ms"]).all()
    assert teacher.training
    assert not student.training


def test_interleaved_really_waits():
    slow, fast = interleaved(lambda: time.sleep(0.01), lambda: None, repeats=3, warm_up=0)
    assert slow.min() >= 0.01 > fast.min()
