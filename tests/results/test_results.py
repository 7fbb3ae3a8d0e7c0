from __future__ import annotations

import gzip
import json

import numpy as np
import pandas as pd
import pytest

from kdnb.batch.plan import read_plan
from kdnb.core.errors import UserError
from kdnb.core.run_files import done_content
from kdnb.core.runs import digest, write_json
from kdnb.distillation.grid import train_grid
from kdnb.distillation.predictions import (
    predicted_classes,
    training_histories,
    training_records,
)
from kdnb.results import collected_runs
from kdnb.results.accuracy_tables import accuracy_by_place
from kdnb.results.answered_runs import answered
from kdnb.results.build import COLLECTED, build_tables, make_tables, write_findings
from kdnb.results.collected_runs import (
    OF_MASKS,
    RECORDED,
    collect_runs,
    load_collected,
    run_key,
    without_rows,
)
from kdnb.results.effects import as_coded, gains, grid, sizes, small_teachers
from kdnb.results.explanation_tables import cost_tables, graded_tables, worth
from kdnb.results.findings import findings
from kdnb.results.map_plots import worth_rows
from kdnb.results.place_tables import place_tables
from kdnb.results.plots import size_curves
from kdnb.study.study import Study

PLAN = """
version = 1
notebook = "03_distillation"
[fixed]
profile = "smoke"
alpha = 0.4
temperature = 5
student_seeds = 2
dataset = "{dataset}"
[[part]]
name = "main"
[part.grid]
split = ["grouped", "random"]
[[part]]
name = "{third}"
[part.fixed]
{fixed}
"""
TARGET = np.array([0, 1, 2, 3] * 25)
GROUP = np.repeat(np.arange(25), 4)
SAID = {  # how many of every four images each model has right, by their place
    "1-NN": [1, 0, 0, 0],
    "1-NN mirrored": [1, 1, 0, 0],
    "teacher": [1, 1, 1, 1],
    "labels alone, seed 0": [1, 1, 0, 0],
    "labels alone, seed 1": [1, 1, 0, 0],
    "alpha 0.4, T 5, seed 0": [1, 1, 1, 0],
    "alpha 0.4, T 5, seed 1": [1, 1, 1, 0],
}


def tables_of_a_run(version="0.2.0"):
    said = {
        name: np.where(np.tile(right, 25) == 1, TARGET, (TARGET + 1) % 4)
        for name, right in SAID.items()
    }
    given = pd.DataFrame({"group": GROUP, "target": TARGET, "known": 1} | said)
    rows = [
        {
            "model": name,
            "alpha": 1.0 if "labels" in name else 0.4,
            "temperature": 1.0 if "labels" in name else 5.0,
            "seed": int(name[-1]) if name[-1].isdigit() else 0,
            "training": f"student/{name}",
            "val_accuracy": 0.7,
            "images": 400,
            "seconds": 1.0,
            "precision": "float32",
            "parameters": 10,
            "macs": 10,
            "data": "d",
            "kdnb": version,
            "commit": "c",
        }
        for name in list(SAID)[2:]
    ]
    rows[0] |= {"alpha": np.nan, "temperature": np.nan}
    went = [
        {
            "model": name,
            "epoch": epoch,
            "train_accuracy": 0.6,
            "val_loss": 0.5 + 0.1 * epoch * ("labels" in name) - 0.1 * epoch * ("alpha" in name),
            "val_accuracy": 0.1 * epoch + 0.2 * ("seed 1" in name),
        }
        for name in list(SAID)[2:]
        for epoch in (1, 2)
    ]
    return {
        "03_answers": given,
        "03_trainings": pd.DataFrame(rows),
        "03_curves": pd.DataFrame(went),
    }


@pytest.fixture
def plan(tmp_path):
    def write(dataset="phantom_brain", name="results", third="size", fixed="fraction = 0.5"):
        path = tmp_path / f"{name}.toml"
        path.write_text(PLAN.format(dataset=dataset, third=third, fixed=fixed))
        return path

    return write


@pytest.fixture
def finished(tmp_path, plan):
    """Runs as a sweep leaves them, each with the tables above."""

    def make(**changed):
        read = read_plan(plan(**changed.get("plan", {})))
        for number, spec in enumerate(read.specs(tmp_path / "runs")):
            version = changed.get("versions", ["0.2.0"] * 3)[number]
            folder = spec.run.folder / "results"
            folder.mkdir(parents=True)
            for name, table in tables_of_a_run(version).items():
                table.to_csv(folder / f"{name}.csv", index=False)
            write_json(spec.run.path("env.json"), {"kdnb": version})
            write_json(
                spec.run.path("done.json"),
                {"seconds": 5.0, "finished": "2026-01-01", "id": spec.run.id},
            )
        return read

    return make


@pytest.fixture
def figures(tmp_path):
    folder = tmp_path / "figures"
    folder.mkdir()
    write_json(folder / "manifest.json", {})
    return folder


