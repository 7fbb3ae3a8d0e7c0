from __future__ import annotations

import os
import subprocess
import sys

import pytest

from kdnb.batch.plan import read_plan
from kdnb.core.errors import UserError


def done_at(spec, seconds):
    """Write the done.json of a run as if at a time."""
    spec.run.folder.mkdir(parents=True, exist_ok=True)
    file = spec.run.folder / "done.json"
    file.write_text("{}")
    os.utime(file, (seconds, seconds))


@pytest.fixture
def sweep(benchmark_module):
    return benchmark_module("sweep")


def test_an_execution_after_the_run_was_done_is_counted(sweep, tmp_path):
    """Also one that has ended since, and has written its done.json anew."""
    plan = read_plan(sweep.tiny(tmp_path, runs=3))
    root = tmp_path / "runs"
    log = tmp_path / "log.txt"
    first_done = {}
    repeated, once, undone = plan.specs(root)
    done_at(repeated, 101)
    sweep.note_done(root, first_done)
    done_at(repeated, 151)
    done_at(once, 161)
    sweep.note_done(root, first_done)
    assert first_done == {repeated.run.id: 101, once.run.id: 161}
    log.write_text("0 100\n1 120\n2 130\n1 140\n0 150\n2 170\n")
    assert sweep.again(plan, root, log, first_done) == 1


def test_a_scheduler_that_ends_is_not_waited_for(sweep, tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    with pytest.raises(UserError, match="ended with exit code 3"):
        sweep.address_of(ended, tmp_path / "scheduler.json")


@pytest.mark.parametrize("killed, said", [(True, "died"), (False, "this shows nothing")])
def test_a_death_is_told_only_where_there_was_one(
    sweep, tmp_path, monkeypatch, capsys, killed, said
):
    monkeypatch.setattr(sweep, "one_dies", lambda *given: killed)
    monkeypatch.setattr(sweep, "driver", lambda *given: subprocess.Popen(["true"]))
    monkeypatch.setattr(sweep, "wrong", lambda *given: 0)
    sweep.bench_cluster(tmp_path, runs=2)
    out = capsys.readouterr().out
    assert said in out and ("died" in out) == killed
