"""Lint of every notebook, and every notebook run by papermill, alone and in sequence, at profile ``smoke``."""

from __future__ import annotations

import ast
import json
import os
import statistics
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest

from kdnb.core.notebook_files import notebooks, parameters_of
from kdnb.core.settings import PARAMETERS_MARK, Settings
from tools.grading import grade

NOTEBOOKS = notebooks()
TINY = {"profile": "smoke"}


def cells(path, kind="code"):
    return [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == kind]


def parameters_cell(path):
    return next(c for c in cells(path) if "parameters" in c.metadata.get("tags", []))


each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)


def test_the_eight_are_there():
    names = "00_start_here 01_data 02_teacher 03_distillation 04_feature_maps 05_xai 06_efficiency 07_results"
    assert [p.stem for p in NOTEBOOKS] == names.split()


@each
def test_stripped_and_valid(path):
    nbformat.validate(nbformat.read(path, as_version=4))
    assert all(not c.outputs and c.execution_count is None for c in cells(path))


@each
def test_code_cells_are_short(path):
    lengths = [len(c.source.splitlines()) for c in cells(path)]
    assert lengths[0] <= 40  # the parameters, one to a line
    assert max(lengths[1:]) <= 20 and statistics.median(lengths[1:]) <= 8
    defining = sum("\ndef " in f"\n{c.source}" for c in cells(path))
    assert defining <= max(1, len(lengths) / 10)


@each
def test_parameters_are_plain_literals_with_a_comment(path):
    source = parameters_cell(path).source
    for node in ast.parse(source).body:
        assert isinstance(node, ast.Assign) and isinstance(
            ast.literal_eval(node.value), (str, int, float, list)
        )
        assert "  # " in source.splitlines()[node.lineno - 1]
    assert cells(path)[0].source == source  # nothing runs before


@each
def test_every_declared_parameter_is_read(path):
    """The settings take all that is declared; what is none of theirs must be read by a later cell."""
    rest = [c.source for c in cells(path) if c.source != parameters_cell(path).source]
    read = {n.id for source in rest for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Name)}
    assert "Settings.of_notebook(In, globals())" in "\n".join(rest)
    assert set(parameters_of(path)) <= read | set(Settings.model_fields)


@each
def test_parameters_are_grouped(path):
    """What most people change stands first, in the same order everywhere; the rest below a line that says so."""
    first, rare = parameters_cell(path).source.split("# Rarely changed\n")
    assert first.startswith(PARAMETERS_MARK) and first.count("\n") <= 12 and "runs_dir = " in rare


def test_notebooks_agree_on_what_is_trained():
    """What one notebook lets a reader change, every later one must take too, or it would show other models."""
    declared = {p.stem: set(parameters_of(p)) for p in NOTEBOOKS[1:]}
    own = {
        "explained_images",
        "graded_images",
        "shap_samples",
        "timing_repeats",
        "timing_seconds",
        "threads",
        "alphas",
        "temperatures",
        "controls",
        "widths",
        "student_seeds",
    }
    order = [names - own for stem, names in declared.items() if stem < "03" or "student" in names]
    assert all(a <= b for a, b in zip(order, order[1:], strict=False))
    machine = {"runs_dir", "threads", "student_seed"}
    assert set(Settings.model_fields) - machine - own == order[-1] - {"runs_dir"}


@each
def test_what_is_trained_is_said_right_after_the_configuration(path):
    sources = [c.source for c in cells(path)]
    if path.stem[:2] in ("00", "01"):
        assert not any(".train(" in source or "run_ids" in source for source in sources)
        return
    configured = next(n for n, source in enumerate(sources) if "study = Study(settings)" in source)
    assert "study.train(" in sources[configured + 1]
    if any("costs[" in source for source in sources):
        assert "measure_costs(study)" in sources[configured + 1]


@each
def test_prose_has_its_parts_in_order(path):
    text = "\n".join(c.source for c in cells(path, "markdown"))
    wanted = [
        "**Question.**",
        "**After this notebook you can**",
        "**Data",
        "## Think",
        "## Key points",
    ]
    places = [text.index(part) for part in wanted]
    assert places == sorted(places)
    levels = [len(line.split(" ")[0]) for line in text.splitlines() if line.startswith("#")]
    assert (
        levels[0] == 1
        and levels.count(1) == 1
        and all(b - a <= 1 for a, b in zip(levels, levels[1:], strict=False))
    )
    pictures = "\n".join(c.source for c in cells(path)).count("results.picture(")
    assert text.count("**Read the") >= pictures  # every figure is read out


def execute(path, folder, **parameters):
    """papermill as a user calls it, from another folder; returns the finished process and the executed copy."""
    out = Path(folder) / path.name
    command = [sys.executable, "-m", "papermill", str(path), str(out), "--no-progress-bar"]
    for name, value in parameters.items():
        command += ["-p", name, str(value)]
    environment = {**os.environ, "KDNB_LIVE": "0", "OMP_WAIT_POLICY": "PASSIVE"}
    return subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env=environment, timeout=600
    ), out