def test_tables_hold_what_the_runs_answered(finished, figures, tmp_path):
    tables = make_tables(collect_runs(finished(), tmp_path / "runs", figures / COLLECTED))
    rows = tables["accuracy"].query("split == 'grouped'").set_index("model")
    assert rows["accuracy"].to_dict() == pytest.approx(
        {"teacher": 1, "KD student": 0.75, "label-only student": 0.5}
    )
    shown = rows.loc[
        "KD student", ["leak_meter", "leak_meter_mirrored", "memory", "skill", "above", "seeds"]
    ]
    assert shown.tolist() == pytest.approx([0.25, 0.5, 0.5, 0.5, 0.25, 1])
    assert rows["majority"].tolist() == pytest.approx([0.25] * 3)  # four classes of one size
    (gain,) = tables["gains"].to_dict("records")
    assert gain["fraction"] == 0.5 and gain["seeds"] == 2
    assert gain["difference"] == pytest.approx(0.25)
    assert gain["difference_low"] <= 0.25
    assert gain["p_patients"] < 0.001
    of_size = tables["sizes"].query("model == 'KD student'").set_index("fraction")
    assert of_size["agreement"].to_dict() == pytest.approx({0.5: 0.75})
    drawn = size_curves(tables["sizes"])
    assert "distilled student 0.750 at 50%" in drawn.alt
    assert "grid" not in tables  # no run of that part
    went = (
        tables["schedule"].query("split == 'grouped'").set_index(["model", "epoch"])["val_accuracy"]
    )
    assert went.loc["teacher"].tolist() == pytest.approx([0.1, 0.2])
    assert went.loc["KD student"].tolist() == pytest.approx([0.2, 0.3])  # the mean of two seeds
    kept = tables["kept_epochs"].query("split == 'grouped' and fraction == 1").set_index("model")
    assert kept["kept"].to_dict() == {
        "teacher": "2",  # of equals the last
        "KD student": "2, 2",
        "label-only student": "1, 1",
    }
    gains = kept.loc["KD student", ["over_labels", "over_labels_last"]]
    assert gains.tolist() == pytest.approx([0.1, 0.0])


def several_teachers(target_of_two=TARGET):
    """The record of three runs, each with a teacher and its students.

    How many of every four images each has right.
    """
    alike = {
        "dataset": "brain_tumor",
        "split": "grouped",
        "image_size": 64,
        "teacher_epochs": 1,
        "student_epochs": 1,
        "control": "",
        "fraction": 1.0,
    }
    said = {
        "one": {
            "teacher": 4,
            "alpha 0.4, T 5, seed 0": 3,
            "alpha 0.4, T 5, seed 1": 4,
            "labels alone, seed 0": 2,
            "labels alone, seed 1": 4,
        },
        "two": {"teacher": 0, "alpha 0.4, T 5, seed 1": 1, "labels alone, seed 1": 2},
        "three": {"teacher": 0, "alpha 0.4, T 5, seed 2": 1, "labels alone, seed 2": 2},
    }
    runs, answers, trainings = [], [], []
    for seed, (run, models) in enumerate(said.items()):
        parameters = json.dumps(alike | {"teacher_seed": seed})
        part = "more_teachers" if seed else "base"
        runs.append(
            {"run": run, "part": part, "notebook": "03_distillation", "parameters": parameters}
        )
        target = target_of_two if run == "two" else TARGET
        values = {"group": GROUP, "target": target, "1-NN": TARGET, "1-NN mirrored": TARGET}
        for model, right in models.items():
            values[model] = np.where(np.tile(np.arange(4) < right, 25), TARGET, (TARGET + 1) % 4)
            cell = (
                (np.nan,) * 2
                if model == "teacher"
                else (0.4, 5.0)
                if "alpha" in model
                else (1.0, 1.0)
            )
            trainings.append((run, model, *cell, int(model[-1]) if model[-1].isdigit() else 0))
        answers += [
            {"run": run, "model": m, "values": " ".join(map(str, v))} for m, v in values.items()
        ]
    columns = ["run", "model", "alpha", "temperature", "seed"]
    return {
        "runs": pd.DataFrame(runs),
        "03_answers": pd.DataFrame(answers),
        "03_trainings": pd.DataFrame(trainings, columns=columns),
    }


def test_more_teachers_are_drawn_with_their_own_students():
    (gain,) = gains(several_teachers()).to_dict("records")
    assert gain["against"] == "labels alone"
    assert gain["difference"] == pytest.approx(1.25 / 3 - 0.5)
    assert gain["seeds"] == gain["teachers"] == 3
    assert gain["run"] == "one two three"
    with pytest.raises(
        UserError, match="one and two have other test images: give them the same seed"
    ):
        gains(several_teachers(target_of_two=TARGET[::-1]))


def test_every_teacher_stands_against_its_own_student_on_labels_alone():
    (row,) = small_teachers(several_teachers()).to_dict("records")
    assert row["accuracy"] == pytest.approx(1 / 3), "of three teachers one is always right"
    assert row["labels_alone"] == pytest.approx(0.5)
    assert row["difference"] == pytest.approx(1 / 3 - 0.5)
    assert row["difference_low"] < -0.5 and row["difference_high"] > 0.1, "the teachers disagree"
    assert row["seeds"] == row["teachers"] == 3 and row["run"] == "one two three"


