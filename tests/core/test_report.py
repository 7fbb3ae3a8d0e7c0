"""The study's report: one question per screen, no long table in the open."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from kdnb.core import page as pages
from kdnb.core.page import OPEN_ROWS, PagePicture, Section, page_table, write_page
from kdnb.core.plots import Picture
from kdnb.core.report import CHAPTERS, write_report
from kdnb.core.results_folder import Results
from kdnb.core.runs import read_json

PARAMETERS = {
    "dataset": "phantom_brain",
    "data": "",
    "split": "grouped",
    "profile": "smoke",
    "seed": 0,
    "alpha": 0.4,
    "loss": "kd",
}
LONG = pd.DataFrame(
    {
        "model": [f"model <{number}>" for number in range(100)],
        "value": np.linspace(0.123456, 0.9, 100),
        "low": [np.nan] * 10 + [0.0512345] * 90,
        "high": [np.nan] * 10 + [0.98765] * 90,
        "macs": np.arange(100) * 12_345_678,
        "nothing": np.nan,
        "seed": 123_456,
    }
)


class Tables(HTMLParser):
    """Every table of a page: whether it stands open, and the words of its rows."""

    def __init__(self, text):
        super().__init__()
        self.details = 0
        self.found = []  # (open, rows of cells)
        self.in_cell = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.details += tag == "details"
        if tag == "table":
            self.found.append((self.details == 0, []))
        elif tag == "tr":
            self.found[-1][1].append([])
        elif tag in ("th", "td"):
            self.found[-1][1][-1].append("")
            self.in_cell = True

    def handle_endtag(self, tag):
        self.details -= tag == "details"
        if tag in ("th", "td"):
            self.in_cell = False

    def handle_data(self, data):
        if self.in_cell:
            self.found[-1][1][-1][-1] += data


@pytest.fixture
def results(tmp_path):
    """What all seven notebooks leave: two tables, two pictures and an answer each."""
    results = Results(folder=tmp_path, parameters=PARAMETERS, data="abc")
    for chapter in CHAPTERS:
        number = chapter.number
        results.table(f"{number}_long", LONG, [f"teacher/{number}"])
        results.table(f"{number}_short", LONG.head(3))
        results.picture(f"{number}_first", Picture(plt.figure(figsize=(1, 1)), f"first {number}"))
        results.picture(f"{number}_lead", Picture(plt.figure(figsize=(1, 1)), f"lead {number}"))
        text = f"Notebook {number} found <b>0.5</b>."
        results.answer(number, text, sure="12 patients.", figure=f"{number}_lead")
    return results


def test_the_report_has_eight_screens_each_with_its_answer_and_one_picture(results):
    page = write_report(results).read_text("utf-8")
    parts = page.split("<section id=")[1:]
    assert len(parts) == 8 and parts[-1].startswith('"made"')
    for chapter, part in zip(CHAPTERS, parts, strict=False):
        before_more, _, more = part.partition('<details class="more">')
        assert f"Notebook {chapter.number} found &lt;b&gt;0.5&lt;/b&gt;." in before_more
        assert "12 patients." in before_more
        assert before_more.count("<img") == 1 and f'alt="lead {chapter.number}"' in before_more
        assert f'alt="first {chapter.number}"' in more and f"teacher/{chapter.number}" in more
        assert "2 tables and 1 picture" in more
    anchors = re.findall(r'href="#([^"]+)"', page)
    assert set(anchors) <= set(re.findall(r'id="([^"]+)"', page)) and len(set(anchors)) == 9
    assert "not done" not in page


def test_no_open_table_is_long_and_no_table_shows_nan(results):
    page = write_report(results).read_text("utf-8")
    tables = Tables(page).found
    assert len(tables) >= 2 * len(CHAPTERS)
    in_the_open = [rows for is_open, rows in tables if is_open]
    assert in_the_open and max(map(len, in_the_open)) <= OPEN_ROWS
    cells = [cell for _, rows in tables for row in rows for cell in row]
    assert "–" in cells and not [cell for cell in cells if re.search(r"\b(nan|None)\b", cell, re.I)]
    assert "nothing" not in cells, "a column that knows nothing is left out"
    digits = [re.sub(r"\D", "", n).strip("0") for n in re.findall(r"\d+\.\d+", " ".join(cells))]
    assert digits and max(map(len, digits)) <= 3
    assert "0.123" in cells and "0.202 [0.0512, 0.988]" in cells
    assert "123456" in cells, "a seed is a name"
    assert "The first 60 of 100 rows" in page and 'href="01_long.csv"' in page


def test_the_page_needs_nothing_and_fits_phone_paper_and_dark_rooms(results):
    page = write_report(results).read_text("utf-8")
    assert not re.findall(r'(?:src|href)="(?!data:|#|\d\d_\w+\.(?:csv|png)")', page)
    assert "<script" not in page and "@import" not in page and "url(" not in page
    for part in ("width=device-width", "prefers-color-scheme: dark", "@media print"):
        assert part in page
    assert "break-inside: avoid" in page and "overflow-x: auto" in page


def test_only_what_differs_from_the_profile_stands_open(results):
    page = write_report(results).read_text("utf-8")
    shown, folded = page.partition('id="made"')[2].split("<details>", 1)
    assert "alpha" in shown and "0.4" in shown and "phantom_brain" in shown
    assert "loss" not in shown and "loss" in folded


def test_a_half_done_study_says_what_is_missing_and_shows_the_rest(tmp_path):
    results = Results(folder=tmp_path, parameters=PARAMETERS, data="abc")
    results.picture("01_samples", Picture(plt.figure(figsize=(1, 1)), "samples"))
    results.answer("01", "Nothing leaks.", sure="All pairs.", figure="01_samples")
    results.table("02_scores", LONG.head(3))
    results.picture("02_accuracy", Picture(plt.figure(figsize=(1, 1)), "dots"))
    page = write_report(results).read_text("utf-8")
    assert "nothing is here yet of 03_distillation, 04_feature_maps" in page
    assert page.count("Not done yet. Run the notebook") == 5
    assert "Nothing leaks." in page
    teacher = page.partition('id="teacher"')[2].partition('id="student"')[0]
    assert "The notebook 02_teacher left no answer in words" in teacher
    assert 'alt="dots"' in teacher, "its first picture stands in for the one that it would name"


def test_notes_on_the_images_are_announced_at_the_top(results):
    assert "on the images" not in write_report(results).read_text("utf-8")
    results.table("01_notes", pd.DataFrame({"note": ["3 images are blank", "1 mask is empty"]}))
    page = write_report(results).read_text("utf-8")
    assert "2 notes on the images: see Notes below" in page and "1 mask is empty" in page


def test_pictures_beyond_the_limit_are_linked(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "EMBEDDED_BYTES", 100)
    leading = PagePicture(alt="leading", png=b"x" * 80, file="a.png")
    other = PagePicture(alt="other", png=b"y" * 80, file="b.png")
    sections = [
        Section(name="One", question="What?", answer="This.", picture=leading, pictures=[other])
    ]
    place = tmp_path / "page.html"
    page = write_page(place, title="T", lead="L", sections=sections, settings="").read_text()
    assert page.count("<img") == 1 and 'alt="leading"' in page
    assert '<a href="b.png">b.png</a>' in page


def test_a_table_keeps_words_and_says_ties():
    table = pd.DataFrame(
        {
            "class": ["None", "<i>"],
            "gain": [0.0, 0.05],
            "gain_low": [0.0, -0.01],
            "gain_high": [0.0, 0.11],
            "right": [True, False],
            "p": [1.0, np.nan],
            "count": [1311, 57_823_232],
        }
    )
    made = page_table("t", table)
    [(_, rows)] = Tables(made.html).found
    assert rows[0] == ["class", "gain", "right", "p", "count"]
    assert rows[1] == ["None", "cannot be told apart", "True", "1", "1,311"]
    assert rows[2] == ["<i>", "0.0500 [-0.0100, 0.110]", "False", "–", "57.8 M"]
    assert made.is_short and made.rows == made.shown == 2


def test_an_answer_is_listed_with_what_made_it(results):
    listed = read_json(results.folder / "manifest.json")
    assert listed["03_answer.json"]["parameters"] == PARAMETERS
