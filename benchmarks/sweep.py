"""What sweeps promise: nothing lost under kills, little overhead, the serial table from workers.

- chaos:    many tiny runs on several workers while kernels, workers and the driver get SIGKILL at
            random every few seconds; a dead driver is started again until all is done. Counts runs
            that are lost, that ran again after their done.json, and whose table differs from that
            of an unbroken sweep.
- parallel: tiny runs, 8 at a time, each with a single attempt: what is lost to ports or timeouts
            shows.
- overhead: seconds per run beyond the notebook's own cells: within a serial sweep, and as a process
            of its own.
- speedup:  12 cells of alpha x temperature, one thread each: serial / 2 workers, interleaved, and
            whether both give the same table. Teacher and data are there before, as in every sweep
            after its first run.
- cluster:  scheduler and workers started by hand on loopback against serial; one worker joins late,
            one is killed.

Run: python benchmarks/sweep.py chaos|parallel|overhead|speedup|cluster
         [--runs N] [--workers N] [--repeats N]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import psutil
from common import ratio

from kdnb.batch.plan import Plan, read_plan
from kdnb.batch.progress_table import collect_tables
from kdnb.batch.run_one import run_one
from kdnb.core.errors import UserError, ends_in_one_line

PARAMETERS = 'x = 1  # what is worked on\ndelay = 0.0  # s\nlog = ""  # a line from each execution'
WORK = """\
import hashlib
import os
import time
from pathlib import Path

with open(log, "a") as file:
    file.write(f"{x} {time.time()}\\n")
time.sleep(delay)
value = hashlib.sha256(str(x).encode()).hexdigest()
"""
SAVE = """\
Path(os.environ["KDNB_STUDY"], "result.csv").write_text(f"square,value\\n{x**2},{value}\\n")
"""
GRID = """\
version = 1
notebook = "03_distillation"
table = "03_scores"
[fixed]
profile = "{profile}"
precision = "float32"
[grid]
alpha = {alphas}
temperature = {temperatures}
"""
WEIGHTS = {"kernel": 3, "worker": 2, "driver": 1}  # how often each is the victim


def tiny(folder: Path, runs: int, head: str = "", delay: float = 0.3) -> Path:
    """A plan of tiny runs, with its notebook."""
    cell = nbformat.v4.new_code_cell
    cells = [cell(PARAMETERS, metadata={"tags": ["parameters"]}), cell(WORK), cell(SAVE)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "tiny.ipynb")
    path = folder / "tiny.toml"
    log = folder / "log.txt"
    path.write_text(
        f'version = 1\nnotebook = "tiny.ipynb"\n{head}\n[fixed]\nlog = "{log}"\ndelay = {delay}\n'
        f"[grid]\nx = {list(range(runs))}\n"
    )
    log.write_text("")
    return path


def driver(plan: Path, root: Path, *options: str) -> subprocess.Popen:
    kdnb = [sys.executable, "-m", "kdnb.cli"]
    command = [*kdnb, "sweep", "run", str(plan), "--runs-dir", str(root), *options]
    with (plan.parent / "driver.log").open("a") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


def kernels(root: Path) -> list[psutil.Process]:
    """Live kernels whose results go below a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("KDNB_STUDY", "").startswith(str(root)):
                found.append(process)
        except psutil.Error:
            continue
    return found


def finished(root: Path) -> int:
    return len(list(root.glob("sweep/*/done.json")))


def note_done(root: Path, first_done: dict[str, float]) -> None:
    """Note when runs were done that are seen done for the first time, by their ids.

    A run that is repeated writes its done.json anew, so that the file alone tells no repetition.
    """
    for file in root.glob("sweep/*/done.json"):
        with suppress(FileNotFoundError):  # it was removed meanwhile
            first_done.setdefault(file.parent.name, file.stat().st_mtime)


def again(plan: Plan, root: Path, log: Path, first_done: dict[str, float]) -> int:
    """Executions that began after their run was done for the first time."""
    done = {}
    for spec in plan.specs(root):
        if spec.run.id in first_done:
            done[spec.parameters["x"]] = first_done[spec.run.id]
    lines = [line.split() for line in log.read_text().splitlines()]
    return sum(float(at) > done.get(int(x), np.inf) for x, at in lines)


def wrong(plan: Plan, root: Path, reference: Path) -> int:
    """Runs whose table is not that of the other folder."""
    ours, theirs = (
        collect_tables(plan, plan.specs(folder)).set_index("run") for folder in (root, reference)
    )
    return int((ours != theirs.loc[ours.index]).any(axis=1).sum())


