"""Calls that run side by side, each in a process of its own (``kdnb study``)."""

from __future__ import annotations

import multiprocessing
import os
import threading
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

    One lane alone is worked off in this process. Of several the last one, which should be the
    longest, computes with all cores, and the others with their share; ``OMP_NUM_THREADS`` in the
    environment decides for all of them. Ctrl-C ends all lanes.

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
    running: dict[Future[Result], tuple[list[Item], int]] = {}  # a call → its lane, and threads
    spawn = multiprocessing.get_context("spawn")
    cores = os.cpu_count() or 1
    share = max(1, cores // len(lanes))
    with ProcessPoolExecutor(len(lanes), spawn, initializer=_watch_parent) as pool:

        def begin(lane: list[Item], threads: int) -> None:
            before(lane[0])
            running[pool.submit(_call, call, lane[0], threads)] = (lane, threads)

        try:
            for number, lane in enumerate(lanes, start=1):
                begin(list(lane), cores if number == len(lanes) else share)
            while running:
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    (item, *rest), threads = running.pop(future)
                    after(item, future.result())
                    if rest:
                        begin(rest, threads)
        except KeyboardInterrupt:
            for process in multiprocessing.active_children():
                process.terminate()  # a terminal has told them, too; a signal to this one has not
            raise


def _watch_parent() -> None:
    """In a new process: it ends with the one that started it, however that ended."""
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _call(call: Callable[[Item], Result], item: Item, threads: int) -> Result:
    """In another process: the call; Ctrl-C ends the process in silence, for the first one tells.

    What the call starts computes with so many threads. One that waits for others leaves its core:
    two kernels whose threads wait for each other's train at a fourth of their speed.
    """
    variables = {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
    missing = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(missing)
    try:
        return call(item)
    except KeyboardInterrupt:
        os._exit(130)
    finally:
        for name in missing:
            del os.environ[name]
