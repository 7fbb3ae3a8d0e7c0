from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import kdnb
from kdnb.cli.commands import main
from kdnb.cli.options import parse_sets
from kdnb.core.errors import UserError
from kdnb.core.notebook_files import notebooks, parameters_of
from kdnb.core.run_files import done_content
from kdnb.core.runs import finished_runs, get_or_make, read_json, write_json
from kdnb.core.settings import Settings
from kdnb.efficiency.onnx_export import onnx_model
from kdnb.feature_maps.layer_analysis import analyse_layers

CLASSES = ("glioma", "meningioma", "notumor", "pituitary")


def run(capsys, monkeypatch, *arguments):
    """Exit code and stderr of ``kdnb`` with these arguments."""
    monkeypatch.setattr(sys, "argv", ["kdnb", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    return caught.value.code, capsys.readouterr().err.strip()


def printed(capsys, monkeypatch, *arguments):
    """What ``kdnb`` prints with these arguments, which it takes without complaint."""
    monkeypatch.setattr(sys, "argv", ["kdnb", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 0
    return capsys.readouterr().out


def archive(path, classes=CLASSES, per_class=12):
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as file:
        for part in ("Training", "Testing"):
            for name in classes:
                for i in range(per_class):
                    image = Image.fromarray(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8))
                    with file.open(f"{part}/{name}/{i}.png", "w") as member:
                        image.save(member, "PNG")
    return path


def cut_short(path):
    archive(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def no_images(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("readme.txt", "nothing here")


BAD = {
    "not a zip": (lambda p: p.write_text("hello"), "zip"),
    "cut short": (cut_short, "zip"),
    "no images": (no_images, "no images"),
    "lacks a class": (lambda p: archive(p, CLASSES[:3]), "pituitary"),
    "missing": (lambda p: None, "does not exist"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_archive_is_one_line_and_code_2(case, tmp_path, capsys, monkeypatch):
    make, word = BAD[case]
    path, runs = tmp_path / "bad.zip", tmp_path / "runs"
    make(path)
    given = ["--dataset", "brain_tumor", "--data", str(path), "--profile", "smoke"]
    code, err = run(capsys, monkeypatch, "study", *given, "--runs-dir", str(runs))
    assert code == 2 and word in err and err.startswith("kdnb: ") and "\n" not in err
    left = [p for p in runs.rglob("*") if p.is_file() and p.suffix != ".lock"]
    assert not left  # nothing half-written


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--profile", "fast"], "profile must be one of"),
        (["--seed", "-1"], "seed must be a whole number"),
        (["--set", "alpha=1.4"], r"alpha must be a number in [0, 1], got 1.4"),
        (["--set", "alhpa=0.4"], "did you mean alpha?"),
        (["--profile", "Smok"], "got 'Smok'; did you mean smoke?"),
        (["--set", "teacher=resnet5"], "did you mean resnet50?"),
        (["--dataset", "brain_tumour"], "did you mean brain_tumor?"),
        (["--dataset", "custom"], "needs data: give the path of an archive, a folder of class"),
        (["--set", "alpha"], "--set takes name=value, got 'alpha'"),
        (["--set", "teacher_seed=-1"], "teacher_seed must be"),
        (["--set", "alphas=[0.4"], "--set alphas takes a number, a text or a list, got '[0.4'"),
    ],
)
def test_bad_parameter_is_one_line_and_code_2(arguments, word, tmp_path, capsys, monkeypatch):
    code, err = run(capsys, monkeypatch, "study", "--runs-dir", str(tmp_path / "runs"), *arguments)
    assert code == 2 and word in err and "\n" not in err


def test_the_version_is_told(capsys, monkeypatch):
    assert printed(capsys, monkeypatch, "--version").strip() == f"kdnb {kdnb.__version__}"


def test_output_folder_that_cannot_be_written(tmp_path, capsys, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    code, err = run(capsys, monkeypatch, "study", "--profile", "smoke", "--runs-dir", str(blocked))
    assert code == 2 and "cannot be written" in err and "\n" not in err


def test_real_process_shows_no_traceback(tmp_path):
    kdnb = [sys.executable, "-m", "kdnb.cli"]
    command = [*kdnb, "study", "--set", "temperature=0", "--runs-dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "temperature must be" in done.stderr


def test_data_command_reads_a_brain_archive(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("KDNB_DATA", raising=False)  # where the set that it comes from may lie
    path = archive(tmp_path / "good.zip")
    given = [
        "--dataset",
        "brain_tumor",
        "--data",
        path,
        "--profile",
        "smoke",
        "--runs-dir",
        tmp_path / "runs",
    ]
    out = printed(capsys, monkeypatch, "data", "show", *given)
    assert "96 images, 0 skipped" in out and "1-NN on raw pixels" in out
    assert "are not used: --split published uses them" in out


def test_audit_command_writes_its_page(tmp_path, capsys, monkeypatch):
    path, out = archive(tmp_path / "good.zip"), tmp_path / "audit"
    given = ["--dataset", "brain_tumor", "--out", out, "--runs-dir", tmp_path / "runs"]
    told = printed(capsys, monkeypatch, "data", "audit", path, *given)
    assert "grouped" in told and f"report: {out / 'report.html'}" in told
    assert (out / "ledger.csv").is_file()


@pytest.mark.slow
def test_explain_names_the_students_that_are_read(study, tmp_path, capsys, monkeypatch):
    code, error = run(
        capsys, monkeypatch, "explain", "x.png", "--run", "zz", "--runs-dir", str(tmp_path)
    )
    assert code == 2
    assert error.startswith("kdnb: run must be the id of a student read in notebook 04")
    analyse_layers(study)
    image, page = tmp_path / "a.png", tmp_path / "a.html"
    Image.fromarray(np.array(study.image_set.pixels[3])).save(image)
    drawn = image.read_bytes()
    given = ["--run", study.student.id, "--runs-dir", str(study.settings.runs)]
    for wrong in (str(image), "."):
        code, error = run(capsys, monkeypatch, "explain", str(image), *given, "--out", wrong)
        assert code == 2 and "--out must be a file whose name ends in .html" in error
    assert image.read_bytes() == drawn, "the image is not written over"
    given = ["--run", study.student.id[:8], "--out", page, "--runs-dir", study.settings.runs]
    told = printed(capsys, monkeypatch, "explain", image, *given)
    assert "The student says" in told and f"page: {page}" in told
    assert "kdnb-stepper" in page.read_text()


@pytest.mark.parametrize(
    ("name", "word"), [("brain_tumr", "did you mean brain_tumor?"), ("", "needs data: give the")]
)
def test_audit_of_a_wrong_name_says_what_to_give(name, word, tmp_path, capsys, monkeypatch):
    given = ["--out", str(tmp_path / "out"), "--runs-dir", str(tmp_path)]
    code, said = run(capsys, monkeypatch, "data", "audit", name, *given)
    assert code == 2 and word in said and "\n" not in said


@pytest.mark.parametrize("notebook", notebooks(), ids=lambda p: p.stem)
def test_defaults_of_every_notebook_are_the_settings_defaults(notebook):
    declared = parameters_of(notebook)
    fields = Settings.model_fields
    assert set(declared) <= set(fields)
    assert {n: v for n, v in declared.items() if v != fields[n].default} == {}


def test_project_root_can_be_named(tmp_path, monkeypatch):
    from kdnb.core.errors import UserError

    monkeypatch.setenv("KDNB_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no notebooks in"):
        notebooks()
    assert Path(os.environ["KDNB_ROOT"]) == tmp_path


@pytest.mark.slow
def test_export_writes_a_student(study, tmp_path, capsys, monkeypatch):
    path, given = (
        tmp_path / "student.onnx",
        ["--run", study.student.id[:6], "--runs-dir", study.settings.runs],
    )
    told = printed(capsys, monkeypatch, "export", path, *given)
    assert "images (N, 3, 32, 32)" in told and f"classes: {', '.join(CLASSES)}" in told
    images = study.images(study.sample(3))
    with torch.inference_mode():
        wanted = study.student_model(images).numpy()
    np.testing.assert_allclose(onnx_model(path)(images), wanted, atol=1e-4)


@pytest.mark.slow
def test_export_tells_the_range_of_deep_images(study, tmp_path, capsys, monkeypatch):
    import onnx

    folder = tmp_path / "student" / study.student.id
    shutil.copytree(study.student.folder, folder)
    metrics = read_json(folder / "metrics.json")
    assert metrics["images"]["ranges"] == {}, "the phantoms have 8 bits"
    metrics["images"]["ranges"] = {"16-bit integers": [0, 4095]}
    write_json(folder / "metrics.json", metrics)
    write_json(folder / "done.json", done_content(folder, 1.0, ""))
    path = tmp_path / "x.onnx"
    told = printed(
        capsys, monkeypatch, "export", path, "--run", study.student.id, "--runs-dir", tmp_path
    )
    assert "in 16-bit integers, 0 is black and 4,095 is white" in told
    saved = {prop.key: prop.value for prop in onnx.load(path).metadata_props}
    assert json.loads(saved["ranges"]) == {"16-bit integers": [0, 4095]}


@pytest.mark.parametrize("name", ["feedfeedfeedfeed", "", "student/"])
def test_export_of_an_unknown_run_is_one_line_with_the_known_ones(
    name, study, tmp_path, capsys, monkeypatch
):
    arguments = (
        "export",
        "--run",
        name,
        str(tmp_path / "x.onnx"),
        "--runs-dir",
        str(study.settings.runs),
    )
    code, said = run(capsys, monkeypatch, *arguments)
    assert code == 2 and "\n" not in said and f"got '{name}', which is none of them" in said
    newest = finished_runs(study.settings.runs, "student")[-1]
    assert newest.id in said and not list(tmp_path.iterdir())


def test_export_before_any_run_says_what_to_do(tmp_path, capsys, monkeypatch):
    code, said = run(
        capsys,
        monkeypatch,
        "export",
        "--run",
        "ab",
        str(tmp_path / "x.onnx"),
        "--runs-dir",
        str(tmp_path),
    )
    assert code == 2 and "none yet: run the study first" in said


def test_a_number_may_be_written_with_an_exponent():
    given = ["learning_rate=1e-3", "split=random", "alphas=[0.4, 0.7]", "controls=[shuffled]"]
    assert list(parse_sets(given).values()) == [0.001, "random", [0.4, 0.7], ["shuffled"]]


@pytest.mark.parametrize(
    "given", ["seed=010", "batch_size=064", "temperatures=[1:30]", "widths=[1, 1:30.5]"]
)
def test_a_number_that_yaml_takes_for_another_is_refused(given):
    with pytest.raises(UserError, match="takes decimal numbers without leading zeros or colons"):
        parse_sets([given])


def test_a_text_stays_as_it_is_typed():
    for given, text in (("2024", "2024"), ("yes", "yes"), ('"my images"', "my images")):
        assert parse_sets([f"data={given}"]) == {"data": text}
    assert parse_sets(["split=yes", "mixup=yes"]) == {"split": "yes", "mixup": True}


def test_export_of_cut_weights_is_one_line(study, tmp_path, capsys, monkeypatch):
    folder = tmp_path / "student" / study.student.id
    shutil.copytree(study.student.folder, folder)
    shutil.copytree(folder, tmp_path / "student" / "another")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    arguments = (
        "export",
        "--run",
        study.student.id,
        str(tmp_path / "x.onnx"),
        "--runs-dir",
        str(tmp_path),
    )
    code, said = run(capsys, monkeypatch, *arguments)
    assert code == 2 and "\n" not in said and "model.safetensors has 100 bytes" in said


def test_check_of_runs_names_what_is_damaged(tmp_path, capsys, monkeypatch):
    runs = [
        get_or_make("thing", {"number": number}, write_thing, root=tmp_path) for number in range(3)
    ]
    assert printed(capsys, monkeypatch, "runs", "check", "--runs-dir", tmp_path) == (
        "3 finished runs: 0 damaged\n"
    )
    (runs[0].folder / "thing.txt").write_text("0")
    write_json(runs[1].folder / "done.json", {"id": runs[1].id, "seconds": 1.0})
    monkeypatch.setattr(sys, "argv", ["kdnb", "runs", "check", "--runs-dir", str(tmp_path)])
    with pytest.raises(SystemExit) as caught:
        main()
    line, told = capsys.readouterr().out.splitlines()
    assert caught.value.code == 1 and f"thing/{runs[0].id} is damaged: thing.txt" in line
    assert told == (
        "3 finished runs: 1 damaged, 1 of an older version, which keep no hashes to check"
    )


def test_damage_is_told_in_lists_and_a_folder_that_is_not_there_is_refused(
    tmp_path, capsys, monkeypatch
):
    made = get_or_make("student", {"number": 1}, write_thing, root=tmp_path, upstream=["a"])
    made.path("thing.txt").write_text("longer")
    (made.folder / "spec.json").write_text("{")
    given = ["--runs-dir", tmp_path]
    assert "damaged: student" in printed(capsys, monkeypatch, "runs", "list", *given)
    told = printed(capsys, monkeypatch, "runs", "show", made.id, *given)
    assert "built on:  not known: spec.json is missing or damaged" in told
    for command in ("list", "check"):
        nowhere = str(tmp_path / "slip")
        code, said = run(capsys, monkeypatch, "runs", command, "--runs-dir", nowhere)
        assert code == 2 and f"--runs-dir '{nowhere}' is no folder" in said


def write_thing(run):
    run.path("thing.txt").write_text("1")


@pytest.mark.parametrize(
    ("others", "word"),
    [("nowhere", "'nowhere' is not known"), ("brain_tumor", "'brain_tumor' twice")],
)
def test_origins_command_says_what_is_wrong(others, word, tmp_path, capsys, monkeypatch):
    path = archive(tmp_path / "good.zip")
    given = ["--data", str(path), "--out", str(tmp_path / "out"), "--runs-dir", str(tmp_path)]
    code, error = run(capsys, monkeypatch, "data", "origins", "brain_tumor", others, *given)
    assert code == 2 and word in error and "\n" not in error
    assert not (tmp_path / "out").exists()


def test_runs_are_listed_shown_and_removed_only_after_a_yes(tmp_path, capsys, monkeypatch):
    made = get_or_make("teacher", {"model": "resnet18"}, write_thing, root=tmp_path)
    other = get_or_make("student", {}, write_thing, root=tmp_path, upstream=[made.id])
    of_runs = ["--runs-dir", str(tmp_path)]
    told = printed(capsys, monkeypatch, "runs", "list", *of_runs)
    assert f"teacher/{made.id}" in told and "2 of 2 runs" in told
    assert told == printed(capsys, monkeypatch, "runs", *of_runs), "the list needs no word"
    code, said = run(capsys, monkeypatch, "runs", *of_runs, "show", made.id)
    assert code == 2 and "options stand behind the command" in said
    told = printed(capsys, monkeypatch, "runs", "show", made.id[:6], *of_runs)
    assert f"student/{other.id}" in told and '"model": "resnet18"' in told
    code, said = run(capsys, monkeypatch, "runs", "remove", made.id, "--yes", *of_runs)
    assert code == 2 and f"student/{other.id} is built on teacher/{made.id}" in said
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    code, said = run(capsys, monkeypatch, "runs", "remove", other.id, *of_runs)
    assert code == 2 and "--yes does not ask" in said and other.finished
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert run(capsys, monkeypatch, "runs", "remove", other.id, *of_runs)[0] == 1
    assert other.finished
    told = printed(capsys, monkeypatch, "runs", "remove", made.id, "--yes", "--anyway", *of_runs)
    assert "1 removed" in told and "freed" in told
    assert not made.folder.exists() and other.finished


def test_a_run_goes_with_all_that_is_built_on_it(tmp_path, capsys, monkeypatch):
    teacher = get_or_make("teacher", {}, write_thing, root=tmp_path)
    student = get_or_make("student", {}, write_thing, root=tmp_path, upstream=[teacher.id])
    grades = get_or_make("grades", {}, write_thing, root=tmp_path, upstream=[student.id])
    apart = get_or_make("teacher", {"seed": 1}, write_thing, root=tmp_path)
    given = [teacher.id, "--dependents", "--yes", "--runs-dir", str(tmp_path)]
    assert "3 removed" in printed(capsys, monkeypatch, "runs", "remove", *given)
    left = [run.finished for run in (teacher, student, grades, apart)]
    assert left == [False, False, False, True]


def test_a_run_of_changed_code_is_counted_and_shown(tmp_path, capsys, monkeypatch):
    def write_code(run):
        pass

    write_code.__module__ = "kdnb.data.dataset"
    made = get_or_make("manifest", {}, write_code, root=tmp_path)
    given = ["--runs-dir", str(tmp_path)]
    assert "other code" not in printed(capsys, monkeypatch, "runs", "check", *given)
    assert "changed:" not in printed(capsys, monkeypatch, "runs", "show", made.id, *given)
    monkeypatch.setattr("kdnb.core.provenance._hash", lambda name: "edited")
    told = printed(capsys, monkeypatch, "runs", "check", *given)
    assert told == f"1 finished runs: 0 damaged, 1 made by other code (manifest/{made.id}, …)\n"
    told = printed(capsys, monkeypatch, "runs", "show", made.id, *given)
    assert "changed:   core/differences.py, " in told and "data/" in told and '"code"' not in told


def test_a_damaged_run_is_shown_as_far_as_it_can_be_read(tmp_path, capsys, monkeypatch):
    made = get_or_make("teacher", {"model": "resnet18"}, write_thing, root=tmp_path)
    made.path("env.json").write_text("{")
    told = printed(capsys, monkeypatch, "runs", "show", made.id, "--runs-dir", tmp_path)
    assert "env.json: damaged" in told and '"model": "resnet18"' in told


def test_a_file_that_cannot_be_written_is_one_line(tmp_path, capsys, monkeypatch):
    plan = tmp_path / "plan.toml"
    plan.write_text('version = 1\nnotebook = "03_distillation"\n[fixed]\nprofile = "smoke"\n')
    (tmp_path / "file").write_text("")
    to = str(tmp_path / "file" / "specs")
    code, said = run(capsys, monkeypatch, "sweep", "plan", str(plan), "--specs", to)
    assert code == 2 and said == f"kdnb: '{to}' cannot be used: Not a directory"


def test_a_bad_label_is_refused_before_anything_runs(tmp_path, capsys, monkeypatch):
    given = ["--label", "a b", "--runs-dir", str(tmp_path)]
    code, said = run(capsys, monkeypatch, "study", *given)
    assert code == 2 and "label must have" in said and not list(tmp_path.iterdir())
