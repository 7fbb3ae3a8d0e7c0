from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections import namedtuple
from importlib import metadata
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from tools.doctor import SUBJECTS, TESTED, Finding, examine, main

ROOT = Path(__file__).parents[2]


@pytest.fixture
def found(tmp_path, monkeypatch):
    """What the doctor finds, by subject; monkeypatch first."""
    monkeypatch.setenv("KDNB_DATA", str(tmp_path))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    def look(runs=tmp_path / "runs"):
        findings = {}
        for finding in examine(runs):
            findings.setdefault(finding.subject, []).append(finding)
        return findings

    return look


def test_every_subject_is_looked_at_and_every_complaint_says_how_to_mend_it(found):
    findings = found()
    assert set(findings) == set(SUBJECTS)
    for finding in [f for several in findings.values() for f in several]:
        assert finding.state in ("ok", "warning", "error") and finding.told
        assert bool(finding.mend) == (finding.state != "ok"), finding


def test_old_python(found, monkeypatch):
    monkeypatch.setattr("platform.python_version", lambda: "3.9.1")
    (finding,) = found()["python"]
    assert finding.state == "error" and "3.9.1, accepted is >=3.11" in finding.told
    assert "3.11 to 3.14 fit" in finding.told and "make install PYTHON=python3.1" in finding.mend


def test_a_python_that_nobody_tried(found, monkeypatch):
    monkeypatch.setattr("platform.python_version", lambda: "3.19.0")
    (finding,) = found()["python"]
    assert finding.state == "warning" and "nobody tried" in finding.told


def test_every_installed_pin_runs_on_the_pythons_that_fit():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    names = [line.partition("==")[0] for line in lines if "==" in line]
    for name in names:
        try:
            accepted = metadata.metadata(name).get("Requires-Python") or ">=3"
        except metadata.PackageNotFoundError:
            continue
        unfit = [version for version in TESTED if f"{version}.9" not in SpecifierSet(accepted)]
        assert not unfit, (name, accepted)


def test_missing_and_old_packages(found, monkeypatch):
    real = metadata.requires
    monkeypatch.setattr(
        metadata, "requires", lambda name: [*real(name), "nobody-has-this>=2", "numpy<1"]
    )
    told = [f.told for f in found()["packages"] if f.state == "error"]
    assert told[0] == "nobody-has-this is missing, accepted is >=2"
    assert told[1].endswith("accepted is <1")


def test_other_versions_than_the_pinned_ones(found, monkeypatch, tmp_path):
    (tmp_path / "requirements.txt").write_text("# a comment\nnumpy==1.0\n")
    monkeypatch.setenv("KDNB_ROOT", str(tmp_path))
    shutil.copytree(ROOT / "data", tmp_path / "data")
    (finding,) = [f for f in found()["packages"] if f.state == "warning"]
    assert finding.told == f"numpy {metadata.version('numpy')} (pinned 1.0)"


@pytest.fixture
def leftover(tmp_path, monkeypatch):
    """Adds metadata of a package to the last folder in which Python looks."""
    folder = tmp_path / "site"

    def add(name, text):
        about = folder / f"{name}-0.1.dist-info"
        about.mkdir(parents=True)
        if text:
            (about / "METADATA").write_text(text)
        monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])

    return add


def test_of_two_versions_the_one_that_python_imports_is_named(found, leftover):
    leftover("numpy", "Name: numpy\nVersion: 0.1\n")
    assert [f.told for f in found()["packages"] if "numpy" in f.told] == []


@pytest.mark.parametrize("finder", ["importlib.metadata", "importlib_metadata"])
def test_metadata_of_a_package_that_is_gone_is_no_version(found, leftover, monkeypatch, finder):
    pytest.importorskip(finder)  # the second one answers for Python's own, once it is loaded
    real = metadata.requires
    monkeypatch.setattr(metadata, "requires", lambda name: [*real(name), "long-gone>=2"])
    leftover("long_gone", "")
    told = [f.told for f in found()["packages"] if f.state == "error"]
    assert told == ["long-gone is missing, accepted is >=2"]


def test_torch_and_torchvision_that_do_not_belong_together(found, monkeypatch):
    real = metadata.requires
    monkeypatch.setattr(
        metadata, "requires", lambda name: ["torch==1.0"] if name == "torchvision" else real(name)
    )
    (finding,) = found()["torch"]
    assert finding.state == "error" and "needs torch==1.0" in finding.told


