from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from kdnb.core.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
SEEDS = ROOT / "figures" / "difficulty" / "seeds.csv"


@pytest.fixture
def place(benchmark_module, tmp_path, monkeypatch):
    """The benchmark, with a project of its own to publish in."""
    monkeypatch.setenv("KDNB_ROOT", str(tmp_path))
    page = tmp_path / "docs" / "results.md"
    page.parent.mkdir()
    page.write_text("<!-- difficulty -->\nold\n<!-- /difficulty -->\n")
    return benchmark_module("difficulty"), tmp_path


def test_rows_of_the_default_study_are_published(place):
    module, project = place
    module.publish_draws(pd.read_csv(SEEDS))
    assert (project / "figures" / "difficulty" / "seeds.csv").read_bytes() == SEEDS.read_bytes()
    page = (project / "docs" / "results.md").read_text()
    assert page in (ROOT / "docs" / "results.md").read_text()


@pytest.mark.parametrize(
    "name, value",
    [("dataset", "phantom_fundus"), ("profile", "smoke"), ("difficulty", 0.5)]
    + [("set", "student_epochs=3"), ("profile", None)],
)
def test_other_rows_are_refused_and_nothing_is_written(place, name, value):
    module, project = place
    table = pd.read_csv(SEEDS).astype(object)
    table.loc[3, name] = value
    with pytest.raises(UserError, match=f"{name} must be .* got '{value or ''}'"):
        module.publish_draws(table)
    assert not (project / "figures").exists()


def test_a_table_that_does_not_say_its_profile_is_refused(place):
    with pytest.raises(UserError, match="profile must be 'quick'"):
        place[0].publish_draws(pd.read_csv(SEEDS).drop(columns="profile"))


@pytest.mark.parametrize(
    "given, said",
    [("student_epochs=x", "student_epochs must be"), ("student_epochs", "takes name=value")],
)
def test_a_set_that_cannot_be_read_is_refused_by_name(place, monkeypatch, given, said):
    monkeypatch.setattr("sys.argv", ["difficulty.py", "--set", given])
    with pytest.raises(UserError, match=said):
        place[0].main()
