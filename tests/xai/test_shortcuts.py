"""The phantoms with a trap, which are the same whatever images a study has."""

from __future__ import annotations

from types import SimpleNamespace

from kdnb.core.settings import Settings
from kdnb.xai.shortcuts import LURING, _small


def test_trap_phantoms_take_nothing_from_a_study_of_other_images(tmp_path):
    runs = {"runs_dir": str(tmp_path)}
    of_scans = {"window": [-160, 240], "mixup": True, "sizes_of": "patients", "difficulty": 0.9}
    plain = _small(SimpleNamespace(settings=Settings.checked(runs)), LURING)
    small = _small(SimpleNamespace(settings=Settings.checked(runs | of_scans)), LURING)
    assert small.settings == plain.settings
    assert small.image_set.hash == plain.image_set.hash
