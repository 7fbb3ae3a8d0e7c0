"""What people read: links, headings in order, pictures with words, short sentences."""

import ast
import json
import statistics

import pytest
from prose import (
    NOTEBOOKS,
    PAGES,
    ROOT,
    TEXTS,
    alt_texts,
    anchors,
    headings,
    links,
    sentences,
    text,
)

from tools.doctor import SUBJECTS


def name(path):
    return path.relative_to(ROOT).as_posix()


every = pytest.mark.parametrize("path", TEXTS, ids=name)


def test_the_tools_of_these_tests():
    sample = """# One two

A [link](a.md#x), `[code](no)` and ![words](p.png). He is *here* now! <img src='q' alt=''>
```
# no heading
```
- an item

| a table | b |
"""
    assert headings(sample) == [(1, "One two")] and anchors(sample) == ["one-two"]
    assert [target for _, target in links(sample)] == ["a.md#x", "p.png"]
    assert alt_texts(sample) == ["words", ""]
    assert [len(s) for s in sentences(sample)] == [5, 4, 2]


def test_all_texts_are_looked_at():
    assert len(NOTEBOOKS) >= 8
    assert {"README.md", "CONTRIBUTING.md", "docs/teach/ethics.md"} <= set(map(name, PAGES))


@every
def test_links_lead_somewhere(path):
    for words, target in links(text(path)):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), f"[{words}]({target})"
        assert not anchor or anchor in anchors(text(there)), f"[{words}]({target})"


@every
def test_headings_are_in_order(path):
    levels = [level for level, _ in headings(text(path))]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:], strict=False))
    if path.name != "CHANGELOG.md":  # each version has its Added and Changed
        assert len(set(anchors(text(path)))) == len(levels), (
            "two headings of one name cannot both be linked"
        )


@every
def test_every_picture_has_words(path):
    assert all(len(alt.split()) >= 3 for alt in alt_texts(text(path)))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_notebooks_show_pictures_only_with_words(path):
    """Matplotlib alone, and IPython's Image, would show a picture that nobody can hear."""
    cells = json.loads(path.read_text())["cells"]
    for cell in [c for c in cells if c["cell_type"] == "code"]:
        tree = ast.parse("".join(cell["source"]))
        imported = {
            a.name
            for n in ast.walk(tree)
            if isinstance(n, ast.Import | ast.ImportFrom)
            for a in n.names
        }
        called = {
            n.func.attr
            for n in ast.walk(tree)
            if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)
        }
        assert not imported & {"matplotlib.pyplot", "Image"}
        assert not called & {
            "plot",
            "imshow",
            "savefig",
        }


def test_published_pictures_have_words():
    listed = json.loads((ROOT / "figures/manifest.json").read_text())
    pictures = {file: entry["alt"] for file, entry in listed.items() if file.endswith(".png")}
    assert len(pictures) >= 20 and all(len(alt.split()) >= 5 for alt in pictures.values())


@every
def test_sentences_are_short(path):
    counts = [len(words) for words in sentences(text(path))]
    assert statistics.median(counts) <= 18
    assert sum(count > 35 for count in counts) <= len(counts) / 50, [
        s for s in sentences(text(path)) if len(s) > 35
    ]


def test_troubleshooting_has_a_section_for_every_finding_of_the_doctor():
    sections = [
        words
        for level, words in headings((ROOT / "docs/troubleshooting.md").read_text())
        if level == 2
    ]
    assert set(sections) == {*SUBJECTS, "Other symptoms"}
