"""Sphinx extension: formulae as MathML, for browsers and screen readers, without a script."""

import re
from pathlib import Path

from docutils.nodes import SkipNode
from latex2mathml.converter import convert

CODE = re.compile(r"(``.*?``|^\s*(?:>>>|\.\.\.).*)")


def inline(writer, node):
    """A formula within a line."""
    writer.body.append(convert(node.astext()))
    raise SkipNode


def block(writer, node):
    """A formula on a line of its own; where it is wide, it can be scrolled by keyboard."""
    source = " ".join(node.astext().split()).replace(r"\sum_", r"\sum\limits_")
    formula = convert(source, display="block").replace(
        "<mo>&#x23DF;</mo>", '<mo stretchy="true">&#x23DF;</mo>'
    )
    writer.body.append(
        f'<div class="formula" tabindex="0" role="group" aria-label="formula">{formula}</div>'
    )
    raise SkipNode


def keep_bars(app, what, name, obj, options, lines):
    """In a docstring, |x| is an amount and not, as in reStructuredText, a substitution."""
    for i, line in enumerate(lines):
        parts = CODE.split(line)
        parts[::2] = [part.replace("|", r"\|") for part in parts[::2]]
        lines[i] = "".join(parts)


def local_scripts(app, page, template, context, doctree):
    """Leave out thebe, which jupyter-book always names and which would be fetched from a CDN."""
    told = {
        id(s): f"{getattr(s, 'filename', s)} {getattr(s, 'attributes', '')}"
        for s in context["script_files"]
    }
    context["script_files"] = [
        s for s in context["script_files"] if "thebe" not in told[id(s)].casefold()
    ]


def name_toggles(app, error):
    """Give the arrows of the sidebar, which have no name in the theme, one to be read out."""
    for path in [] if error else Path(app.outdir).rglob("*.html"):
        page = path.read_text("utf-8")
        path.write_text(
            page.replace("<summary><span", '<summary aria-label="pages of this chapter"><span'),
            "utf-8",
        )


def setup(app):
    """Register the renderer ``mathml`` and the hooks."""
    app.connect("html-page-context", local_scripts)
    app.connect("build-finished", name_toggles)
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    app.connect("autodoc-process-docstring", keep_bars)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
