"""Notebooks that papermill runs alone at profile ``smoke``, as a user calls it."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kdnb.core.notebook_files import notebooks

pytestmark = pytest.mark.slow

TINY = {"profile": "smoke", "teacher_epochs": 1, "student_epochs": 1}


def execute(path, folder, **parameters):
    """papermill as a user calls it, from another folder: finished process, executed copy."""
    out = Path(folder) / path.name
    command = [sys.executable, "-m", "papermill", str(path), str(out), "--no-progress-bar"]
    for name, value in parameters.items():
        command += ["-p", name, str(value)]
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    for name in ("KDNB_LIVE", "PYTEST_CURRENT_TEST"):  # a user has neither
        environment.pop(name, None)
    told = {"capture_output": True, "text": True, "cwd": folder, "timeout": 600}
    return subprocess.run(command, env=environment, **told), out


def test_a_notebook_runs_alone(tmp_path):
    """From nothing, with other networks than the others show: everything is trained inside."""
    path = next(p for p in notebooks() if p.stem == "04_feature_maps")
    given = {"student": "as_coded", "teacher": "efficientnet_b0", "patients": 32, "slices": 2}
    done, out = execute(path, tmp_path, runs_dir=tmp_path / "runs", **TINY, **given)
    assert done.returncode == 0, done.stderr[-2000:]
    assert '"output_type": "error"' not in out.read_text()


def test_the_data_notebook_of_a_set_of_which_no_patient_is_known(tmp_path):
    """What most people have: class folders, and no more."""
    rng = np.random.default_rng(0)
    for label in ("a", "b"):
        (tmp_path / "set" / label).mkdir(parents=True)
        for number in range(24):
            pixels = rng.integers(0, 256, (40, 40)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "set" / label / f"{number}.png")
    path = next(p for p in notebooks() if p.stem == "01_data")
    given = {"dataset": "custom", "data": tmp_path / "set", "profile": "smoke"}
    done, out = execute(path, tmp_path, runs_dir=tmp_path / "runs", **given)
    assert done.returncode == 0, done.stderr[-2000:]
    assert '"output_type": "error"' not in out.read_text()


def test_papermill_run_with_a_wrong_parameter_stops_before_anything_runs(tmp_path):
    path = next(p for p in notebooks() if p.stem == "03_distillation")
    done, _ = execute(path, tmp_path, runs_dir=tmp_path / "runs", alhpa=0.4)
    message = "unknown parameter 'alhpa': this notebook accepts alpha, alphas"
    assert done.returncode != 0 and message in done.stderr
    assert done.stderr.count(f"kdnb: {message}") == 1
    assert done.stderr.index(f"kdnb: {message}") < done.stderr.index("Traceback")
    assert not (tmp_path / "runs").exists()


@pytest.mark.archives
def test_feature_maps_of_a_piece_of_the_real_brain_archive(tmp_path):
    """No patients, no masks, RGB and grey: what phantoms cannot show, from archive to layers."""
    archive = Path(os.environ.get("KDNB_DATA", "")) / "brain-tumor-mri-dataset.zip"
    if not archive.is_file():
        pytest.skip(
            "needs brain-tumor-mri-dataset.zip in the folder of the environment variable KDNB_DATA"
        )
    with zipfile.ZipFile(archive) as whole, zipfile.ZipFile(tmp_path / "piece.zip", "w") as piece:
        for name in whole.namelist()[::45]:
            piece.writestr(name, whole.read(name))
    path = next(p for p in notebooks() if p.stem == "04_feature_maps")
    piece = tmp_path / "piece.zip"
    runs = tmp_path / "runs"
    given = {"dataset": "brain_tumor", "split": "grouped", "data": piece, "runs_dir": runs}
    done, out = execute(path, tmp_path, **given, **TINY)
    assert done.returncode == 0, done.stderr[-2000:]
    text = out.read_text()
    assert '"output_type": "error"' not in text
    assert "nobody has drawn what defines the class" in text
