"""One line of progress while pip installs: which package, how many, how long (``make install``).

It runs before anything is installed, so it needs the standard library alone.
"""

import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator

__all__ = ["lines_of", "main"]

STEP = re.compile(
    r"^(Collecting|Downloading|Using cached|Installing collected packages)\b:? *(\S*)"
)
LAST = 20  # lines of pip that are shown where it fails


def lines_of(output: Iterable[str]) -> Iterator[str]:
    """What is told of pip's output: each package that it looks at, and when it unpacks them.

    >>> list(lines_of(["Collecting numpy==2.4.6 (from -r x)", "  noise", "Collecting pandas"]))
    ['1: numpy==2.4.6', '2: pandas']
    """
    count = 0
    for line in output:
        found = STEP.match(line.strip())
        if not found:
            continue
        verb, name = found.groups()
        if verb == "Collecting":
            count += 1
            yield f"{count}: {name}"
        elif verb.startswith("Installing"):
            yield f"unpacking {count} packages, the longest step"


def main(arguments: list[str]) -> int:
    """Call pip with some arguments behind a title; returns its exit status.

    In a terminal one line is written over and over, in a log a line for every tenth package.
    """
    title, *options = arguments
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", *options]
    start = time.monotonic()
    print(title, flush=True)
    kept: list[str] = []

    def output(pip: subprocess.Popen) -> Iterator[str]:
        for line in pip.stdout or ():
            kept.append(line)
            yield line

    watched = sys.stdout.isatty()
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, **streams) as pip:
        for number, told in enumerate(lines_of(output(pip))):
            line = f"  {time.monotonic() - start:4.0f} s  {told}"
            if watched:
                print(f"\r{line[:78]:78}", end="", flush=True)
            elif number % 10 == 0:
                print(line, flush=True)
    if watched:
        print()
    if pip.returncode:
        print("".join(kept[-LAST:]), end="", file=sys.stderr)
    else:
        print(f"  done in {time.monotonic() - start:.0f} s", flush=True)
    return pip.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
