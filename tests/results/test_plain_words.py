"""Findings in plain words say what the tables say: more, less, cannot tell, or one seed only."""

from __future__ import annotations

import re
import statistics

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from kdnb.core.statistics import Difference, Interval
from kdnb.results.answer import results_answer
from kdnb.results.build import published
from kdnb.results.plain_words import findings_html, plain_findings
from kdnb.results.plots import difference_panels
from kdnb.results.short_tables import accuracy_rows, gain_rows

GAINS = pd.DataFrame(
    {
        "dataset": ["brain_tumor", "eye_disease", "alzheimer", "brain_tumor"],
        "split": "grouped",
        "fraction": 1.0,
        "taught_by": "the teacher",
        "against": ["labels alone", "labels alone", "labels alone", "shuffled"],
        "alpha": 0.7,
        "temperature": 10.0,
        "difference": [0.03, -0.04, -0.01, 0.02],
        "difference_low": [0.01, -0.06, -0.05, -0.01],
        "difference_high": [0.05, -0.02, 0.03, 0.05],
        "p": 0.02,
        "seeds": 3,
        "size_px": 64,
    }
)


def told(**tables):
    return {finding.question: finding.answer for finding in plain_findings(tables)}


def test_what_helps_harms_and_stays_open_is_told_apart():
    answers = told(c_gains=GAINS)
    assert answers["Does distillation help?"] == (
        "It helps on brain (+0.030). It harms on eye (-0.040). "
        "On Alzheimer (-0.010) this study cannot tell."
    )
    assert "do not clearly beat those of shuffled answers (+0.020)" in " ".join(answers.values())
    beaten = GAINS.assign(difference_low=GAINS["difference_low"] + 0.02)
    assert "its students beat shuffled answers" in " ".join(told(c_gains=beaten).values())


def test_one_seed_is_never_sure():
    answer = told(c_gains=GAINS.assign(seeds=1))["Does distillation help?"]
    assert "It helps on brain (+0.030), but with one seed only." in answer
    assert "It harms on eye (-0.040), but with one seed only." in answer


def test_several_cells_of_a_data_set_are_all_told():
    twice = pd.concat([GAINS.head(1), GAINS.head(1).assign(alpha=0.4, difference=0.02)])
    answer = told(c_gains=twice)["Does distillation help?"]
    assert "brain, alpha 0.7, T 10 (+0.030) and brain, alpha 0.4, T 10 (+0.020)" in answer


def test_what_no_table_holds_is_no_finding():
    assert plain_findings({}) == []
    assert told(c_gains=GAINS.assign(fraction=0.5)) == {}


def test_published_findings_are_short_sentences_without_brackets_of_numbers():
    findings = plain_findings(published())
    assert len(findings) >= 8
    for finding in findings:
        assert "[" not in finding.answer and "nan" not in finding.answer
    sentences = re.split(r"(?<=[.?])\s", " ".join(f.answer for f in findings))
    lengths = [len(re.findall(r"[^\W\d_][\w'-]*", sentence)) for sentence in sentences]
    assert statistics.median(lengths) <= 18 and max(lengths) <= 35
    page = findings_html(findings)
    assert page.count("<dt>") == len(findings)


def test_the_picture_says_every_difference_of_the_findings():
    findings = plain_findings({"c_gains": GAINS})
    picture = difference_panels(findings)
    assert "brain: +0.030 [+0.010, +0.050]" in picture.alt
    assert "Alzheimer: -0.010 [-0.050, +0.030]" in picture.alt
    marks = [line.get_markerfacecolor() for line in picture.figure.axes[0].get_lines()]
    assert marks.count("white") == 1, "only what cannot be told is hollow"
    plt.close(picture.figure)


@pytest.mark.parametrize(
    ("gain", "said"),
    [
        ((0.02, 0.01, 0.03), "Distillation helps here, by +0.020"),
        ((-0.02, -0.03, -0.01), "Distillation harms here, by -0.020"),
        ((0.02, -0.01, 0.05), "Whether distillation helps, this study cannot tell: +0.020"),
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
    accuracy = accuracy_rows(real["a_accuracy"])
    assert len(accuracy) == (real["a_accuracy"]["counted"] == "all classes").sum()
    gains = gain_rows(GAINS)
    assert gains["difference"].iloc[0] == "+0.030 [+0.010, +0.050]"
    for table in (accuracy, gains):
        assert len(table.columns) + table.index.nlevels <= 9 and table.notna().all(axis=None)
