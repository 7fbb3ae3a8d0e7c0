"""Calls side by side in processes of their own."""

from __future__ import annotations

import math
import os
from subprocess import check_output

import pytest

from kdnb.batch.side_by_side import run_lanes


def test_lanes_run_at_once_and_a_lane_in_order(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reads = ["timeout", "60", "cat", str(pipe)]  # waits for the other lane, which waits for it
    writes = ["timeout", "60", "sh", "-c", f"echo met > '{pipe}'"]
    told = []
    run_lanes(
        [[reads, ["echo", "after"]], [writes]],
        check_output,
        before=lambda command: told.append(command[-1]),
        after=lambda command, said: told.append(said),
    )
    assert told[:2] == [reads[-1], writes[-1]]
    assert told.index(b"met\n") < told.index("after") < told.index(b"after\n")


def test_one_lane_stays_in_this_process():
    pids = []
    run_lanes([[0]], lambda _: os.getpid(), before=print, after=lambda _, pid: pids.append(pid))
    assert pids == [os.getpid()]


def test_an_error_ends_the_lanes_and_is_raised():
    begun = []
    with pytest.raises(ValueError, match="math domain|nonnegative"):
        run_lanes([[-1, 4], [4]], math.sqrt, before=begun.append, after=lambda *_: None)
    assert begun == [-1, 4], "what stands behind the error does not begin"
