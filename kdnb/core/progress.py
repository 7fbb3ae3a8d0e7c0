"""Progress of long work: a bar for a person who watches, one line per step in a log (02-06).

In a notebook the bar is plain HTML and goes when the work is done: a widget would stay in the saved
notebook, and show an error wherever its kernel is gone.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from html import escape
from operator import length_hint
from typing import Any

from IPython.display import display
from tqdm.std import tqdm as terminal_bar

from kdnb.core.live import is_live

__all__ = ["MARK", "say", "tell", "track"]

MARK = "  · "  # before a line of long work: a batch run passes on these lines and no others
EVERY = 30  # s between two such lines where nobody sees the bar
MOVES = 0.5  # s between two moves of a notebook's bar; shorter work has none
BAR = '<label>{} <progress max="{}" value="{}"></progress> {} of {}</label>'


def track(items: Iterable[Any], label: str, total: int | None = None) -> Iterator[Any]:
    """Iterate with a progress bar where a person watches; over one step, silently.

    In a log, a line counts every 30 s.

    >>> sum(track([1, 2, 3], "adding"))
    6
    """
    live = is_live()
    steps = length_hint(items, 2) if total is None else total
    known = total is not None or length_hint(items, -1) >= 0
    if live and steps > 1:
        return _shown(items, label, steps if known else 0)
    if not sys.stderr.isatty() and steps > 1:
        return _counted(items, f"{label}: {{}} of {steps}" if known else f"{label}: {{}}")
    return iter(terminal_bar(items, desc=label, total=total, leave=False, disable=steps < 2))


def _shown(items: Iterable[Any], label: str, steps: int) -> Iterator[Any]:
    """Iterate with a bar in a notebook, from `MOVES` seconds on; ``steps`` is 0 if not known."""
    bar = None
    told = time.monotonic()
    try:
        for number, item in enumerate(items, start=1):
            yield item
            if time.monotonic() - told < MOVES:
                continue
            told = time.monotonic()
            if steps:
                shown = BAR.format(escape(label), steps, number, number, steps)
            else:
                shown = f"{escape(label)}: {number}"
            bar = _put(bar, {"text/html": shown, "text/plain": f"{label}: {number}"})
    finally:
        if bar is not None:
            _put(bar, {"text/html": "", "text/plain": ""})


def _put(bar: Any, shown: dict[str, str]) -> Any:
    """Show the bar, or change what it shows; returns its handle."""
    if bar is None:
        return display(shown, raw=True, display_id=True)
    bar.update(shown, raw=True)
    return bar


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
