"""The one exception for mistakes that a user can mend: one line in all notebooks and commands."""

from __future__ import annotations

__all__ = ["DamagedRun", "UserError"]


class UserError(ValueError):
    """A mistake the user can mend.

    The message says what was received, what is accepted and what to do. The command line prints it
    and exits with code 2; a notebook shows it without a traceback.
    """

    def _render_traceback_(self) -> list[str]:
        """IPython's hook: one line instead of a traceback."""
        return [f"{type(self).__name__}: {self}"]


class DamagedRun(UserError):
    """A finished run whose files are not the ones that it was made with.

    It is not taken for finished. Commands about other runs name it and go on.
    """
