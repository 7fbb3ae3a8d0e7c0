"""Many runs of a sweep: one after another, on several local workers, or on a Dask cluster.

``kdnb sweep run`` makes them.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import kdnb
from kdnb.batch.papermill_runs import ProgressStream
from kdnb.batch.progress_table import SETTLED, state_of
from kdnb.batch.run_one import Outcome, run_one
from kdnb.batch.run_spec import SweepSpec
from kdnb.core.errors import UserError
from kdnb.core.progress import say, track

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["run_many"]

CONNECT_TIMEOUT = 15  # s to reach a scheduler
# a worker only waits for its kernel: watching it takes time from the training
DASK_SETTINGS = {
    # deaths of workers of which one run may be suspected
    "distributed.scheduler.allowed-failures": 10,
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.gil.enabled": False,
}
# Ctrl-C is for the driver, which ends its workers; one that ends during a run leaves the run's
# event loop open, and goes without complaint of that.
WORKER_PRELOAD = (
    "import atexit, os, signal; "
    "signal.signal(signal.SIGINT, signal.SIG_IGN); "
    "atexit.register(os._exit, 0)"
)


def run_many(
    specs: Sequence[SweepSpec], *, workers: int = 1, scheduler: str = "", threads: int = 0
) -> list[Outcome]:
    """Make every run that is not done, failed or damaged; returns how each of them ended.

    For a terminal or a notebook. A failure stops no other run. Ctrl-C ends at once and leaves
    nothing half-made; the next call goes on.

    Args:
        specs: The runs, in order.
        workers: Processes on this machine; 1 runs here.
        scheduler: Address of a Dask scheduler whose workers see the same folders; replaces
            ``workers``.
        threads: Threads of each run; 0 gives each of several workers its share of the cores, one
            worker all of them, and leaves it to the environment of a cluster's workers.

    Raises:
        UserError: If the scheduler cannot be reached, or nothing could work (see `run_one`).
    """
    waiting = [spec for spec in specs if state_of(spec.run) not in SETTLED]
    names = {spec.run.id: str(spec) for spec in waiting}
    outcomes = []
    with _outcomes(waiting, workers, scheduler, threads) as ended:
        for outcome in track(ended, "sweep", len(waiting)):
            outcomes.append(outcome)
            line = (
                f"{len(outcomes)}/{len(waiting)} {outcome.state} "
                f"{outcome.seconds:.1f} s  {names[outcome.id]}"
            )
            say(f"{line}: {outcome.message}" if outcome.message else line)
    return outcomes


@contextmanager
def _outcomes(
    specs: Sequence[SweepSpec], workers: int, scheduler: str, threads: int
) -> Iterator[Iterator[Outcome]]:
    """The outcomes, as the runs end."""
    if not specs or (workers < 2 and not scheduler):
        yield (run_one(spec, threads, ProgressStream()) for spec in specs)
        return
    if find_spec("distributed") is None:
        raise UserError(
            "several workers need Dask: pip install -e '.[sweep]', or run with one worker"
        )
    if scheduler:
        with _remote(scheduler, Path(specs[0].root)) as client:
            yield _submitted(client, specs, threads)
        return
    from dask.system import CPU_COUNT

    share = max(1, CPU_COUNT // workers)
    with _local(workers) as client:
        yield _submitted(client, specs, threads or share)


def _submitted(client: Client, specs: Sequence[SweepSpec], threads: int) -> Iterator[Outcome]:
    """The outcomes of runs on a cluster, as they end."""
    from distributed import as_completed
    from distributed.scheduler import KilledWorker

    futures = {}
    for spec in specs:
        future = client.submit(run_one, spec, threads, pure=False)
        futures[future] = spec.run.id
    for future in as_completed(futures, loop=client.loop):
        if future.cancelled():
            raise UserError(
                "the connection to the scheduler is lost: once it is back, run again, which goes on"
            )
        if isinstance(future.exception(), KilledWorker):
            yield Outcome(
                id=futures[future],
                state="killed",
                message="its worker died too often: the next call tries again",
            )
        else:
            yield future.result()


@contextmanager
def _local(workers: int) -> Iterator[Client]:
    """Worker processes on this machine that die with this one."""
    import dask
    from distributed import Client, LocalCluster

    with (
        dask.config.set(DASK_SETTINGS),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            memory_limit=0,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
            preload=[WORKER_PRELOAD],
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@contextmanager
def _remote(address: str, root: Path) -> Iterator[Client]:
    """A cluster that was started by hand.

    Its workers must see the folder of the runs and have this kdnb.
    """
    from distributed import Client

    try:
        client = Client(address, timeout=CONNECT_TIMEOUT, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UserError(
            f"no Dask scheduler answers at '{address}' ({reason}): start one with 'dask scheduler',"
            " give the address that it prints, such as tcp://127.0.0.1:8786"
        ) from None
    # what matters is told in one line
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    with client:
        workers = _checked_workers(client, root)
        if workers:
            say(f"{workers} workers")
        else:
            say("no worker yet: start one with 'dask worker', it will be used")
        yield client


def _checked_workers(client: Client, root: Path) -> int:
    """How many workers there are now.

    Raises:
        UserError: If one of them does not see the folder of the runs, or has another kdnb.
    """
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=root, prefix=".probe-") as probe:
        answers = client.run(_sees, probe.name, on_error="return")
    for worker, answer in answers.items():
        if answer != kdnb.__version__:
            raise UserError(
                f"worker {worker} cannot take part ({answer}): it needs kdnb {kdnb.__version__} "
                f"and the folder '{root}' under the same path"
            )
    return len(answers)


def _sees(probe: str) -> str:
    """On a worker: its version of kdnb, or what is wrong."""
    if not Path(probe).exists():
        return "it does not see the folder of the runs"
    return kdnb.__version__