@pytest.fixture(scope="module")
def sequence(tmp_path_factory):
    """All notebooks in order through the command line, into one runs folder."""
    folder = tmp_path_factory.mktemp("study")
    command = [
        sys.executable,
        "-m",
        "kdnb.cli",
        "study",
        "--profile",
        "smoke",
        "--runs-dir",
        str(folder / "runs"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


@pytest.mark.slow
def test_whole_study_leaves_a_report_that_opens_by_itself(sequence):
    folder, printed = sequence
    report = next((folder / "runs" / "study").glob("*/report.html"))
    page = report.read_text()
    assert f"report: {report}" in printed
    assert page.count("<img alt=") >= 10 and page.count("data:image/png;base64,") == page.count(
        "<img"
    )
    assert 'src="http' not in page and "<script" not in page
    assert all(section in page for section in ("What came out", "Distillation", "What it costs"))


@pytest.mark.slow
def test_executed_notebooks_are_small_and_hold_no_widgets(sequence):
    folder, _ = sequence
    executed = sorted((folder / "runs" / "study").glob("*/*.ipynb"))
    assert len(executed) == len(NOTEBOOKS)
    for path in executed:
        assert path.stat().st_size <= 1_000_000, path
        text = path.read_text()
        assert "widget-view" not in text and '"output_type": "error"' not in text


@pytest.mark.slow
def test_every_output_picture_has_alt_text(sequence):
    folder, _ = sequence
    for path in (folder / "runs" / "study").glob("*/*.ipynb"):
        for cell in cells(path):
            for output in cell.outputs:
                data = output.get("data", {})
                assert "image/png" not in data, (path.name, cell.source)
                assert data.get("text/html", "").count("<img") == data.get("text/html", "").count(
                    "<img alt="
                )


@pytest.mark.slow
def test_solutions_of_all_exercises_pass_in_the_whole_study(sequence):
    pytest.importorskip("nbgrader", reason="not installed: nbgrader (make course)")
    folder, _ = sequence
    rows = grade(next((folder / "runs" / "study").iterdir()), NOTEBOOKS)
    rows = rows[rows["exercise"] != ""]
    assert len(rows) >= 18 and (rows["outcome"] == "passed").all(), rows.to_string()


@pytest.mark.slow
def test_manifest_tells_what_made_each_file(sequence):
    folder, _ = sequence
    results = next((folder / "runs" / "study").iterdir())
    manifest = json.loads((results / "manifest.json").read_text())
    files = {p.name for p in results.iterdir() if p.suffix in (".csv", ".png")}
    assert files == set(manifest)
    for name, entry in manifest.items():
        assert entry["data"] and entry["parameters"]["profile"] == "smoke"
        assert bool(entry["alt"]) == name.endswith(".png")


@pytest.mark.slow
def test_second_study_reuses_everything(sequence):
    folder, _ = sequence
    command = [
        sys.executable,
        "-m",
        "kdnb.cli",
        "study",
        "--profile",
        "smoke",
        "--runs-dir",
        str(folder / "runs"),
    ]
    again = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=300)
    assert again.returncode == 0 and again.stdout.count(": reused") == len(NOTEBOOKS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stem", "parameters"),
    [
        ("07_results", {"alpha": 0.4, "fraction": 0.5, "teacher_epochs": 1, "student_epochs": 1}),
        (
            "04_feature_maps",
            {
                "student": "as_coded",
                "teacher": "efficientnet_b0",
                "teacher_epochs": 1,
                "student_epochs": 1,
            },
        ),
    ],
)
def test_a_notebook_runs_alone(stem, parameters, tmp_path):
    """From nothing, with other parameters, so that everything is trained inside."""
    path = next(p for p in NOTEBOOKS if p.stem == stem)
    done, out = execute(
        path, tmp_path, patients=32, slices=2, runs_dir=tmp_path / "runs", **TINY, **parameters
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert '"output_type": "error"' not in out.read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"alhpa": 0.4}, "unknown parameter 'alhpa': this notebook accepts alpha, alphas"),
        (
            {"alpha": 1.4, "temperature": "high"},
            "alpha must be a number in [0, 1], got 1.4; temperature must be a number",
        ),
    ],
)
def test_papermill_run_with_a_wrong_parameter_stops_before_anything_runs(
    parameters, message, tmp_path
):
    path = next(p for p in NOTEBOOKS if p.stem == "03_distillation")
    done, _ = execute(path, tmp_path, runs_dir=tmp_path / "runs", **parameters)
    assert done.returncode != 0 and message in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.archives
def test_feature_maps_of_a_piece_of_the_real_brain_archive(tmp_path):
    """No patients, no masks, RGB and grey: what phantoms cannot show, from the archive to the layers."""
    archive = Path(os.environ.get("KDNB_DATA", "")) / "brain-tumor-mri-dataset.zip"
    if not archive.is_file():
        pytest.skip(
            "needs brain-tumor-mri-dataset.zip in the folder of the environment variable KDNB_DATA"
        )
    with zipfile.ZipFile(archive) as whole, zipfile.ZipFile(tmp_path / "piece.zip", "w") as piece:
        for name in whole.namelist()[::45]:
            piece.writestr(name, whole.read(name))
    path, given = (
        next(p for p in NOTEBOOKS if p.stem == "04_feature_maps"),
        {"teacher_epochs": 1, "student_epochs": 1},
    )
    done, out = execute(
        path,
        tmp_path,
        dataset="brain_tumor",
        data=str(tmp_path / "piece.zip"),
        runs_dir=tmp_path / "runs",
        **TINY,
        **given,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    text = out.read_text()
    assert (
        '"output_type": "error"' not in text and "nobody has drawn what defines the class" in text
    )
