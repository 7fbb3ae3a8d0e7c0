"""Tables that are read back as they were written, and shown so that they say something."""

import pandas as pd
import pytest

from kdnb.core.errors import DamagedRun, UserError
from kdnb.core.tables import csv_text, read_table, read_text, shown, with_intervals


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


def test_names_that_a_spreadsheet_takes_for_formulas_come_back_as_they_were(tmp_path):
    names = ["-", "+", "@x", "=1", "'=1", "'quoted'", "plain"]
    table = pd.DataFrame({"class": names, "=odd": range(len(names))})
    (tmp_path / "t.csv").write_text(csv_text(table, index=False))
    assert "'-" in (tmp_path / "t.csv").read_text()
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.csv"), table, check_dtype=False)


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


def test_a_table_shows_no_column_and_no_row_of_nothing_and_names_them():
    table = pd.DataFrame(
        {"score": [0.123456, None], "unknown": [None, None], "macs": [30932369408, 1573188.0]},
        index=["vgg", "five"],
    )
    table.loc["gone"] = None
    html = shown(table).data
    assert "NaN" not in html and "nan" not in html
    assert "<td>0.123</td>" in html and "<td>30.9 G</td>" in html and "<td>–</td>" in html
    assert "Not known here: gone; unknown." in html
    assert shown(table[["unknown"]], nothing="No <pairs>.").data == "<p>No &lt;pairs&gt;.</p>"


def test_a_long_table_is_folded_away_and_a_short_one_is_not():
    long = pd.DataFrame({"images": range(13), "class": ["a<b"] * 13})
    assert shown(long, "all <classes>").data.startswith("<details><summary>all &lt;classes&gt;")
    short = shown(long.head(12), "unused").data
    assert "<details>" not in short and "a&lt;b" in short and "<td>11</td>" in short


def test_names_that_look_like_numbers_are_shown_as_they_are():
    html = shown(pd.DataFrame({"class": ["001", "002"], "flag": [True, False]})).data
    assert "<td>001</td>" in html and "<td>True</td>" in html


def test_intervals_as_text_say_nothing_of_what_is_not_known():
    table = pd.DataFrame({"value": [0.5, 0.25, None], "low": [0.4, None, None], "high": [0.6] * 3})
    assert with_intervals(table).tolist() == ["0.50 [0.40, 0.60]", "0.25", ""]
