"""What is committed in figures/results is what its record makes.

Prose repeats it without a typed number.
"""

from __future__ import annotations

import re
import shutil

import nbformat
import pandas as pd
import pytest

from kdnb.core.profiles import LITE0
from kdnb.core.runs import read_json, write_json
from kdnb.core.settings import project_root
from kdnb.data.patient_split import TEST_FOLD
from kdnb.results.build import COLLECTED, PAGES, build_tables, published, told_lines
from kdnb.results.draws import draws_lines

ROOT = project_root()


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    write_json(folder / "manifest.json", {})
    shutil.copytree(ROOT / "figures" / COLLECTED, folder / COLLECTED)
    build_tables(folder)
    return folder


@pytest.mark.slow
def test_tables_are_made_again_byte_for_byte(rebuilt):
    made = {p.name: p.read_bytes() for p in (rebuilt / "results").glob("*.csv")}
    committed = (ROOT / "figures" / "results").glob("*.csv")
    assert made
    assert made == {p.name: p.read_bytes() for p in committed}


@pytest.mark.slow
def test_every_file_names_its_runs(rebuilt):
    manifest, made = (
        read_json(ROOT / "figures" / "manifest.json"),
        read_json(rebuilt / "manifest.json"),
    )
    assert {name: manifest[name]["runs"] for name in made} == {
        name: facts["runs"] for name, facts in made.items()
    }
    assert all(facts["runs"] for facts in made.values())


def test_no_row_is_without_provenance():
    for name, table in published().items():
        assert table["run"].notna().all(), name


@pytest.mark.parametrize("page", PAGES)
def test_readme_and_docs_say_what_the_tables_say(page):
    rest = (ROOT / page).read_text().partition("<!-- results -->\n")[2]
    said = rest.partition("<!-- /results -->")[0]
    lines = told_lines(published(), page)
    assert said == lines and "- **" in lines
    assert lines.startswith("**In short.** ") and "nan" not in lines
    assert ("### Table of splits" in lines) == (page == "docs/results.md")


def test_what_the_page_calls_reliable_or_surprising_is_so():
    tables = published()
    memory = tables["leaks"].query("model == 'memory'")
    assert set(memory["dataset"]) == {"brain_tumor", "eye_disease", "alzheimer"}
    assert (memory["difference_low"] > 0).all()
    found = tables["planned"].query("p_holm < 0.05")
    assert found["model"].tolist() == ["average map, conv1"] and (found["difference"] < 0).all()
    assert (tables["explanation_times"]["ratio_low"].dropna() > 1).all()
    students = tables["accuracy"].query(
        "dataset == 'brain_tumor' and split == 'published' and model != 'teacher' "
        "and counted == 'all classes'"
    )
    assert len(students) == 2 and (students["above_high"] < 0).all(), "memory is above both"
    peaks = tables["maps"].query("model == 'KD student' and metric == 'pointing game'")
    peaks = peaks[peaks["explanation"] == "class evidence"].set_index("tap")["value"]
    assert peaks["conv1"] > peaks["conv3"]
    teachers = tables["small_teachers"].query("fraction == 1")
    assert (teachers["difference"] < 0).all() and teachers["teachers"].min() >= 3
    sampled = tables["maps"].query("explanation in ['SHAP gradient', 'occlusion']")
    assert "teacher" not in set(sampled["model"])


def test_the_teacher_of_fewer_multiplications_was_the_slower_one_as_the_readme_says():
    table = pd.read_csv(ROOT / "figures" / "phantom_brain-grouped" / "06_teachers.csv")
    ratios = table[table["teacher"] == LITE0].set_index("what")["ratio_low"]
    assert len(ratios) > 3 and (ratios > 1).all()


def test_the_tested_fold_is_the_hardest_as_the_limits_say():
    folds = published()["folds"].query("counted == 'known patients' and fold != 'all'")
    of_networks = folds[folds["model"] != "memory"]
    hardest = of_networks.loc[of_networks.groupby("model")["accuracy"].idxmin(), "fold"]
    assert set(hardest.astype(int)) == {TEST_FOLD}


def prose():
    """README and docs without code, notebooks' text without formulas: (name, text)."""
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        text = path.read_text()
        for name in ("results", "difficulty"):
            text = re.sub(f"<!-- {name} -->.*?<!-- /{name} -->", "", text, flags=re.DOTALL)
        yield path.name, text
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        yield path.stem, "\n".join(c.source for c in cells if c.cell_type == "markdown")


def test_the_page_tells_the_draws_that_are_published():
    table = pd.read_csv(ROOT / "figures" / "difficulty" / "seeds.csv")
    page = (ROOT / "docs" / "results.md").read_text()
    assert f"<!-- difficulty -->\n{draws_lines(table)}<!-- /difficulty -->" in page


@pytest.mark.parametrize(
    "name, text", list(prose()), ids=lambda value: value if len(str(value)) < 40 else ""
)
def test_no_result_is_typed_by_hand(name, text):
    """An interval, a signed difference or an accuracy of three digits belongs to a table."""
    code, source = r"```.*?```|`[^`]*`|\$[^$]*\$", r"\]\([^)]*\)|arXiv[: ][\d.]+|doi[: ][\w./-]+"
    quiet = re.sub(f"{code}|{source}", "", text, flags=re.DOTALL)
    assert not re.findall(r"\d\.\d+ \[|[+−-]0\.\d{2,}|\b0?\.\d{3}\b", quiet)