def test_a_check_that_breaks_is_a_finding(found, monkeypatch):
    def broken(*_):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr("torchvision.ops.nms", broken)
    findings = found()
    (finding,) = findings["torch"]
    assert (finding.state, finding.told) == (
        "error",
        "RuntimeError: operator torchvision::nms does not exist",
    )
    assert findings["git"]  # the others are looked at all the same


@pytest.mark.parametrize(
    ("asked", "state"), [("1", "ok"), ("0", "warning"), ("many", "warning"), ("9999", "warning")]
)
def test_threads(found, monkeypatch, asked, state):
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert found()["threads"][0].state == state


@pytest.mark.parametrize(("free", "state"), [(0.5e9, "error"), (3e9, "warning"), (9e9, "ok")])
def test_disk(found, monkeypatch, free, state):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1e12, 0, free))
    assert found()["runs"][0].state == state


def test_a_runs_folder_that_cannot_be_written(found, tmp_path):
    (tmp_path / "file").write_text("x")
    (finding,) = found(tmp_path / "file" / "runs")["runs"]
    assert finding.state == "error" and "cannot be written" in finding.told


def test_data(found, monkeypatch, tmp_path):
    archive = tmp_path / "brain-tumor-mri-dataset.zip"
    archive.write_bytes(b"another archive")
    states = {f.told.partition(":")[0]: f.state for f in found()["data"]}
    assert states["brain_tumor"] == "warning" and states["alzheimer"] == "ok"
    from kdnb.data import registry

    fits = registry.registered() | {
        "brain_tumor": registry.registered()["brain_tumor"]
        | {"checksums": [hashlib.sha256(b"another archive").hexdigest()]}
    }
    monkeypatch.setattr(registry, "registered", lambda: fits)
    assert any(
        "brain_tumor" in f.told and f.told.endswith("checksum fits") for f in found()["data"]
    )
    monkeypatch.setenv("KDNB_DATA", str(tmp_path / "nowhere"))
    assert found()["data"][0].state == "error"


def test_kernel(found, monkeypatch):
    spec = namedtuple("spec", "argv")
    get = "jupyter_client.kernelspec.KernelSpecManager.get_kernel_spec"
    for argv, state in {
        "/elsewhere/bin/python": "warning",
        sys.executable: "ok",
        "python3.11": "ok",
    }.items():
        monkeypatch.setattr(get, lambda *_, argv=argv: spec([argv]))
        assert found()["kernel"][0].state == state


def test_gpu_that_torch_cannot_use(found, monkeypatch):
    real = shutil.which
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(
        shutil, "which", lambda name: "/usr/bin/x" if name == "nvidia-smi" else real(name)
    )
    assert found()["gpu"][0].state == "warning"


def test_without_browser_and_git(found, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr("kdnb.core.provenance.environment", lambda: {"commit": "unknown"})
    assert [found()[subject][0].state for subject in ("browser", "git")] == ["warning", "warning"]


@pytest.mark.slow
def test_command_line(tmp_path):
    """Exit code 1 on an error; one line per finding."""
    (tmp_path / "file").write_text("x")
    command = [sys.executable, "-m", "tools.doctor", "--runs-dir", str(tmp_path / "file/runs")]
    environment = {**os.environ, "KDNB_DATA": ""}
    bad = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert bad.returncode == 1
    assert "error    runs" in bad.stdout
    assert "to mend: choose another one" in bad.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", ["numpy", "pydantic", "filelock", "packaging", "typer"])
def test_a_package_without_which_no_check_can_begin_is_named(name):
    start = (
        "import runpy, sys; sys.argv = ['doctor']; "
        f"sys.modules[{name!r}] = None; "
        "runpy.run_module('tools.doctor', run_name='__main__')"
    )
    command = [sys.executable, "-c", start]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    # of a package that is only blocked, Python names the module in it
    assert re.search(rf"{name}[.\w]* is missing; to mend: make install", done.stdout)


def test_command_without_an_error(tmp_path, capsys):
    main(str(tmp_path))
    assert "ok       runs" in capsys.readouterr().out


def test_a_finding_is_one_line():
    assert str(Finding("ok", "git", "commit 1")) == "ok       git       commit 1"
