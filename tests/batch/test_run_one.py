from __future__ import annotations

import dataclasses
import errno
import json
import os
import subprocess
import sys
import time

import pytest

from kdnb.batch import run_one as one
from kdnb.batch.run_one import forget_failure, run_one
from kdnb.core.errors import UserError

pytestmark = pytest.mark.slow

LITTLE = 400 * 1024  # bytes of a disk that is soon full


def executions(folder):
    path = folder / "log.txt"
    return len(path.read_text().splitlines()) if path.is_file() else 0


@pytest.fixture
def spec(specs, folder):
    """One run that writes a line to log.txt whenever it is executed."""
    return lambda text="": specs(f'[fixed]\nx = 3\nlog = "{folder}/log.txt"\n{text}')[0]


def test_one_run_in_one_folder_made_once(spec, folder):
    first, second = run_one(spec()), run_one(spec())
    run = spec().run
    assert (first.state, second.state, executions(folder)) == ("done", "found", 1)
    assert {p.name for p in run.folder.iterdir()} == {
        "results",
        "spec.json",
        "env.json",
        "done.json",
    }
    assert {p.name for p in run.path("results").iterdir()} == {"tiny.ipynb", "powers.csv"}
    assert run.path("results/powers.csv").read_text() == "power,value\n2,9.0\n3,27.0\n"


def test_an_error_is_kept_with_its_last_lines_and_not_tried_again(spec, folder):
    wrong = spec('fail = "error"')
    first, second = run_one(wrong), run_one(wrong)
    assert first.state == second.state == "failed" and executions(folder) == 1
    assert (
        first.message
        == second.message
        == f"ValueError: no square of 3 (executed copy: {wrong.run.path('failed.ipynb')})"
    )
    told = wrong.run.json("failed.json")
    assert told["last_lines"][-1] == "ValueError: no square of 3"
    assert "\x1b" not in "".join(told["last_lines"])
    assert '"output_type": "error"' in wrong.run.path("failed.ipynb").read_text()
    assert not wrong.run.path("done.json").exists() and not list(wrong.run.folder.glob("attempt-*"))
    assert forget_failure(wrong.run) and not forget_failure(wrong.run)
    assert run_one(wrong).state == "failed" and executions(folder) == 2


@pytest.mark.slow
def test_a_killed_kernel_is_tried_again_but_not_for_ever(spec, folder):
    deadly = dataclasses.replace(spec('fail = "die"'), attempts=2)
    outcome = run_one(deadly)
    assert outcome.state == "killed" and executions(folder) == 2 and "2 attempts" in outcome.message
    assert not list(deadly.run.folder.iterdir())  # no trace: the next call starts anew
    assert run_one(deadly).state == "killed" and executions(folder) == 4


def test_a_kernel_killed_once_costs_nothing(spec, folder, monkeypatch):
    real, calls = one.execute, []

    def die_first(notebook, out, parameters, **options):
        calls.append(parameters["fail"])
        real(notebook, out, parameters | {"fail": "die" if len(calls) == 1 else ""}, **options)

    monkeypatch.setattr(one, "execute", die_first)
    assert run_one(spec()).state == "done" and len(calls) == 2


def test_a_cell_that_takes_too_long_fails(spec):
    slow = dataclasses.replace(spec("delay = 60.0"), cell_timeout=1)
    outcome = run_one(slow)
    assert outcome.state == "failed"
    assert outcome.message.startswith("TimeoutError: a cell took more than 1 s")


def test_code_that_is_not_the_plans_is_refused(spec, folder):
    planned, notebook = spec(), folder / "tiny.ipynb"
    notebook.write_text(notebook.read_text().replace("x**3", "x**4"))
    with pytest.raises(UserError, match=r"the code of 'tiny.ipynb' or of kdnb is not the plan's"):
        run_one(planned)
    assert executions(folder) == 0


def test_what_a_dead_process_left_is_removed(spec):
    run = spec().run
    for place in ("attempt-dead", "results"):
        run.path(place).mkdir(parents=True)
        run.path(f"{place}/powers.csv").write_text("half")
    assert run_one(spec()).state == "done" and not run.path("attempt-dead").exists()
    assert run.path("results/powers.csv").read_text().startswith("power,value")


