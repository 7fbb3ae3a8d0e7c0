"""Grades from submitted notebooks: one row per notebook and exercise, with the reason where there is no grade.

Read are the outcomes that the checks left in the saved outputs; a learner's code is never executed here. So an outcome
can be forged by editing the file. A changed check, a missing one and an answer that is still the stub are told. Who
must be certain runs the submissions again in a closed place (``papermill submission.ipynb copy.ipynb``) and grades the
copies.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from kdnb.course.building import NAMED, exercises, load_json, source_of, student_copy
from kdnb.course.checking import COLOURS, MIME
from kdnb.errors import UserError

__all__ = ["COLUMNS", "grade"]

COLUMNS = ("file", "notebook", "exercise", "outcome", "said", "note")
Reference = dict[str, dict[str, tuple[Any, Any]]]  # notebook → exercise → answer cell and check cell, as given out


def grade(folder: Path, notebooks: list[Path]) -> pd.DataFrame:
    """Grade every notebook under a folder, whatever its name; what one file breaks touches no other.

    ``notebooks`` are the committed ones that the student copies were built from.

    Returns:
        Columns ``COLUMNS``. ``outcome`` is ``passed``, ``not passed``, ``not tried``, ``doubtful`` (something does not
        fit; see ``note``) or ``not graded``.

    Raises:
        UserError: If the folder does not exist or holds no notebook.
    """
    if not folder.is_dir():
        raise UserError(f"'{folder}' is no folder: give the folder of submitted notebooks")
    files = sorted(p for p in folder.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
    if not files:
        raise UserError(f"no notebook (*.ipynb) in '{folder}'")
    given_out = {path.stem: exercises(student_copy(load_json(path), path.stem, {})) for path in notebooks}
    reference = {stem: of for stem, of in given_out.items() if of}
    rows = [(str(file.relative_to(folder)), *row) for file in files for row in _graded(file, reference)]
    return pd.DataFrame(rows, columns=COLUMNS).map(_harmless)


def _harmless(text: str) -> str:
    """Text that a spreadsheet does not take for a formula.

    >>> _harmless("=1+1"), _harmless("Right.")
    ("'=1+1", 'Right.')
    """
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _graded(file: Path, reference: Reference) -> list[tuple[str, str, str, str, str]]:
    try:
        notebook = load_json(file)
        stem = _which(notebook, reference)
        cells = [c for c in notebook["cells"] if isinstance(c, dict) and c.get("cell_type") == "code"]
        return [(stem, name, *_exercise(name, *pair, cells)) for name, pair in reference[stem].items()]
    except UserError as error:
        return [("", "", "not graded", "", str(error))]
    except Exception as error:  # valid JSON in a form that no program writes: it must not stop the others
        return [("", "", "not graded", "", f"no notebook as Jupyter writes it ({type(error).__name__}: {error})")]


def _which(notebook: Any, reference: Reference) -> str:
    """The notebook that most of the exercises come from; without any, the one that the build wrote down."""
    owners = {name: stem for stem, of in reference.items() for name in of}
    found = [owners.get(name) for c in notebook["cells"] for name in NAMED.findall(source_of(c))]
    written = notebook.get("metadata", {}).get("kdnb", {}).get("notebook")
    ranked = [stem for stem, _ in Counter(filter(None, found)).most_common(1)]
    for stem in (*ranked, written):
        if stem in reference:
            return stem
    raise UserError("holds no exercise of this study")


def _exercise(name: str, answer: Any, check: Any, cells: list[Any]) -> tuple[str, str, str]:
    """Outcome, what the check said, and what is doubtful about it."""
    named = [c for c in cells if c.get("id") == check["id"] or name in NAMED.findall(source_of(c))]
    if not named:
        return "not tried", "", "the check cell is missing"
    same = [c for c in named if _text(c) == _text(check)]
    cell = (same or named)[-1]
    doubts = [] if same else ["the check cell was changed"]
    outputs = [o for o in cell.get("outputs") or [] if isinstance(o, dict)]
    records = [r for o in outputs if isinstance(r := o.get("data", {}).get(MIME), dict)]
    if raised := [f"{o.get('ename')}: {o.get('evalue')}" for o in outputs if o.get("output_type") == "error"]:
        return "not passed", "", "; ".join([*doubts, f"the check stopped with {raised[0][:200]}"])
    if not records:
        return "not tried", "", "; ".join([*doubts, "the check was not run"])
    state, said = str(records[-1].get("state")), str(records[-1].get("said"))[:200]
    untouched = any(c.get("id") == answer["id"] and _text(c) == _text(answer) for c in cells)
    signs = {
        "the outcome belongs to another exercise": records[-1].get("exercise") != name,
        "the outcome is none that a check gives": state not in COLOURS,
        "it has an outcome, but was not run": cell.get("execution_count") is None,
        "passed, but the answer cell is untouched": state == "passed" and untouched,
    }
    doubts += [sign for sign, seen in signs.items() if seen]
    return "doubtful" if doubts else state, said, "; ".join(doubts)


def _text(cell: Any) -> str:
    return "\n".join(line.rstrip() for line in source_of(cell).strip().splitlines())
