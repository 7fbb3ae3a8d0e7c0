"""What every widget's view shares: its script and style, and the way pixels and maps reach the browser (01, 03, 04)."""

from __future__ import annotations

from pathlib import Path

__all__ = ["STYLE", "script"]

STYLE = Path(__file__).with_name("widget.css").read_text("utf-8")


def script(*names: str) -> str:
    """The browser side of a widget: ``common.js`` followed by the files ``names``, as one module."""
    return "\n".join(Path(__file__).with_name(part).read_text("utf-8") for part in ("common.js", *names))
