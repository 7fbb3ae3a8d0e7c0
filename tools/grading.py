"""Grades from submitted notebooks, one row per notebook and exercise (``make grade``).

Read are the outcomes that the checks left in the saved outputs; a learner's code is never executed
here. So an outcome can be forged by editing the file. A changed check, a missing one and an answer
that is still the stub are told. Who must be certain runs the submissions again in a closed place,
by ``nbgrader autograde`` or papermill.
"""

import ast
import csv
import os
import shutil
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from IPython.core.inputtransformer2 import TransformerManager

from kdnb.core.errors import UserError
from kdnb.core.notebook_files import load_json, notebooks, parse_notebook, source_of
from kdnb.core.runs import atomic_path
from kdnb.core.tables import harmless
from kdnb.course.checks import COLOURS, MIME
from tools import run_command
from tools.exercises import NAMED, exercises

__all__ = ["COLUMNS", "PRACTICE", "TOTALS_COLUMNS", "grade", "totals"]

OUTCOMES = ("passed", "not passed", "not tried", "doubtful", "not graded")
# the best first: an untouched copy must not hide one that was worked on
RANK = ("passed", "doubtful", "not passed", "not tried", "not graded")
COLUMNS = ("file", "notebook", "exercise", "outcome", "said", "note")
TOTALS_COLUMNS = ("learner", *OUTCOMES, "total", "repeated")
MAX_BYTES = 32 * 2**20  # of a submission; an executed notebook of the study has one at most
PRACTICE = (
    "These checks are for practice and no exam: outcomes are read from saved files, which can be "
    "edited; see the column 'note'."
)
# notebook → exercise → answer and check, as given out
Reference = dict[str, dict[str, tuple[Any, Any]]]


def grade(folder: Path, committed: list[Path]) -> pd.DataFrame:
    """Grade every notebook under a folder, whatever its name; a broken file touches no other.

    Plain files are read; a link, a pipe or a file that is too large is named and not graded.

    Args:
        folder: The submissions, in folders or not.
        committed: The study's notebooks, which the student copies were built from.

    Returns:
        Columns ``COLUMNS``. ``outcome`` is ``passed``, ``not passed``, ``not tried``, ``doubtful``
        (something does not fit; see ``note``) or ``not graded``.

    Raises:
        UserError: If the folder does not exist or holds no notebook.
    """
    from tools.copies import student_copy  # nbgrader loads for seconds

    if not folder.is_dir():
        raise UserError(f"'{folder}' is no folder: give the folder of submitted notebooks")
    files = sorted(_submitted(folder))
    if not files:
        raise UserError(f"no notebook (*.ipynb) in '{folder}'")
    reference = {}
    for path in committed:
        given_out = exercises(student_copy(load_json(path), path.stem, {}))
        if given_out:
            reference[path.stem] = given_out
    rows = []
    first_of: dict[tuple[int, int], str] = {}  # number of a file on its disk → its first name
    for file in files:
        name = str(file.relative_to(folder))
        for row in _graded(file, reference):
            rows.append((name, *row[:-1], _with_twin(file, name, first_of, row[-1])))
    return pd.DataFrame(rows, columns=COLUMNS).map(_plain)


