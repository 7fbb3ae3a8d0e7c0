"""Calls side by side in processes of their own."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from subprocess import check_output

import psutil
import pytest

from kdnb.batch.side_by_side import run_lanes
from kdnb.core.errors import UserError


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


def test_a_process_that_is_killed_ends_in_one_line():
    with pytest.raises(UserError, match="a process was ended from outside, perhaps for want of"):
        run_lanes([[9], [9]], os._exit, before=print, after=print)


def test_lanes_share_the_cores_unless_they_are_told(monkeypatch):
    ask = ["sh", "-c", "echo $OMP_NUM_THREADS"]
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    said = []
    run_lanes([[ask], [ask]], check_output, before=print, after=lambda _, line: said.append(line))
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    run_lanes([[ask], [ask]], check_output, before=print, after=lambda _, line: said.append(line))
    assert said == [b"4\n", b"4\n", b"3\n", b"3\n"]


SLEEPERS = """
import signal
import time
from kdnb.batch.side_by_side import run_lanes
from kdnb.core.errors import UserError
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background ignores it
if __name__ == "__main__":
    run_lanes([[60], [60]], time.sleep, before=lambda _: print(flush=True), after=lambda *_: None)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_a_study_that_was_stopped(tmp_path, how):
    script = tmp_path / "sleepers.py"
    script.write_text(SLEEPERS)
    study = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    study.stdout.readline()
    study.stdout.readline()  # both lanes have begun
    time.sleep(1)
    started = psutil.Process(study.pid).children(recursive=True)
    study.send_signal(how)
    study.wait(20)
    _, left = psutil.wait_procs(started, timeout=20)
    assert started and not left