def test_the_same_images_in_other_groups_are_not_one_place():
    """So it is where the origins were at hand for one run and not for the other."""
    records = several_teachers()
    answers = records["03_answers"]
    of_two = (answers["run"] == "two") & (answers["model"] == "group")
    answers.loc[of_two, "values"] = " ".join(map(str, range(len(TARGET))))
    with pytest.raises(UserError, match="one and two have the same test images in other groups"):
        gains(records)


def test_widened_groups_are_carried_by_the_record():
    """Where another run of the record has them, a run without keeps its intervals."""
    records = {name: table[table["run"] == "one"] for name, table in several_teachers().items()}
    records["03_trainings"] = records["03_trainings"].assign(images=100)
    answers = records["03_answers"].set_index("model")
    answers.loc["group", "values"] = " ".join(map(str, range(len(TARGET))))
    records["03_answers"] = answers.reset_index()
    before = sizes(records)
    trainings = records["03_trainings"]
    records["03_trainings"] = trainings.assign(widening=np.nan)
    pd.testing.assert_frame_equal(sizes(records), before)
    records["03_trainings"] = trainings.assign(widening=2.0)
    after = sizes(records)
    assert [one.groups.widening for one in answered(records, "base")] == [2.0]
    assert after["accuracy"].equals(before["accuracy"])
    below = before["accuracy_low"] - after["accuracy_low"]
    above = after["accuracy_high"] - before["accuracy_high"]
    assert (below >= 0).all() and (above >= 0).all() and (below + above).sum() > 0.01


def test_the_earlier_network_stands_beside_the_five_layers_on_labels_alone():
    records = several_teachers()
    of_one = {name: table[table["run"] == "one"] for name, table in records.items()}
    coded = {name: table.assign(run="coded") for name, table in of_one.items()}
    coded["runs"] = coded["runs"].assign(part="as_coded")
    is_label_only = coded["03_trainings"]["model"].str.startswith("labels")
    coded["03_trainings"] = coded["03_trainings"][is_label_only]
    wrong = " ".join(map(str, (TARGET + 1) % 4))
    of_labels = coded["03_answers"]["model"].str.startswith("labels")
    coded["03_answers"].loc[of_labels, "values"] = wrong
    both = {name: pd.concat([of_one[name], coded[name]]) for name in of_one}
    (row,) = as_coded(both).to_dict("records")
    assert row["as_coded"] == 0 and row["five_conv"] == pytest.approx(0.75)
    assert row["difference"] == pytest.approx(-0.75) and row["seeds"] == 2
    assert row["run"] == "coded one"


def test_the_grid_names_the_cell_that_validation_chooses():
    records = {name: table[table["run"] == "one"] for name, table in several_teachers().items()}
    records["runs"] = records["runs"].assign(part="grid")
    records["03_trainings"] = records["03_trainings"].assign(val_accuracy=0.5)
    rows = grid(records).set_index(["alpha", "temperature"])
    assert rows["chosen"].to_dict() == {(0.4, 5.0): 1, (1.0, 1.0): 0}
    assert rows.loc[(0.4, 5.0), "gain"] == pytest.approx((0.75 + 1) / 2 - 0.75)
    assert rows.loc[(1.0, 1.0), "gain"] == 0


def controlled(seeds=(0, 1)):
    """The record of a run with a teacher, and of one with a control in its place.

    The students of the control have these seeds.
    """
    records = several_teachers()
    of_one = {name: table[table["run"] == "one"] for name, table in records.items()}
    again = {name: table.assign(run="control") for name, table in of_one.items()}
    parameters = json.loads(of_one["runs"]["parameters"].iloc[0]) | {"control": "shuffled"}
    again["runs"] = again["runs"].assign(part="controls", parameters=json.dumps(parameters))
    renamed = again["03_trainings"]["model"].str.startswith("alpha")
    again["03_trainings"].loc[renamed, "seed"] = seeds
    right = {"alpha 0.4, T 5, seed 0": 2, "alpha 0.4, T 5, seed 1": 3}
    for model, count in right.items():
        values = np.where(np.tile(np.arange(4) < count, 25), TARGET, (TARGET + 1) % 4)
        again["03_answers"].loc[again["03_answers"]["model"] == model, "values"] = " ".join(
            map(str, values)
        )
    return {name: pd.concat([of_one[name], again[name]]) for name in of_one}


def test_what_the_teacher_taught_stands_against_what_a_control_taught():
    rows = gains(controlled()).set_index(["taught_by", "against"])
    assert rows["difference"].to_dict() == pytest.approx(
        {
            ("the teacher", "labels alone"): (0.75 + 1) / 2 - 0.75,
            ("shuffled", "labels alone"): (0.5 + 0.75) / 2 - 0.75,
            ("the teacher", "shuffled"): 0.25,
        }
    )
    against = rows.loc[("the teacher", "shuffled")]
    assert against["run"] == "one control"
    assert against["difference_low"] > 0
    assert against["seeds"] == 2
    assert ("the teacher", "shuffled") not in gains(controlled(seeds=(3, 4))).set_index(
        ["taught_by", "against"]
    ).index


