"""Findings say what the tables say: more, less, cannot tell, or one seed only."""

from __future__ import annotations

import re
import statistics

import numpy as np
import pandas as pd
import pytest

from kdnb.core.intervals import Difference, Interval
from kdnb.results.answer import results_answer
from kdnb.results.build import published
from kdnb.results.draws import draws_lines
from kdnb.results.findings import at_once, findings
from kdnb.results.short_tables import accuracy_rows, gain_rows

GAINS = pd.DataFrame(
    {
        "dataset": "brain_tumor",
        "split": "patients",
        "fraction": [1.0, 0.1, 1.0, 1.0],
        "taught_by": "the teacher",
        "against": ["labels alone", "labels alone", "shuffled", "random"],
        "alpha": 0.7,
        "temperature": 10.0,
        "difference": [0.01, 0.04, 0.02, 0.03],
        "difference_low": [-0.01, 0.02, -0.01, 0.01],
        "difference_high": [0.03, 0.06, 0.05, 0.05],
        "p_patients": 0.02,
        "seeds": 3,
        "teachers": [3, 1, 1, 1],
        "size_px": 64,
    }
)
GRID = pd.DataFrame(
    {
        "alpha": [0.4, 0.7, 1.0],
        "temperature": [5.0, 10.0, 1.0],
        "gain": [0.02, -0.03, 0.0],
        "gain_low": [0.01, -0.05, 0.0],
        "gain_high": [0.03, -0.01, 0.0],
        "chosen": [1, 0, 0],
        "seeds": 1,
        "size_px": 64,
    }
)


def all_lines(tables):
    """The findings of every topic."""
    return [line for lines in findings(tables).values() for line in lines]


def told(**tables):
    """The findings by their questions."""
    return {line.split("**")[1]: line.split("** ")[1] for line in all_lines(tables)}


def test_few_patients_and_controls_are_told_by_their_intervals():
    answers = told(gains=GAINS)
    few = answers["Does distillation help where patients are few?"]
    assert few.startswith("It is shown at 10%.")
    assert "10% +4.0 [+2.0, +6.0] points (one teacher, 3 students); 100% +1.0 [-1.0, +3.0]" in few
    control = answers["Would something else in the teacher's place do as well?"]
    assert control.startswith("Shown to be worse: an untrained network; nothing else, at 64 px")
    assert "(one teacher, 3 students); an untrained" in control
    assert "nothing else, at 64 px and over all classes. The teacher's student minus" in control
    assert control.endswith("(one teacher, 3 students).")
    question = "Would something else in the teacher's place do as well?"
    for_sure = GAINS.assign(difference_low=0.01)
    some = "Shown to be worse: the teacher's answers to other images of the class and an untrained"
    assert told(gains=for_sure)[question].startswith(some), "the third control is not there"
    third = GAINS.iloc[[3]].assign(against="smoothing", difference_low=0.01)
    assert told(gains=pd.concat([for_sure, third]))[question].startswith("No, at 64 px")
    other_cell = for_sure.iloc[[3]].assign(alpha=0.4, difference_low=-0.1)
    mixed = told(gains=pd.concat([for_sure, third, other_cell]))[question]
    assert mixed.startswith("Shown to be worse: the teacher's answers to other images of the class")
    assert "and smoothed labels; nothing else, at" in mixed, "beaten at one alpha and T of two"
    lower = GAINS.iloc[[3]].assign(difference=-0.06, difference_low=-0.1, difference_high=-0.02)
    better = told(gains=lower.assign(against="smoothing"))[question]
    assert better.startswith("Shown to be better: smoothed labels, at 64 px")
    at_one = told(gains=pd.concat([for_sure.iloc[[3]], other_cell]))[question]
    assert at_one.startswith("Not shown to be worse at every α and T, at 64 px")
    once = told(gains=GAINS.assign(seeds=1))
    assert once["Does distillation help where patients are few?"].startswith("It is not shown")
    assert "No difference from the teacher was found" in " ".join(once.values()), "of one seed"


