from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from kdnb.core import run_files
from kdnb.core.errors import DamagedRun, UserError
from kdnb.core.run_files import LARGE, check_files, is_recorded
from kdnb.core.runs import all_runs, find_run, finished_runs, get_or_make, write_json

EXAMPLES = int(os.environ.get("KDNB_FUZZ", "60"))  # of damage to a run
FILES = (
    "arrays.npz",
    "done.json",
    "env.json",
    "facts.json",
    "model.safetensors",
    "pixels.npy",
    "results/table.csv",
    "spec.json",
)


def fill(run):
    number = len(run.id) + int(run.id[0], 16)
    np.save(run.path("pixels.npy"), np.full((4, 4), number, np.uint8))
    np.savez(run.path("arrays.npz"), a=np.full(3, number))
    save_file({"weight": torch.full((3,), float(number))}, run.path("model.safetensors"))
    write_json(run.path("facts.json"), {"classes": ["a", "b"], "number": number})
    run.path("results").mkdir()
    run.path("results/table.csv").write_text(f"a,b\n1,{number}\n")
    run.path(".passing.npy").write_text("moved on by another run")


def made(root, number=0):
    return get_or_make("thing", {"number": number}, fill, root=root)


def content(root):
    """All that a reader of run 0 gets, as text."""
    run = find_run("thing", {"number": 0}, root=root)
    with np.load(run.path("arrays.npz")) as arrays:
        read = [run.json(name) for name in FILES if name.endswith(".json")]
        read += [np.load(run.path("pixels.npy")).tolist(), arrays["a"].tolist()]
    read.append(load_file(run.path("model.safetensors"))["weight"].tolist())
    read.append(run.path("results/table.csv").read_text())
    return json.dumps(read)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    root = tmp_path_factory.mktemp("original")
    for number in range(2):
        made(root, number)
    return root


def damage(data, folder, other):
    """Flip a bit of one file, cut it, empty it, take it away, or take another run's."""
    file = folder / data.draw(st.sampled_from(FILES), label="file")
    before = file.read_bytes()
    how = data.draw(st.sampled_from(["flip", "cut", "empty", "missing", "exchange"]), label="how")
    place = data.draw(st.integers(0, len(before) - 1), label="place")
    if how == "flip":
        changed = bytearray(before)
        changed[place] ^= 1 << data.draw(st.integers(0, 7), label="bit")
        file.write_bytes(changed)
    elif how == "cut":
        file.write_bytes(before[:place])
    elif how == "empty":
        file.write_bytes(b"")
    elif how == "missing":
        file.unlink()
    else:
        file.write_bytes((other / file.relative_to(folder)).read_bytes())
    return file


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.data())
def test_no_damaged_file_is_loaded_and_each_is_one_line(original, tmp_path_factory, data):
    root = tmp_path_factory.mktemp("damaged") / "runs"
    shutil.copytree(original, root)
    run, other = (find_run("thing", {"number": number}, root=root) for number in range(2))
    right = content(root)
    file = damage(data, run.folder, other.folder)
    run_files._hashed.cache_clear()  # a copy may be written within a tick of the disk's clock
    run_files._read_done.cache_clear()
    if not run.ended:
        assert file.name == "done.json" and find_run("thing", {"number": 0}, root=root) is None
        return
    try:
        read = content(root)
    except UserError as error:
        assert "\n" not in str(error) and f"run thing/{run.id} is damaged: " in str(error)
        assert str(run.folder) in str(error)
    else:
        assert read == right, "what is no damage: white space of done.json, a file of equal bytes"
    assert [found.id for found in finished_runs(root, "thing") if found.id == other.id]


@pytest.mark.parametrize("name", [name for name in FILES if name != "done.json"])
def test_a_damaged_run_is_neither_finished_nor_made_again(tmp_path, name):
    run = made(tmp_path)
    assert run.finished and is_recorded(run.folder)
    run.path(name).write_bytes(run.path(name).read_bytes()[:-1])
    assert not run.finished and run.ended and "bytes in place of" in run.damage
    assert finished_runs(tmp_path, "thing") == []
    for use in (lambda: made(tmp_path), lambda: run.path(name)):
        with pytest.raises(DamagedRun, match=f"{name} has .* Delete the folder"):
            use()
    shutil.rmtree(run.folder)
    assert made(tmp_path).id == run.id


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ('{"id": ', "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[]", "does not say how long"),
        ('{"id": "ffff", "seconds": 1}', "is that of run 'ffff'"),
        ('{"id": "ID", "seconds": 1, "files": {}}', "was changed"),
        ("\x00\x00", "is no JSON"),
    ],
)
def test_a_damaged_done_json_is_one_line(tmp_path, text, said):
    run = made(tmp_path)
    (run.folder / "done.json").write_text(text.replace("ID", run.id))
    assert not run.finished and said in run.damage and "\n" not in run.damage
    with pytest.raises(DamagedRun, match="Delete the folder"):
        made(tmp_path)


def test_a_run_of_an_older_version_is_used_unchecked_and_that_is_said_once(tmp_path, capsys):
    run = made(tmp_path)
    write_json(run.folder / "done.json", {"id": run.id, "seconds": 1.5, "finished": "then"})
    (run.folder / "results" / "table.csv").write_text("a\n2\n")
    found = made(tmp_path)
    assert found.reused and found.seconds == 1.5 and found.finished
    assert found.path("results/table.csv").read_text() == "a\n2\n"
    assert capsys.readouterr().out.count("keep no hashes") == 1


def test_of_a_large_array_only_the_size_is_checked_until_somebody_asks(tmp_path, monkeypatch):
    def make(run):
        with run.path("pixels.npy").open("wb") as file:
            file.truncate(LARGE + 1)  # takes no place on the disk

    run = get_or_make("large", {}, make, root=tmp_path)
    with run.path("pixels.npy").open("rb+") as file:
        file.seek(1000)
        file.write(b"x")
    assert get_or_make("large", {}, make, root=tmp_path).reused
    with pytest.raises(DamagedRun, match=r"pixels\.npy has the SHA-256"):
        check_files(run.folder, "whole")
    with run.path("pixels.npy").open("rb+") as file:
        file.truncate(LARGE)
    with pytest.raises(DamagedRun, match="bytes in place of"):
        get_or_make("large", {}, make, root=tmp_path)


def test_a_file_that_the_run_did_not_make_is_not_read(tmp_path):
    run = made(tmp_path)
    (run.folder / "masks.npy").write_text("from elsewhere")
    with pytest.raises(DamagedRun, match="none of the files that it was made with"):
        run.path("masks.npy")
    assert run.finished and not run.path("other.npy").exists()


def test_what_passes_through_may_go(tmp_path):
    run = made(tmp_path)
    (run.folder / ".passing.npy").unlink()
    check_files(run.folder, "whole")
    assert [found.id for found in all_runs(tmp_path)] == [run.id]


def test_a_damaged_upstream_run_costs_no_checkpoint(tmp_path):
    upstream = made(tmp_path)
    upstream.path("facts.json").write_text("{}")

    def train(run):
        (run.folder / "checkpoint.pt").write_text("hours of work")
        upstream.path("facts.json")

    with pytest.raises(DamagedRun, match=upstream.id):
        get_or_make("student", {}, train, root=tmp_path)
    assert list(tmp_path.glob("student/*/checkpoint.pt"))
