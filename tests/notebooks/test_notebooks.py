"""Lint of every notebook, and every notebook run by papermill at profile ``smoke``.

Each alone, and all in sequence.
"""

from __future__ import annotations

import ast
import json
import os
import statistics
import subprocess
import sys
import zipfile
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import nbformat
import pytest

from kdnb.core.notebook_files import notebooks, parameters_of
from kdnb.core.settings import PARAMETERS_MARK, Settings
from tools.grading import grade

NOTEBOOKS = notebooks()
TINY = {"profile": "smoke", "teacher_epochs": 1, "student_epochs": 1}


def cells(path, kind="code"):
    return [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == kind]


def parameters_cell(path):
    return next(c for c in cells(path) if "parameters" in c.metadata.get("tags", []))


each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)


def test_the_eight_are_there():
    assert [p.stem for p in NOTEBOOKS] == [
        "00_start_here",
        "01_data",
        "02_teacher",
        "03_distillation",
        "04_feature_maps",
        "05_xai",
        "06_efficiency",
        "07_results",
    ]


@each
def test_stripped_and_valid(path):
    nbformat.validate(nbformat.read(path, as_version=4))
    assert all(not c.outputs and c.execution_count is None for c in cells(path))


@each
def test_code_cells_are_short(path):
    parameters = parameters_cell(path).source
    assert len(parameters.splitlines()) <= 40  # one parameter to a line
    others = [cell.source for cell in cells(path) if cell.source != parameters]
    lengths = [len(source.splitlines()) for source in others]
    assert max(lengths) <= 30
    assert statistics.median(lengths) <= 8
    defining = sum("\ndef " in f"\n{source}" for source in others)
    assert defining <= max(1, len(cells(path)) / 10)


@each
def test_the_formatter_lays_out_every_cell(path):
    """Nothing tells it to look away, and no line is longer than people read."""
    for cell in cells(path):
        assert "fmt: " not in cell.source
        assert max(map(len, cell.source.splitlines())) <= 100


@each
def test_names_come_from_the_room_that_offers_them(path):
    """A cell imports from a room; from a module only what the room's ``__init__`` leaves out."""
    for cell in cells(path):
        for node in ast.walk(ast.parse(cell.source)):
            if not isinstance(node, ast.ImportFrom) or not node.module.startswith("kdnb."):
                continue
            names = [alias.name for alias in node.names]
            found = [getattr(import_module(node.module), name) for name in names]
            assert not any(isinstance(value, ModuleType) for value in found), names
            room = import_module(".".join(node.module.split(".")[:2]))
            if node.module != room.__name__:
                assert not set(names) & set(getattr(room, "__all__", ())), names


@each
def test_parameters_are_plain_literals_with_a_comment(path):
    source = parameters_cell(path).source
    for node in ast.parse(source).body:
        assert isinstance(node, ast.Assign)
        assert isinstance(ast.literal_eval(node.value), (str, int, float, list))
        assert "  # " in source.splitlines()[node.lineno - 1]
    assert cells(path)[0].source == source  # nothing runs before