def test_the_grid_counts_what_lies_above_and_below_and_names_the_chosen_cell():
    (answer,) = told(grid=GRID).values()
    assert answer.startswith("It cannot be told: one student per setting. All are held against the")
    assert "on labels alone: 1 of 2 settings came out above (from -3.0 to +2.0 points)." in answer
    (several,) = told(grid=GRID.assign(seeds=3)).values()
    assert several.startswith("3 students per setting. All are held against the same 3 students")
    assert "(α 0.4, T 5): +2.0 [+1.0, +3.0] points (one seed)" in answer
    alone = {"model": "label-only student", "fraction": 1, "seeds": 3, "accuracy": 0.7}
    alone |= {"size_px": 64}
    answer, *_ = told(
        grid=GRID.assign(accuracy=[0.8, 0.75, 0.9]), sizes=pd.DataFrame([alone])
    ).values()
    assert "+20.0 points from the mean of 3 such students; 2 of the settings are above" in answer


def test_the_network_of_the_earlier_code_is_told_beside_the_other():
    row = {"as_coded": 0.6, "five_conv": 0.8, "difference": -0.2, "seeds": 3, "size_px": 64}
    ends = {"difference_low": -0.3, "difference_high": -0.1}
    (answer,) = told(as_coded=pd.DataFrame([row | ends])).values()
    assert answer.startswith("It is worse. On labels alone it is right in 60%")


def test_verdicts_and_likeness_count_what_every_seed_says():
    verdicts = pd.DataFrame(
        {
            "run": ["a", "b"] * 3,
            "dataset": "brain_tumor",
            "split": "patients",
            "teacher": "t",
            "model": "KD student",
            "explanation": np.repeat(["occlusion", "Grad-CAM", "centre"], 2),
            "names what matters": [1, 1, 1, 0, 1, 1],
        }
    )
    (answer,) = told(verdicts=verdicts).values()
    assert answer == (
        "In tests that take pixels away or put them back, 1 of 2 explanations of the distilled "
        "student beats all of these maps (random; random, blurred; centre; Sobel) in each of 2 "
        "seeds: occlusion. Occlusion is itself made by covering pixels, which favours it here. "
        "This asks what the network uses, not where the tumour is."
    )
    question = pd.DataFrame(
        {
            "run": ["a", "b"] * 3,
            "dataset": "brain_tumor",
            "split": "patients",
            "teacher": "t",
            "measure": np.repeat(["SSIM with the teacher: Grad-CAM", "CKA", "accuracy"], 2),
            "difference": [0.2, 0.25, -0.3, -0.1, 0.2, 0.2],
            "low": [0.1, 0.2, -0.4, -0.4, 0.1, 0.1],
            "high": [0.3, 0.3, -0.2, 0.1, 0.3, 0.3],
        }
    )
    (answer,) = told(kd_question=question).values()
    assert answer == (
        "Of 2 measures, each from 0 (or -1) to 1, in each of 2 seeds: nearer by 1, farther by 0. "
        "Nearer: Grad-CAM (last layer), by +0.23. The others stay open."
    )
    of_maps = question.replace({"measure": {"CKA": "SSIM with the teacher: average map"}})
    elsewhere = of_maps.assign(dataset="eye_disease", run="c", low=-1, high=1)
    (answer,) = told(kd_question=pd.concat([of_maps, elsewhere])).values()
    assert "in each of 2 seeds" in answer, "runs of another data set are no seeds of this one"
    assert answer.endswith("The others stay open, those of every average map among them.")