def test_every_student_of_a_control_stands_against_that_of_its_own_teacher():
    taught = several_teachers()
    controls = {name: table.copy() for name, table in taught.items()}
    for table in controls.values():
        table["run"] = "control of " + table["run"]
    parameters = []
    for text in controls["runs"]["parameters"]:
        parameters.append(json.dumps(json.loads(text) | {"control": "shuffled"}))
    controls["runs"] = controls["runs"].assign(part="controls", parameters=parameters)
    answers = controls["03_answers"]
    is_student = answers["model"].str.startswith("alpha")
    answers.loc[is_student, "values"] = " ".join(map(str, (TARGET + 1) % 4))

    of_two = {name: table[table["run"] != "control of one"] for name, table in controls.items()}
    both = {name: pd.concat([taught[name], of_two[name]]) for name in taught}
    rows = gains(both).set_index(["taught_by", "against"])
    against = rows.loc[("the teacher", "shuffled")]
    assert against["run"] == "two three control of two control of three"
    assert against["difference"] == 0.25, "each of the two is right in one of four"
    assert against["seeds"] == against["teachers"] == 2
    assert rows.loc[("shuffled", "labels alone"), "difference"] == -0.5

    is_last = taught["runs"]["run"] == "three"
    some = {**both, "runs": pd.concat([taught["runs"][~is_last], of_two["runs"]])}
    against = gains(some).set_index(["taught_by", "against"]).loc[("the teacher", "shuffled")]
    assert against["run"] == "two control of two", "the other has nothing to stand against"


def test_what_was_measured_on_phantoms_bears_their_name():
    place = {"dataset": "brain_tumor", "split": "patients", "teacher": "t", "teacher_seed": 0}
    runs = pd.DataFrame({"run": ["a", "b"], "parameters": json.dumps(place)})
    lured = pd.DataFrame({"run": ["a", "b"], "map": "average map", "share": [0.1, 0.2]})
    table = graded_tables({"runs": runs, "05_distractor": lured})["distractor"]
    assert table["share"].tolist() == [0.1, 0.2], "each run has students of its own"
    assert table.iloc[0].to_dict() == {
        "dataset": "phantom_brain_distractor",
        "split": "grouped",
        "teacher_seed": 0,
        "map": "average map",
        "share": 0.1,
        "run": "a",
    }


def test_costs_stand_by_size_and_claims_at_the_largest():
    runs = pd.DataFrame(
        {
            "run": ["a", "b"],
            "parameters": [
                json.dumps({"dataset": "phantom_brain", "profile": "quick", "image_size": size})
                for size in (224, 64)
            ],
        }
    )
    work = pd.DataFrame({"run": ["a", "b", "b"], "image size": [224, 64, 224], "macs": [3, 1, 3]})
    claims = pd.DataFrame({"run": ["a", "b"], "verdict": ["holds", "does not"]})
    tables = cost_tables({"runs": runs, "06_work": work, "06_claims": claims})
    assert tables["work"][["size_px", "macs"]].to_numpy().tolist() == [[64, 1], [224, 3]]
    assert tables["claims"]["verdict"].tolist() == ["holds"]
    assert tables["latency"].empty


def test_three_classes_and_the_class_of_two_people(finished, figures, tmp_path):
    records = dict(collect_runs(finished(), tmp_path / "runs", figures / COLLECTED))
    records["runs"] = records["runs"].assign(
        parameters=records["runs"]["parameters"].str.replace("phantom_brain", "alzheimer")
    )
    table = make_tables(records)["accuracy"].query("split == 'grouped'")
    # classes in order: mild, moderate, non, very mild; wrong answers are one class further
    rows = table.query("model == 'KD student'").set_index("counted")
    expected = {"all classes": 0.75, "three classes": 0.75, "Moderate alone": 1}
    assert rows["accuracy"].to_dict() == pytest.approx(expected)
    assert rows["images"].to_dict() == {
        "all classes": 100,
        "three classes": 100,
        "Moderate alone": 25,
    }
    assert rows["majority"].drop("Moderate alone").to_dict() == {
        "all classes": 0.25,
        "three classes": 0.5,
    }
    assert rows.loc["Moderate alone", ["majority", "macro_f1"]].isna().all(), (
        "of one class alone they mean nothing"
    )


def test_classes_that_no_test_image_is_of_are_named_beside_the_macro_f1(
    finished, figures, tmp_path
):
    records = dict(collect_runs(finished(), tmp_path / "runs", figures / COLLECTED))
    assert "absent" not in make_tables(records)["accuracy"]
    answers = records["03_answers"]
    is_target = answers["model"] == "target"
    merged = answers["values"].str.replace("3", "2")
    records["03_answers"] = answers.assign(values=answers["values"].where(~is_target, merged))
    table = make_tables(records)["accuracy"]
    assert (table["absent"] == "3").all()


