from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kdnb.batch.plan import read_plan
from kdnb.batch.run_spec import read_spec
from kdnb.core.errors import UserError
from kdnb.core.notebook_files import parameters_of
from kdnb.core.runs import digest

ROOT = Path(__file__).resolve().parents[2]
STUDY = 'version = 1\nnotebook = "03_distillation"\n'


def xs(runs, *names):
    return [tuple(run.parameters[name] for name in names) for run in runs]


def test_grid_zip_fixed_and_exclusions(specs):
    text = """
        [fixed]
        delay = 0.5
        [zip]
        fail = ["", "error"]
        scale = [1, 2]
        [grid]
        x = [1, 2, 3]
        [[exclude]]
        x = [1, 2]
        fail = "error"
    """
    runs = specs(text)
    assert xs(runs, "fail", "scale", "x") == [
        ("", 1.0, 1),
        ("", 1.0, 2),
        ("", 1.0, 3),
        ("error", 2.0, 3),
    ]
    assert all(run.parameters["delay"] == 0.5 and run.parameters["log"] == "" for run in runs)
    assert runs[0].varied == ["fail", "scale", "x"] and str(runs[-1]) == "fail=error scale=2.0 x=3"


def test_a_plan_without_lists_is_one_run(specs):
    assert len(specs("")) == 1


def test_ids_follow_what_the_result_depends_on(specs, folder):
    first = specs("[fixed]\nx = 2")[0]
    said = specs("[fixed]\nx = 2\nscale = 1")[0]  # a default that is said, and 1 for 1.0
    assert first.run.id == said.run.id
    assert first.run.id == specs("cell_timeout = 5\n[fixed]\nx = 2", root="elsewhere")[0].run.id
    others = [specs(f"[fixed]\n{line}")[0].run.id for line in ("x = 3", "x = 2\nscale = 1.5")]
    notebook = folder / "tiny.ipynb"
    notebook.write_text(notebook.read_text().replace("x**3", "x**4"))
    assert len({first.run.id, *others, specs("[fixed]\nx = 2")[0].run.id}) == 4


def test_a_saved_notebook_is_the_same_run(specs, folder):
    """Cell ids and outputs change at each save; the code does not."""
    first, notebook = specs("")[0].run.id, folder / "tiny.ipynb"
    content = json.loads(notebook.read_text())
    for number, cell in enumerate(content["cells"]):
        cell["id"], cell["execution_count"], cell["source"] = (
            f"n{number}",
            7,
            "".join(cell["source"]),
        )
    notebook.write_text(json.dumps(content))
    assert specs("")[0].run.id == first


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[grid]\nxx = [1]",
            "unknown parameter 'xx': the notebook accepts delay, fail, log, scale, x",
        ),
        ("[fixed]\nyy = 1", "unknown parameter 'yy'"),
        ("[grid]\nx = []", "grid.x is empty"),
        ("[grid]\nx = 3", "grid.x should be a valid list, got 3"),
        ('[grid]\nx = [1, "two"]', "x must be int, as the notebook declares it, got 'two'"),
        ("[fixed]\nx = 1\n[grid]\nx = [1]", "x is set twice"),
        (
            "[zip]\nx = [1, 2]\nscale = [1.0]",
            "lists in zip must be equally long: x has 2, scale has 1",
        ),
        ("[grid]\nx = [1]\n[[exclude]]\nx = 1", "no run is left"),
        ("[grid]\nx = [1]\n[[exclude]]\nx = 2", "exclude {'x': 2} matches no run"),
        ("[grid]\nx = [1]\n[[exclude]]\ny = 2", "unknown parameter 'y'"),
        ("seeds = [0, 1]", "unknown parameter 'seed'"),
        ("gird = 3", "unknown key 'gird': accepted are name, notebook, table, seeds"),
        ("cell_timeout = -1", "cell_timeout should be greater than or equal to 0, got -1"),
        ("[grid", "is no TOML file"),
    ],
)
def test_a_mistake_is_one_clear_line(text, message, write):
    with pytest.raises(UserError) as caught:
        read_plan(write(text))
    assert message in str(caught.value)
    assert "plan.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (
            'notebook = "tiny.ipynb"\n',
            "version must be the number 1, got none: compare it with sweeps/grid.toml",
        ),
        (
            'version = 0\nnotebook = "tiny.ipynb"\n',
            "version must be the number 1, got 0: compare it with",
        ),
        ('version = "1"\nnotebook = "tiny.ipynb"\n', "version must be the number 1, got '1': "),
        (
            'version = 2\nnotebook = "tiny.ipynb"\n',
            "version must be the number 1, got 2: compare it with",
        ),
        ('version = 1\nnotebook = "nowhere"\n', "notebook 'nowhere' is not found"),
        ("version = 1\n", "notebook is missing"),
        (
            STUDY + "[grid]\nalhpa = [0.4]\n",
            "unknown parameter 'alhpa': the notebook accepts alpha, alphas",
        ),
        (STUDY + "[grid]\nalpha = [0.4, 1.4]\n", "alpha must be a number in [0, 1], got 1.4"),
        (STUDY + 'seeds = [0, "one"]\n', "seed must be a whole number"),
        (STUDY + "seeds = []\n", "seeds is empty"),
    ],
)
def test_versions_and_ranges_of_the_study(head, message, write):
    with pytest.raises(UserError) as caught:
        read_plan(write("", head=head))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_plan_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"plan '.*' cannot be read \(No such file or directory\)"):
        read_plan(tmp_path / "nowhere.toml")


