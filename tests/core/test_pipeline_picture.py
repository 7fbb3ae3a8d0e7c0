from __future__ import annotations

import html
import re

from kdnb.core.notebook_files import notebooks
from kdnb.core.pipeline_picture import STATIONS, pipeline_html


def test_every_notebook_between_the_first_and_the_last_is_a_station():
    assert [station.notebook for station in STATIONS] == [
        path.stem[:2] for path in notebooks()[1:-1]
    ]
    page = html.unescape(pipeline_html())
    assert all(station.name in page and station.words in page for station in STATIONS)


def test_words_take_the_colour_of_the_page_and_nothing_is_loaded():
    page = pipeline_html()
    assert not re.search(r"(?<!-)color:|black|white|http|url\(|<script", page)
    assert "flex-wrap:wrap" in page