def test_the_worth_of_an_explanation_joins_its_quality_and_its_time():
    place = {"dataset": "brain_tumor", "split": "patients", "profile": "quick", "image_size": 96}
    parameters = [json.dumps(place | {"shap_samples": 100}), json.dumps(place)]
    runs = pd.DataFrame(
        {"run": ["q", "t"], "notebook": ["05_xai", "06_efficiency"], "parameters": parameters}
    )
    graded = pd.DataFrame(
        {
            "run": "q",
            "method": ["gradcam", "shap_deep", "shap_gradient", "untimed"],
            "model": "student",
            "ROAD": [0.3, 0.6, 0.7, 0.9],
            "low": 0.1,
            "high": 0.9,
        }
    )
    timed = pd.DataFrame(
        {
            "run": "t",
            "method": ["gradcam", "shap_deep", "shap_gradient"],
            "teacher_ms": [50.0, np.nan, 900.0],
            "student_ms": [10.0, 600.0, 20.0],
        }
    )
    table = worth({"runs": runs, "05_quality": graded, "06_explanations": timed})
    assert table[["method", "metric", "quality", "ms"]].to_numpy().tolist() == [
        ["gradcam", "ROAD", 0.3, 10.0],
        ["shap_deep", "ROAD", 0.6, 600.0],
        ["shap_gradient", "ROAD", 0.7, 100.0],  # timed with 20 samples, graded with 100
    ]
    assert set(table["run"]) == {"q t"} and set(table["dataset"]) == {"brain_tumor"}
    other = [parameters[0], json.dumps(place | {"image_size": 64})]
    apart = {"runs": runs.assign(parameters=other), "05_quality": graded, "06_explanations": timed}
    assert worth(apart).empty, "times of another image size"
    twice = pd.concat([table, table.assign(quality=table["quality"] + 0.2, high=1.0)])
    picture = worth_rows(twice)
    assert picture.alt.count("Grad-CAM 10 ms, 0.400") == 1, "the mean of the seeds"
    assert worth({"runs": runs, "05_quality": graded}).empty


@pytest.mark.slow
def test_the_same_runs_give_the_same_bytes(finished, figures, tmp_path, plan):
    finished()
    first = collect_runs(read_plan(plan()), tmp_path / "runs", figures / COLLECTED)
    packed = {p.name: p.read_bytes() for p in (figures / COLLECTED).iterdir()}
    collect_runs(read_plan(plan()), tmp_path / "runs", figures / COLLECTED)
    assert packed == {p.name: p.read_bytes() for p in (figures / COLLECTED).iterdir()}
    tables = build_tables(figures, plan=plan())
    made = {p.name: p.read_bytes() for p in (figures / "results").glob("*.csv")}
    assert set(made) == {f"{name}.csv" for name in tables} and len(made) == 9
    for path in (figures / "results").glob("*.csv"):
        path.unlink()
    build_tables(figures, plan=plan())
    assert made == {p.name: p.read_bytes() for p in (figures / "results").glob("*.csv")}
    again = load_collected(figures / COLLECTED, read_plan(plan()))
    pd.testing.assert_frame_equal(again["runs"], first["runs"], check_dtype=False)
    manifest = json.loads((figures / "manifest.json").read_text())
    there = {str(p.relative_to(figures)) for p in (figures / "results").rglob("*") if p.is_file()}
    assert set(manifest) == there and all(facts["runs"] for facts in manifest.values())


def test_a_part_of_the_runs_is_refused_unless_asked_for(finished, figures, tmp_path, plan):
    read = finished()
    read.specs(tmp_path / "runs")[1].run.path("done.json").unlink()
    collect_runs(read, tmp_path / "runs", figures / COLLECTED)
    with pytest.raises(
        UserError, match=r"1 runs are missing \(--partial does without\): main \(split=random\)"
    ):
        build_tables(figures, plan=plan())
    assert set(build_tables(figures, plan=plan(), partial=True)["accuracy"]["split"]) == {"grouped"}
    assert (
        figures / "results" / "missing.csv"
    ).read_text() == "not finished\nmain (split=random)\n"


def test_a_damaged_run_is_named_and_not_collected(finished, figures, tmp_path, capsys):
    read = finished()
    specs = read.specs(tmp_path / "runs")
    folder = specs[1].run.folder
    write_json(folder / "done.json", done_content(folder, 5.0, "2026-01-01"))
    (folder / "results" / "03_curves.csv").write_text("")
    runs = collect_runs(read, tmp_path / "runs", figures / COLLECTED)["runs"]
    assert set(runs["run"]) == {specs[0].run.id, specs[2].run.id}
    assert f"sweep/{specs[1].run.id} is damaged: results/03_curves.csv" in capsys.readouterr().out


