from __future__ import annotations

from kdnb.batch.estimates import notebook_estimate
from kdnb.core.provenance import environment
from kdnb.core.runs import write_json


def pretend(root, number, seconds, profile="smoke", machine=None, **parameters):
    folder = root / "notebook" / f"{number:016x}"
    spec = {"notebook": "02_teacher", "parameters": {"profile": profile, **parameters}}
    write_json(folder / "spec.json", {"parameters": spec})
    write_json(folder / "env.json", environment() | (machine or {}))
    write_json(folder / "done.json", {"id": folder.name, "seconds": seconds})


def test_an_estimate_is_the_median_of_like_runs_on_this_machine(tmp_path):
    for number, seconds in enumerate([10.0, 30.0, 20.0]):
        pretend(tmp_path, number, seconds, seed=number)
    pretend(tmp_path, 3, 900.0, profile="paper")
    pretend(tmp_path, 4, 900.0, machine={"processor": "another"})
    found = notebook_estimate("02_teacher", {"profile": "smoke", "seed": 7}, tmp_path)
    assert found == (20.0, 3)
    assert notebook_estimate("02_teacher", {"profile": "smoke", "seed": 0}, tmp_path) == (10.0, 1)
    assert notebook_estimate("03_distillation", {"profile": "smoke"}, tmp_path) is None
    assert notebook_estimate("02_teacher", {"profile": "quick"}, tmp_path) is None
