"""The command line ``kdnb``; a user's mistake ends in one line and exit code 2."""

from kdnb.cli.commands import app, main

__all__ = ["app", "main"]
