from __future__ import annotations

import numpy as np

from kdnb.efficiency.timing import WARM_UP


class Side:
    """Stands in for a process: its n-th answer is n times its own seconds."""

    def __init__(self, name, seconds, order):
        self.name, self.seconds, self.order = name, seconds, order
        self.asked = 0

    def send(self, case):
        assert case == ("student", 16)
        self.asked += 1
        self.order.append(self.name)

    def recv(self):
        return self.asked * self.seconds


def test_the_seconds_are_those_that_the_processes_answer(benchmark_module):
    order = []
    sides = [Side("A", 1.0, order), Side("B", 100.0, order)]
    seconds = benchmark_module("memory").answered(sides, ("student", 16), repeats=3)
    rounds = np.arange(WARM_UP + 1, WARM_UP + 4)
    assert seconds.tolist() == [(1.0 * rounds).tolist(), (100.0 * rounds).tolist()]
    assert "".join(order[2 * WARM_UP :]) == "ABBAAB"
