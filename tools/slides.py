"""Slides of each session from its notebook, which open without a network (``make course``).

nbconvert makes them for reveal.js, which lies in ``tools/reveal`` (version 5.2.0, MIT licence) and
is copied beside them. Pictures are there where the notebook was executed.
"""

import re
import shutil
from copy import deepcopy
from itertools import pairwise
from pathlib import Path

import nbformat

from kdnb.core.notebook_files import Notebook, source_of, tags_of, without_page_links
from tools.exercises import exercises

__all__ = ["copy_reveal", "slides_of"]

HERE = Path(__file__).parent
PLACES = {  # of the files in tools/reveal, where nbconvert's template looks for them
    "LICENSE": "LICENSE",
    "reveal.js": "dist/reveal.js",
    "reveal.css": "dist/reveal.css",
    "white.css": "dist/theme/white.css",
    "notes.js": "plugin/notes/notes.js",
}
FONT = re.compile(r"@import url\([^)]*\);")  # of the theme; the browser's own will do
HEADING = re.compile(r"(?m)^(?=#{1,3} )")
FORMULA = re.compile(r"\$\$(.+?)\$\$|(?<![\\\w$])\$([^\s$](?:[^$\n]*[^\s$])?)\$(?!\w)", re.DOTALL)
EXPLAINED = re.compile(r"\*\*Read the (table|numbers)\.\*\*")  # words below a table
LEFT_OUT = ("## Saved", "### Where you stand", "## Your own data")


def copy_reveal(folder: Path) -> None:
    """Put reveal.js beside the slides."""
    for name, place in PLACES.items():
        target = folder / "reveal" / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".css"):
            target.write_text(FONT.sub("", (HERE / "reveal" / name).read_text("utf-8")), "utf-8")
        else:
            shutil.copyfile(HERE / "reveal" / name, target)


def slides_of(notebook: Notebook, title: str) -> str:
    """The page of a notebook's slides: words, pictures of executed cells, notes for the speaker.

    Code, solutions and checks are left out. A slide begins at each heading, at each picture, and at
    each table that the words below it explain.

    Args:
        notebook: With the outputs that are to be shown; notes are Markdown cells tagged
            ``instructor``.
        title: Of the page.
    """
    from nbconvert.exporters import SlidesExporter  # loads for seconds
    from traitlets.config import Config

    answers = {cell["id"] for pair in exercises(notebook).values() for cell in pair}
    cells = []
    for cell, after in pairwise([*notebook["cells"], None]):
        if cell["cell_type"] == "markdown":
            cells += _words(cell)
        elif cell.get("id") not in answers:
            explained = after is not None and EXPLAINED.search(source_of(after))
            cells += _shown(cell, ("<img", "<table") if explained else ("<img",))
    deck = nbformat.v4.new_notebook(cells=cells, metadata={"title": title})
    for number, cell in enumerate(deck.cells):
        cell.id = f"slide-{number}"  # or two builds would differ
    options = {"reveal_url_prefix": "reveal", "reveal_theme": "white"}
    config = Config({"SlidesExporter": options})
    exporter = SlidesExporter(
        config=config,
        template_name="slides_template",
        extra_template_basedirs=[str(HERE)],
    )
    page, _ = exporter.from_notebook_node(deck)
    return page


def _words(cell: Notebook) -> list[Notebook]:
    """A Markdown cell as slides, one for each heading; a cell without one goes on, or is a note."""
    text = FORMULA.sub(_mathml, without_page_links(source_of(cell)))
    if "instructor" in tags_of(cell):
        return [_slide(text, "notes")]
    found = []
    for piece in HEADING.split(text):
        if not piece.strip() or piece.startswith(LEFT_OUT):
            continue
        kind = "-"
        if piece.startswith("#"):
            kind = "subslide" if piece.startswith("###") else "slide"
        found.append(_slide(piece, kind))
    return found


def _slide(source: str, kind: str) -> Notebook:
    return nbformat.v4.new_markdown_cell(source, metadata={"slideshow": {"slide_type": kind}})


def _shown(cell: Notebook, wanted: tuple[str, ...]) -> list[Notebook]:
    """The outputs of a code cell that hold a wanted tag, without its code."""
    found = []
    for output in cell.get("outputs", []):
        shown = output.get("data", {}).get("text/html", "")
        text = shown if isinstance(shown, str) else "".join(shown)
        if any(tag in text for tag in wanted):
            found.append(_slide(text, "subslide"))
    return deepcopy(found)


def _mathml(found: re.Match) -> str:
    """A formula as MathML, which needs no script."""
    from latex2mathml.converter import convert

    block, inline = found.groups()
    return convert(block or inline, display="block" if block else "inline")