def test_two_runs_with_one_id(specs):
    with pytest.raises(
        UserError, match=r"plan 'plan' has the same run 2 times \(x=1\): remove what repeats"
    ):
        specs("[grid]\nx = [1, 2, 1]")


def test_data_that_are_not_there_end_before_the_first_run(write, tmp_path):
    plan = read_plan(write('[fixed]\ndataset = "custom"\ndata = "nowhere"\n', head=STUDY))
    with pytest.raises(UserError, match="data 'nowhere' does not exist"):
        plan.specs(tmp_path / "runs")


def test_ids_follow_the_data_not_their_place(write, tmp_path):
    """A run is the same where its archive moved, and another where the content changed."""
    from PIL import Image

    def images(place, shade):
        for label in "ab":
            (tmp_path / place / label).mkdir(parents=True)
            for number in range(3):
                Image.new("L", (8, 8), shade + number).save(
                    tmp_path / place / label / f"{number}.png"
                )
        table = "path,label\n" + "".join(
            f"{label}/{n}.png,{label}\n" for label in "ab" for n in range(3)
        )
        (tmp_path / place / "table.csv").write_text(table)
        text = f'[fixed]\ndataset = "custom"\ndata = "{place}/table.csv"\n'
        return read_plan(write(text, head=STUDY)).specs(tmp_path / "runs")[0]

    first = images("first", 10)
    assert first.parameters["data"] == str(tmp_path / "first" / "table.csv")
    (tmp_path / "first").rename(tmp_path / "moved")
    text = '[fixed]\ndataset = "custom"\ndata = "moved/table.csv"\n'
    assert read_plan(write(text, head=STUDY)).specs(tmp_path / "runs")[0].run.id == first.run.id
    assert images("second", 20).run.id != first.run.id


def test_data_beside_the_plan_come_before_those_of_the_working_folder(write, folder, monkeypatch):
    elsewhere = folder / "elsewhere"
    for place in (folder, elsewhere):
        (place / "set").mkdir(parents=True)
    monkeypatch.chdir(elsewhere)
    plan = read_plan(write('[fixed]\ndataset = "custom"\ndata = "set"\n', head=STUDY))
    assert plan.parts[0].runs[0]["data"] == str(folder / "set")


def test_a_run_is_the_same_whatever_stands_beside_it_in_the_plan(write, tmp_path):
    """Also phantoms of another difficulty, and whole numbers in a list."""

    def ids(text):
        return [spec.run.id for spec in read_plan(write(text, head=STUDY)).specs(tmp_path)]

    small = '[fixed]\nprofile = "smoke"\n'
    both = ids(f"{small}[grid]\ndifficulty = [0.2, 0.45]\n")
    assert both == [*ids(f"{small}difficulty = 0.2\n"), *ids(f"{small}difficulty = 0.45\n")]
    assert ids(f"{small}temperatures = [1, 4]\n") == ids(f"{small}temperatures = [1.0, 4.0]\n")


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("x = 2**4", "x = 2**4"),
        ("a, b = 1, 2", "a, b = 1, 2"),
        ("%matplotlib inline", "line 2"),
        ("scale += 1", "scale += 1"),
        ("import math", "import math"),
        ("x: float", "x: float"),
    ],
)
def test_a_notebook_whose_parameters_are_no_plain_values_is_named(line, named, folder, write):
    notebook = folder / "tiny.ipynb"
    content = json.loads(notebook.read_text())
    content["cells"][0]["source"] = f"scale = 1.0\n{line}"
    content["cells"].append({"cell_type": "markdown", "source": "no metadata"})
    notebook.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"the parameters cell of '.*tiny.ipynb'") as caught:
        read_plan(write(""))
    assert named in str(caught.value)