def test_the_kernel_has_its_thread_budget_and_no_widgets(spec, folder):
    notebook = folder / "tiny.ipynb"
    content = json.loads(notebook.read_text())
    asked = "('OMP_NUM_THREADS', 'KDNB_LIVE')"
    content["cells"][2]["source"] = f"print(*map(os.environ.get, {asked}), os.getcwd())"
    notebook.write_text(json.dumps(content))
    planned = spec()
    run_one(planned, threads=2)
    cells = json.loads(planned.run.path("results/tiny.ipynb").read_text())["cells"]
    assert "".join(cells[-1]["outputs"][0]["text"]).strip() == f"2 0 {folder}"


def test_disk_full_in_the_notebook_is_one_line_and_no_failure_of_the_run(spec):
    full = spec('fail = "full"')
    with pytest.raises(
        UserError, match="the disk of '.*' is full .*: free some space and run again"
    ) as caught:
        run_one(full)
    assert "\n" not in str(caught.value) and not list(full.run.folder.iterdir())


def test_disk_full_while_a_run_is_finished(spec, monkeypatch):
    def no_space(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr("kdnb.core.runs.os.replace", no_space)
        with pytest.raises(UserError, match="is full"):
            run_one(spec())
    assert not spec().run.path("done.json").exists()
    assert run_one(spec()).state == "done"


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 400 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={LITTLE}", "tmpfs", place], capture_output=True
    )
    if mount.returncode:
        pytest.skip("only root may mount a small file system")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_disk_that_is_really_full(specs, small_disk):
    runs = specs("[grid]\nx = [1, 2, 3]", root="disk/runs")
    assert run_one(runs[0]).state == "done"
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space left"), ballast.open("wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass
    with pytest.raises(UserError, match="the disk of '.*disk/runs' is full"):
        run_one(runs[1])
    assert not runs[1].run.path("done.json").exists()
    assert not runs[1].run.path("failed.json").exists()
    ballast.unlink()
    assert [run_one(spec).state for spec in runs] == ["found", "done", "done"]


def test_a_surprise_is_an_outcome_too(spec, monkeypatch):
    def surprise(*_, **__):
        raise KeyError("no such kernel")

    monkeypatch.setattr(one, "execute", surprise)
    outcome = run_one(spec())
    assert (outcome.state, outcome.message) == ("killed", "KeyError: 'no such kernel'")


@pytest.mark.slow
def test_run_one_on_the_command_line_needs_no_engine(spec, folder):
    planned = spec()
    (folder / "spec.json").write_text(json.dumps(planned.asdict()))
    code = """
import sys
import kdnb.cli
try:
    kdnb.cli.main()
finally:
    assert not {"torch", "dask"} & set(sys.modules)
"""
    command = [sys.executable, "-c", code, "sweep", "run-one", str(folder / "spec.json")]
    first = subprocess.run(command, capture_output=True, text=True, cwd="/")
    assert first.returncode == 0
    assert first.stdout.startswith("done")
    assert str(planned.run.folder) in first.stdout
    (folder / "wrong.json").write_text(json.dumps(spec('fail = "error"').asdict()))
    wrong = subprocess.run(
        [*command[:-1], str(folder / "wrong.json")], capture_output=True, text=True, cwd="/"
    )
    assert wrong.returncode == 1 and "ValueError: no square of 3" in wrong.stdout


@pytest.mark.slow
def test_a_killed_process_loses_nothing(spec, folder):
    """SIGKILL to run-one while its kernel works: the kernel goes too; the next call runs it."""
    planned = spec("delay = 4.0")
    (folder / "spec.json").write_text(json.dumps(planned.asdict()))
    command = [sys.executable, "-m", "kdnb.cli", "sweep", "run-one", str(folder / "spec.json")]
    process = subprocess.Popen(command)
    while not executions(folder):
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert list(planned.run.folder.glob("attempt-*")) and not planned.run.path("done.json").exists()
    assert run_one(planned).state == "done" and executions(folder) == 2
    assert {p.name for p in planned.run.folder.iterdir()} == {
        "results",
        "spec.json",
        "env.json",
        "done.json",
    }


def test_papermill_loads_without_the_grammar_of_addresses():
    """It would take seconds in each process; later users of the grammar still get it."""
    code = (
        "import sys; from kdnb.batch.papermill_runs import load_papermill; m = load_papermill(); "
        "assert m.execute_notebook and 'rfc3987_syntax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
