"""Calls that run side by side, each in a process of its own (``kdnb study``)."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import TypeVar

__all__ = ["run_lanes"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def run_lanes(
    lanes: Sequence[Sequence[Item]],
    call: Callable[[Item], Result],
    *,
    before: Callable[[Item], None],
    after: Callable[[Item, Result], None],
) -> None:
    """Call a function with every item of some lanes: lanes side by side, a lane's items in order.

    One lane alone is worked off in this process. Ctrl-C ends all of them.

    Args:
        lanes: What to call the function with; for more than one lane it can be pickled.
        call: A function of a module, which other processes can import.
        before: Told of every item as its call begins, in this process.
        after: Told of every item and what its call returned, in this process.

    Raises:
        Exception: What a call raised; the calls that run beside it end first, others do not begin.
    """
    if len(lanes) == 1:
        for item in lanes[0]:
            before(item)
            after(item, call(item))
        return
    running: dict[Future[Result], list[Item]] = {}  # a call, and its lane from its item on
    with ProcessPoolExecutor(
        len(lanes), multiprocessing.get_context("spawn"), initializer=_share_cores
    ) as pool:

        def begin(lane: list[Item]) -> None:
            before(lane[0])
            running[pool.submit(_interruptible, call, lane[0])] = lane

        for lane in lanes:
            begin(list(lane))
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                item, *rest = running.pop(future)
                after(item, future.result())
                if rest:
                    begin(rest)


def _share_cores() -> None:
    """In a new process: threads of its kernels that wait leave their core to others."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _interruptible(call: Callable[[Item], Result], item: Item) -> Result:
    """In another process: the call; Ctrl-C ends the process in silence, for the first one tells."""
    try:
        return call(item)
    except KeyboardInterrupt:
        os._exit(130)