def test_cost_is_told_by_size_against_the_paper_s_teacher():
    times = pd.DataFrame(
        {
            "size_px": [64, 64, 64, 224, 224, 224],
            "method": [
                "forward",
                "gradcam",
                "shap_gradient",
                "gradcam",
                "shap_gradient",
                "integrated_gradients",
            ],
            "rounds": 30,
            "ratio": [1.0, 3.0, 4.0, 2.0, 2.5, 9.0],
            "ratio_low": [0.9, 2.9, 3.9, 1.9, 2.4, 8.5],
            "ratio_high": [1.1, 3.1, 4.1, 2.1, 2.6, 9.5],
            "teacher_forwards_flops": [1, 2, 56, 2, 56, 110],
            "student_forwards_flops": [1, 2, 56, 2, 56, 49],
        }
    )
    work = pd.DataFrame(
        {
            "size_px": [64, 64, 224, 224],
            "model": ["teacher", "student"] * 2,
            "macs": [100, 30, 1000, 300],
        }
    )
    (answer,) = told(explanation_times=times, work=work).values()
    assert "It needs 30% of the MACs of DenseNet121" in answer
    assert "3.0 to 4.0 times as long at 64 px and 2.0 to 2.5 times as long at 224 px" in answer
    assert "alone: 4.0 [3.9, 4.1] at 64 px and 2.5 [2.4, 2.6] at 224 px." in answer
    apart = "more steps on DenseNet121: Integrated Gradients 9.0 times at 224 px."
    assert answer.endswith(apart), "its longer way is no cost of the network"
    (brief,) = at_once({"explanation_times": times})
    assert "Than DenseNet121, the paper's teacher, yes. The same explanation (Grad" in brief
    assert brief.endswith("2.5 [2.4, 2.6] times as long.")
    claim = {"measure": "SHAP, teacher's time / student's time", "claimed": "about 4"}
    claims = pd.DataFrame([claim | {"source": "a secondary source", "verdict": "undecided"}])
    (brief,) = at_once({"explanation_times": times, "claims": claims})
    assert brief.endswith("Of the paper, a secondary source gives about 4 times: undecided here.")
    own = {"teacher": "timm:x", "model": ["timm:x", "the student"], "size_px": 224}
    own |= {"macs": [40, 100], "parameters": [3, 1]}
    (brief,) = at_once({"explanation_times": times, "teachers": pd.DataFrame(own)})
    assert "It depends on the teacher: than DenseNet121, the paper's, yes." in brief
    assert "needs 40% of the student's MACs, though it has more weights." in brief
    own |= {"macs": [400, 100]}
    (brief,) = at_once({"explanation_times": times, "teachers": pd.DataFrame(own)})
    assert "depends" not in brief and brief.endswith("needs 400% of the student's MACs.")
    (brief,) = at_once({"explanation_times": times.assign(rounds=3)})
    assert brief.endswith("(timed only 3 times at 224 px, so the true interval is wider).")


def test_traps_are_told_of_every_seed():
    lured = pd.DataFrame(
        {
            "run": ["a", "a", "b", "b"],
            "teacher_seed": [0, 0, 1, 1],
            "map": ["average map", "class evidence"] * 2,
            "share": [0.6, 0.06, 0.98, 0.1],
            "low": [0.5, 0.0, 0.9, 0.0],
            "chance": 0.01,
            "images": 48,
        }
    )
    (both,) = told(distractor=lured).values()
    assert both.startswith("In 2 seeds, yes.") and "in 60% to 98% of the images" in both
    third = lured[lured["run"] == "b"].assign(run="c", teacher_seed=2)
    (three,) = told(distractor=pd.concat([lured, third])).values()
    assert three.startswith("Yes.")
    assert "(a random pixel: 1.0%). Class evidence" in both
    assert "in 6% to 10% (2 seeds, 48 images); evidence of either sign was not counted." in both
    (one,) = told(distractor=lured[lured["run"] == "a"]).values()
    assert one.startswith("In 1 seed, yes.") and "in 60% of the images" in one
    (open_,) = told(distractor=lured.assign(low=[0.5, 0, 0.0, 0])).values()
    assert open_.startswith("It is not shown.")
    marked = pd.DataFrame(
        {
            "run": ["a", "a", "b", "b"],
            "teacher_seed": [0, 0, 1, 1],
            "explanation": ["occlusion", "Eigen-CAM, middle"] * 2,
            "reveals": [1, 1, 1, 0],
            "images": 8,
        }
    )
    (answer,) = told(shortcut=marked).values()
    assert "1 of 2 explanations do in every seed (2 seeds, 8 images)." in answer
    assert answer.endswith("For these it is not shown: Eigen-CAM (middle layer).")


