from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdnb.core.errors import UserError
from kdnb.core.live import is_live
from kdnb.core.profiles import LITE0, PROFILES
from kdnb.core.settings import Settings


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"alpha": 1.4}, r"alpha must be a number in \[0, 1\], got 1.4"),
        ({"alpha": "half"}, "alpha must be a number"),
        ({"temperature": 0.0}, "temperature must be"),
        ({"temperature": float("nan")}, "temperature must be .* got nan"),
        ({"seed": 1.5}, "seed must be a whole number"),
        ({"seed": True}, "seed must be a whole number"),
        ({"profile": "fast"}, "one of smoke, quick, standard, paper, got 'fast'"),
        ({"split": "patient"}, "one of grouped, random, published, deduplicated"),
        ({"image_size": 8}, r"in \[32, 512\], or 0, got 8"),
        ({"teacher_epochs": -1}, "teacher_epochs must be"),
        ({"alhpa": 0.4}, "unknown parameter 'alhpa': accepted are alpha, "),
        ({"dataset": ""}, "dataset must be"),
    ],
)
def test_bad_values_end_in_one_clear_line(values, message):
    with pytest.raises(UserError, match=message) as caught:
        Settings.checked(values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("profile", PROFILES)
def test_zero_takes_the_profile(profile):
    settings = dict(Settings.checked({"profile": profile}))
    expected = dict(PROFILES[profile])
    if expected["teacher"] == LITE0:
        expected["weights"] = "auto"
    assert {name: settings[name] for name in expected} == expected


def test_a_wrong_profile_is_not_blamed_on_what_would_take_its_values():
    with pytest.raises(UserError) as told:
        Settings.checked({"profile": "smok", "image_size": 0, "views": 0, "temperature": -1.0})
    assert "image_size" not in str(told.value) and "views" not in str(told.value)
    assert "profile" in str(told.value) and "temperature" in str(told.value)


def test_given_value_beats_the_profile():
    assert Settings.checked({"profile": "quick", "image_size": 96}).image_size == 96


def test_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Settings.checked({}).alpha = 0.1


@given(st.floats(0, 1), st.floats(0.1, 1000))
def test_every_value_in_range_is_taken(alpha, temperature):
    settings = Settings.checked({"alpha": alpha, "temperature": temperature})
    assert (settings.alpha, settings.temperature) == (alpha, temperature)


def test_papermills_injected_cell_is_checked():
    cell = "# What to run: the rest is rarely changed\nalpha = 0.7  # weight\nseed = 0"
    history = ["", cell, "# Parameters\nalpha = 0.4\nshiny = 1\n"]
    values = {"alpha": 0.4, "seed": 0, "shiny": 1, "other": object()}
    with pytest.raises(
        UserError, match="unknown parameter 'shiny': this notebook accepts alpha, seed"
    ):
        Settings.of_notebook(history, values)
    assert Settings.of_notebook(history[:2], values).alpha == 0.4
    with pytest.raises(UserError, match=r"alpha must be a number in \[0, 1\], got 'high'"):
        Settings.of_notebook(history[:2], values | {"alpha": "high"})


def test_the_latest_parameters_cell_counts():
    history = ["# What to run\nalpha = 0.7\nseed = 0", "# What to run\nalpha = 0.7"]
    assert Settings.of_notebook(history, {"alpha": 0.2, "seed": 5}).seed == 0
    with pytest.raises(UserError, match="no parameters cell was run"):
        Settings.of_notebook(["alpha = 0.7"], {"alpha": 0.7})


def test_a_corrected_typo_is_forgotten():
    history = [
        "# What to run\nalpha = 0.7",
        "# Parameters\nshiny = 1\n",
        "# Parameters\nalpha = 0.4\n",
    ]
    assert Settings.of_notebook(history, {"alpha": 0.4}).alpha == 0.4


@pytest.mark.parametrize(
    ("budget", "threads", "wanted"),
    [("1", 0, 1), ("1", 2, 2), ("", 0, os.cpu_count()), ("2,1", 0, os.cpu_count())],
)
def test_threads_of_the_parameter_then_of_the_environment_then_all(
    budget, threads, wanted, monkeypatch
):
    import torch

    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", budget)
    Settings.checked({"threads": threads}).activate()
    assert torch.get_num_threads() == wanted
    torch.set_num_threads(before)


FAULTS = """
import resource, torch
from kdnb.core.freed_memory import keep_freed_memory
{first}
for _ in range(20):
    torch.ones(2**24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has its own rules")
def test_large_tensors_get_memory_that_is_there_already():
    faults = [
        int(subprocess.check_output([sys.executable, "-c", FAULTS.format(first=first)]))
        for first in ("", "keep_freed_memory()")
    ]
    # page faults of five tensors of 64 MiB, by glibc's own rule and by ours
    assert faults[1] < faults[0] / 10


class Shell:
    """A kernel's shell that works on a request with some metadata."""

    def __init__(self, metadata):
        self.metadata = metadata

    def get_parent(self):
        return {"header": {}, "metadata": self.metadata}


class KernelShell(Shell):
    """The same, asked by a front end that names no cell."""

    kernel = "a kernel"

    def __init__(self):
        super().__init__({})


def test_live_only_where_a_person_sits(monkeypatch):
    import IPython

    for name in ("KDNB_LIVE", "JPY_SESSION_NAME", "VSCODE_PID", "COLAB_RELEASE_TAG"):
        monkeypatch.delenv(name, raising=False)
    assert not is_live()
    monkeypatch.setenv("JPY_SESSION_NAME", "notebooks/01_data.ipynb")
    assert not is_live(), "a command that a cell has started shows text alone"
    monkeypatch.setattr(IPython, "get_ipython", KernelShell)
    assert is_live()
    monkeypatch.setenv("KDNB_LIVE", "0")
    assert not is_live()


def test_papermill_inside_jupyterlab_is_not_live(monkeypatch):
    import IPython

    monkeypatch.setattr(IPython, "get_ipython", KernelShell)
    monkeypatch.delenv("KDNB_LIVE", raising=False)
    monkeypatch.setenv("JPY_SESSION_NAME", "notebooks/01_data.ipynb")
    Settings.of_notebook(["# What to run\nalpha = 0.7"], {"alpha": 0.7})
    assert is_live()
    Settings.of_notebook(
        ["# What to run\nalpha = 0.7", "# Parameters\nalpha = 0.4\n"], {"alpha": 0.4}
    )
    assert not is_live()


def test_a_request_that_names_its_cell_comes_from_a_person(monkeypatch):
    """As from VS Code in a container, which leaves no sign in the environment."""
    import IPython

    for name in ("KDNB_LIVE", "JPY_SESSION_NAME", "VSCODE_PID", "COLAB_RELEASE_TAG"):
        monkeypatch.delenv(name, raising=False)
    copy = ["# What to run\nalpha = 0.7", "# Parameters\nalpha = 0.4\n"]
    monkeypatch.setattr(IPython, "get_ipython", lambda: Shell({"cellId": "a1"}))
    Settings.of_notebook(copy, {"alpha": 0.4})  # papermill's copy, which a person runs again
    assert is_live()
    monkeypatch.setattr(IPython, "get_ipython", lambda: Shell({}))
    assert not is_live()
    Settings.of_notebook(copy, {"alpha": 0.4})
    monkeypatch.setattr(IPython, "get_ipython", lambda: Shell({"cellId": "a1"}))
    assert not is_live(), "papermill's own run stays what it is"
    monkeypatch.delenv("KDNB_LIVE")
    monkeypatch.setattr(IPython, "get_ipython", lambda: None)
    assert not is_live()


def test_every_seed_has_settings_of_its_own():
    settings = Settings.checked({"student_seed": 3, "student_seeds": 2})
    assert [one.student_seed for one in settings.per_student_seed] == [3, 4]


def test_the_profile_decides_which_teacher_and_what_it_starts_from():
    quick = Settings.checked({})
    assert (quick.teacher, quick.weights, quick.batch_size) == (LITE0, "auto", 16)
    named = Settings.checked({"teacher": "densenet121"})
    assert (named.teacher, named.weights) == ("densenet121", "none")
    assert Settings.checked({"weights": "none"}).weights == "none"
    paper = Settings.checked({"profile": "paper"})
    assert (paper.teacher, paper.weights) == ("densenet121", "auto")


def test_another_teacher_has_another_student():
    assert Settings.checked({}).student_seed == 0
    assert Settings.checked({"teacher_seed": 2}).student_seed == 2
    assert Settings.checked({"teacher_seed": 2, "student_seed": 5}).student_seed == 5


@pytest.mark.parametrize("text", ["1e-3", "0.5", "1", "5E-1", ".5", "+1e-2"])
def test_a_number_that_yaml_leaves_as_text_is_that_number(text):
    settings = Settings.checked({"learning_rate": text, "temperatures": [text, 2.0]})
    assert settings.learning_rate == float(text) and type(settings.learning_rate) is float
    assert settings.temperatures == [float(text), 2.0]


def test_every_number_may_be_written_as_such_a_text():
    numbers = [name for name, field in Settings.model_fields.items() if field.annotation is float]
    assert {"alpha", "difficulty", "max_broken", "test_share", "timing_seconds"} <= set(numbers)
    for name in numbers:
        assert getattr(Settings.checked({name: "5e-1"}), name) == 0.5


@pytest.mark.parametrize("text", ["1e-3s", "nan", "inf", "1_0", "0x1", " 1", "1,5", "a third"])
def test_other_text_is_no_number(text):
    with pytest.raises(UserError, match=r"learning_rate must be a number in \(0, 1\], or 0, got"):
        Settings.checked({"learning_rate": text})
