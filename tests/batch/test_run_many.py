from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from random import Random

import psutil
import pytest

from kdnb.batch.plan import read_plan
from kdnb.batch.progress_table import collect_tables, state_of
from kdnb.batch.run_many import run_many
from kdnb.core.errors import UserError

LOGGED = '[fixed]\nlog = "{log}"\n'


def started(folder):
    """(x, time) of every execution."""
    path = folder / "log.txt"
    if not path.is_file():
        return []
    words = [line.split() for line in path.read_text().splitlines()]
    return [(int(x), float(at)) for x, at, *_ in words]


def sweep(path, root, *arguments):
    """The command line's driver in a process group of its own.

    It hears Ctrl-C even if these tests do not.
    """
    kdnb = [sys.executable, "-m", "kdnb.cli"]
    command = [*kdnb, "sweep", "run", str(path), "--runs-dir", str(root), *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    # tests in the background (&) ignore it
    hearing = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(command, **pipes, start_new_session=True, preexec_fn=hearing)


def wait_for(condition, seconds=60):
    end = time.time() + seconds
    while not condition():
        assert time.time() < end, "waited too long"
        time.sleep(0.05)


def kernels(root):
    """Live kernels whose results go below this folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(root) in process.environ().get("KDNB_STUDY", ""):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.slow
def test_serial_runs_in_order_and_isolates_failures(specs, folder, capsys):
    runs = specs(
        LOGGED.format(log=folder / "log.txt") + '[zip]\nx = [1, 2, 3]\nfail = ["", "error", ""]'
    )
    assert [outcome.state for outcome in run_many(runs)] == ["done", "failed", "done"]
    told = capsys.readouterr().out.splitlines()
    assert told[1].startswith("2/3 failed")
    assert "x=2 fail=error: ValueError: no square of 2" in told[1]
    assert run_many(runs) == [] and [x for x, _ in started(folder)] == [1, 2, 3]


@pytest.mark.slow
def test_a_full_disk_stops_the_sweep(specs):
    runs = specs('[zip]\nx = [1, 2, 3]\nfail = ["", "full", ""]')
    with pytest.raises(UserError, match="is full"):
        run_many(runs)
    assert [state_of(spec.run) for spec in runs] == ["done", "waiting", "waiting"]


@pytest.mark.slow
def test_workers_give_the_table_of_a_serial_sweep(write, folder):
    plan = read_plan(write("[grid]\nscale = [1, 2.5]\nx = [1, 2, 3]\n"))
    serial, parallel = plan.specs(folder / "serial"), plan.specs(folder / "parallel")
    assert {outcome.state for outcome in run_many(serial) + run_many(parallel, workers=2)} == {
        "done"
    }
    first, second = collect_tables(plan, serial), collect_tables(plan, parallel)
    assert first.equals(second) and len(first) == 12


SHARED = """
from kdnb.core.runs import get_or_make

def make(run):
    with open(log, "a") as file:
        file.write(f"0 {time.time()}\\n")
    time.sleep(1.5)

get_or_make("upstream", {}, make, root=Path(log).parent)
"""


@pytest.mark.slow
def test_what_runs_share_is_made_once(write, folder):
    """Three runs in three processes need the same thing at the same moment."""
    import nbformat

    notebook = nbformat.read(folder / "tiny.ipynb", as_version=4)
    notebook.cells[1].source = SHARED.replace(
        "\nfrom", "import os\nimport time\nfrom pathlib import Path\n\nfrom", 1
    )
    nbformat.write(notebook, folder / "tiny.ipynb")
    plan = read_plan(write(LOGGED.format(log=folder / "log.txt") + "[grid]\nx = [1, 2, 3]"))
    outcomes = run_many(plan.specs(folder / "runs"), workers=3)
    assert [outcome.state for outcome in outcomes] == ["done"] * 3 and len(started(folder)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_stops_and_the_next_call_goes_on(workers, write, folder):
    path = write(LOGGED.format(log=folder / "log.txt") + "delay = 1.5\n[grid]\nx = [1, 2, 3, 4, 5]")
    driver = sweep(path, folder / "runs", "--workers", workers)
    wait_for(lambda: list(folder.glob("runs/sweep/*/done.json")))
    os.killpg(driver.pid, signal.SIGINT)  # as a terminal sends it: to everyone
    out = driver.communicate(timeout=30)[0]
    assert driver.returncode == 130 and "Traceback" not in out and "The same command goes on" in out
    wait_for(lambda: not kernels(folder), 10)
    done = len(list(folder.glob("runs/sweep/*/done.json")))
    assert 1 <= done < 5
    outcomes = run_many(read_plan(path).specs(folder / "runs"))
    assert [outcome.state for outcome in outcomes] == ["done"] * (5 - done)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense://here"])
def test_a_scheduler_that_does_not_answer_is_one_line(address, specs, monkeypatch, folder):
    monkeypatch.setattr("kdnb.batch.run_many.CONNECT_TIMEOUT", 1)
    with pytest.raises(UserError, match=f"no Dask scheduler answers at '{address}'") as caught:
        run_many(specs("[grid]\nx = [1, 2]"), scheduler=address)
    assert "\n" not in str(caught.value) and not (folder / "runs").exists()


@pytest.fixture
def cluster(folder):
    """A scheduler started by hand on loopback: its address, its process, how to start a worker."""
    processes = []

    def start(*command):
        command, quiet = [sys.executable, "-m", "dask", *command], subprocess.DEVNULL
        processes.append(
            subprocess.Popen(command, stdout=quiet, stderr=quiet, start_new_session=True)
        )
        return processes[-1]

    file = folder / "scheduler.json"
    start(
        "scheduler",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--no-dashboard",
        "--scheduler-file",
        str(file),
    )
    wait_for(lambda: file.is_file() and file.read_text())  # it is there before it is written
    address = json.loads(file.read_text())["address"]
    worker = ("worker", address, "--nthreads", "1", "--no-dashboard", "--memory-limit", "0")
    yield address, processes[0], partial(start, *worker)
    for process in processes:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        process.wait()


@pytest.mark.slow
def test_a_cluster_by_hand_equals_serial_a_late_worker_helps_and_a_dead_one_loses_nothing(
    cluster, write, folder
):
    address, _, start_worker = cluster
    path = write(
        LOGGED.format(log=folder / "log.txt")
        + "delay = 0.5\n[grid]\nx = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]"
    )
    plan, first = read_plan(path), start_worker()
    driver = sweep(path, folder / "runs", "--scheduler", address)
    wait_for(lambda: len(list(folder.glob("runs/sweep/*/done.json"))) >= 2)
    start_worker()
    wait_for(lambda: len(kernels(folder / "runs")) == 2)  # the late worker works
    os.killpg(first.pid, signal.SIGKILL)  # in the middle of a run, with its nanny
    out = driver.communicate(timeout=120)[0]
    assert driver.returncode == 0, out
    runs = len(plan.specs(folder / "runs"))
    assert len(started(folder)) <= runs + 1  # what the first worker was at, and nothing else twice
    run_many(plan.specs(folder / "serial"))
    assert collect_tables(plan, plan.specs(folder / "runs")).equals(
        collect_tables(plan, plan.specs(folder / "serial"))
    )


@pytest.mark.slow
def test_a_scheduler_that_dies_is_one_line(cluster, write, folder):
    address, scheduler, start_worker = cluster
    start_worker()
    driver = sweep(
        write("[fixed]\ndelay = 60.0\n[grid]\nx = [1, 2]"), folder / "runs", "--scheduler", address
    )
    wait_for(partial(kernels, folder / "runs"))
    os.killpg(scheduler.pid, signal.SIGKILL)
    out = driver.communicate(timeout=60)[0]
    assert driver.returncode == 2 and "Traceback" not in out
    assert out.splitlines()[-1].startswith("kdnb: the connection to the scheduler is lost")


@pytest.mark.slow
def test_kills_of_kernels_workers_and_driver_lose_nothing(write, folder):
    """Fourteen runs on two workers; who dies is drawn, and a dead driver is started again."""
    path = write(
        LOGGED.format(log=folder / "log.txt") + f"delay = 1.0\n[grid]\nx = {list(range(14))}"
    )
    root, rng = folder / "runs", Random(0)

    def one_is_in_the_middle():
        done = len(list(root.glob("sweep/*/done.json")))
        return kernels(root) and len(started(folder)) > done

    killed = []
    driver = sweep(path, root, "--workers", "2")
    for victim in rng.sample(["kernel", "worker"] * 2 + ["driver"], k=5):
        wait_for(one_is_in_the_middle)
        time.sleep(rng.uniform(0, 1))
        children = psutil.Process(driver.pid).children()
        alive = {
            "kernel": kernels(root),
            "driver": [driver],
            "worker": [p for p in children if "spawn_main" in " ".join(p.cmdline())],
        }
        if alive[victim]:
            rng.choice(alive[victim]).kill()
            killed.append(victim)
        if victim == "driver":
            driver.communicate()
            driver = sweep(path, root, "--workers", "2")
    out = driver.communicate(timeout=120)[0]
    assert driver.returncode == 0, out
    specs = read_plan(path).specs(root)
    assert set(killed) == {"kernel", "worker", "driver"}
    lost = len(killed) + killed.count("driver")  # with a driver both of its workers die
    assert len(specs) < len(started(folder)) <= len(specs) + lost  # what was done is not done again
    for spec in specs:
        x = spec.parameters["x"]
        assert (
            spec.run.path("results/powers.csv").read_text()
            == f"power,value\n2,{x**2}.0\n3,{x**3}.0\n"
        )
