"""The one exception for mistakes that a user can mend: one line in all notebooks and commands."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches

__all__ = [
    "DamagedRun",
    "NoSuchSplit",
    "UserError",
    "did_you_mean",
    "ends_in_one_line",
    "first_line",
    "in_one_line",
]

# control characters, line ends of Unicode, and bytes of a file's name that are no UTF-8
UNSHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def in_one_line(text: str) -> str:
    """Text that any terminal shows in one line: what cannot be shown is written as an escape.

    >>> print(in_one_line("a\\nb"))
    a\\nb
    """
    return UNSHOWN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its type where it has none.

    >>> first_line(OSError("no network\\nand a long story")), first_line(KeyError())
    ('no network', 'KeyError')
    """
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def did_you_mean(name: str, accepted: Iterable[str]) -> str:
    """The accepted name that a wrong one is nearest to, to end a message; empty where none is near.

    >>> did_you_mean("temprature", ["alpha", "temperature"]), did_you_mean("x", ["alpha"])
    ('; did you mean temperature?', '')
    """
    by_form = {one.casefold(): one for one in accepted}
    near = get_close_matches(name.casefold(), by_form, n=1)
    return f"; did you mean {by_form[near[0]]}?" if near else ""


class UserError(ValueError):
    """A mistake the user can mend.

    The message says what was received, what is accepted and what to do. The command line prints it
    and exits with code 2; a notebook shows it without a traceback.
    """

    def __init__(self, message: str = "") -> None:
        """With a message that is put into one line."""
        super().__init__(in_one_line(message))
        self._is_told = False

    def _render_traceback_(self) -> list[str]:
        """IPython's hook: one line instead of a traceback.

        Under papermill the line is also written to the terminal at once: papermill itself ends with
        a traceback of its own, which nobody here can keep short.
        """
        line = f"{type(self).__name__}: {self}"
        if os.environ.get("KDNB_LIVE") == "0" and not self._is_told:  # IPython asks twice
            self._is_told = True
            _tell_terminal(f"kdnb: {self}")
        return [line]


def _tell_terminal(line: str) -> None:
    """Write a line to the standard error that a kernel was started with, past the notebook.

    Outside a kernel nothing is written: there the message is on the terminal anyway.
    """
    if not type(sys.stderr).__module__.startswith("ipykernel"):
        return
    try:
        handle = sys.stderr.fileno()
    except (OSError, ValueError):  # this kernel has not redirected it
        handle = 2
    with suppress(OSError):
        os.write(handle, f"{line}\n".encode("utf-8", "backslashreplace"))


@contextmanager
def ends_in_one_line(program: str) -> Iterator[None]:
    """Where a command runs: a user's mistake is one line on stderr, and exit code 2.

    So is a file that cannot be read or written.

    Args:
        program: The name with which the line starts.
    """
    try:
        yield
    except UserError as error:
        print(f"{program}: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if not error.filename:
            raise
        print(f"{program}: '{error.filename}' cannot be used: {error.strerror}", file=sys.stderr)
        sys.exit(2)


class NoSuchSplit(UserError):
    """A split that a data set cannot have: it has no published parts, or no patient is known."""


class DamagedRun(UserError):
    """A finished run whose files are not the ones that it was made with.

    It is not taken for finished. Commands about other runs name it and go on.
    """