@each
def test_every_declared_parameter_is_read(path):
    """The settings take what is declared; what is none of theirs must be read by a later cell."""
    rest = [c.source for c in cells(path) if c.source != parameters_cell(path).source]
    read = set()
    for source in rest:
        read |= {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
    assert "Settings.of_notebook(In, globals())" in "\n".join(rest)
    assert set(parameters_of(path)) <= read | set(Settings.model_fields)


@each
def test_parameters_are_grouped(path):
    """What most people change stands first; the rest below a line that says so."""
    first, rare = parameters_cell(path).source.split("# Rarely changed\n")
    assert first.startswith(PARAMETERS_MARK) and first.count("\n") <= 12 and "runs_dir = " in rare


def test_notebooks_agree_on_what_is_trained():
    """What one notebook lets a reader change, every later one takes: or it shows other models."""
    declared = {p.stem: set(parameters_of(p)) for p in NOTEBOOKS[1:]}
    shown = {"explained_images", "graded_images", "shap_samples"}
    timed = {"timing_repeats", "timing_seconds", "threads"}
    compared = {"alphas", "temperatures", "controls", "widths", "student_seeds"}
    own = shown | timed | compared
    order = [names - own for stem, names in declared.items() if stem < "03" or "student" in names]
    assert all(a <= b for a, b in zip(order, order[1:], strict=False))
    machine = {"runs_dir", "threads", "student_seed"}
    assert set(Settings.model_fields) - machine - own == order[-1] - {"runs_dir"}


@each
def test_what_is_trained_is_said_right_after_the_configuration(path):
    sources = [c.source for c in cells(path)]
    if not any(".train(" in source for source in sources):
        assert not any("run_ids" in source for source in sources)
        return
    configured = next(n for n, source in enumerate(sources) if "study = Study(" in source)
    assert "study.train(" in sources[configured + 1]
    assert "`study.train(" in cells(path, "markdown")[0].source  # and said before that, in words
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
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(deeper - level <= 1 for level, deeper in pairwise(levels))
    pictures = "\n".join(c.source for c in cells(path)).count("results.picture(")
    assert text.count("**Read the") >= pictures  # every figure is read out


def execute(path, folder, **parameters):
    """papermill as a user calls it, from another folder: finished process, executed copy."""
    out = Path(folder) / path.name
    command = [sys.executable, "-m", "papermill", str(path), str(out), "--no-progress-bar"]
    for name, value in parameters.items():
        command += ["-p", name, str(value)]
    environment = {**os.environ, "KDNB_LIVE": "0", "OMP_WAIT_POLICY": "PASSIVE"}
    told = {"capture_output": True, "text": True, "cwd": folder, "timeout": 600}
    return subprocess.run(command, env=environment, **told), out


def run_study(folder):
    """``kdnb study`` at profile ``smoke``, its runs below ``folder``; returns what it printed."""
    command = [sys.executable, "-m", "kdnb.cli", "study", "--profile", "smoke"]
    command += ["--runs-dir", str(folder / "runs")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def sequence(tmp_path_factory):
    """All notebooks in order through the command line, into one runs folder."""
    folder = tmp_path_factory.mktemp("study")
    return folder, run_study(folder)


@pytest.mark.slow
def test_whole_study_leaves_a_report_that_opens_by_itself(sequence):
    folder, printed = sequence
    report = next((folder / "runs" / "study").glob("*/report.html"))
    page = report.read_text()
    assert f"report: {report}" in printed
    assert page.count("<img alt=") >= 10
    assert page.count("data:image/png;base64,") == page.count("<img")
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
                shown = data.get("text/html", "")
                assert shown.count("<img") == shown.count("<img alt=")


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
    assert run_study(folder).count(": reused") == len(NOTEBOOKS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stem", "parameters"),
    [
        ("07_results", {"alpha": 0.4, "fraction": 0.5}),
        ("04_feature_maps", {"student": "as_coded", "teacher": "efficientnet_b0"}),
    ],
)
def test_a_notebook_runs_alone(stem, parameters, tmp_path):
    """From nothing, with other parameters, so that everything is trained inside."""
    path = next(p for p in NOTEBOOKS if p.stem == stem)
    runs = tmp_path / "runs"
    done, out = execute(path, tmp_path, patients=32, slices=2, runs_dir=runs, **TINY, **parameters)
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
    """No patients, no masks, RGB and grey: what phantoms cannot show, from archive to layers."""
    archive = Path(os.environ.get("KDNB_DATA", "")) / "brain-tumor-mri-dataset.zip"
    if not archive.is_file():
        pytest.skip(
            "needs brain-tumor-mri-dataset.zip in the folder of the environment variable KDNB_DATA"
        )
    with zipfile.ZipFile(archive) as whole, zipfile.ZipFile(tmp_path / "piece.zip", "w") as piece:
        for name in whole.namelist()[::45]:
            piece.writestr(name, whole.read(name))
    path = next(p for p in NOTEBOOKS if p.stem == "04_feature_maps")
    piece = tmp_path / "piece.zip"
    runs = tmp_path / "runs"
    given = {"dataset": "brain_tumor", "split": "grouped", "data": piece, "runs_dir": runs}
    done, out = execute(path, tmp_path, **given, **TINY)
    assert done.returncode == 0, done.stderr[-2000:]
    text = out.read_text()
    assert '"output_type": "error"' not in text
    assert "nobody has drawn what defines the class" in text
