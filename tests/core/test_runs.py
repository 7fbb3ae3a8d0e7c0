from __future__ import annotations

import multiprocessing as mp
import os
import signal
import time

import pytest

import kdnb
from kdnb.core.errors import UserError
from kdnb.core.runs import (
    atomic_path,
    digest,
    find_run,
    finished_runs,
    get_or_make,
    run_of,
    write_json,
)


def write_number(run):
    run.path("number.txt").write_text("1")


def test_made_once_then_found(tmp_path):
    calls = []
    first = get_or_make("thing", {"a": 1}, lambda run: calls.append(run), root=tmp_path)
    second = get_or_make("thing", {"a": 1}, lambda run: calls.append(run), root=tmp_path)
    assert (len(calls), first.reused, second.reused, first.id == second.id) == (
        1,
        False,
        True,
        True,
    )
    assert {p.name for p in first.folder.iterdir()} == {"spec.json", "env.json", "done.json"}


def test_a_run_keeps_the_number_of_threads_it_was_made_with(tmp_path):
    import torch

    assert get_or_make("thing", {}, write_number, root=tmp_path).json("env.json")["threads"] == (
        torch.get_num_threads()
    )


def test_the_run_is_known_before_it_is_made(tmp_path):
    known = run_of("thing", {"a": 1}, root=tmp_path, upstream=["x"])
    assert not known.folder.exists()
    assert (
        get_or_make("thing", {"a": 1}, write_number, root=tmp_path, upstream=["x"]).folder
        == known.folder
    )


def test_a_finished_run_is_found_without_making_it(tmp_path):
    asked = {"root": tmp_path, "upstream": ["x"]}
    assert find_run("thing", {"a": 1}, **asked) is None and not list(tmp_path.iterdir())
    made = get_or_make("thing", {"a": 1}, write_number, **asked)
    found = find_run("thing", {"a": 1}, **asked)
    assert found.finished and found.reused and found.folder == made.folder
    assert found.seconds == pytest.approx(made.seconds)
    assert find_run("thing", {"a": 2}, **asked) is None
    made.path("done.json").unlink()
    assert find_run("thing", {"a": 1}, **asked) is None and not made.finished


def test_id_depends_on_parameters_upstream_kind_and_version(tmp_path, monkeypatch):
    def run_id(kind="thing", parameters=(("a", 1),), upstream=()):
        return get_or_make(
            kind, dict(parameters), lambda run: None, root=tmp_path, upstream=upstream
        ).id

    ids = [run_id(), run_id(kind="other"), run_id(parameters=(("a", 2),)), run_id(upstream=["x"])]
    monkeypatch.setattr(kdnb, "__version__", "9.9.9")
    assert len({*ids, run_id()}) == 5


def test_a_run_without_done_does_not_count(tmp_path):
    run = get_or_make("thing", {}, write_number, root=tmp_path)
    run.path("done.json").unlink()
    assert finished_runs(tmp_path, "thing") == []
    assert not get_or_make("thing", {}, write_number, root=tmp_path).reused
    assert [r.id for r in finished_runs(tmp_path, "thing")] == [run.id]


def test_user_error_leaves_nothing_but_a_crash_keeps_the_checkpoint(tmp_path):
    def mistake(run):
        run.path("half.txt").write_text("x")
        raise UserError("wrong")

    def crash(run):
        run.path("checkpoint.pt").write_text("x")
        raise RuntimeError("power cut")

    with pytest.raises(UserError):
        get_or_make("mistake", {}, mistake, root=tmp_path)
    assert not [p for p in (tmp_path / "mistake").iterdir() if p.is_dir()]
    with pytest.raises(RuntimeError):
        get_or_make("crash", {}, crash, root=tmp_path)
    assert list((tmp_path / "crash").glob("*/checkpoint.pt"))


def test_atomic_path_replaces_or_leaves_alone(tmp_path):
    target = tmp_path / "a.json"
    write_json(target, {"b": 1})
    before = target.read_text()
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == before and os.listdir(tmp_path) == ["a.json"]


def slow_make(run):
    with run.path("made.txt").open("a") as file:
        file.write("made\n")
    time.sleep(0.5)


def ask(root):
    get_or_make("shared", {}, slow_make, root=root)


def test_two_processes_make_it_once(tmp_path):
    context = mp.get_context("fork")
    workers = [context.Process(target=ask, args=(tmp_path,)) for _ in range(3)]
    [w.start() for w in workers]
    [w.join(30) for w in workers]
    assert [w.exitcode for w in workers] == [0, 0, 0]
    assert next((tmp_path / "shared").glob("*/made.txt")).read_text() == "made\n"


def hang(run):
    run.path("started").touch()
    time.sleep(60)


def test_lock_of_a_dead_process_does_not_block(tmp_path):
    worker = mp.get_context("fork").Process(
        target=get_or_make, args=("shared", {}, hang), kwargs={"root": tmp_path}
    )
    worker.start()
    while not list(tmp_path.glob("shared/*/started")):
        assert worker.is_alive()
        time.sleep(0.01)
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    assert not get_or_make("shared", {}, write_number, root=tmp_path).reused


def test_folder_that_cannot_be_written_is_one_clear_line(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(UserError, match="cannot be written .*choose another one with runs_dir"):
        get_or_make("thing", {}, write_number, root=blocked)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_no_permission_is_one_clear_line(tmp_path):
    os.chmod(tmp_path, 0o755)
    os.seteuid(65534)
    try:
        with pytest.raises(UserError, match="cannot be written"):
            get_or_make("thing", {}, write_number, root=tmp_path)
    finally:
        os.seteuid(0)
    assert os.listdir(tmp_path) == []


def test_digest_ignores_the_order_of_keys_only():
    assert (
        digest({"a": 1, "b": [1, 2]})
        == digest({"b": [1, 2], "a": 1})
        != digest({"a": 1, "b": [2, 1]})
    )
