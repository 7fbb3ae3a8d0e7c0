from __future__ import annotations

import sys

import pandas as pd
import pytest
from filelock import FileLock

from kdnb.batch.plan import read_plan
from kdnb.batch.progress_table import collect_tables, estimate, state_of, status
from kdnb.batch.run_many import run_many
from kdnb.batch.run_one import forget_failure, run_one
from kdnb.cli.commands import main
from kdnb.cli.sweep import _write_label
from kdnb.core.errors import UserError
from kdnb.core.run_files import done_content
from kdnb.core.runs import read_json, write_json


def pretend(spec, seconds=1.0, table="powers", text="power,value\n2,4\n"):
    """Write what a finished run leaves."""
    run = spec.run
    run.path("results").mkdir(parents=True)
    run.path(f"results/{table}.csv").write_text(text)
    write_json(run.path("spec.json"), {"parameters": spec.content})
    write_json(run.path("done.json"), {"id": run.id, "seconds": seconds})


def kdnb(monkeypatch, *arguments):
    """Exit code of the command line."""
    monkeypatch.setattr(sys, "argv", ["kdnb", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    return caught.value.code


def test_states(specs):
    done, failed, held, waiting = specs("[grid]\nx = [1, 2, 3, 4]")
    pretend(done)
    failed.run.folder.mkdir(parents=True)
    write_json(failed.run.path("failed.json"), {"message": "ValueError: no"})
    with FileLock(held.run.folder.with_suffix(".lock")):
        table = status([done, failed, held, waiting])
    assert list(table["state"]) == ["done", "failed", "running", "waiting"]
    assert list(table["note"]) == ["", "ValueError: no", "", ""]
    assert list(table["x"]) == [
        1,
        2,
        3,
        4,
    ]
    assert state_of(held.run) == "waiting"  # a lock that nobody holds says nothing


def test_collect_is_tidy_and_in_the_order_of_the_plan(write, folder):
    plan = read_plan(write('[fixed]\nfail = "empty"\n[grid]\nx = [3, 1, 2]'))
    specs = plan.specs(folder / "runs")
    for spec in reversed(specs[:2]):
        pretend(
            spec,
            text=f"power,value\n2,{spec.parameters['x'] ** 2}\n3,{spec.parameters['x'] ** 3}\n",
        )
    rows = collect_tables(plan, specs)
    assert list(rows.columns) == ["run", "fail", "x", "power", "value"]
    assert rows[["x", "power", "value"]].to_numpy().tolist() == [
        [3, 2, 9],
        [3, 3, 27],
        [1, 2, 1],
        [1, 3, 1],
    ]
    assert list(rows["run"]) == [specs[0].run.id] * 2 + [specs[1].run.id] * 2


def test_a_column_of_the_table_hides_no_parameter(write, folder):
    plan = read_plan(write("[grid]\nx = [1, 2]"))
    specs = plan.specs(folder / "runs")
    pretend(specs[1], text="x,value\n0.5,4\n")
    assert collect_tables(plan, specs).drop(columns="run").to_dict("list") == {
        "plan_x": [2],
        "x": [0.5],
        "value": [4],
    }


def test_a_run_of_the_table_s_own_is_not_taken_for_one_of_the_sweep(write, folder):
    plan = read_plan(write("[grid]\nx = [1, 2]"))
    specs = plan.specs(folder / "runs")
    pretend(specs[1], text="run,value\na,4\nb,5\n")
    rows = collect_tables(plan, specs)
    assert rows["run"].unique().tolist() == [specs[1].run.id]
    assert rows["table_run"].tolist() == ["a", "b"]


def test_a_damaged_run_is_named_and_stops_no_other_one(write, folder, capsys):
    plan = read_plan(write("[grid]\nx = [1, 2, 3, 4]"))
    specs = plan.specs(folder / "runs")
    for spec in specs:
        pretend(spec)
        write_json(spec.run.folder / "done.json", done_content(spec.run.folder, 1.0, "now"))
    cut, flipped, emptied, _ = (spec.run.folder for spec in specs)
    (cut / "spec.json").write_text("{")
    (flipped / "results" / "powers.csv").write_text("power,value\n2,5\n")
    (emptied / "done.json").write_text("")
    table = status(specs)
    assert list(table["state"]) == ["damaged", "done", "damaged", "done"]
    assert "spec.json has 1 bytes" in table["note"][0] and "is empty" in table["note"][2]
    assert list(collect_tables(plan, specs)["x"]) == [4]
    assert capsys.readouterr().out.count("powers.csv has the SHA-256") == 1
    assert run_many(specs) == [] and run_one(specs[0]).state == "damaged"
    assert estimate(specs) > 0 and not forget_failure(specs[2].run)


def test_which_table(write, folder):
    plan = read_plan(write("[grid]\nx = [1]"))
    specs = plan.specs(folder / "runs")
    with pytest.raises(UserError, match="no run of plan 'plan' is finished"):
        collect_tables(plan, specs)
    pretend(specs[0])
    specs[0].run.path("results/other.csv").write_text("a\n1\n")
    with pytest.raises(
        UserError, match="which table[?] got '', run .* has other, powers: name one with --table"
    ):
        collect_tables(plan, specs)
    assert list(collect_tables(plan, specs, "other")["a"]) == [1]


def test_a_table_of_a_plan_with_parts_is_taken_from_the_runs_that_have_it(write, folder, capsys):
    parts = """
[[part]]
name = "a"
[part.grid]
x = [1, 2]
[[part]]
name = "b"
[part.grid]
x = [3]
"""
    plan = read_plan(write(parts))
    specs = plan.specs(folder / "runs")
    for spec in specs:
        pretend(spec)
    specs[2].run.path("results/powers.csv").rename(specs[2].run.path("results/other.csv"))
    assert sorted(set(collect_tables(plan, specs, "powers")["x"])) == [1, 2]
    assert "1 finished runs have no table 'powers', they have other: left out" in (
        capsys.readouterr().out
    )
    with pytest.raises(UserError, match="3 finished runs have no table 'none', they have other, "):
        collect_tables(plan, specs, "none")


def test_estimates_come_from_the_runs_most_alike(specs):
    runs = specs("[grid]\nscale = [1.0, 2.0]\nx = [1, 2, 3]")
    assert estimate(runs) is None and estimate([]) == 0
    for spec, seconds in zip(runs[:2] + runs[3:5], (10, 12, 100, 120), strict=True):
        pretend(spec, seconds)
    left = [runs[2], runs[5]]  # x = 3 at both scales
    assert estimate(left) == 11 + 110
    assert estimate(left, workers=2) == 110  # no run is shared by two workers


@pytest.mark.slow
def test_commands(write, folder, monkeypatch, capsys):
    path, runs = write('[zip]\nx = [1, 2]\nfail = ["", "error"]'), ("--runs-dir", folder / "runs")
    assert kdnb(monkeypatch, "sweep", "plan", path, *runs, "--specs", folder / "specs") == 0
    assert "2 runs: 2 waiting; no past run to estimate from" in capsys.readouterr().out
    assert len(list((folder / "specs").glob("*.json"))) == 2
    assert kdnb(monkeypatch, "sweep", "run", path, *runs) == 1
    out = capsys.readouterr().out
    assert "failed: ValueError: no square of 2 (executed copy: " in out
    assert "2 runs: 1 done, 1 failed" in out
    assert kdnb(monkeypatch, "sweep", "run", path, *runs) == 1
    assert "1/1" not in capsys.readouterr().out  # failed runs wait for retry
    assert kdnb(monkeypatch, "sweep", "retry", path, *runs) == 1
    out = capsys.readouterr().out
    assert "1 failed runs are tried again" in out
    assert "1/1 failed" in out
    assert kdnb(monkeypatch, "sweep", "status", path, *runs, "--watch", "0.1") == 0
    assert "ValueError: no square of 2" in capsys.readouterr().out
    plan = path.read_text()
    assert kdnb(monkeypatch, "sweep", "collect", path, *runs, "--out", path) == 2
    assert "must be a file whose name ends in .csv" in capsys.readouterr().err
    assert path.read_text() == plan, "the plan is not written over"
    assert kdnb(monkeypatch, "sweep", "collect", path, *runs) == 1, "a run is missing"
    assert (
        f"1 of 2 runs, 2 rows: {folder / 'runs' / 'sweep' / 'plan.csv'}" in capsys.readouterr().out
    )
    assert list(pd.read_csv(folder / "runs" / "sweep" / "plan.csv")["value"]) == [1.0, 1.0]


def test_a_mistake_on_the_command_line_is_one_line(write, monkeypatch, capsys):
    for command in ("plan", "run", "status", "collect", "retry"):
        assert kdnb(monkeypatch, "sweep", command, write("[grid]\nx = []")) == 2
        err = capsys.readouterr().err.strip()
        assert err.startswith("kdnb: plan '") and "grid.x is empty" in err and "\n" not in err


def test_a_label_names_the_folder_of_a_sweep(specs, write, folder, monkeypatch, capsys):
    [spec] = specs("[grid]\nx = [1]")
    pretend(spec)
    path, runs = folder / "plan.toml", ("--runs-dir", folder / "runs", "--label", "night")
    assert kdnb(monkeypatch, "sweep", "run", path, *runs) == 0
    assert kdnb(monkeypatch, "sweep", "collect", path, *runs) == 0
    assert (folder / "runs" / "sweep" / "plan-night" / "plan.csv").is_file()
    capsys.readouterr()
    assert kdnb(monkeypatch, "runs", "list", "--runs-dir", folder / "runs") == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if spec.run.id in line)
    assert "night" in line.split() and "tiny" in line


def test_one_part_of_a_plan_is_run_alone(specs, write, folder, monkeypatch, capsys):
    parts = (
        '[[part]]\nname = "one"\n[part.grid]\nx = [1]\n[[part]]\nname = "two"\n[part.grid]\nx = [2]'
    )
    done, waiting = specs(parts)
    pretend(done)
    path, runs = folder / "plan.toml", ("--runs-dir", folder / "runs")
    labelled = folder / "runs" / "sweep" / "plan-night" / "sweep.json"
    _write_label(labelled.parent, [waiting], "night")
    assert kdnb(monkeypatch, "sweep", "run", path, *runs, "--part", "one", "--label", "night") == 0
    assert read_json(labelled)["runs"] == [waiting.run.id, done.run.id]
    capsys.readouterr()
    assert kdnb(monkeypatch, "sweep", "run", path, *runs, "--part", "one") == 0
    assert "1 runs: 1 done" in capsys.readouterr().out
    for command in "retry", "status", "collect":
        assert kdnb(monkeypatch, "sweep", command, path, *runs, "--part", "one") == 0
        assert waiting.run.id not in capsys.readouterr().out
    assert not waiting.run.folder.exists()
    assert kdnb(monkeypatch, "sweep", "run", path, *runs, "--part", "three") == 2
    assert "--part must be one of one, two, got 'three'" in capsys.readouterr().err
    path = write("[grid]\nx = [1]")
    assert kdnb(monkeypatch, "sweep", "run", path, *runs, "--part", "one") == 2
    assert "the plan has no parts" in capsys.readouterr().err


def test_a_teacher_that_timm_lacks_is_told_before_any_run(tmp_path, monkeypatch, capsys):
    path = tmp_path / "plan.toml"
    lines = ["version = 1", 'notebook = "03_distillation"', "[grid]", "teacher_seed = [0]"]
    lines += ["[fixed]", 'profile = "smoke"', 'teacher = "timm:resnet18x"']
    path.write_text("\n".join(lines))
    for command in ("plan", "run"):
        given = ("sweep", command, path, "--runs-dir", tmp_path / "runs")
        assert kdnb(monkeypatch, *given) == 2
        said = capsys.readouterr().err
        assert "has no model 'resnet18x'" in said and "did you mean timm:resnet18" in said
