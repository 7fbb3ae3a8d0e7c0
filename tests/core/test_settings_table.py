from __future__ import annotations

from kdnb.core.settings import Settings
from kdnb.core.settings_table import MAIN, chosen


def test_the_table_shows_what_was_chosen_and_folds_the_rest():
    settings = Settings.checked({"profile": "smoke", "alpha": 0.4, "data": "<b>"})
    shown, folded = settings.table().data.split("<details>")
    assert "alpha" in shown and "&lt;b&gt;" in shown and "smoke" in shown
    assert "temperature" not in shown and "temperature" in folded and "image_size" in folded
    named = [name for name in Settings.model_fields if f">{name}</th>" in shown + folded]
    assert set(named) == set(Settings.model_fields), "nothing is lost"


def test_a_profile_alone_shows_the_main_settings():
    settings = Settings.checked({"profile": "paper"})
    assert tuple(chosen(dict(settings), dict(settings))) == MAIN
