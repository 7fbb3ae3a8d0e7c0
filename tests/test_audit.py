from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kdnb.audit import audit, write_audit
from kdnb.errors import UserError
from kdnb.phantoms import PhantomPlan, render, table
from kdnb.settings import Settings


@pytest.fixture
def folder(tmp_path):
    """Two classes with published parts; five test images are planted in train: three as they are, two mirrored."""
    plan = PhantomPlan("brain", patients=80, slices=1)
    rows = table(plan)
    for label in ("glioma", "pituitary"):
        for i, row in enumerate(rows[rows["label"] == label].head(20).itertuples()):
            image = render(plan, row.image_id, 96)[0]
            place = tmp_path / "set" / ("test" if i < 6 else "train") / label
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(place / f"{i}.png")
            if label == "glioma" and i < 5:
                copy = tmp_path / "set" / "train" / label / f"copy{i}.png"
                copy.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image if i < 3 else np.ascontiguousarray(image[:, ::-1])).save(copy)
    return tmp_path


def settings(folder):
    return Settings.checked({"dataset": "custom", "data": str(folder / "set"), "runs_dir": str(folder / "runs")})


def test_planted_copies_are_counted_and_the_grouped_split_has_none(folder):
    summary, ledger, notes = audit(settings(folder))
    assert summary.loc["published", ["exact", "near", "family"]].tolist() == [3, 0, 2]
    assert summary.loc["grouped", ["exact", "near", "family", "patient"]].tolist() == [0, 0, 0, 0]
    assert summary.loc["deduplicated", ["exact", "near", "family"]].tolist() == [0, 0, 0]
    assert set(ledger[ledger["split"] == "published"]["kind"]) == {"exact", "family"} and notes


def test_files_are_written_and_the_page_opens_by_itself(folder):
    summary = write_audit(settings(folder), folder / "out")
    assert {p.name for p in (folder / "out").iterdir()} == {"summary.csv", "ledger.csv", "report.html"}
    assert pd.read_csv(folder / "out" / "summary.csv")["split"].tolist() == list(summary.index)
    assert "What crosses from train to test" in (folder / "out" / "report.html").read_text()


def test_bad_places_are_one_clear_line(folder):
    (folder / "file").write_text("x")
    with pytest.raises(UserError, match="cannot be written .*--out"):
        write_audit(settings(folder), folder / "file" / "out")
    with pytest.raises(UserError, match="does not exist"):
        audit(Settings.checked({"dataset": "custom", "data": str(folder / "nowhere"), "runs_dir": str(folder)}))