def kill_one(running: subprocess.Popen, root: Path, rng: random.Random) -> str:
    """SIGKILL to a kernel, a worker or the driver; returns which, or nothing."""
    kind = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    try:
        children = psutil.Process(running.pid).children()
        alive = {
            "kernel": kernels(root),
            "driver": [psutil.Process(running.pid)],
            "worker": [p for p in children if "spawn_main" in " ".join(p.cmdline())],
        }
        if not alive[kind]:
            return ""
        rng.choice(alive[kind]).kill()
    except psutil.Error:
        return ""
    return kind


def bench_chaos(folder: Path, runs: int, workers: int, every: float, seed: int) -> None:
    path = tiny(folder, runs)
    rng = random.Random(seed)
    begin = time.perf_counter()
    driver(path, folder / "unbroken", "--workers", str(workers)).wait()
    calm = time.perf_counter() - begin
    (folder / "log.txt").write_text("")
    plan = read_plan(path)
    root = folder / "runs"
    kills = Counter()
    first_done: dict[str, float] = {}
    starts = 0
    begin = time.perf_counter()
    while finished(root) < runs and starts < runs:
        starts += 1
        running = driver(path, root, "--workers", str(workers))
        while running.poll() is None:
            try:
                running.wait(rng.uniform(0.2, 1.8) * every)
            except subprocess.TimeoutExpired:
                kills[kill_one(running, root, rng)] += 1
                note_done(root, first_done)
        note_done(root, first_done)
    del kills[""]
    executed = len((folder / "log.txt").read_text().splitlines())
    facts = {
        "runs": runs,
        "workers": workers,
        "kernels killed": kills["kernel"],
        "workers killed": kills["worker"],
        "drivers killed": kills["driver"],
        "drivers started": starts,
        "executions": executed,
        "lost": runs - finished(root),
        "done again after done.json": again(plan, root, folder / "log.txt", first_done),
        "wrong": wrong(plan, root, folder / "unbroken"),
        "seconds": round(time.perf_counter() - begin),
        "seconds unbroken": round(calm),
    }
    print(pd.Series(facts).to_string())


def bench_parallel(folder: Path, runs: int, workers: int) -> None:
    path = tiny(folder, runs, "attempts = 1")
    root = folder / "runs"
    begin = time.perf_counter()
    driver(path, root, "--workers", str(workers)).wait()
    seconds = time.perf_counter() - begin
    lost = runs - finished(root)
    print(
        f"{runs} runs, {workers} at a time, one attempt each: "
        f"{lost} lost; {seconds / runs:.2f} s per run"
    )


def bench_overhead(folder: Path, runs: int) -> None:
    specs = read_plan(tiny(folder, runs)).specs(folder / "runs")
    others = read_plan(folder / "tiny.toml").specs(folder / "alone")

    def serial(spec) -> float:
        begin = time.perf_counter()
        run_one(spec)
        return time.perf_counter() - begin - own(spec)

    def alone(spec) -> float:
        file = folder / f"{spec.run.id}.json"
        file.write_text(json.dumps(spec.asdict()))
        begin = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "kdnb.cli", "sweep", "run-one", str(file)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return time.perf_counter() - begin - own(spec)

    def own(spec) -> float:
        notebook = nbformat.read(spec.run.path("results/tiny.ipynb"), as_version=4)
        return sum(cell.metadata.papermill.duration or 0 for cell in notebook.cells)

    warm = read_plan(tiny(folder, 1, delay=0.1)).specs(folder / "warm")
    run_one(warm[0])  # imports, once per sweep
    times = np.array([(serial(a), alone(b)) for a, b in zip(specs, others, strict=True)])
    for name, found in zip(("within a sweep", "as a process of its own"), times.T, strict=True):
        low, middle, high = np.quantile(found, [0.25, 0.5, 0.75])
        print(
            f"overhead per run {name}: median {middle:.2f} s, "
            f"quartiles {low:.2f} to {high:.2f} s ({runs} runs)"
        )