def test_a_parameter_may_have_a_type_and_words_beside_it(folder):
    notebook = folder / "tiny.ipynb"
    content = json.loads(notebook.read_text())
    content["cells"][0]["source"] = "'how large'\nscale: float = 0.5\nname: str = 'a'"
    notebook.write_text(json.dumps(content))
    assert parameters_of(notebook) == {"scale": 0.5, "name": "a"}


def test_a_spec_file_comes_back(specs, tmp_path):
    spec = specs("[grid]\nx = [4]")[0]
    (tmp_path / "spec.json").write_text(json.dumps(spec.asdict()))
    assert read_spec(tmp_path / "spec.json") == spec
    changed = spec.asdict() | {"parameters": {**spec.parameters, "x": 5}}
    (tmp_path / "edited.json").write_text(json.dumps(changed))
    with pytest.raises(UserError, match="is of another kdnb, or was edited"):
        read_spec(tmp_path / "edited.json")
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(UserError, match="is no spec of a run"):
        read_spec(tmp_path / "other.json")
    damaged = [{**spec.asdict(), "notebook": 5}, {**spec.asdict(), "parameters": []}, [], {}]
    for text in ["[" * 100_000, "\0", *map(json.dumps, damaged)]:
        (tmp_path / "damaged.json").write_text(text)
        with pytest.raises(UserError, match="is no spec of a run"):
            read_spec(tmp_path / "damaged.json")


PARTS = """
    [fixed]
    delay = 0.5
    [[part]]
    name = "one"
    [part.grid]
    x = [1, 2]
    [[part]]
    name = "other"
    [part.fixed]
    scale = 2
    delay = 1.5
    [part.grid]
    x = [1]
"""


def test_parts_share_what_stands_above_them(specs):
    runs = specs(PARTS)
    assert xs(runs, "x", "scale", "delay") == [(1, 1.0, 0.5), (2, 1.0, 0.5), (1, 2.0, 1.5)]
    assert [run.part for run in runs] == ["one", "one", "other"]


@pytest.mark.parametrize(
    "wrong, message",
    [
        (("[fixed]", "[grid]\nx = [1]\n[fixed]"), "grid beside .*move it into the parts"),
        (
            ('name = "other"', 'name = "one"'),
            "every part needs a name of its own, got 'one' 2 times",
        ),
        (('name = "other"', ""), "every part needs a name of its own, got '' 1 times"),
        (
            ('name = "other"', 'nane = "other"'),
            "unknown key 'part.1.nane': accepted are name, notebook",
        ),
        (("scale = 2", "scael = 2"), "unknown parameter 'scael'"),
        (("scale = 2\n    delay = 1.5", ""), "has the same run"),
    ],
)
def test_wrong_parts_are_refused_in_one_line(specs, wrong, message):
    with pytest.raises(UserError, match=message):
        specs(PARTS.replace(*wrong))


@pytest.mark.parametrize("path", sorted((ROOT / "sweeps").glob("*.toml")), ids=lambda p: p.stem)
def test_plans_of_the_project_are_valid(path):
    plan = read_plan(path)
    runs = [run for part in plan.parts for run in part.runs]
    assert len({digest(run) for run in runs}) == len(runs) > 1


def test_a_split_that_a_plan_leaves_to_the_data_set_is_named_in_every_run(write):
    text = '[fixed]\nprofile = "smoke"\n\n[grid]\ndataset = ["phantom_brain", "figshare_brain"]\n'
    plan = read_plan(write(text, head=STUDY))
    found = {run["dataset"]: run["split"] for run in plan.parts[0].runs}
    assert found == {"phantom_brain": "grouped", "figshare_brain": "patients"}


def test_a_typo_is_told_before_torch_loads(write):
    path = write("[grid]\nalhpa = [0.4]\n", head=STUDY)
    code = """
import sys
import kdnb.cli
try:
    kdnb.cli.main()
finally:
    assert "torch" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", code, "sweep", "plan", str(path)], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "unknown parameter 'alhpa'" in done.stderr
    assert done.stderr.count("\n") == 1
