"""Tables that are read back as they were written."""

import pandas as pd
import pytest

from kdnb.core.errors import DamagedRun, UserError
from kdnb.core.tables import csv_text, read_table, read_text


def test_names_that_look_like_numbers_stay_as_they_are(tmp_path):
    table = pd.DataFrame(
        {
            "class": ["001", "002"],
            "other": ["1e5", "1.10"],
            "plain": ["1", "2"],
            "score": [0.5, 1e-7],
            "large": [1e20, float("inf")],
            "gap": [1.0, None],
            "count": [-1, 20],
        }
    )
    (tmp_path / "t.csv").write_text(csv_text(table, index=False))
    found = read_table(tmp_path / "t.csv")
    assert found["class"].tolist() == ["001", "002"] and found["other"].tolist() == ["1e5", "1.10"]
    assert [found[name].dtype.kind for name in ("plain", "score", "large", "gap", "count")] == [
        *"ifffi"
    ]
    assert read_table(tmp_path / "t.csv", types={"plain": str})["plain"].tolist() == ["1", "2"]


def test_names_of_classes_are_text_always(tmp_path):
    for names in (["True", "False"], ["nan", "None"], ["1", "2"], ["1.0", "inf"], ["NA", ""]):
        table = pd.DataFrame({"class": names, "images": [3, 4]})
        (tmp_path / "t.csv").write_text(csv_text(table, index=False))
        found = read_table(tmp_path / "t.csv")
        assert found["class"].fillna("").tolist() == names and found["images"].tolist() == [3, 4]


def test_a_table_of_a_run_that_is_none_is_damage(tmp_path):
    path = tmp_path / "split.csv"
    path.write_text("a,b\nNA,\n")
    assert read_text(path).iloc[0].tolist() == ["NA", ""]
    for text in ("", "a\n1\n1,2,3\n"):
        path.write_text(text)
        with pytest.raises(DamagedRun, match=r"split.csv is no table\. Delete the folder"):
            read_text(path)
        with pytest.raises(UserError, match="split.csv' is no table as it was written .*again"):
            read_table(path)
