"""The one exception for mistakes that a user can mend; every notebook and the command line show it as one line."""

from __future__ import annotations

__all__ = ["UserError"]


class UserError(ValueError):
    """A mistake the user can mend: the message says what was received, what is accepted and what to do.

    The command line prints the message and exits with code 2; a notebook shows it without a traceback.
    """

    def _render_traceback_(self) -> list[str]:
        """IPython's hook: one line instead of a traceback."""
        return [f"{type(self).__name__}: {self}"]
