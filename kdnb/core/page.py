"""One HTML page that opens by itself and asks one question per screen (the study's report, 07)."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader

from kdnb.core.intervals import Difference, Interval
from kdnb.core.method_names import method_name
from kdnb.core.number_text import short
from kdnb.core.plots import png_uri
from kdnb.core.provenance import environment
from kdnb.core.runs import atomic_path
from kdnb.core.tables import OPEN_ROWS

__all__ = ["PagePicture", "Section", "Table", "page_table", "write_page"]

SHOWN_ROWS = 60  # of a longer table only the first rows are on the page
EMBEDDED_BYTES = 2_000_000  # of pictures as PNG; the page then stays below 3 MB
NAMES_OF_RUNS = ("seed",)  # numbers that are names: never rounded
NAMES_OF_METHODS = ("method", "explanation")  # columns of keys of methods
DIFFERENCES = ("difference", "gain", "above", "above_chance")


@dataclass(frozen=True)
class Table:
    """A table as the page shows it."""

    title: str
    html: str
    rows: int  #: that the whole table has
    shown: int  #: that are on the page
    file: str = ""  #: its CSV beside the page, or ""

    @property
    def is_short(self) -> bool:
        """Whether it may stand open."""
        return self.rows <= OPEN_ROWS


@dataclass(frozen=True)
class PagePicture:
    """A picture as the page shows it."""

    alt: str
    png: bytes
    file: str = ""  #: its PNG beside the page, or ""

    @property
    def uri(self) -> str:
        """The picture as an address that needs no file."""
        return png_uri(self.png)


@dataclass(frozen=True)
class Section:
    """One screen of the page: a question, its answer, one picture; everything else is folded."""

    name: str  #: short, for the list of contents
    question: str
    answer: str = ""
    sure: str = ""  #: how sure the answer is
    missing: str = ""  #: what is not there, and how to make it
    picture: PagePicture | None = None
    open_tables: Sequence[Table] = ()  #: shown at once where they are short
    tables: Sequence[Table] = ()
    pictures: Sequence[PagePicture] = ()
    runs: Sequence[str] = ()  #: ids of the runs behind it

    @property
    def anchor(self) -> str:
        """Its name in addresses."""
        return self.name.lower().replace(" ", "-")

    @property
    def in_sight(self) -> list[Table]:
        """The tables that stand open."""
        return [table for table in self.open_tables if table.is_short]

    @property
    def folded(self) -> list[Table]:
        """The tables that are folded away."""
        return [*[table for table in self.open_tables if not table.is_short], *self.tables]

    @property
    def more(self) -> str:
        """What is folded away, in words; empty where nothing is."""
        parts = []
        for number, name in ((len(self.folded), "table"), (len(self.pictures), "picture")):
            if number:
                parts.append(f"{number} {name}{'' if number == 1 else 's'}")
        return " and ".join(parts)


def write_page(
    path: Path,
    *,
    title: str,
    lead: str,
    sections: Sequence[Section],
    settings: str,
    way: str = "",
    words: Mapping[str, str] | None = None,
) -> Path:
    """Write a page that ends with the settings, the versions and the machine.

    Pictures are part of the page, the leading ones first, until it would grow too large; the others
    are linked.

    Args:
        path: Where to.
        title: Of the page.
        lead: Sentences below it.
        sections: One per screen.
        settings: HTML of the settings' table.
        way: HTML of a picture of how the numbers came about; empty for none.
        words: Terms that the page uses -> what they mean.
    """
    templates = Environment(autoescape=True, loader=PackageLoader("kdnb.core", ""))
    page = templates.get_template("report.html.j2").render(
        title=title,
        lead=lead,
        sections=sections,
        embedded=_embedded(sections),
        made=_made(),
        settings=settings,
        way=way,
        words=words or {},
    )
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _embedded(sections: Sequence[Section]) -> set[PagePicture]:
    """The pictures that are part of the page."""
    leading = [section.picture for section in sections if section.picture]
    others = [picture for section in sections for picture in section.pictures]
    left = EMBEDDED_BYTES
    found = set()
    for picture in [*leading, *others]:
        if len(picture.png) <= left or not picture.file:
            found.add(picture)
            left -= len(picture.png)
    return found


def _made() -> str:
    """The versions and the machine that write the page, in words."""
    now = environment()
    return (
        f"kdnb {now['kdnb']}, commit {now['commit']}, wrote this page, with Python {now['python']} "
        f"and torch {now['packages']['torch']}. The machine has {now['cores']} cores: "
        f"{now['processor']}."
    )


def page_table(title: str, table: pd.DataFrame, file: str = "") -> Table:
    """A table for the page, with at most three significant digits.

    A value and the two ends of its interval stand in one column. A column that knows nothing is
    left out, and of a long table all rows after the first ones.

    Args:
        title: Its heading.
        table: Its index is not shown.
        file: Its CSV beside the page; empty where there is none.
    """
    known = table.dropna(axis="columns", how="all") if len(table) else table
    shown = _with_intervals(known.head(SHOWN_ROWS))
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in shown)
    body = "".join(f"<tr>{_cells(row)}</tr>" for row in shown.itertuples(index=False))
    return Table(
        title=title,
        html=f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>",
        rows=len(table),
        shown=len(shown),
        file=file,
    )


def _cells(row: Sequence[str]) -> str:
    """The cells of a row; the first one names it."""
    first, *others = [html.escape(text) for text in row]
    return f'<th scope="row">{first}</th>' + "".join(f"<td>{text}</td>" for text in others)


def _with_intervals(table: pd.DataFrame) -> pd.DataFrame:
    """A table of texts, in which a column and the two after it that end its interval are one."""
    names = list(table.columns)
    columns = {}
    place = 0
    while place < len(names):
        name = names[place]
        heading = str(name).replace("_", " ")
        if _has_ends(names[place : place + 3]):
            ends = table[names[place : place + 3]].astype(float)
            kind = Difference if name in DIFFERENCES else Interval
            columns[heading] = [_interval(kind(row)) for row in ends.itertuples(index=False)]
            place += 3
        else:
            columns[heading] = [_text(value, str(name)) for value in table[name]]
            place += 1
    return pd.DataFrame(columns, dtype=str)


def _has_ends(names: Sequence[Any]) -> bool:
    """Whether the second and third of three columns are the ends of an interval of the first.

    >>> _has_ends(["gain", "gain_low", "gain_high"]), _has_ends(["share", "low", "high"])
    (True, True)
    >>> _has_ends(["low", "high", "images"])
    False
    """
    texts = [str(name) for name in names]
    if len(texts) < 3 or not (texts[1].endswith("low") and texts[2].endswith("high")):
        return False
    return texts[1].removesuffix("low") == texts[2].removesuffix("high")


def _interval(interval: Interval) -> str:
    """A value with its interval, both short."""
    value, low, high = interval
    if isinstance(interval, Difference) and interval.is_tie:
        return str(interval)
    if math.isnan(low):
        return _number(value)
    return f"{_number(value)} [{_number(low)}, {_number(high)}]"


def _text(value: Any, name: str) -> str:
    """A value of a table."""
    if pd.isna(value):
        return "–"
    if not pd.api.types.is_number(value) or pd.api.types.is_bool(value) or name in NAMES_OF_RUNS:
        return method_name(str(value)) if name in NAMES_OF_METHODS else str(value)
    return _number(value)


def _number(value: float) -> str:
    """A number, short; whole numbers are counts."""
    if math.isnan(value):
        return "–"
    return short(int(value) if math.isfinite(value) and value == int(value) else float(value))
