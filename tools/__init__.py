"""What serves the project and no notebook: course copies, grades, the book, the doctor, badges.

A command is a module, called in the project's folder as ``python -m tools.<name>``; the Makefile
wraps most of them. Nothing in ``kdnb`` imports from here.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from kdnb.core.errors import ends_in_one_line

__all__ = ["run_command"]

# nbformat loads jsonschema, which builds a grammar of international addresses for five seconds;
# it does without where the package of the grammar is missing, and no notebook has a use for it
sys.modules.setdefault("rfc3987_syntax", None)


def run_command(command: Callable[..., None]) -> None:
    """Call a function as a command line, which `ends_in_one_line`.

    Args:
        command: Its parameters are the command line's arguments and options, as typer reads them.
    """
    import typer  # where it is missing, the doctor must still be able to say so

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    with ends_in_one_line(Path(sys.argv[0]).stem):
        app()
