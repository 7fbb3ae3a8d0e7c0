"""A notebook that runs in milliseconds and fails as asked, and plans of it."""

from __future__ import annotations

import nbformat
import pytest

from kdnb.batch.plan import read_plan

PARAMETERS = """\
x = 1  # what is squared
scale = 1.0  # a factor
delay = 0.0  # s
fail = ""  # error, die, full, slow or empty
log = ""  # a file that gets a line from each execution
"""
WORK = """\
import errno
import os
import time
from pathlib import Path

if log:
    with open(log, "a") as file:
        file.write(f"{x} {time.time()}\\n")
time.sleep(delay)
if fail == "error":
    raise ValueError(f"no square of {x}")
if fail == "die":
    os.kill(os.getpid(), 9)
if fail == "full":
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
"""
SAVE = """\
text = f"power,value\\n2,{x**2 * scale}\\n3,{x**3 * scale}\\n"
Path(os.environ["KDNB_STUDY"], "powers.csv").write_text(text)
"""


@pytest.fixture
def folder(tmp_path):
    """A folder with the notebook; plans go beside it."""
    cell = nbformat.v4.new_code_cell
    cells = [cell(PARAMETERS, metadata={"tags": ["parameters"]}), cell(WORK), cell(SAVE)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "tiny.ipynb")
    return tmp_path


@pytest.fixture
def write(folder):
    """Write a plan and return its path; ``version`` and ``notebook`` are there already."""

    def write(text, name="plan.toml", head='version = 1\nnotebook = "tiny.ipynb"\n'):
        (folder / name).write_text(head + text)
        return folder / name

    return write


@pytest.fixture
def specs(folder, write):
    """The specs of a plan's text."""
    return lambda text, root="runs": read_plan(write(text)).specs(folder / root)
