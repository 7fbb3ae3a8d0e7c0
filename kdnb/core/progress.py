"""Progress of long work: a bar for a person who watches, one line per step in a log (02-06)."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from operator import length_hint
from typing import Any

from tqdm.auto import tqdm as notebook_bar
from tqdm.std import tqdm as terminal_bar

from kdnb.core.settings import is_live

__all__ = ["say", "track"]


def track(items: Iterable[Any], label: str, total: int | None = None) -> Iterator[Any]:
    """Iterate with a progress bar where a person watches; silently in a log, or over one step.

    >>> sum(track([1, 2, 3], "adding"))
    6
    """
    live = is_live()
    steps = length_hint(items, 2) if total is None else total
    watched = live or sys.stderr.isatty()
    bar = notebook_bar if live else terminal_bar
    hidden = steps < 2 or not watched
    return iter(bar(items, desc=label, total=total, leave=False, disable=hidden))


def say(line: str) -> None:
    """Print one line at once; above a running bar in a terminal."""
    if sys.stderr.isatty():
        terminal_bar.write(line, file=sys.stdout)
    else:
        print(line, flush=True)
