"""A live widget leaves a picture behind, for a notebook without its kernel and for a page of it."""

import nbformat
import numpy as np
import pytest
from IPython.core.formatters import DisplayFormatter

from kdnb.widgets import base
from kdnb.widgets.soft_targets import Answers, SoftTargetExplorer

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def left_behind(monkeypatch, classes):
    """What a cell with a soft-target explorer leaves in a notebook."""
    shown = []

    def display(item, metadata=None, raw=False):
        data = item if raw else DisplayFormatter().format(item, include=["text/html"])[0]
        shown.append(nbformat.v4.new_output("display_data", data, metadata=metadata or {}))

    monkeypatch.setattr(base, "display", display)
    logits = np.random.default_rng(0).normal(size=(2, 3))
    SoftTargetExplorer(Answers(logits, logits, (0, 1), ("x", "y"), classes))._ipython_display_()
    return shown


@pytest.fixture
def outputs(monkeypatch):
    return left_behind(monkeypatch, tuple("abc"))


def test_names_of_classes_are_text_and_no_markup(monkeypatch):
    picture, _ = left_behind(
        monkeypatch, ("<script>alert(1)</script>", '"><b onload="x">', "$a_{b")
    )
    said = picture["data"]["text/html"]
    assert "<script" not in said and "<b onload" not in said
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in said


def test_the_picture_comes_first_and_the_view_can_find_it(outputs):
    picture, view = outputs
    assert '<img alt="x (a), loss kd' in picture["data"]["text/html"]
    assert "run this cell again" in picture["data"]["text/html"]
    assert WIDGET_VIEW in view["data"]
    assert "run this cell again" in view["data"]["text/plain"]


def test_a_page_of_a_notebook_with_live_widgets_shows_the_picture(outputs):
    from nbconvert import HTMLExporter

    cell = nbformat.v4.new_code_cell("explorer", outputs=outputs)
    page, _ = HTMLExporter().from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))
    assert page.count('<img alt="x (a), loss kd') == 1
    assert "run this cell again" in page
