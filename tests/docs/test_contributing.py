"""Every recipe of CONTRIBUTING.md is followed word by word, in a copy of the project."""

import os
import re
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image
from prose import ROOT

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SMALL = {"profile": "smoke", "patients": 24, "slices": 2, "teacher_epochs": 1, "student_epochs": 1}


def recipe(title):
    """The code blocks below a heading: (language, code)."""
    section = (ROOT / "CONTRIBUTING.md").read_text().partition(f"## {title}\n")[2]
    return BLOCK.findall(section.partition("\n## ")[0])


def apply(diff, root):
    """Change one file as a diff block says.

    The lines without + stand there once, those without - replace them.
    """
    head, *lines = diff.splitlines()
    path = root / head.removeprefix("+++ ")
    old = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("+"))
    new = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("-"))
    text = path.read_text()
    assert head.startswith("+++ ") and text.count(old) == 1, f"{head}: {text.count(old)} places fit"
    path.write_text(text.replace(old, new))


def follow(title, root):
    """Apply the diffs of a recipe and run its Python; returns what that prints."""
    printed = ""
    for language, code in recipe(title):
        if language == "diff":
            apply(code, root)
        elif language == "python":
            printed += python(code, root)
    return printed


def python(code, root, *arguments):
    command = [sys.executable, *arguments] if arguments else [sys.executable, "-c", code]
    environment = os.environ | {
        "PYTHONPATH": str(root),
        "KDNB_ROOT": str(root),
        "OMP_NUM_THREADS": "1",
    }
    environment.pop("KDNB_DATA", None)
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def copy(tmp_path):
    """A copy of the project that a recipe may change."""
    left_out = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    for name in ("kdnb", "notebooks", "tests", "tools"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=left_out)
    (tmp_path / "data").mkdir()
    for name in ("data/registry.toml", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_the_applier_refuses_a_place_that_is_not_there(tmp_path):
    (tmp_path / "a.py").write_text("x = 1\ny = 2\n")
    apply("+++ a.py\n x = 1\n-y = 2\n+y = 3\n", tmp_path)
    assert (tmp_path / "a.py").read_text() == "x = 1\ny = 3\n"
    with pytest.raises(AssertionError, match="0 places fit"):
        apply("+++ a.py\n-y = 2\n+y = 4\n", tmp_path)


@pytest.mark.slow
def test_a_data_set(copy):
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(copy / "data/chest-xray-mini.zip", "w") as archive:
        for i in range(48):
            name = f"{('train', 'test')[i % 4 == 0]}/{('normal', 'pneumonia')[i % 2]}/{i}.png"
            with archive.open(name, "w") as member:
                Image.fromarray(rng.integers(0, 255, (40, 40), dtype=np.uint8)).save(member, "PNG")
    assert follow("Add a data set", copy).startswith("('normal', 'pneumonia') 48")


@pytest.mark.slow
def test_a_loss(copy):
    printed = follow("Add a loss", copy)
    assert float(printed.split()[1]) > 0
    train = "from kdnb.core.settings import Settings; from kdnb.study import Study; "
    given = {**SMALL, "loss": "logit", "runs_dir": str(copy / "runs")}
    python(f"{train} Study(Settings.checked({given})).train('KD student')", copy)
    spec = next((copy / "runs/student").glob("*/spec.json")).read_text()
    assert '"loss": "logit"' in spec


@pytest.mark.slow
def test_an_explanation(copy):
    low, high = map(float, follow("Add an explanation", copy).rpartition(")")[2].split())
    assert low < 0 < high


@pytest.mark.slow
def test_a_notebook(copy):
    follow("Add a notebook", copy)
    python("", copy, "-m", "ruff", "format", "-q", "notebooks/08_patients.ipynb")
    lint = copy / "tests/notebooks/test_notebooks.py"
    lint.write_text(lint.read_text().replace('"07_results",\n', '"07_results", "08_patients",\n'))
    for command in recipe("Add a notebook")[-1][1].splitlines():
        tool, *arguments = command.split()
        if tool == "papermill":
            python("", copy, "-m", tool, *arguments, "-p", "runs_dir", str(copy / "runs"))
        else:  # the lint of this notebook, and of how it stands among the others
            assert tool == "python" and arguments[-2:] == ["-k", "08_patients"]
            chosen = "(08_patients and not room) or eight_are_there or agree_on"
            assert "08_patients" in python("", copy, *arguments[:-1], chosen, "-v")
    assert "Patients are independent" in (copy / "out.ipynb").read_text()
