"""Lint of every notebook; those beside this file run them."""

from __future__ import annotations

import ast
import statistics
from importlib import import_module
from itertools import pairwise
from types import ModuleType

import nbformat
import pytest

from kdnb.core.notebook_files import notebooks, parameters_of
from kdnb.core.settings import PARAMETERS_MARK, Settings

NOTEBOOKS = notebooks()


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
def test_no_later_cell_takes_the_name_of_a_parameter(path):
    """The settings are read again with every run of their cell: it would be another study."""
    declared = set(parameters_of(path))
    for cell in cells(path):
        if cell.source == parameters_cell(path).source:
            continue
        names = [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Name)]
        bound = {node.id for node in names if isinstance(node.ctx, ast.Store)}
        assert not bound & declared, cell.source


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
