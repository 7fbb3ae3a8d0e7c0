"""Files by which others launch the study: valid, and what they call exists."""

import json
import os
import re
import shutil
import subprocess
import sys

import nbformat
import pytest
import yaml
from prose import ROOT, alt_texts

from kdnb.core.notebook_files import parameters_of
from tools.badges import write_badges

PINS = dict(
    p.split("==") for p in (ROOT / "requirements.txt").read_text().splitlines() if "==" in p
)
TARGETS = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)


def make_targets(text):
    return re.findall(r"\bmake ([a-z][\w-]*)", text)


def test_codespace():
    told = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
    assert make_targets(told["postCreateCommand"]) == ["install"] and "install" in TARGETS
    assert all((ROOT / file).exists() for file in told["customizations"]["codespaces"]["openFiles"])
    python = re.fullmatch(r"mcr\.microsoft\.com/devcontainers/python:3\.(\d+)", told["image"])
    assert int(python.group(1)) >= 11
    assert told["remoteEnv"]["PATH"].startswith("${containerWorkspaceFolder}/.venv/bin:")


def test_binder_installs_the_same_pins_with_torch_for_cpus():
    lines = [
        line
        for line in (ROOT / ".binder/requirements.txt").read_text().splitlines()
        if line[0] != "#"
    ]
    assert lines == [
        "--extra-index-url https://download.pytorch.org/whl/cpu",
        "-r ../requirements.txt",
    ]
    assert (ROOT / ".binder" / lines[1].split()[1]).resolve() == ROOT / "requirements.txt"
    assert (ROOT / ".binder/runtime.txt").read_text().strip() == "python-3.11"


def test_conda_needs_one_more_command_which_is_written_down():
    """The file of an environment cannot install the project that it lies in."""
    packages = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"][-1]["pip"]
    assert not [line for line in packages if line.startswith("-e")]
    for file in ("environment.yml", "docs/launch.md"):
        assert "pip install --no-deps -e ." in (ROOT / file).read_text(), file


def test_binder_turns_every_notebook_to_smoke(tmp_path):
    post = ROOT / ".binder/postBuild"
    assert os.access(post, os.X_OK) and subprocess.run(["bash", "-n", str(post)]).returncode == 0
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    sed = next(line for line in post.read_text().splitlines() if line.startswith("sed "))
    subprocess.run(["bash", "-c", sed], cwd=tmp_path, check=True)
    profiles = {
        parameters_of(path)["profile"] for path in (tmp_path / "notebooks").glob("[0-9]*.ipynb")
    }
    assert profiles == {"smoke"}


@pytest.fixture
def published(tmp_path):
    for name in ("README.md", "CITATION.cff"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "notebooks").mkdir()
    return tmp_path


def test_badges_come_from_one_address(published):
    write_badges(published, "https://github.com/some-body/kdnb.git")
    assert yaml.safe_load((published / "CITATION.cff").read_text())["repository-code"].endswith(
        "/some-body/kdnb"
    )
    readme = (published / "README.md").read_text()
    block = readme.partition("<!-- launch -->")[2].partition("<!-- /launch -->")[0]
    assert block.count("some-body/kdnb") == 3
    assert len(alt_texts(block)) == 3
    assert all(alt_texts(block))
    start = published / "notebooks/colab/start.ipynb"
    notebook = nbformat.read(start, 4)
    nbformat.validate(notebook)
    assert (
        "git clone --depth 1 https://github.com/some-body/kdnb\n%cd kdnb"
        in notebook.cells[1].source
    )
    before = [
        path.read_text() for path in (published / "README.md", published / "CITATION.cff", start)
    ]
    write_badges(published)  # the address is known now
    assert before == [
        path.read_text() for path in (published / "README.md", published / "CITATION.cff", start)
    ]


def test_an_address_that_is_none_is_one_line_and_code_2():
    command = [sys.executable, "-m", "tools.badges", "https://example.org/x"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "got 'https://example.org/x'" in done.stderr


def test_make_targets_that_are_written_down_exist():
    texts = [ROOT / name for name in ("README.md", "CONTRIBUTING.md")] + sorted(
        ROOT.glob("docs/**/*.md")
    )
    for path in texts:
        code = re.findall(r"`(make [^`]*)`", path.read_text()) + re.findall(
            r"^(make .*)$", path.read_text(), re.M
        )
        named = {target for line in code for target in make_targets(line)}
        assert named <= set(TARGETS), (path, named - set(TARGETS))


HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]


@pytest.mark.slow
def test_the_hook_takes_outputs_away_and_nothing_else(tmp_path):
    hook = next(hook for hook in HOOKS if hook["id"] == "notebooks-without-outputs")
    clean = ROOT / "notebooks/00_start_here.ipynb"
    notebook = nbformat.read(clean, 4)
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
        cell.outputs, cell.execution_count = [nbformat.v4.new_output("stream", text="x\n")], 3
    nbformat.write(notebook, tmp_path / "a.ipynb")
    _, *arguments = hook["entry"].split()
    command = [sys.executable, "-m", "jupyter", *arguments, str(tmp_path / "a.ipynb")]
    subprocess.run(command, check=True, capture_output=True)
    assert (tmp_path / "a.ipynb").read_text() == clean.read_text()


def test_the_hook_of_pins_runs_tests_that_exist():
    hook = next(hook for hook in HOOKS if hook["id"] == "pins-are-equal")
    assert all((ROOT / word).exists() for word in hook["entry"].split() if word.endswith(".py"))
    named = re.search(r'-k "(.*)"', hook["entry"]).group(1).split(" or ")
    source = (ROOT / "tests/test_project.py").read_text()
    assert all(re.search(rf"def test_\w*{word}", source) for word in named)