def test_runs_of_another_machine_stay_in_the_record(finished, figures, tmp_path, plan, capsys):
    whole = collect_runs(finished(), tmp_path / "runs", figures / COLLECTED)
    packed = {p.name: p.read_bytes() for p in (figures / COLLECTED).iterdir()}
    read = read_plan(plan())
    for spec in read.specs(tmp_path / "runs")[:2]:
        spec.run.path("done.json").unlink()
    kept = collect_runs(read, tmp_path / "runs", figures / COLLECTED)
    assert set(kept["runs"]["run"]) == set(whole["runs"]["run"])
    packed_again = {p.name: p.read_bytes() for p in (figures / COLLECTED).iterdir()}
    assert packed == packed_again  # the plan's order, too
    last = read.specs(tmp_path / "runs")[2].run
    answers = last.path("results") / "03_answers.csv"
    answers.write_text(answers.read_text().replace("group,", "family,", 1))
    records = collect_runs(read, tmp_path / "runs", figures / COLLECTED)
    changed = records["03_answers"]  # what is finished here replaces
    assert (changed["model"] == "family").sum() == 1 and len(changed) == len(whole["03_answers"])
    assert changed.loc[changed["model"] == "family", "run"].tolist() == [last.id]
    fewer = plan()
    fewer.write_text(fewer.read_text().replace(', "random"', ""))
    # what the plan no longer has goes, and is named
    left = collect_runs(read_plan(fewer), tmp_path / "runs", figures / COLLECTED)
    assert left["runs"]["part"].tolist() == ["main", "size"]
    gone = (set(whole["runs"]["run"]) - set(left["runs"]["run"])).pop()
    assert f"1 recorded runs are not of the plan, and go: {gone}" in capsys.readouterr().out
    assert left["03_answers"]["run"].nunique() == 2
    gone = gzip.compress(b"run,method\ngone,gradcam\n")
    (figures / COLLECTED / "05_quality.csv.gz").write_bytes(gone)
    left = collect_runs(read_plan(fewer), tmp_path / "runs", figures / COLLECTED)
    assert "05_quality" not in left  # no row is left


def test_mixed_versions_and_sizes_are_refused_with_the_list(finished, figures, tmp_path, plan):
    read = finished(versions=["0.2.0", "0.1.0", "0.2.0"])
    collect_runs(read, tmp_path / "runs", figures / COLLECTED)
    with pytest.raises(UserError, match=r"3 runs mix versions of kdnb: \w+: 0.2.0; \w+: 0.1.0"):
        build_tables(figures, plan=plan())
    path = figures / COLLECTED / "runs.csv.gz"
    other = (
        gzip.decompress(path.read_bytes())
        .decode()
        .replace('""image_size"": 0', '""image_size"": 96', 1)
    )
    path.write_bytes(gzip.compress(other.encode()))
    with pytest.raises(
        UserError,
        match=r"1 runs are not of the plan: .*1 runs are missing .*sizes of one part: .*: 96",
    ):
        build_tables(figures, plan=plan())


def test_one_split_of_different_images_is_refused(finished, figures, tmp_path):
    """As where the split by patient was made with the origins of the images, and without."""
    read = finished(plan={"third": "teachers", "fixed": "split = 'grouped'\nteacher_seed = 1"})
    collect_runs(read, tmp_path / "runs", figures / COLLECTED)
    load_collected(figures / COLLECTED, read)
    path = figures / COLLECTED / "03_trainings.csv.gz"
    trainings = pd.read_csv(path, dtype=str)
    other = trainings["run"] == trainings["run"].iloc[-1]
    trainings.loc[other, "data"] = "e"
    trainings.to_csv(path, index=False)
    with pytest.raises(UserError, match="2 runs have the same parameters and other images"):
        load_collected(figures / COLLECTED, read)


def test_other_images_are_seen_where_only_the_difficulty_of_phantoms_differs():
    runs = [
        {"dataset": "eye_disease", "split": "random", "difficulty": 0.5},
        {"dataset": "eye_disease", "split": "random", "fold": 5, "teacher_seed": 1},
    ]
    record = {
        "runs": pd.DataFrame({"run": ["a", "b"], "parameters": [json.dumps(run) for run in runs]}),
        "03_trainings": pd.DataFrame({"run": ["a", "b"], "data": ["of one", "of another"]}),
    }
    assert collected_runs._mixed_images(record) == ["a: of one", "b: of another"]
    runs[1]["dataset"] = runs[0]["dataset"] = "phantom_brain"
    record["runs"]["parameters"] = [json.dumps(run) for run in runs]
    assert collected_runs._mixed_images(record) == []


def test_students_of_one_seed_in_different_number_formats_are_refused(finished, figures, tmp_path):
    fixed = "split = 'grouped'\ncontrol = 'random'"  # in the place of the first run, with its seed
    read = finished(plan={"third": "untrained", "fixed": fixed})
    collect_runs(read, tmp_path / "runs", figures / COLLECTED)
    path = figures / COLLECTED / "03_trainings.csv.gz"
    trainings = pd.read_csv(path, dtype=str)
    same_place, other_place = trainings["run"].unique()[[-1, 1]]
    is_teacher = trainings["alpha"].isna()

    def load_with_bfloat16(of_run):
        changed = trainings.assign(precision=trainings["precision"].mask(of_run, "bfloat16"))
        changed.to_csv(path, index=False)
        load_collected(figures / COLLECTED, read)

    load_with_bfloat16(trainings["run"] == other_place)  # nothing is compared with it
    load_with_bfloat16(is_teacher)  # all teachers in one format, all students in another
    message = r"2 runs mix number formats where they are compared: \w+: float32; \w+: bfloat16"
    with pytest.raises(UserError, match=message):
        load_with_bfloat16((trainings["run"] == same_place) & ~is_teacher)


