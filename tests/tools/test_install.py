"""How the environment is made, the line of progress, and what `make clean` removes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools import pip_progress

ROOT = Path(__file__).parents[2]


def commands(tmp_path, *options):
    """What ``make install`` would run into an environment that is not there yet."""
    make = ["make", "-n", "install", f"VENV={tmp_path}/venv", *options]
    return subprocess.run(make, cwd=ROOT, capture_output=True, text=True)


def test_torch_for_cpus_comes_first_from_its_own_index_with_the_same_pins(tmp_path):
    lines = commands(tmp_path, "TORCH=cpu").stdout.splitlines()
    pins = re.findall(
        r"^(?:torch|torchvision)==.*$", (ROOT / "requirements.txt").read_text(), re.MULTILINE
    )
    first, rest = [line for line in lines if "pip_progress.py" in line][:2]
    assert first.endswith(f"--index-url https://download.pytorch.org/whl/cpu {' '.join(pins)}")
    assert len(pins) == 2 and rest.endswith("-r requirements.txt")


def test_without_it_nothing_asks_another_index(tmp_path):
    told = commands(tmp_path).stdout
    assert "index-url" not in told and "-r requirements.txt" in told


def test_another_word_is_refused(tmp_path):
    done = commands(tmp_path, "TORCH=cuda")
    assert done.returncode != 0 and "TORCH takes cpu, or nothing" in done.stderr


@pytest.mark.parametrize(("status", "shown"), [(0, "done in"), (1, "no such package")])
def test_progress_ends_with_the_status_of_pip(status, shown, monkeypatch, capfd):
    script = f"print('Collecting numpy'); print('no such package'); raise SystemExit({status})"

    class Popen(subprocess.Popen):
        def __init__(self, command, **options):
            assert command[:4] == [sys.executable, "-m", "pip", "install"]
            super().__init__([sys.executable, "-c", script], **options)

    monkeypatch.setattr(pip_progress.subprocess, "Popen", Popen)
    assert pip_progress.main(["packages", "-r", "requirements.txt"]) == status
    told = capfd.readouterr()
    assert "1: numpy" in told.out and shown in told.out + told.err


def test_only_a_target_of_its_own_removes_what_was_trained():
    removed = {}
    for target in ("clean", "clean-runs"):
        make = ["make", "-n", target]
        told = subprocess.run(make, cwd=ROOT, capture_output=True, text=True).stdout
        removed[target] = re.search(r"^rm -rf (.*)$", told, re.MULTILINE).group(1).split()
    assert "build" in removed["clean"] and "runs" not in removed["clean"]
    assert removed["clean-runs"] == ["runs"]