def bench_speedup(folder: Path, workers: int, repeats: int, profile: str) -> None:
    warm = folder / "warm.toml"
    cells = folder / "cells.toml"
    warm.write_text(GRID.format(profile=profile, alphas=[0.9], temperatures=[20]))
    cells.write_text(
        GRID.format(profile=profile, alphas=[0.2, 0.4, 0.7], temperatures=[1, 5, 10, 15])
    )
    driver(warm, folder / "warm", "--threads", "1").wait()
    plan = read_plan(cells)
    seconds = {1: [], workers: []}
    tables = []
    for _ in range(repeats):
        for number in seconds:
            root = folder / f"with{number}-{len(seconds[number])}"
            shutil.copytree(folder / "warm", root)
            begin = time.perf_counter()
            driver(cells, root, "--workers", str(number), "--threads", "1").wait()
            seconds[number].append(time.perf_counter() - begin)
            tables.append(collect_tables(plan, plan.specs(root)))
    same = all(table.equals(tables[0]) for table in tables)
    print(
        f"12 cells, one thread each: serial / {workers} workers = "
        f"{ratio(np.array(seconds[1]), np.array(seconds[workers]))}; "
        f"{np.median(seconds[1]):.0f} s serial; tables {'the same' if same else 'DIFFER'}"
    )


def dask(command: str) -> subprocess.Popen:
    """A scheduler or a worker, in a group of processes of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "dask", *command.split()],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def address_of(scheduler: subprocess.Popen, file: Path) -> str:
    """Where a scheduler can be reached, once it has written its file.

    Raises:
        UserError: If it ends before.
    """
    while not file.is_file():
        if scheduler.poll() is not None:
            raise UserError(
                f"the scheduler ended with exit code {scheduler.returncode} and no address; "
                "it must start: `python -m dask scheduler` says what is wrong"
            )
        time.sleep(0.1)
    return json.loads(file.read_text())["address"]


def one_dies(path: Path, root: Path, runs: int, first_done: dict[str, float]) -> bool:
    """Make the runs of a plan on two workers: one joins late, the first is killed as both work.

    Returns:
        Whether the first one was killed; it is not where the two never worked at one time.
    """
    file = path.parent / "scheduler.json"
    started = [dask(f"scheduler --host 127.0.0.1 --port 0 --no-dashboard --scheduler-file {file}")]
    killed = False
    try:
        address = address_of(started[0], file)
        worker = f"worker {address} --nthreads 1 --no-dashboard --memory-limit 0"
        started.append(dask(worker))
        running = driver(path, root, "--scheduler", address)
        while running.poll() is None:
            note_done(root, first_done)
            done = finished(root)
            is_late_there = len(started) == 3
            if not is_late_there and done >= runs // 4:
                started.append(dask(worker))
            if is_late_there and not killed and done >= runs // 2 and len(kernels(root)) == 2:
                os.killpg(started[1].pid, signal.SIGKILL)
                killed = True
            time.sleep(0.1)
        note_done(root, first_done)
    finally:
        for process in started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return killed


def bench_cluster(folder: Path, runs: int) -> None:
    path = tiny(folder, runs)
    plan = read_plan(path)
    root = folder / "cluster"
    first_done: dict[str, float] = {}
    killed = one_dies(path, root, runs, first_done)
    twice = again(plan, root, folder / "log.txt", first_done)
    driver(path, folder / "serial").wait()
    unlike = wrong(plan, root, folder / "serial")
    shown = "nothing was killed: this shows nothing"
    if killed:
        shown = "the late worker was used, the first one died in the middle of a run"
    print(
        f"{runs} runs: {runs - finished(root)} lost, {twice} done again, "
        f"{unlike} runs unlike serial; {shown}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["chaos", "parallel", "overhead", "speedup", "cluster"])
    parser.add_argument(
        "--runs", type=int, help="500 for chaos, 200 for parallel, 20 for overhead and cluster"
    )
    parser.add_argument("--workers", type=int, help="4 for chaos, 8 for parallel, 2 for speedup")
    parser.add_argument("--every", type=float, default=3, help="mean seconds between two kills")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--profile", default="smoke")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kdnb-sweep-") as name:
        folder = Path(name)
        calls = {
            "chaos": lambda: bench_chaos(
                folder, given.runs or 500, given.workers or 4, given.every, given.seed
            ),
            "parallel": lambda: bench_parallel(folder, given.runs or 200, given.workers or 8),
            "overhead": lambda: bench_overhead(folder, given.runs or 20),
            "speedup": lambda: bench_speedup(
                folder, given.workers or 2, given.repeats, given.profile
            ),
            "cluster": lambda: bench_cluster(folder, given.runs or 20),
        }
        calls[given.what]()


if __name__ == "__main__":
    with ends_in_one_line("sweep.py"):
        main()
