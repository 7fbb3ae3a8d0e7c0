"""The answer at the end of a notebook: its question, what came out, how sure, a picture (01-07)."""

from __future__ import annotations

import html
from dataclasses import asdict, dataclass
from pathlib import Path

from kdnb.core.runs import read_json

__all__ = ["Answer", "QUESTIONS", "answer_in"]

QUESTIONS = {  # number of the notebook -> what it asks, unless its answer says otherwise
    "01": "What is in the data, and how much of a score is memory?",
    "02": "How good is the large network on images it has never seen?",
    "03": "Does the small network learn from the teacher what the labels do not give?",
    "04": "What do the five layers show, and where is the decision made?",
    "05": "Which explanation can be trusted?",
    "06": "What does the small network save?",
    "07": "What came out?",
}


@dataclass(frozen=True)
class Answer:
    """What a notebook found, in plain words; none of them is read as markup."""

    question: str  #: what the notebook asked
    text: str  #: the answer, in sentences with this study's numbers
    sure: str  #: how sure it is: the interval, the patients, the seeds
    figure: str = ""  #: the picture that shows it, by its name without ending, or ""

    @property
    def record(self) -> dict[str, str]:
        """Its fields, as they are kept in a file."""
        return asdict(self)

    def html(self) -> str:
        """As a block for a notebook."""
        parts = [
            f"<strong>{html.escape(self.question)}</strong>",
            html.escape(self.text),
            f"<em>How sure?</em> {html.escape(self.sure)}",
        ]
        lines = "".join(f"<p>{part}</p>" for part in parts)
        style = "border-left:4px solid #0072B2;padding:.1em 1em"
        return f'<div class="tex2jax_ignore mathjax_ignore" style="{style}">{lines}</div>'


def answer_in(folder: Path, number: str) -> Answer | None:
    """The answer of a notebook in a results folder, or None where it gave none.

    Args:
        folder: Of a study's results.
        number: Of the notebook, such as "03".
    """
    path = folder / f"{number}_answer.json"
    return Answer(**read_json(path)) if path.is_file() else None
