"""``python -m kdnb.cli``."""

from kdnb.cli.commands import main

main()
