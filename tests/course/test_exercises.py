"""The exercises of the notebooks: solutions pass, typical mistakes are told apart, stubs run."""

import ast
import re
import statistics

import pytest
from cells import bound, replay

from kdnb.core.notebook_files import code_cells, load_json, notebooks, source_of, tags_of
from kdnb.course.checks import check
from tools.exercises import exercises

TAUGHT = notebooks()[1:7]
LITTLE = {
    "profile": "smoke",
    "patients": 64,
    "slices": 4,
    "teacher_epochs": 1,
    "student_epochs": 2,
    "shap_samples": 10,
    "timing_seconds": 0.1,
}
each = pytest.mark.parametrize("path", TAUGHT, ids=lambda p: p.stem)


def prose(path):
    return "\n".join(source_of(c) for c in load_json(path)["cells"] if c["cell_type"] == "markdown")


@each
def test_a_taught_notebook_has_its_parts(path):
    text, found = prose(path), exercises(load_json(path))
    objectives = re.search(r"\*\*After this notebook you can\*\*\n((?:- .+\n)+)", text)[1]
    assert 3 <= objectives.count("- ") <= 5
    assert text.count("<details><summary>One possible answer</summary>") >= 2
    assert list(found) == [f"{path.stem[:2]}.{n}" for n in range(len(found))]
    assert len(found) >= 4
    first = [source_of(cell) for cell in load_json(path)["cells"][:10]]
    assert any(source.startswith("**Try it: about 2 minutes.**") for source in first)
    levels = re.findall(r"^### Exercise (\d): (easy|medium|hard), about (\d+) minutes$", text, re.M)
    assert [level for _, level, _ in levels] == ["easy", "medium", "hard"]
    assert [int(m) for *_, m in levels] == sorted(int(m) for *_, m in levels)
    assert '`dataset = "custom"`' in text
    assert "**Common mistake" in text + "**Common mistake" * (path.stem == "05_xai")
    assert any("instructor" in tags_of(c) for c in load_json(path)["cells"])
    progress = next(
        source_of(c) for c in load_json(path)["cells"] if "progress(Out" in source_of(c)
    )
    assert re.findall(r'"([\d.]+)"', progress) == list(found)


@each
def test_an_answer_that_stops_takes_no_other_exercise_with_it(path):
    """What several exercises need stands in a cell that is nobody's answer."""
    notebook = load_json(path)
    answers = {}
    own_check = {}
    for number, (answer, check_cell) in exercises(notebook).items():
        answers[answer["id"]] = number
        own_check[check_cell["id"]] = number
    given = set()  # names that the lesson defines itself
    lent = {}
    for cell in code_cells(notebook):
        tree = ast.parse(source_of(cell))
        made = set(bound(tree))
        number = answers.get(cell["id"])
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and node.id in lent.keys() - given - made:
                assert lent[node.id] in (number, own_check.get(cell["id"])), (cell["id"], node.id)
        if number is None:
            given |= made
        else:
            lent |= dict.fromkeys(made, number)


def test_misconceptions_are_named_where_they_belong():
    named = {
        "01": ("Splitting by slice",),
        "03": ("T² left out", "batchmean", "Probabilities in place of logits"),
        "04": ("Stretching every map to [0, 1]",),
    }
    for path in TAUGHT:
        assert all(name in prose(path) for name in named.get(path.stem[:2], ())), path.stem


@each
def test_new_prose_is_plain(path):
    text = prose(path).partition("## Think")[2]
    text = re.sub(r"```.*?```|<[^>]+>|^#.*$|`[^`]*`", " ", text, flags=re.M | re.S)
    lengths = [len(s.split()) for s in re.split(r"[.?!:]\s", text) if len(s.split()) > 2]
    assert statistics.median(lengths) <= 18


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("course")


@pytest.mark.slow
@each
def test_solutions_pass_and_mistakes_are_told_apart_and_stubs_run(path, runs_dir, monkeypatch):
    pytest.importorskip("nbgrader", reason="not installed: nbgrader (make course)")
    outcomes, told = {}, {}

    def probe(answer, expected, hints=(), tolerance=1e-4, **rest):
        outcome = check(answer, expected, hints, tolerance, **rest)
        outcomes[outcome.exercise] = outcome
        pairs = hints.items() if isinstance(hints, dict) else hints
        told[outcome.exercise] = [
            hint
            for wrong, hint in pairs
            if check(wrong, expected, hints, tolerance).said == f"Not yet: {hint}."
        ]
        return outcome

    for kind in replay(path, LITTLE | {"runs_dir": str(runs_dir)}, probe, monkeypatch):
        assert list(outcomes) == list(exercises(load_json(path)))
        state = {"solutions": "passed", "stubs": "not tried"}[kind]
        assert {o.state for o in outcomes.values()} == {state}, outcomes
        assert all(len(set(hints)) >= 2 for hints in told.values()), told
        outcomes.clear()
