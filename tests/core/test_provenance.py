from __future__ import annotations

import subprocess
from functools import partial
from pathlib import Path

import pytest

from kdnb.core import provenance, runs
from kdnb.core.provenance import _commit, changed_code, code_of
from kdnb.core.runs import code_changed_since, find_run, get_or_make, write_json
from tools.house import imports


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of a few rooms in a folder of its own."""
    root = tmp_path / "kdnb"
    for name in (
        "core/runs.py",
        "data/splits.py",
        "data/plots.py",
        "data/.ipynb_checkpoints/splits-checkpoint.py",
        "training/fit.py",
        "xai/metrics.py",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    monkeypatch.setattr(provenance, "PACKAGE", root)
    monkeypatch.setattr(runs, "_said_changes", set())
    provenance._hash.cache_clear()
    yield root
    provenance._hash.cache_clear()


CORE = [f"core/{name}" for name in provenance.COMPUTING]
# modules of core that rooms import and that compute no number which a run keeps
NOT_COMPUTING = {
    "errors",
    "freed_memory",
    "live",
    "method_names",
    "model_names",
    "number_text",
    "page",
    "plots",
    "progress",
    "protocols",
    "report",
    "results_folder",
    "run_files",
    "run_list",
    "runs",
    "settings_table",
    "tables",
}


def making(module):
    def make(run):
        pass

    make.__module__ = module
    return make


@pytest.mark.parametrize(
    ("module", "files"),
    [
        ("kdnb.data.dataset", [*CORE, "data/splits.py"]),
        ("kdnb.training.train_teacher", [*CORE, "data/splits.py", "training/fit.py"]),
        ("kdnb.xai.evaluation", [*CORE, "data/splits.py", "training/fit.py", "xai/metrics.py"]),
        ("kdnb.batch.run_one", []),
        ("tests.core", []),
        ("__main__", []),
    ],
)
def test_a_run_lists_the_code_of_its_room_and_of_those_it_stands_on(package, module, files):
    assert sorted(code_of(making(module))) == files
    assert sorted(code_of(partial(making(module)))) == files


def test_every_module_of_core_that_rooms_import_is_known_to_compute_or_not():
    imported = set()
    for room in provenance.ROOMS:
        for path in (provenance.PACKAGE / room).rglob("*.py"):
            if path.name not in provenance.WORDS_AND_PICTURES:
                imported.update(imports(path.read_text(encoding="utf-8")))
    of_core = {name.split(".")[2] for name in imported if name.startswith("kdnb.core.")}
    computing = {Path(name).stem for name in provenance.COMPUTING}
    assert "statistics" in of_core and of_core <= computing | NOT_COMPUTING


def test_code_is_recorded_as_it_is_before_the_run_is_made(package, tmp_path):
    def make(run):
        (package / "training" / "fit.py").write_text("edited while it trains")

    make.__module__ = "kdnb.training.train_teacher"
    before = code_of(make)
    provenance._hash.cache_clear()
    run = get_or_make("teacher", {"seed": 0}, make, root=tmp_path / "runs")
    assert run.json("env.json")["code"] == before
    provenance._hash.cache_clear()  # as in the next process
    assert changed_code(before) == ["training/fit.py"]


def test_the_commit_is_recorded_as_it_is_before_the_run_is_made(tmp_path, monkeypatch):
    machine = {"commit": "before"}
    monkeypatch.setattr(runs, "environment", lambda: machine)

    def make(run):
        machine["commit"] = "after"

    run = get_or_make("teacher", {"seed": 0}, make, root=tmp_path)
    assert run.json("env.json")["commit"] == "before"


def test_a_run_that_lists_fewer_files_than_today_is_not_called_changed(package):
    code = code_of(making("kdnb.xai.evaluation"))
    del code["core/intervals.py"]
    (package / "core" / "intervals.py").write_text("not there before")
    provenance._hash.cache_clear()  # as in the next process
    assert changed_code(code) == []


def test_changed_and_lost_files_are_named(package):
    code = code_of(making("kdnb.xai.evaluation"))
    assert changed_code(code) == []
    (package / "training" / "fit.py").write_text("another loss")
    (package / "xai" / "metrics.py").unlink()
    provenance._hash.cache_clear()  # as in the next process
    assert changed_code(code) == ["training/fit.py", "xai/metrics.py"]


def test_a_run_made_by_other_code_is_found_and_said_once(package, tmp_path, capsys):
    ask = {"kind": "teacher", "root": tmp_path / "runs", "parameters": {"seed": 0}}
    made = get_or_make(make=making("kdnb.training.train_teacher"), **ask)
    assert find_run(**ask).id == made.id and "other code" not in capsys.readouterr().err
    (package / "training" / "fit.py").write_text("another loss")
    provenance._hash.cache_clear()
    for _ in range(2):
        found = get_or_make(make=making("kdnb.training.train_teacher"), **ask)
        assert found.reused and found.id == made.id
    told = capsys.readouterr()
    lines = [line for line in (told.out + told.err).splitlines() if "other code" in line]
    assert len(lines) == 1
    assert f"teacher/{made.id} was made by other code: training/fit.py has changed" in lines[0]
    assert f"kdnb runs remove teacher/{made.id} --dependents" in lines[0]


def test_a_run_of_before_says_nothing_of_its_code(package, tmp_path):
    ask = {"kind": "teacher", "root": tmp_path / "runs", "parameters": {}}

    def make(run):
        write_json(run.path("thing.json"), {})

    made = get_or_make(make=make, **ask)
    assert code_changed_since(made) == ()


def test_a_commit_is_dirty_where_the_code_differs_not_where_a_plan_does(tmp_path):
    def git(*arguments):
        author = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", "-C", str(tmp_path), *author, *arguments], check=True)

    assert _commit(tmp_path) == "unknown", "no repository"
    for name in ("kdnb", "notebooks", "sweeps"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.py").write_text("1")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-q", "-m", "a")
    commit = _commit(tmp_path)
    assert len(commit) == 12
    (tmp_path / "sweeps" / "a.py").write_text("2")
    assert _commit(tmp_path) == commit
    (tmp_path / "kdnb" / "new.py").write_text("2")
    assert _commit(tmp_path) == f"{commit}-dirty"
