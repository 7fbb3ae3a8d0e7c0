"""The project's texts, taken apart: pages, headings, links, pictures, sentences."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "data/README.md"])
NOTEBOOKS = sorted(ROOT.glob("notebooks/[0-9]*.ipynb"))
TEXTS = PAGES + NOTEBOOKS
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[(?P<words>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^)\s]+)\)")
IMAGE = re.compile(r"!\[(?P<alt>[^\]]*)\]\(|<img\b(?P<tag>[^>]*)>")


def text(path):
    """The page's Markdown; of a notebook, that of its cells."""
    if path.suffix == ".md":
        return path.read_text("utf-8")
    cells = json.loads(path.read_text("utf-8"))["cells"]
    return "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


def headings(markdown):
    """(level, words) of every heading, those in code aside."""
    found = re.findall(r"^(#{1,6}) +(.+?) *$", FENCE.sub("", markdown), re.MULTILINE)
    return [(len(marks), words) for marks, words in found]


def anchors(markdown):
    """The names by which headings can be linked, as GitHub and MyST make them."""
    return [
        re.sub(r"[^\w\- ]", "", words.casefold()).replace(" ", "-")
        for _, words in headings(markdown)
    ]


def links(markdown):
    """(words, target) of every link and picture, those in code aside."""
    prose = re.sub(r"`[^`]*`", "", FENCE.sub("", markdown))
    pictures = [("", target) for target in re.findall(r'<img\b[^>]*src="([^"]+)"', prose)]
    return [(m["words"], m["target"]) for m in LINK.finditer(prose)] + pictures


def alt_texts(markdown):
    """The words of every picture; "" where there are none."""
    prose = FENCE.sub("", markdown)
    return [
        m["alt"] or "".join(re.findall(r'alt="([^"]*)"', m["tag"] or ""))
        for m in IMAGE.finditer(prose)
    ]


def sentences(markdown):
    """Lists of words: sentences and list items of the prose.

    Without code, tables, headings, formulae and addresses.
    """
    prose = re.sub(r"\$\$.*?\$\$", "", FENCE.sub("", markdown), flags=re.DOTALL)
    prose = re.sub(r"^(?:#|\||<).*$", "\n", prose, flags=re.MULTILINE)
    prose = re.sub(r"<[^>]*>", "", LINK.sub(lambda m: m["words"], prose))
    prose = re.sub(r"`[^`]*`", "code", re.sub(r"\*\*[^*]+[.:]\*\*", "\n\n", prose))
    parts = re.split(r"\n\s*\n|\n\s*(?:[-*]|\d+\.) |(?<=[.!?])[\s)\"]+", prose)
    words = [re.findall(r"[^\W\d_][\w'’-]*", part) for part in parts]
    return [sentence for sentence in words if len(sentence) > 1]
