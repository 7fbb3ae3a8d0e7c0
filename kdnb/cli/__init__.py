"""The command line: ``kdnb study · data · sweep · explain · export · figures``."""

from kdnb.cli.commands import app, main

__all__ = ["app", "main"]
