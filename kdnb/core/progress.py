"""Progress of long work: a bar for a person who watches, one line per step in a log (02-06)."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from operator import length_hint
from typing import Any

from tqdm.auto import tqdm as notebook_bar
from tqdm.std import tqdm as terminal_bar

from kdnb.core.settings import is_live

__all__ = ["MARK", "say", "tell", "track"]

MARK = "  · "  # before a line of long work: a batch run passes on these lines and no others
EVERY = 30  # s between two such lines where nobody sees the bar


def track(items: Iterable[Any], label: str, total: int | None = None) -> Iterator[Any]:
    """Iterate with a progress bar where a person watches; over one step, silently.

    In a log, a line counts every 30 s.

    >>> sum(track([1, 2, 3], "adding"))
    6
    """
    live = is_live()
    steps = length_hint(items, 2) if total is None else total
    watched = live or sys.stderr.isatty()
    bar = notebook_bar if live else terminal_bar
    if not watched and steps > 1:
        known = total is not None or length_hint(items, -1) >= 0
        return _counted(items, f"{label}: {{}} of {steps}" if known else f"{label}: {{}}")
    return iter(bar(items, desc=label, total=total, leave=False, disable=steps < 2))


def _counted(items: Iterable[Any], line: str) -> Iterator[Any]:
    """Iterate; where it takes long, tell now and then how far it is."""
    told = time.monotonic()
    for number, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - told >= EVERY:
            tell(line.format(number))
            told = now


def tell(line: str) -> None:
    """Say how far long work is: a batch run shows this line in its terminal, too."""
    say(f"{MARK}{line}")


def say(line: str) -> None:
    """Print one line at once; above a running bar in a terminal."""
    if sys.stderr.isatty():
        terminal_bar.write(line, file=sys.stdout)
    else:
        print(line, flush=True)