def test_a_measure_that_one_seed_lacks_is_not_said_of_each_seed():
    question = pd.DataFrame(
        {
            "run": ["a", "b", "a"],
            "dataset": "brain_tumor",
            "split": "patients",
            "teacher": "t",
            "measure": ["x: average map", "x: average map", "y"],
            "difference": 0.2,
            "low": 0.1,
            "high": 0.3,
        }
    )
    (answer,) = told(kd_question=question).values()
    assert "nearer by 1, farther" in answer and answer.endswith("The others stay open.")


def test_few_seeds_below_the_paper_are_told_as_few():
    row = {
        "dataset": "eye_disease",
        "split": "random",
        "teacher": "densenet121",
        "counted": "all classes",
        "majority": 0.26,
        "model": "KD student",
        "sizes_of": "",
        "paper": 0.9,
        "accuracy": 0.8,
        "accuracy_low": 0.75,
        "accuracy_high": 0.85,
        "size_px": 96,
        "epochs": 25,
        "seeds": 1,
    }
    (answer,) = told(accuracy=pd.DataFrame([row])).values()
    assert answer.startswith(
        "It came out below on 1 of 1 set, too few seeds each for a verdict, under"
    )
    (answer,) = told(accuracy=pd.DataFrame([row | {"seeds": 3}])).values()
    assert answer.startswith("No, on 1 of 1 set, under")
    once = row | {"dataset": "alzheimer"}
    (answer,) = told(accuracy=pd.DataFrame([row | {"seeds": 3}, once])).values()
    assert answer.startswith("No, on 1 of 2 sets; 1 more came out below, too few seeds each for a")
    (answer,) = told(accuracy=pd.DataFrame([row | {"accuracy_high": 0.95}])).values()
    assert answer.startswith("It is not shown to lie below, on 1 set")


def test_what_is_left_is_told_beside_the_largest_class():
    row = {
        "dataset": "alzheimer",
        "split": "grouped",
        "teacher": "densenet121",
        "counted": "all classes",
        "model": "KD student",
        "sizes_of": "",
        "paper": np.nan,
        "accuracy": 0.6,
        "accuracy_low": 0.55,
        "accuracy_high": 0.7,
        "majority": 0.5,
        "over_majority_low": 0.02,
        "seeds": 2,
    }
    at_random = row | {"split": "random", "accuracy": 0.9}
    (answer,) = told(accuracy=pd.DataFrame([at_random, row])).values()
    place = "Alzheimer by person: right in 60% [55%, 70%], where naming the largest class"
    assert f"{place} is right in 50% (2 seeds)." in answer
    no_better = pd.DataFrame([row | {"over_majority_low": -0.02}])
    (answer,) = told(accuracy=no_better).values()
    assert answer.endswith("is right in 50%: not shown to be more (2 seeds).")


