"""Tables by place and their sentences, from answers whose truth is known."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from kdnb.batch.plan import read_plan
from kdnb.core.errors import UserError
from kdnb.core.intervals import Interval
from kdnb.core.model_names import LABEL_ONLY
from kdnb.core.p_values import holm, p_of_interval
from kdnb.results.accuracy_tables import (
    EVERY_FOLD,
    accuracy_by_place,
    error_transfer_by_place,
    fold_accuracy,
    teachers,
)
from kdnb.results.answered_runs import ALL
from kdnb.results.build import make_tables, plan_file
from kdnb.results.differences import differences, leaks
from kdnb.results.findings import at_once, findings, in_short
from kdnb.results.map_plots import energy_spread
from kdnb.results.place_tables import COLUMNS, place_tables
from kdnb.results.places import EFFECT_PARTS, KNOWN
from kdnb.results.planned import COUNT, planned
from kdnb.results.plots import accuracy_by_split, difference_panels
from kdnb.results.tumour_maps import map_energies, tumour_maps

IMAGES = 200
TARGET = np.arange(IMAGES) % 4
GROUP = np.arange(IMAGES) // 4
IS_KNOWN = (TARGET != 3).astype(int)  # nobody knows the patients of the last class


def all_lines(tables):
    """The findings of every topic."""
    return [line for lines in findings(tables).values() for line in lines]


def said(rate, seed):
    """Class numbers of which a share is right, the wrong ones always the next class."""
    right = np.random.default_rng(seed).random(IMAGES) < rate
    return np.where(right, TARGET, (TARGET + 1) % 4)


def records(runs):
    """A record of runs, each a dict of its parameters and ``said``: model → class numbers."""
    tables = {"runs": [], "03_answers": [], "03_trainings": []}
    for number, run in enumerate(runs):
        name = f"run{number}"
        parameters = {
            "dataset": "brain_tumor",
            "split": "patients",
            "sizes_of": "",
            "teacher": "timm:tf_efficientnet_lite0",
            "control": "",
            "fold": 5,
            "teacher_seed": 0,
            "image_size": 96,
            "teacher_epochs": 6,
            "student_epochs": 25,
        } | run["parameters"]
        tables["runs"].append(
            {
                "run": name,
                "part": f"part{number}",
                "notebook": "03_distillation",
                "parameters": json.dumps(parameters),
            }
        )
        seed = parameters["teacher_seed"]
        columns = {"group": GROUP, "target": TARGET, "known": IS_KNOWN}
        columns |= {"1-NN": said(0.5, 90), "1-NN mirrored": said(0.55, 91)}
        models = {
            "teacher": run["said"][0],
            f"alpha 0.7, T 10, seed {seed}": run["said"][1],
            f"labels alone, seed {seed}": run["said"][2],
        }
        for model, answers in (columns | models).items():
            values = " ".join(map(str, answers))
            tables["03_answers"].append({"run": name, "model": model, "values": values})
        cells = [(np.nan, np.nan), (0.7, 10.0), (1.0, 1.0)]
        for model, (alpha, temperature) in zip(models, cells, strict=True):
            tables["03_trainings"].append(
                {
                    "run": name,
                    "model": model,
                    "alpha": alpha,
                    "temperature": temperature,
                    "seed": 0 if model == "teacher" else seed,
                    "widening": 1.4,
                    "parameters": 10 if model == "teacher" else 5,
                    "macs": 40,
                    "seconds": 100.0,
                    "precision": "float32",
                }
            )
    return {name: pd.DataFrame(rows) for name, rows in tables.items()}


@pytest.fixture(scope="module")
def record():
    runs = []
    for seed in range(3):
        answers = [said(0.97, seed), said(0.8, 10 + seed), said(0.5, 20 + seed)]
        runs.append({"parameters": {"teacher_seed": seed}, "said": answers})
    for seed in range(2):
        answers = [said(0.25, 30 + seed), said(0.6, 40 + seed), said(0.5, 20 + seed)]
        runs.append({"parameters": {"teacher_seed": seed, "control": "random"}, "said": answers})
    answers = [said(0.99, 50), said(0.97, 51), said(0.9, 52)]
    runs.append({"parameters": {"split": "published"}, "said": answers})
    answers = [said(0.9, 60), said(0.8, 61), said(0.7, 62)]
    runs.append({"parameters": {"fold": 1}, "said": answers})
    return records(runs)


def test_seeds_of_a_place_stand_together_and_known_patients_apart(record):
    table = accuracy_by_place(record)
    mine = table[table["split"] == "patients"].set_index(["counted", "model"])
    assert mine.loc[(ALL, "teacher"), "seeds"] == 3
    assert mine.loc[(ALL, "KD student"), "images"] == IMAGES
    assert mine.loc[(KNOWN, "KD student"), "images"] == IS_KNOWN.sum()
    expected = np.mean([said(0.97, seed) == TARGET for seed in range(3)])
    assert mine.loc[(ALL, "teacher"), "accuracy"] == pytest.approx(expected)
    assert "run5" not in " ".join(mine["run"]), "another split"
    assert "run6" not in " ".join(mine["run"]), "another fold"


def test_differences_are_paired_by_seed_and_with_the_control_of_the_same_seeds(record):
    table = differences(record).query("split == 'patients'")
    table = table.set_index(["counted", "model", "rival"])
    row = table.loc[(ALL, "KD student", "student of an untrained teacher")]
    gain = [
        (said(0.8, 10 + seed) == TARGET).mean() - (said(0.6, 40 + seed) == TARGET).mean()
        for seed in range(2)  # the control has no third seed
    ]
    assert row["seeds"] == 2
    assert row["difference"] == pytest.approx(np.mean(gain))
    assert row["run"] == "run0 run1 run2 run3 run4"
    assert table.loc[(ALL, "KD student", "teacher"), "difference"] < 0


def test_planned_comparisons_are_of_known_patients_and_corrected(record):
    table = planned(record)
    assert list(table["rival"]) == [
        "label-only student",
        "label-only student",
        "student of an untrained teacher",
    ]
    assert (table["images"] == IS_KNOWN.sum()).all()
    expected = (table["p"] * COUNT).clip(upper=1)  # the maps' comparisons are missing
    assert table["p_holm"].to_numpy() == pytest.approx(expected.to_numpy())


def test_holm_and_p_against_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]).tolist() == [1, 1]
    with_gap = holm([np.nan, 0.01, 0.04])  # what is not known counts as a comparison
    assert np.isnan(with_gap[0]) and with_gap[1:] == pytest.approx([0.03, 0.08])
    assert holm(np.full(COUNT, 0.004), COUNT)[0] == pytest.approx(0.04)
    assert p_of_interval(Interval((0.0, -0.1, 0.1))) == pytest.approx(1)
    assert np.isnan(p_of_interval(Interval((0.1, np.nan, np.nan))))
    one_sided = p_of_interval(Interval((0.039, -0.002, 0.060)))
    assert one_sided > 0.05, "an interval that holds zero has no small p"


def test_leaks_compare_with_the_strictest_split(record):
    table = leaks(accuracy_by_place(record)).set_index("model")
    assert set(table["honest"]) == {"patients"}
    before = (said(0.97, 51) == TARGET).mean()
    after = np.mean([said(0.8, 10 + seed) == TARGET for seed in range(3)])
    assert table.loc["KD student", "difference"] == pytest.approx(before - after)
    assert table.loc["memory", "difference"] == pytest.approx(0)


def test_folds_together_test_every_known_patient_once(record):
    found = fold_accuracy(record)
    table = found[found["fold"] == EVERY_FOLD].set_index(["counted", "model"])
    whole = table.loc[(ALL, "teacher")]
    assert whole["images"] == 2 * IMAGES
    of_known = 2 * len(np.unique(GROUP[IS_KNOWN == 1]))
    assert whole["groups"] == of_known + len(np.unique(GROUP[IS_KNOWN == 0])), "the same in both"
    row = table.loc[(KNOWN, "teacher")]
    assert row["folds"] == 2
    assert row["images"] == 2 * IS_KNOWN.sum()
    assert row["groups"] == 2 * len(np.unique(GROUP)), "no group of two folds is one"
    known = IS_KNOWN == 1
    expected = np.mean([(said(0.97, 0) == TARGET)[known], (said(0.9, 60) == TARGET)[known]])
    assert row["accuracy"] == pytest.approx(expected)
    alone = table.loc[(KNOWN, LABEL_ONLY)]
    assert row["over_labels"] == pytest.approx(row["accuracy"] - alone["accuracy"])
    assert row["over_labels_low"] < row["over_labels"] < row["over_labels_high"]
    assert alone["over_labels"] == alone["over_labels_low"] == alone["over_labels_high"] == 0


def graded(record, peaks, tap="conv1"):
    """The record with grades of maps by seed: explanation → share of peaks inside."""
    rows = []
    for number in range(3):
        run = f"run{number}"
        about = {"group": GROUP, "class": TARGET, "widening": [1.4]}
        for name, values in about.items():
            rows.append((run, "", name, "", "", " ".join(map(str, values))))
        for explanation, share in peaks.items():
            hits = np.random.default_rng(number).random(IMAGES) < share
            for metric in ("pointing game", "energy in mask"):
                values = " ".join(map(str, hits.astype(int)))
                place = tap if explanation == "average map" else "input"
                rows.append((run, "KD student", explanation, place, metric, values))
    columns = ["run", "model", "explanation", "tap", "metric", "values"]
    return record | {"05_image_grades": pd.DataFrame(rows, columns=columns)}


def test_maps_are_pooled_and_compared_with_the_mean_mask(record):
    with_maps = graded(record, {"average map": 0.05, "mean training mask": 0.5})
    table = tumour_maps(with_maps).query("metric == 'pointing game'").set_index("explanation")
    assert table.loc["average map", "seeds"] == 3
    assert table.loc["mean training mask", "value"] == pytest.approx(0.5, abs=0.1)
    row = planned(with_maps).set_index("measure").loc["peak inside"]
    assert row["model"] == "average map, conv1"
    assert row["difference"] == pytest.approx(-0.45, abs=0.1) and row["p_holm"] < 0.05
    ends = ["", "_low", "_high"]
    over_usual = table.loc["average map", [f"over_usual{end}" for end in ends]].tolist()
    assert over_usual == row[[f"difference{end}" for end in ends]].tolist()
    assert np.isnan(table.loc["mean training mask", "over_usual"])
    energies = map_energies(with_maps).set_index("explanation")
    assert energies.loc["average map", "q75"] == 0
    assert "the usual place of such tumours" in energy_spread(map_energies(with_maps)).alt


NO_AT_5 = (
    "show why?** Layer 5: no, less often than a blind guess. Layers 1 and 3: it cannot be told. "
    "The map"
)


def test_a_sentence_says_where_average_maps_look(record):
    shares = {"average map": 0.05, "mean training mask": 0.5, "SHAP gradient": 0.9}
    with_maps = graded(record, shares, tap="conv5")
    tables = {"maps": tumour_maps(with_maps), "planned": planned(with_maps)}
    average, others = all_lines(tables)
    assert NO_AT_5 in average
    usual = tables["maps"].query("explanation == 'mean training mask'")
    noise = usual.assign(explanation="random", value=[0.005, 0.0158])
    assert noise["metric"].tolist() == ["pointing game", "energy in mask"]
    average, _ = all_lines({**tables, "maps": pd.concat([tables["maps"], noise])})
    assert "(a random pixel: 1.6%)" in average, "the tumours' share of the image"
    further = tables["planned"].query("model == 'average map, conv5'")
    further = further.assign(model="average map, conv3", p_holm=0.5)
    both = pd.concat([tables["planned"], further])
    layer_3 = tables["maps"].query("tap == 'conv5'").assign(tap="conv3")
    average, _ = all_lines({"maps": pd.concat([tables["maps"], layer_3]), "planned": both})
    assert NO_AT_5 in average
    assert "point at the tumour?** Yes: Gradient SHAP. How often each is" in others
    assert "Not planned" not in others
    hint = tables["maps"].query("explanation == 'SHAP gradient'")
    hint = hint.assign(explanation="class evidence", tap="conv1")
    edges = hint.assign(explanation="Sobel", tap="input")
    _, others = all_lines({**tables, "maps": pd.concat([tables["maps"], hint, edges])})
    assert "so only a hint: of 1 other maps 1 lie above the guess with" in others
    assert "Of the same maps of the student on labels alone" not in others
    alone = hint.assign(model=LABEL_ONLY, tap="conv3")
    _, others = all_lines({**tables, "maps": pd.concat([tables["maps"], hint, alone])})
    of_alone = others.partition("Of the same maps of the student on labels alone, ")[2]
    assert "these lie above the guess: class evidence (layer 3) +" in of_alone
    middle = usual.assign(explanation="centre", value=0.17)
    average, _ = all_lines({**tables, "maps": pd.concat([tables["maps"], middle])})
    assert "(the middle of the image: 17.0%). Map minus guess" in average
    layers = [further.assign(model=f"average map, conv{n}", p_holm=0.01) for n in (1, 3, 5)]
    every = pd.concat(
        [tables["maps"].query("tap == 'conv5'").assign(tap=f"conv{n}") for n in (1, 3)]
    )
    maps = pd.concat([tables["maps"], every])
    average, *_ = all_lines({"maps": maps, "planned": pd.concat(layers)})
    assert "show why?** No. The map" in average
    layers[0] = layers[0].assign(difference=0.3, seeds_planned=5)
    average, *_ = all_lines({"maps": maps, "planned": pd.concat(layers)})
    mixed = "Layer 1: yes, more often than a blind guess, so far. Layers 3 and 5: no, less often"
    assert f"show why?** {mixed} than a blind guess, so far. The map" in average


def test_maps_of_two_image_sizes_are_not_pooled(record):
    with_maps = graded(record, {"average map": 0.05, "mean training mask": 0.5})
    runs = record["runs"].copy()
    is_one = runs["run"] == "run2"
    runs.loc[is_one, "parameters"] = runs.loc[is_one, "parameters"].str.replace("96", "64")
    table = tumour_maps(with_maps | {"runs": runs}).query("explanation == 'average map'")
    assert table.groupby("size_px")["seeds"].max().to_dict() == {64: 1, 96: 2}


def test_the_story_goes_by_the_same_verdicts(record):
    shares = {"average map": 0.05, "mean training mask": 0.5}
    tables = make_tables(graded(record, shares))
    story = in_short(tables)
    assert story.startswith(
        "On brain tumours of patients that neither had seen, the small network "
    )
    loses = tables["differences"].query("rival == 'teacher' and counted == @KNOWN").iloc[0]
    less = loses["difference_high"] < 0
    assert ("was right less often than its teacher" in story) == less
    assert "The average map of its first layer points at the tumour less often than" in story
    memory = tables["accuracy"].query("model == 'KD student' and counted == @ALL")
    of_split = memory.set_index("split")
    first, last = of_split.loc[["published", "patients"], "leak_meter_mirrored"]
    assert f"is right in {first:.1%} as the set is published, and in {last:.1%} once" in story
    first, last = of_split.loc[["published", "patients"], "accuracy"]
    drop = f"{100 * (first - last):+.1f} ["
    assert f"The small network is right in {first:.1%} and {last:.1%}: {drop}" in story
    assert "points, which is not shown to be a drop." in story
    sure = tables["leaks"].assign(difference_low=0.01, seeds=3, seeds_honest=3)
    assert "not shown to be a drop" not in in_short(tables | {"leaks": sure})
    harm = {"difference": -0.05, "difference_low": -0.09, "difference_high": -0.01}
    of_gain = tables["planned"]["model"] == "KD student"
    assert of_gain.any()
    changed = tables["differences"].assign(**harm)
    careful = in_short(tables | {"differences": changed, "planned": tables["planned"].head(0)})
    assert "was right less often than its teacher: small network minus teacher -5.0" in careful
    assert "Its teacher harmed it: small network minus the same one on labels alone -5.0" in careful
    two = changed.assign(seeds=2)
    careful = in_short(tables | {"differences": two, "planned": tables["planned"].head(0)})
    assert "We found no gain from its teacher either: small" in careful, "none is in the interval"
    tables["planned"] = tables["planned"].assign(p_holm=0.5)
    assert "Whether the average map of its first layer points at the tumour" in in_short(tables)
    assert in_short({}) == ""


def test_all_folds_stand_beside_the_splits_that_hide_something(record):
    tables = make_tables(record)
    assert "(all folds)" not in place_tables(tables), "of two folds nothing is told"
    tables["folds"] = tables["folds"].assign(folds=5)
    (line,) = [row for row in place_tables(tables).splitlines() if "(all folds)" in row]
    of_folds = tables["folds"].query("counted == @ALL").set_index("model")["accuracy"]
    before = tables["accuracy"].query("split == 'published' and counted == @ALL")
    before = before.set_index("model").loc["KD student", "accuracy"]
    gap = 100 * (before - of_folds["KD student"])
    assert line.split(" | ")[4].startswith(f"{gap:+.1f} ["), "one seed of each fold: not bold"


def test_the_table_of_places_holds_every_difference_and_marks_what_is_shown(record):
    tables = make_tables(record)
    every = tables["differences"].query("counted == @ALL")
    cells = {}
    for line in place_tables({"differences": every}).splitlines()[4:]:
        if line.startswith("| brain"):
            place, _, *of_place = line.strip("| ").split(" | ")
            cells |= {
                (place, heading): cell for heading, cell in zip(COLUMNS, of_place, strict=True)
            }
    told = {"published": "brain as published", "patients": "brain by patient"}
    checked = 0
    for row in every.to_dict("records"):
        pair = (row["model"], row["rival"])
        if pair in COLUMNS:
            cell = cells[told[row["split"]], pair].strip("*")
            assert cell.startswith(f"{100 * row['difference']:+z.1f} [")
            checked += 1
    assert checked == len(cells) == 2 * len(COLUMNS)
    with pytest.raises(UserError, match="a table holds one image size of a place"):
        place_tables({"differences": pd.concat([every, every.assign(size_px=64)])})
    of_places = {"differences": every, "errors": tables["errors"]}
    (line,) = [row for row in place_tables(of_places).splitlines() if "| brain as" in row]
    assert "**" not in line, "one seed shows nothing"
    sure = every.assign(seeds=3, difference=0.1, difference_low=0.05, difference_high=0.2)
    (line,) = [
        row
        for row in place_tables({"differences": sure}).splitlines()
        if row.startswith("| brain as published | 3 ")
    ]
    assert line.count("**+10.0 [+5.0, +20.0]**") == len(COLUMNS)
    assert place_tables({}) == ""


def test_the_table_of_accuracies_holds_every_model_beside_memory_and_the_paper(record):
    table = accuracy_by_place(record)
    page = place_tables({"accuracy": table})
    row = table.query("split == 'published' and counted == @ALL").set_index("model")
    (line,) = [line for line in page.splitlines() if line.startswith("| brain as published")]
    cells = line.strip("| ").split(" | ")
    assert cells[1] == str(row.loc["KD student", "seeds"])
    assert cells[3] == f"{100 * row.loc['KD student', 'memory']:.1f}"
    for cell, model in zip(cells[4:7], ["teacher", "KD student", LABEL_ONLY], strict=True):
        assert cell.startswith(f"{100 * row.loc[model, 'accuracy']:.1f} [")
    assert cells[7] == "97.5", "the paper's student"


def test_what_splits_hide_is_counted_where_the_interval_leaves_out_zero(record):
    tables = make_tables(record)
    sure = tables["leaks"].assign(difference=0.1, difference_low=0.05, difference_high=0.2)
    for seeds, of_strict, networks in ((1, 1, 0), (3, 1, 0), (3, 3, 3)):
        leaking = sure.assign(seeds=seeds, seeds_honest=of_strict)
        (line,) = [row for row in all_lines(tables | {"leaks": leaking}) if "usual split" in row]
        assert f"memory on 1 of 1, and for the three networks in {networks} of 3" in line
        (line,) = [
            r for r in place_tables({"leaks": leaking}).splitlines() if "as published −" in r
        ]
        assert line.count("**+10.0 [+5.0, +20.0]**") == 1 + networks


def test_what_the_published_split_hides_is_told_of_every_network(record):
    tables = make_tables(record)
    (line,) = [line for line in at_once(tables) if "usual split hide" in line]
    hidden = tables["leaks"].query("split == 'published'").set_index("model")["difference"]
    names = ("teacher", "distilled student", "labels alone")
    for name, value in zip(names, hidden[["teacher", "KD student", LABEL_ONLY]], strict=True):
        assert f"{name} {100 * value:+.1f} [" in line
    assert "is right as published than by patient: teacher" in line
    equal = tables["leaks"].assign(split="random", sizes_of="patients")
    for seeds, is_told in ((1, False), (3, True)):
        both = tables | {"leaks": pd.concat([tables["leaks"], equal.assign(seeds=seeds)])}
        (line,) = [line for line in at_once(both) if "usual split hide" in line]
        told = "at random, in parts of equal size, than by patient: teacher "
        assert (told in line) == is_told, "the same number of images, over several seeds"


def test_what_other_splits_hint_at_is_counted_and_stands_beside_the_brain_set_by_patient(record):
    tables = make_tables(record)
    assert "only a hint" not in " ".join(at_once(tables)), "of one seed"
    three = tables | {"differences": tables["differences"].assign(seeds=3)}
    kept, _, helps, *_ = at_once(three)
    of_one = "of 1 other place with three seeds or more"
    assert f"Not planned: {of_one}" in kept and kept.endswith("leaves out zero on none.")
    assert (
        f"Not planned, so only a hint: {of_one}" in helps
        and "leaves out zero on 1: brain as published +" in helps
    )


def test_teachers_stand_beside_the_student_with_what_they_cost(record):
    table = teachers(record).query("split == 'patients'").set_index("model")
    assert table.loc["timm:tf_efficientnet_lite0", "parameters"] == 10
    assert table.loc["the student, on labels alone", "parameters"] == 5
    assert (table["memory"] > 0.4).all()


def test_seeds_that_disagree_leave_open_whether_errors_pass_on():
    """One seed's student repeats its teacher's errors, that of the other avoids them."""
    runs = []
    for seed in (0, 1):
        teacher = said(0.8, seed)
        student = teacher if seed else TARGET
        runs.append(
            {"parameters": {"teacher_seed": seed}, "said": [teacher, student, said(0.8, 5)]}
        )
    row = error_transfer_by_place(records(runs)).set_index("model").loc["KD student"]
    assert row["seeds"] == 2 and row["more_low"] < 0 < row["more_high"]


def test_errors_that_pass_on_are_found_and_others_are_not():
    teacher = said(0.8, 1)
    copies = [{"parameters": {}, "said": [teacher, teacher, said(0.8, 2)]}]
    table = error_transfer_by_place(records(copies)).set_index("model")
    assert table.loc["KD student", "same"] == 1
    assert table.loc["KD student", "above_chance_low"] > 0.5
    assert table.loc["label-only student", "above_chance_low"] < 0.1
    assert table.loc["KD student", "more_low"] > 0.1
    assert table.loc["label-only student", "more"] == 0


def test_sentences_say_what_the_numbers_say(record):
    tables = make_tables(record)
    tables["planned"] = tables["planned"].assign(p_holm=0.01)
    lines = all_lines(tables)
    assert any("The small network loses" in line for line in lines)
    assert any(line.startswith("**Does the teacher help?** Yes, here, so far.") for line in lines)
    one_seed = {name: table.assign(seeds=1) for name, table in tables.items() if "seeds" in table}
    careful = " ".join(all_lines(tables | one_seed))
    assert "It cannot be told here" in careful and "A loss is not shown" in careful
    assert "Yes" not in careful and "loses" not in careful, "one seed proves nothing"


def test_a_planned_comparison_is_told_by_its_corrected_p(record):
    tables = make_tables(record)
    for p_holm, told in ((0.01, True), (0.2, False)):
        corrected = tables | {"planned": tables["planned"].assign(p_holm=p_holm)}
        assert any("Yes, here" in line for line in all_lines(corrected)) == told


def test_a_control_on_other_images_is_refused(record):
    answers = record["03_answers"].copy()
    is_target = (answers["run"].isin(["run3", "run4"])) & (answers["model"] == "target")
    answers.loc[is_target, "values"] = " ".join(map(str, TARGET[::-1]))
    with pytest.raises(UserError, match="have other test images"):
        differences(record | {"03_answers": answers})


def test_chart_names_every_split_and_number(record):
    table = accuracy_by_place(record).query("counted == @ALL")
    alt = accuracy_by_split(table).alt
    assert "published, teacher" in alt and "patients, memory" in alt
    assert "published, student in the paper: 0.975" in alt
    for seeds, is_told in ((1, True), (3, False)):
        (legend,) = accuracy_by_split(table.assign(seeds=seeds)).figure.legends
        assert any("hollow" in text.get_text() for text in legend.get_texts()) == is_told


def test_errors_other_places_and_all_folds_are_told(record):
    said = {line.split("**")[1]: line for line in all_lines(make_tables(record))}
    few = "The interval leaves out zero on none; 1 with one or two seeds not counted."
    elsewhere = f"it is ahead on 1 of 1 and behind on 0 (table of places). {few}"
    assert elsewhere in said["Has the teacher something to teach?"]
    assert elsewhere in said["Does the teacher help?"]
    kept = said["Does the small network keep the accuracy?"]
    assert "it is ahead on 0 of 1 and behind on 1 (table of places)." in kept
    assert "Brain by patient: right in" in said["What is left where relatives are kept apart?"]
    errors = said["Do the teacher's errors pass on?"]
    assert "It is not shown" in errors and "it repeats more on " in errors
    assert errors.endswith(few)
    tables = make_tables(record)
    sure = tables["errors"].assign(seeds=3, more=0.1, more_low=0.05, more_high=0.2)
    (line,) = [line for line in all_lines(tables | {"errors": sure}) if "errors pass on" in line]
    assert line.endswith("zero on 1: brain as published +10.0 [+5.0, +20.0] points.")
    line = said["And on other patients of the brain set?"]
    assert "Over 2 of 5 folds" in line
    by_fold = fold_accuracy(record).query("model == 'KD student' and fold != @EVERY_FOLD")
    first, fifth = by_fold.set_index("fold").loc[["1", "5"], "accuracy"]
    assert f"in fold 1 and 5: {first:.0%} and {fifth:.0%}. The other" in line
    assert line.endswith("test fold 5, one of them." if first < fifth else "the hardest of them.")
    tables = make_tables(record)
    assert "tested once" not in " ".join(at_once(tables))
    tables["folds"] = tables["folds"].assign(folds=5)
    assert "With every known patient tested once: " in " ".join(at_once(tables))
    assert "Over all 5 folds, so every known patient is tested once" in " ".join(all_lines(tables))
    teacher = said_right(record, "teacher")
    over_labels = 100 * (teacher - said_right(record, LABEL_ONLY))
    line = said["And on other patients of the brain set?"]
    assert f"teacher {teacher:.0%} [" in line
    assert f"minus labels alone: teacher {over_labels:+.1f} [" in line


def said_right(record, model):
    """How often a model is right on the known patients of both folds."""
    table = fold_accuracy(record).query("counted == @KNOWN and fold == @EVERY_FOLD")
    table = table.set_index("model")
    return table.loc[model, "accuracy"]


def test_runs_of_smaller_images_stand_at_no_place(record):
    before = accuracy_by_place(record)
    for part in EFFECT_PARTS:
        runs = record["runs"].copy()
        runs.loc[runs["run"] == "run2", "part"] = part
        after = accuracy_by_place(record | {"runs": runs})
        assert "run2" not in " ".join(after["run"])
    assert "run2" in " ".join(before["run"])
    planned_parts = read_plan(plan_file()).parts
    smaller = [part.name for part in planned_parts if part.runs[0]["image_size"] == 64]
    assert set(smaller) == {*EFFECT_PARTS, "cost"}


def test_runs_of_two_image_sizes_are_not_pooled(record):
    runs = record["runs"].copy()
    is_one = runs["run"] == "run2"
    runs.loc[is_one, "parameters"] = runs.loc[is_one, "parameters"].str.replace("96", "64")
    table = accuracy_by_place(record | {"runs": runs}).query("split == 'patients'")
    assert table.groupby("size_px")["seeds"].max().to_dict() == {64: 1, 96: 2}


def test_the_picture_says_every_difference_and_marks_what_is_sure(record):
    table = differences(record)
    picture = difference_panels(table)
    rows = table.query("counted == @ALL and rival != 'student of an untrained teacher'")
    assert picture.alt.count("minus") == len(rows), "but the comparison of one place"
    assert "teacher minus labels alone, brain, as published" in picture.alt
    hollow = 0
    grey = 0
    for axes in picture.figure.axes:
        for line in axes.get_lines():
            if line.get_marker() == "o":
                hollow += line.get_markerfacecolor() == "white"
                grey += line.get_color() == "#777777"
    surely = (rows["difference_low"] > 0) | (rows["difference_high"] < 0)
    surely &= rows["seeds"] >= 3
    assert grey == (~surely).sum() > 0
    assert hollow == (rows["seeds"] == 1).sum() > 0
    assert "hollow: one seed" in picture.figure.get_supxlabel()
    several = difference_panels(table.assign(seeds=3))
    assert "hollow" not in several.figure.get_supxlabel(), "only what is drawn is explained"


def test_a_picture_of_one_place_shows_every_comparison(record):
    table = differences(record).query("split == 'patients'")
    alt = difference_panels(table).alt
    assert "distilled student minus student of an untrained teacher, brain, patients apart" in alt


def test_folds_with_other_images_of_unknown_patients_are_refused(record):
    answers = record["03_answers"].copy()
    run = record["runs"].set_index("run")["parameters"].str.contains('"fold": 1').idxmax()
    is_target = (answers["run"] == run) & (answers["model"] == "target")
    answers.loc[is_target, "values"] = " ".join(map(str, (TARGET + 1) % 4))
    with pytest.raises(UserError, match="other images of unknown patients: give them the same"):
        fold_accuracy(record | {"03_answers": answers})


def test_two_runs_of_one_seed_are_refused_and_not_counted_as_two():
    twice = [{"parameters": {}, "said": [said(rate, 0)] * 3} for rate in (0.9, 0.5)]
    message = "runs run0 and run1 stand in one place and have teacher_seed 0"
    with pytest.raises(UserError, match=message):
        accuracy_by_place(records(twice))
    folds = [*twice, {"parameters": {"fold": 1}, "said": [said(0.8, 1)] * 3}]
    with pytest.raises(UserError, match="runs run0 and run1 test fold 5 of one place with the sam"):
        fold_accuracy(records(folds))


def test_a_run_without_a_student_of_its_teachers_seed_is_refused():
    record = records([{"parameters": {}, "said": [said(0.9, 0)] * 3}])
    record["03_trainings"] = record["03_trainings"].assign(
        seed=record["03_trainings"]["seed"].where(record["03_trainings"]["alpha"].isna(), 7)
    )
    with pytest.raises(UserError, match="run run0 has no student of the seed of its teacher, 0"):
        accuracy_by_place(record)


def test_students_of_several_settings_are_not_taken_for_one():
    record = records([{"parameters": {}, "said": [said(0.9, 0)] * 3}])
    trainings = record["03_trainings"]
    other = trainings[trainings["alpha"] < 1].assign(temperature=99.0, model="another")
    answers = record["03_answers"]
    same = answers[answers["model"] == trainings.loc[other.index[0], "model"]]
    record["03_trainings"] = pd.concat([trainings, other])
    record["03_answers"] = pd.concat([answers, same.assign(model="another")])
    with pytest.raises(UserError, match="distilled students of several alpha and T"):
        accuracy_by_place(record)