def totals(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per learner: how many exercises of each outcome, and how many are passed of how many.

    A learner is the first folder of a submission's path, or the file's name where there is none. Of
    an exercise that a learner gives several times, as in copies of a notebook, the best outcome
    counts, in the order of ``RANK``; ``repeated`` says how many others there are.

    Args:
        rows: From `grade`.
    """
    learners = [Path(file).parts[0] if "/" in file else Path(file).stem for file in rows["file"]]
    by_outcome = rows["outcome"].map(RANK.index)
    of_learners = rows.assign(learner=learners, rank=by_outcome).sort_values("rank", kind="stable")
    is_exercise = of_learners["exercise"] != ""
    repeated = is_exercise & of_learners.duplicated(["learner", "exercise"])
    counted = of_learners[~repeated]
    counts = pd.crosstab(counted["learner"], counted["outcome"])
    counts = counts.reindex(columns=OUTCOMES, fill_value=0).rename_axis(columns=None)
    exercises_of = counted["exercise"].ne("").groupby(counted["learner"]).sum()
    counts["total"] = counts["passed"].astype(str) + " of " + exercises_of.astype(str)
    counts["repeated"] = repeated.groupby(of_learners["learner"]).sum()
    return counts.reset_index()


def _submitted(folder: Path) -> Iterator[Path]:
    """Paths of notebooks, and of links to folders, whatever they are; folders are not followed."""
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != ".ipynb_checkpoints"]
        for name in folders + names:
            path = Path(parent, name)
            if name.endswith(".ipynb") or (name in folders and path.is_symlink()):
                yield path


def _read(path: Path) -> bytes:
    """The bytes of a submission; a UserError where it is no plain file of a sensible size."""
    if path.is_symlink():
        raise UserError(f"is a link to '{os.readlink(path)}', which is not followed")
    handle = None
    try:
        # a pipe that nobody writes to would never open
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            raise UserError("is no plain file")
        if about.st_size > MAX_BYTES:
            raise UserError(
                f"has {about.st_size / 2**20:.0f} MB, accepted are {MAX_BYTES // 2**20}: "
                "clear its outputs, run it again and save it"
            )
        with open(handle, "rb", closefd=False) as file:
            return file.read(MAX_BYTES)
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}") from None
    finally:
        if handle is not None:
            os.close(handle)


def _with_twin(file: Path, name: str, first_of: dict[tuple[int, int], str], note: str) -> str:
    """A note that also names an earlier submission which is the very same file on the disk."""
    about = os.lstat(file)
    first = first_of.setdefault((about.st_dev, about.st_ino), name)
    return (
        note if first == name else "; ".join(filter(None, [note, f"is the same file as '{first}'"]))
    )


def _plain(text: str) -> str:
    """One line of characters that can be written and shown, and that no spreadsheet runs."""
    written = text.encode("utf-8", "backslashreplace").decode()
    shown = "".join(char if char.isprintable() else " " for char in written)
    return harmless(shown.lstrip())


def _graded(file: Path, reference: Reference) -> list[tuple[str, str, str, str, str]]:
    """Notebook, exercise, outcome, what was said and the note, for each exercise of a file."""
    try:
        notebook = parse_notebook(_read(file), file.name)
        stem = _which(notebook, reference)
        cells = []
        for cell in notebook["cells"]:
            if isinstance(cell, dict) and cell.get("cell_type") == "code":
                cells.append(cell)
        rows = []
        for name, (answer, check) in reference[stem].items():
            rows.append((stem, name, *_exercise(name, answer, check, cells)))
        return rows
    except UserError as error:
        return [("", "", "not graded", "", str(error))]
    except Exception as error:  # valid JSON in a form that no program writes must not stop the rest
        odd = f"no notebook as Jupyter writes it ({type(error).__name__}: {error})"
        return [("", "", "not graded", "", odd)]


def _which(notebook: Any, reference: Reference) -> str:
    """The notebook that most exercises come from; without any, what the build wrote down."""
    owners = {}
    for stem, exercise_names in reference.items():
        owners.update(dict.fromkeys(exercise_names, stem))
    text = "\n".join(map(source_of, notebook["cells"]))
    found = [owners.get(name) for name in NAMED.findall(text)]
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
    candidates = same or named
    with_outcome = [c for c in candidates if _records(c)]  # a copy that was not run tells nothing
    cell = (with_outcome or candidates)[-1]
    doubts = [] if same else ["the check cell was changed"]
    outputs = _outputs(cell)
    records = _records(cell)
    raised = _error(outputs)
    cause = _cause(answer, cells)
    if raised:
        told = cause or f"the check stopped with {raised}"
        return "not passed", "", "; ".join([*doubts, told])
    if not records:
        if cause:
            return "not passed", "", "; ".join([*doubts, cause, "the check was not run"])
        return "not tried", "", "; ".join([*doubts, "the check was not run"])
    state = str(records[-1].get("state"))
    said = str(records[-1].get("said"))[:200]
    own = [c for c in cells if c.get("id") == answer["id"]]
    untouched = any(_code(c) == _code(answer) for c in own)
    passed = state == "passed"
    signs = {
        "the outcome belongs to another exercise": records[-1].get("exercise") != name,
        "the outcome is none that a check gives": state not in COLOURS,
        "it has an outcome, but was not run": cell.get("execution_count") is None,
        "passed, but the answer cell is untouched": passed and untouched,
        # where an editor gave new ids, the check's is another one, too
        "passed, but the answer cell is missing": passed
        and not own
        and cell.get("id") == check["id"],
        f"passed, but {cause}": passed and cause,
        "the answer was run again after its check": passed and own and _is_later(own[-1], cell),
    }
    doubts += [sign for sign, seen in signs.items() if seen]
    return "doubtful" if doubts else state, said, "; ".join(doubts)


def _code(cell: Any) -> str:
    """What a cell's code is without comments and layout; its text where it cannot be read."""
    try:
        return ast.dump(ast.parse(_as_python(source_of(cell))))
    except (SyntaxError, ValueError):
        return _text(cell)


def _as_python(code: str) -> str:
    """The code of a cell with IPython's own lines as Python: %magic, !command, name?"""
    return TransformerManager().transform_cell(code)


def _outputs(cell: Any) -> list[dict[str, Any]]:
    """The outputs of a cell that have the form of one."""
    return [output for output in cell.get("outputs") or [] if isinstance(output, dict)]


def _records(cell: Any) -> list[dict[str, Any]]:
    """The outcomes of a check among a cell's outputs."""
    kept = [output.get("data", {}).get(MIME) for output in _outputs(cell)]
    return [record for record in kept if isinstance(record, dict)]


def _is_later(cell: Any, other: Any) -> bool:
    """Whether a cell was run after another one, in one kernel, as their numbers tell."""
    counts = [one.get("execution_count") for one in (cell, other)]
    return all(isinstance(count, int) for count in counts) and counts[0] > counts[1]


def _cause(answer: Any, cells: list[Any]) -> str:
    """What is wrong with an answer cell itself, so that its check cannot find it; empty if nothing.

    Args:
        answer: As given out.
        cells: Of the submission.
    """
    own = [cell for cell in cells if cell.get("id") == answer["id"]]
    if not own:
        return ""
    try:
        ast.parse(_as_python(source_of(own[-1])))
    except (SyntaxError, ValueError) as error:
        place = f" in line {error.lineno}" if getattr(error, "lineno", None) else ""
        return f"the answer has a syntax error{place}: {getattr(error, 'msg', error)}"
    raised = _error(_outputs(own[-1]))
    return f"the answer stopped with {raised}" if raised else ""


def _error(outputs: list[dict[str, Any]]) -> str:
    """The error that a cell ended with; empty if it did not."""
    for output in outputs:
        if output.get("output_type") == "error":
            return f"{output.get('ename')}: {output.get('evalue')}"[:200]
    return ""


def _checked_target(out: str) -> Path:
    """The path of a CSV of grades that may be written.

    Raises:
        UserError: If it is empty, a folder, no CSV, or a file that holds no grades.
    """
    path = Path(out)
    if not out or path.is_dir() or path.suffix != ".csv":
        raise UserError(f"grades go into a CSV, got '{out}': name a file that ends in .csv")
    for target, columns in ((path, COLUMNS), (_totals_path(path), TOTALS_COLUMNS)):
        if target.exists() and _header(target) != list(columns):
            raise UserError(
                f"'{target}' holds something else than grades and is kept: choose another name"
            )
    return path


def _totals_path(path: Path) -> Path:
    """Where the totals go that belong to a CSV of grades."""
    return path.with_name(f"{path.stem}_totals{path.suffix}")


def _header(path: Path) -> list[str]:
    """The first row of a CSV; empty where it has none."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        return next(csv.reader([file.readline(1000)]), [])


def _write(table: pd.DataFrame, path: Path) -> None:
    """Write a CSV; one that is there is kept under another name, which is said."""
    if path.exists():
        kept = path.with_name(f"{path.name}.bak")
        shutil.copyfile(path, kept)
        print(f"the older {path} is kept as {kept}")
    with atomic_path(path) as temporary:
        # quoted, lest a spreadsheet that splits at semicolons finds a formula behind one
        table.to_csv(temporary, index=False, lineterminator="\n", quoting=csv.QUOTE_ALL)


def _text(cell: Any) -> str:
    """A cell's text without what an editor adds or takes at the ends of lines."""
    return "\n".join(line.rstrip() for line in source_of(cell).strip().splitlines())


def main(
    folder: Annotated[str, typer.Argument(help="submitted notebooks, in folders or not, any name")],
    out: Annotated[str, typer.Option(help="the CSV to write")] = "grades.csv",
) -> None:
    """Write one row per submitted notebook and exercise: passed or not, and what is doubtful."""
    if not folder:
        raise UserError("no folder of submissions: make grade FOLDER=path")
    path = _checked_target(out)
    rows = grade(Path(folder), notebooks())
    of_learners = totals(rows)
    _write(rows, path)
    _write(of_learners, _totals_path(path))
    counts = rows["outcome"].value_counts()
    told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    print(of_learners[["learner", "total"]].to_string(index=False))
    print(f"{rows['file'].nunique()} notebooks: {told}; {path}, {_totals_path(path)}")
    print(PRACTICE)


if __name__ == "__main__":
    run_command(main)