def test_the_epoch_that_is_kept_is_told_with_the_sign_that_turns():
    row = {"dataset": "alzheimer", "split": "grouped", "teacher": "t", "sizes_of": ""}
    row |= {"fraction": 1.0, "epochs": 25, "seeds": 3, "size_px": 96}
    alone = {"model": "label-only student", "kept": "5, 3, 4"}
    taught = {"model": "KD student", "kept": "17, 17, 17"}
    alone |= {"over_labels": 0.0, "over_labels_last": 0.0}
    taught |= {"over_labels": -0.05, "over_labels_last": 0.07}
    table = pd.DataFrame([row | alone, row | taught])
    (answer,) = told(kept_epochs=table).values()
    assert answer.startswith(
        "It may: the difference changes its sign, by a point or more, on Alzheimer by person. On"
    )
    points = "-5.0 and +7.0 points (3 seeds; labels alone kept at epoch 3 to 5"
    assert f"Alzheimer by person: {points}" in answer
    assert answer.endswith("of 25, the distilled student at 17).")
    by_little = table.assign(over_labels=-0.004, over_labels_last=0.004)
    (answer,) = told(kept_epochs=by_little).values()
    assert answer.startswith("The sign stays."), "of so small a change it says nothing"
    steady = table.assign(over_labels_last=table["over_labels"])
    (answer,) = told(kept_epochs=steady).values()
    assert answer.startswith("The sign stays.")
    few = steady.assign(dataset="eye_disease", seeds=1)
    (answer,) = told(kept_epochs=pd.concat([steady, few])).values()
    assert answer.startswith("The sign stays where there are three seeds or more.")
    turning = table.assign(dataset="eye_disease", seeds=1)
    (answer,) = told(kept_epochs=pd.concat([steady, turning])).values()
    also = "With one or two seeds it also turns on eye with copies apart."
    assert answer.startswith(f"The sign stays where there are three seeds or more. {also}")
    (answer,) = told(kept_epochs=table.assign(seeds=2)).values()
    assert answer.startswith("It cannot be told from one or two seeds.")
    smaller = table.assign(dataset="eye_disease", size_px=64)
    (answer,) = told(kept_epochs=pd.concat([table, smaller])).values()
    assert "or more, on Alzheimer by person and eye with copies apart" in answer
    from_zero = table.assign(over_labels=0.0)
    (answer,) = told(kept_epochs=from_zero).values()
    assert answer.startswith("It may"), "no difference, and one at the end"


def test_weak_teachers_are_told_before_what_they_taught():
    columns = {"accuracy": 0.8, "labels_alone": 0.9, "size_px": 64, "seeds": 4}
    gap = {"difference": -0.1, "difference_low": -0.2, "difference_high": -0.05}
    table = pd.DataFrame(
        [
            {**columns, **gap, "fraction": 1.0, "teachers": 4},
            {**columns, **gap, "fraction": 0.1, "teachers": 1},
        ]
    )
    (line,) = told(small_teachers=table).values()
    assert line.startswith("No, they are weaker than the student on labels alone. At 64 px")
    assert "right in 80%, the student on labels alone in 90%: -10.0 [-20.0, -5.0] points" in line
    assert "They came out behind. So what is said at this size" in line
    assert "they are behind at 1 of 1 shares" in line
    (line,) = told(small_teachers=table.assign(teachers=1)).values()
    assert line.startswith("It is not shown."), "of one teacher nothing is"
    better = table.assign(difference=0.1, difference_low=0.05, difference_high=0.2)
    (line,) = told(small_teachers=better).values()
    assert line.startswith("Yes.") and "came out behind" not in line


def test_the_paper_s_line_tells_what_was_learned_at_the_end():
    place = {"dataset": "eye_disease", "split": "random", "sizes_of": "", "teacher": "t"}
    accuracy = {"accuracy": 0.8, "accuracy_low": 0.7, "accuracy_high": 0.9, "majority": 0.3}
    paper = {"paper": 0.95, "model": "KD student", "seeds": 3, "counted": "all classes"}
    table = pd.DataFrame([{**place, **accuracy, **paper, "size_px": 96, "epochs": 2}])
    curve = pd.DataFrame(
        {
            **place,
            "model": "KD student",
            "epoch": [2, 1],
            "train_accuracy": [0.9, 0.5],
            "val_accuracy": [0.82, 0.6],
        }
    )
    lines = told(accuracy=table, schedule=curve)
    line = lines["Is the distilled student as accurate as the paper says?"]
    assert line.endswith("validation images: 90% and 82% (eye); the curves are in `schedule.png`.")


