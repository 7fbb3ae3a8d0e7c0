"""Calls that run side by side, each in a process of its own (``kdnb study``)."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from kdnb.core.errors import UserError

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

    One lane alone is worked off in this process. Several share the cores: unless
    ``OMP_NUM_THREADS`` says otherwise, each computes with its part of them. Ctrl-C ends all lanes.

    Args:
        lanes: What to call the function with; for more than one lane it can be pickled.
        call: A function of a module, which other processes can import.
        before: Told of every item as its call begins, in this process.
        after: Told of every item and what its call returned, in this process.

    Raises:
        Exception: What a call raised; the calls that run beside it end first, others do not begin.
        UserError: If one of the processes was killed.
    """
    if len(lanes) == 1:
        for item in lanes[0]:
            before(item)
            after(item, call(item))
        return
    running: dict[Future[Result], list[Item]] = {}  # a call, and its lane from its item on
    spawn = multiprocessing.get_context("spawn")
    share = max(1, (os.cpu_count() or 1) // len(lanes))
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(len(lanes), spawn, initializer=_prepare, initargs=(share,)) as pool:

        def begin(lane: list[Item]) -> None:
            before(lane[0])
            running[pool.submit(_interruptible, call, lane[0])] = lane

        try:
            for lane in lanes:
                begin(list(lane))
            while running:
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    item, *rest = running.pop(future)
                    after(item, future.result())
                    if rest:
                        begin(rest)
        except KeyboardInterrupt:
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()  # a terminal has told them, too; a signal to this one has not
            raise
        except BrokenProcessPool:
            raise UserError(
                "a process was ended from outside, perhaps for want of memory: take a smaller "
                "image_size or batch_size, or close other programs; the same command goes on"
            ) from None


def _prepare(threads: int) -> None:
    """In a new process: what it starts computes with so many threads, unless that is set already.

    Two kernels that compute with all cores wait for each other's threads: a small network trained
    at a fourth of its speed. The process ends with the one that started it, however that ended.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _interruptible(call: Callable[[Item], Result], item: Item) -> Result:
    """In another process: the call; Ctrl-C ends the process in silence, for the first one tells."""
    try:
        return call(item)
    except KeyboardInterrupt:
        os._exit(130)