def test_another_seed_may_have_another_number_format(finished, figures, tmp_path):
    read = finished(plan={"third": "more", "fixed": "split = 'grouped'\nteacher_seed = 1"})
    collect_runs(read, tmp_path / "runs", figures / COLLECTED)
    path = figures / COLLECTED / "03_trainings.csv.gz"
    trainings = pd.read_csv(path, dtype=str)
    of_seed_1 = trainings["run"] == trainings["run"].unique()[-1]
    trainings.loc[of_seed_1, "precision"] = "bfloat16"
    trainings.to_csv(path, index=False)
    records = load_collected(figures / COLLECTED, read)
    table = accuracy_by_place(records)
    pooled = table[(table["split"] == "grouped") & (table["model"] == "KD student")]
    assert pooled["precision"].tolist() == ["float32, bfloat16"], "the table tells both"


def test_a_parameter_left_as_it_is_does_not_tell_runs_apart(finished, figures, tmp_path, plan):
    collect_runs(finished(), tmp_path / "runs", figures / COLLECTED)
    path = figures / COLLECTED / "runs.csv.gz"
    text = gzip.decompress(path.read_bytes()).decode()
    assert '""teacher_seed"": 0, ' in text
    path.write_bytes(gzip.compress(text.replace('""teacher_seed"": 0, ', "").encode()))
    assert len(load_collected(figures / COLLECTED, read_plan(plan()))["runs"]) == 3
    path.write_bytes(
        gzip.compress(text.replace('""teacher_seed"": 0', '""teacher_seed"": 1').encode())
    )
    with pytest.raises(UserError, match="3 runs are not of the plan"):
        load_collected(figures / COLLECTED, read_plan(plan()))


def test_the_difficulty_of_phantoms_does_not_tell_runs_on_real_images_apart():
    real = [run_key("n", {"dataset": "eye_disease", "difficulty": value}) for value in (0.1, 0.9)]
    assert real[0] == real[1]
    drawn = [
        run_key("n", {"dataset": "phantom_brain", "difficulty": value}) for value in (0.1, 0.9)
    ]
    assert drawn[0] != drawn[1]
    assert run_key("n", {"widths": [1.0]}) == run_key("n", {}), "no ladder is recorded"


def test_rows_without_a_run_are_refused(finished, figures, tmp_path, plan):
    collect_runs(finished(), tmp_path / "runs", figures / COLLECTED)
    path = figures / COLLECTED / "03_trainings.csv.gz"
    text = gzip.decompress(path.read_bytes()).decode()
    path.write_bytes(gzip.compress(f"{text}{'f' * 16}{text.splitlines()[-1][16:]}\n".encode()))
    with pytest.raises(UserError, match="1 runs have rows but no provenance: ffffffffffffffff"):
        build_tables(figures, plan=plan())


def test_a_run_without_masks_beside_one_with_them_is_refused():
    runs = [
        {"run": "a", "notebook": "05_xai", "parameters": '{"dataset": "d", "split": "patients"}'},
        {"run": "b", "notebook": "05_xai", "parameters": '{"dataset": "d", "split": "patients"}'},
        {"run": "c", "notebook": "05_xai", "parameters": '{"dataset": "d", "split": "random"}'},
    ]
    every = {name: pd.DataFrame({"run": ["a", "b", "c"]}) for name in RECORDED["05_xai"]}
    of_masks = {name: pd.DataFrame({"run": ["a"]}) for name in OF_MASKS}
    found = without_rows({"runs": pd.DataFrame(runs)} | every | of_masks)
    assert found == [f"b: {name}" for name in RECORDED["05_xai"] if name in OF_MASKS]


def test_a_run_without_its_rows_is_refused(finished, figures, tmp_path, plan):
    collect_runs(finished(), tmp_path / "runs", figures / COLLECTED)
    path = figures / COLLECTED / "03_curves.csv.gz"
    curves = pd.read_csv(path, dtype=str)
    lost = curves["run"].iloc[-1]
    curves[curves["run"] != lost].to_csv(path, index=False)
    message = f"1 runs have no row in a table that their notebook always writes: {lost}: 03_curves"
    with pytest.raises(UserError, match=message):
        build_tables(figures, plan=plan())