def test_what_no_table_holds_is_no_finding():
    assert findings({}) == {} and at_once({}) == []
    assert told(gains=GAINS.query("fraction == 2")) == {}


def test_published_findings_are_questions_with_short_answers():
    lines = all_lines(published())
    assert len(lines) >= 10 and len(findings(published())) == 5, "topics"
    for line in lines:
        assert re.match(r"\*\*[^*]+\?\*\* \S", line) and "nan" not in line
    brief = " ".join(at_once(published()))
    sentences = re.split(r"(?<=[.?])\s", re.sub(r"\[[^]]*\]|\*\*", "", brief))
    lengths = [len(re.findall(r"[^\W\d_][\w'-]*", sentence)) for sentence in sentences]
    assert statistics.median(lengths) <= 18 and max(lengths) <= 35


@pytest.mark.parametrize(
    ("gain", "said"),
    [
        ((0.02, 0.01, 0.03), "Distillation helps here, by +2.0 ["),
        ((-0.02, -0.03, -0.01), "Distillation harms here, by -2.0 ["),
        ((0.02, -0.01, 0.05), "Whether distillation helps, this study cannot tell: +2.0 ["),
        ((0.0, 0.0, 0.0), "the students cannot be told apart on 12 patients or families."),
    ],
)
def test_the_answer_of_a_study_goes_by_the_interval_of_the_gain(gain, said):
    accuracies = dict.fromkeys(("teacher", "KD student"), Interval((0.8, 0.7, 0.9)))
    text, sure = results_answer(accuracies, 0.5, Difference(gain, groups=12), 0.34)
    assert said in text and "34% of the FLOPs of the paper's teacher" in text
    assert "70% to 90%" in sure


def test_few_patients_are_said():
    accuracies = dict.fromkeys(("teacher", "KD student"), Interval((0.8, np.nan, np.nan)))
    text, sure = results_answer(accuracies, 0.5, Difference((0.1, np.nan, np.nan)), 0.34)
    assert "cannot tell" in text and "too few patients" in sure
    assert "nan" not in text + sure


def test_short_tables_hold_every_row_and_fit_a_screen():
    real = published()
    accuracy = accuracy_rows(real["accuracy"])
    assert len(accuracy) == (real["accuracy"]["counted"] == "all classes").sum()
    gains = gain_rows(GAINS)
    assert gains["difference"].iloc[0] == "+0.010 [-0.010, +0.030]"
    for table in (accuracy, gains):
        assert len(table.columns) + table.index.nlevels <= 10 and table.notna().all(axis=None)


def test_draws_are_told_from_the_first_that_chose_nothing():
    rows = []
    for seed, teacher, student in ((4, 0.5, 0.5), (5, 0.10, 0.01), (6, 0.02, -0.03)):
        row = {"seed": seed, "memory": 0.3, "teacher": 0.95}
        row |= {"KD student": 0.9, "label-only student": 0.85}
        for name, gain in ("teacher - labels", teacher), ("KD - labels", student):
            row |= {name: gain, f"{name}, low": gain - 0.02, f"{name}, high": gain + 0.02}
        rows.append(row)
    lines = draws_lines(pd.DataFrame(rows)).splitlines()
    assert lines[2:4] == [
        "| 5 | 95.0% | 90.0% | 85.0% | 30.0% | **+10.0 [+8.0, +12.0]** | +1.0 [-1.0, +3.0] |",
        "| 6 | 95.0% | 90.0% | 85.0% | 30.0% | +2.0 [+0.0, +4.0] | **-3.0 [-5.0, -1.0]** |",
    ]
    half = 12.706 * np.std([10, 2], ddof=1) / 2**0.5  # Student's t of two draws
    assert f"teacher is +6.0 [{6 - half:+.1f}, {6 + half:+.1f}] points above" in lines[-1]
    assert "the teacher is above on 1 of 2 seeds (below on 0), its student on 0 of 2" in lines[-1]
    assert "(below on 1)" in lines[-1]
