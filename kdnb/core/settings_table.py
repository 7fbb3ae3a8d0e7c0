"""The settings of a run for display: what was chosen, the rest folded away (all notebooks)."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

__all__ = ["MAIN", "chosen", "settings_html"]

MAIN = ("dataset", "profile", "split", "seed")  # shown always


def chosen(values: Mapping[str, Any], of_profile: Mapping[str, Any]) -> dict[str, Any]:
    """What a reader must know of settings: `MAIN`, and what is not as the profile has it.

    >>> chosen({"seed": 0, "alpha": 0.4, "loss": "kd"}, {"seed": 0, "alpha": 0.7, "loss": "kd"})
    {'seed': 0, 'alpha': 0.4}
    """
    found = {name: values[name] for name in MAIN if name in values}
    for name, value in values.items():
        if name in of_profile and value != of_profile[name]:
            found[name] = value
    return found


def settings_html(values: Mapping[str, Any], of_profile: Mapping[str, Any]) -> str:
    """Settings as two tables: `chosen` stands open, the others are folded away.

    Args:
        values: Name -> value.
        of_profile: The same for a study in which only the profile is chosen.
    """
    shown = chosen(values, of_profile)
    rest = {name: value for name, value in values.items() if name not in shown}
    parts = [_rows(shown)]
    if rest:
        title = f"{len(rest)} more settings, as the profile has them"
        parts.append(f"<details><summary>{title}</summary>{_rows(rest)}</details>")
    return "".join(parts)


def _rows(values: Mapping[str, Any]) -> str:
    """A table of two columns."""
    rows = []
    for name, value in values.items():
        written = html.escape(str(value)) or "–"
        rows.append(f'<tr><th scope="row">{name}</th><td>{written}</td></tr>')
    head = '<tr><th scope="col">parameter</th><th scope="col">value</th></tr>'
    return f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"
