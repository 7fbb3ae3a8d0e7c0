"""The options that name a study, shared by ``kdnb``, ``make book`` and ``make publish``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from kdnb.core.errors import UserError
from kdnb.core.settings import Settings

__all__ = [
    "Data",
    "Dataset",
    "Label",
    "ProfileName",
    "RunsDir",
    "Seed",
    "Split",
    "parse_sets",
    "require_file_name",
    "study_values",
]

# numbers that YAML takes for others: 010 is 8 to it, and 1:30 is 90
OF_OTHER_BASE = re.compile(r"(^|[\[,\s])[-+]?(0\d+|\d+(:\d+)+(\.\d*)?)\s*($|[\],])")

Dataset = Annotated[str, typer.Option(help="phantom_brain, brain_tumor, … or custom")]
Data = Annotated[
    str, typer.Option(help="path of an archive, a folder or a CSV; empty: the default place")
]
ProfileName = Annotated[str, typer.Option(help="smoke, quick, standard or paper")]
Seed = Annotated[int, typer.Option(help="seed of everything random")]
Split = Annotated[
    str,
    typer.Option(
        help="grouped, random, published, deduplicated or patients; "
        "empty: the data set's own default, grouped or patients"
    ),
]
Label = Annotated[
    str, typer.Option(help="ends the folder's name, so that you know it again in `kdnb runs`")
]
RunsDir = Annotated[
    str, typer.Option(help="folder for everything computed; empty: runs/ of the project")
]


def require_file_name(path: str, ending: str) -> None:
    """Refuse a file to write whose name ends in something else: it might be one to read.

    Raises:
        UserError: It says what is accepted.
    """
    if Path(path).suffix.lower() != ending or Path(path).is_dir():
        raise UserError(f"--out must be a file whose name ends in {ending}, got '{path}'")


def study_values(
    dataset: str, data: str, profile: str, seed: int, split: str, runs_dir: str
) -> dict[str, Any]:
    """The options that name a study as values for ``Settings.checked``.

    >>> study_values("phantom_brain", "", "smoke", 0, "grouped", "")["profile"]
    'smoke'
    """
    return {
        "dataset": dataset,
        "data": data,
        "profile": profile,
        "seed": seed,
        "split": split,
        "runs_dir": runs_dir,
    }


def parse_sets(sets: list[str] | None) -> dict[str, object]:
    """Parameters of ``--set``, name → value.

    Raises:
        UserError: If one is not name=value, or its value cannot be read.
    """
    values = {}
    for pair in sets or []:
        name, equals, text = pair.partition("=")
        if not equals or not name.isidentifier():
            raise UserError(f"--set takes name=value, got '{pair}'")
        values[name] = _parse_value(name, text)
    return values


def _parse_value(name: str, text: str) -> object:
    """A value as JSON, to which 1e-3 is a number, else as YAML, which needs no quotes.

    Of a setting that is a text, the text as it is typed; JSON's quotes are taken off.
    """
    import yaml

    if not text:
        return ""
    is_text = _is_text(name)
    try:
        value = json.loads(text)
        if isinstance(value, str) or not is_text:
            return value
    except ValueError:
        pass
    if is_text:
        return text
    if OF_OTHER_BASE.search(text):
        raise UserError(
            f"--set {name} takes decimal numbers without leading zeros or colons, got '{text}'"
        )
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise UserError(f"--set {name} takes a number, a text or a list, got '{text}'") from None


def _is_text(name: str) -> bool:
    """Whether the setting of this name is a text: any one, or one of a few words.

    >>> _is_text("data"), _is_text("split"), _is_text("seed"), _is_text("controls")
    (True, True, False, False)
    """
    if name not in Settings.model_fields:
        return False
    accepted = Settings.model_fields[name].annotation
    words = get_args(accepted)
    return accepted is str or (bool(words) and all(isinstance(word, str) for word in words))