def test_a_run_of_another_version_that_trains_nothing_is_refused(finished, figures, tmp_path, plan):
    collect_runs(finished(), tmp_path / "runs", figures / COLLECTED)
    path = figures / COLLECTED / "runs.csv.gz"
    runs = pd.read_csv(path, dtype=str)
    assert set(runs["kdnb"]) == {"0.2.0"}
    runs.loc[0, "kdnb"] = "0.1.0"
    runs.to_csv(path, index=False)
    with pytest.raises(UserError, match=r"mix versions of kdnb: \w+: 0.1.0; "):
        build_tables(figures, plan=plan())
    runs.drop(columns="kdnb").to_csv(path, index=False)  # as older records are
    assert len(load_collected(figures / COLLECTED, read_plan(plan()))["runs"]) == 3


def test_a_record_of_other_notebooks_alone_has_no_accuracies(finished, figures, tmp_path, plan):
    records = dict(collect_runs(finished(), tmp_path / "runs", figures / COLLECTED))
    for name in ("03_answers", "03_trainings", "03_curves"):
        del records[name]
    others = records["runs"].assign(notebook="06_efficiency")
    assert make_tables(records | {"runs": others}) == {}


def test_a_part_bears_the_name_of_the_plan(finished, figures, tmp_path, plan):
    collect_runs(finished(), tmp_path / "runs", figures / COLLECTED)
    renamed = plan()
    renamed.write_text(renamed.read_text().replace('"size"', '"smaller"'))
    runs = load_collected(figures / COLLECTED, read_plan(renamed))["runs"]
    assert runs["part"].tolist() == ["main", "main", "smaller"]


def test_nothing_collected_and_nothing_finished(figures, tmp_path, plan):
    with pytest.raises(UserError, match="holds no collected runs: kdnb figures --collect"):
        build_tables(figures, plan=plan())
    with pytest.raises(UserError, match="no run of plan 'results' is finished"):
        collect_runs(read_plan(plan()), tmp_path / "runs", figures / COLLECTED)


def test_findings_are_put_between_their_marks(finished, figures, tmp_path):
    records = dict(collect_runs(finished(), tmp_path / "runs", figures / COLLECTED))
    records["runs"] = records["runs"].assign(
        parameters=records["runs"]["parameters"].str.replace("phantom_brain", "eye_disease")
    )
    tables = make_tables(records)
    lines = findings(tables)["Accuracy"]
    told = "Eye: 75.0% here, 93.5% there, -18.5 [-18.5, -18.5] points (one seed)."
    assert told in " ".join(lines)
    readme = tmp_path / "README.md"
    readme.write_text("# A\n<!-- results -->\nold\n<!-- /results -->\nB\n")
    write_findings(tables, readme, "docs/results.md")
    page = readme.read_text()
    listed = "".join(f"- {line}\n" for line in lines)
    assert page.startswith("# A\n<!-- results -->\n")
    assert f"\n### Accuracy\n\n{listed}" in page
    assert page.endswith(f"{place_tables(tables)}<!-- /results -->\nB\n")
    readme.write_text("# A\n")
    with pytest.raises(UserError, match="has no place for results"):
        write_findings(tables, readme, "README.md")


def test_answers_are_those_of_the_models(study):
    grid = train_grid(study.settings, study.image_set, study.teacher, study.device)
    table = predicted_classes(study, grid)
    rows = training_records(study, grid)
    assert list(table.columns[5:]) == list(rows.index) and len(table) == len(study.test_targets)
    shares = (table[rows.index].to_numpy() == table[["target"]].to_numpy()).mean(0)
    assert shares[0] == study.scores.loc[("teacher", "accuracy"), "value"]
    assert shares[-1] == study.scores.loc[("KD student", "accuracy"), "value"]
    assert (table["1-NN"] == table["target"]).mean() == pytest.approx(
        study.memory["1-NN"]["accuracy"]
    )
    mirrored = (table["1-NN mirrored"] == table["target"]).mean()
    assert mirrored == pytest.approx(study.memory["1-NN mirrored"]["accuracy"])
    assert rows.loc["teacher", "training"] == f"teacher/{study.teacher.id}"
    assert table["known"].all()  # who is who among phantoms is known
    assert rows["kdnb"].nunique() == 1


@pytest.mark.slow
def test_how_every_training_went_is_told_but_that_of_an_untrained_teacher(study):
    untaught = Study(study.settings.model_copy(update={"control": "random"}))
    untaught.train("teacher")
    for of, missed in ((study, set()), (untaught, {"teacher"})):
        grid = train_grid(of.settings, of.image_set, of.teacher, of.device)
        went = training_histories(of, grid)
        rows = training_records(of, grid)
        assert set(rows.index) - set(went["model"]) == missed and rows["val_accuracy"].notna().all()
        assert went.groupby("model")["epoch"].min().eq(1).all()


def test_one_run_is_read_whole(finished, figures, tmp_path):
    records = collect_runs(finished(), tmp_path / "runs", figures / COLLECTED)
    one = answered(records, "size")[0]
    assert one.parameters["fraction"] == 0.5
    assert one.cells[1.0, 1.0] == [
        "labels alone, seed 0",
        "labels alone, seed 1",
    ]
    assert digest(one.values["group"].tolist()) == digest(GROUP.tolist())
