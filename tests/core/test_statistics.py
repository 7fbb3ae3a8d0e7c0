from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, recall_score

from kdnb.core.errors import UserError
from kdnb.core.intervals import Interval
from kdnb.core.p_values import p_over_seeds, paired_test
from kdnb.core.statistics import (
    Groups,
    _tail,
    group_bootstrap,
    interval_of_seeds,
    seed_interval,
    share_interval,
    softmax,
    trials,
    with_unseen,
)
from kdnb.distillation.fidelity import fidelity, fidelity_by
from kdnb.training.evaluation import (
    balanced_accuracy,
    confusion,
    macro_f1,
    paired_difference,
    scores,
)


def data(n=200, classes=4, seed=0, skill=1.0):
    rng = np.random.default_rng(seed)
    targets = rng.integers(classes, size=n)
    logits = rng.normal(size=(n, classes))
    logits[np.arange(n), targets] += skill
    return logits, targets, np.arange(n) // 5


@pytest.mark.parametrize("classes", [2, 4, 9])
def test_values_equal_scikit_learn(classes):
    logits, targets, groups = data(classes=classes)
    table, answers = scores(logits, targets, groups), logits.argmax(1)
    assert table.loc["accuracy", "value"] == pytest.approx(accuracy_score(targets, answers))
    assert table.loc["balanced_accuracy", "value"] == pytest.approx(
        balanced_accuracy_score(targets, answers)
    )
    assert table.loc["macro_f1", "value"] == pytest.approx(
        f1_score(targets, answers, average="macro")
    )
    onehot = np.eye(classes)[targets]
    assert table.loc["brier", "value"] == pytest.approx(
        ((softmax(logits) - onehot) ** 2).sum(1).mean()
    )
    assert (table["low"] <= table["value"] + 1e-9).iloc[[0, 1, 2, 4]].all()
    assert (table["groups"] == 40).all()


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(2, 6), st.integers(1, 40))
def test_means_over_classes_are_scikit_learns_of_the_classes_with_a_true_image(data, classes, n):
    numbers = st.lists(st.integers(0, classes - 1), min_size=n, max_size=n)
    targets = np.array(data.draw(numbers))
    answers = np.array(data.draw(numbers))
    present = sorted(set(targets.tolist()))
    theirs = f1_score(targets, answers, labels=present, average="macro")
    assert macro_f1(targets, answers) == pytest.approx(theirs)
    recall = recall_score(targets, answers, labels=present, average="macro")
    assert balanced_accuracy(targets, answers) == pytest.approx(recall)
    by_hand = [np.mean(answers[targets == k] == k) for k in present]
    assert balanced_accuracy(targets, answers) == pytest.approx(np.mean(by_hand))


@pytest.mark.parametrize("gone", [(), (3,), (0, 2)])
def test_classes_without_a_true_image_are_named_beside_the_means_over_classes(gone):
    logits, targets, groups = data(n=60)
    kept = ~np.isin(targets, gone)
    table = scores(logits[kept], targets[kept], groups[kept], tuple("abcd"))
    present = sorted(set(range(4)) - set(gone))
    theirs = f1_score(targets[kept], logits[kept].argmax(1), labels=present, average="macro")
    assert table.loc["macro_f1", "value"] == pytest.approx(theirs)
    if not gone:
        assert "absent" not in table
        return
    names = ", ".join("abcd"[number] for number in gone)
    assert table["absent"].tolist() == ["", names, names, "", ""]


@pytest.mark.parametrize("classes", [3, 4, 9])
def test_one_error_moves_the_means_over_classes_a_little(classes):
    targets = np.array([0, 1, 2] * 20)
    answers = targets.copy()
    answers[0] = 1
    perfect = scores(np.eye(classes)[targets], targets, np.arange(60) // 3)["value"]
    one_wrong = scores(np.eye(classes)[answers], targets, np.arange(60) // 3)
    means = ["balanced_accuracy", "macro_f1"]
    assert (perfect[means] == 1).all() and (one_wrong.loc[means, "value"] > 0.98).all()
    assert (one_wrong.loc[means, "low"] > 0.9).all(), "so do the draws of the bootstrap"


@pytest.mark.slow
def test_interval_covers_the_truth_about_as_often_as_it_says():
    hits = 0
    for seed in range(100):
        groups = np.repeat(np.arange(60), 4)
        rng = np.random.default_rng(seed)
        right = np.repeat(rng.random(60) < 0.7, 4).astype(float)
        _, low, high = group_bootstrap(
            lambda r, x=right: x[r].mean(), groups, repeats=300, seed=seed
        )
        hits += low <= 0.7 <= high
    assert 86 <= hits <= 100


def uneven_groups(count, seed):
    """Values (N,) that groups of one to nine rows share in part, and the group of each row."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(count), rng.integers(1, 10, count))
    values = rng.exponential(size=count)[groups] + rng.normal(size=len(groups))
    return values, groups


@pytest.mark.parametrize("count", [6, 15, 60])
def test_intervals_over_groups_equal_scipys_percentile_bootstrap(count):
    """At the level that the expansion asks for; scipy draws pairs of a group's sum and size."""
    values, groups = uneven_groups(count, seed=count)
    theirs = stats.bootstrap(
        (np.bincount(groups, weights=values), np.bincount(groups)),
        lambda sums, sizes, axis: sums.sum(axis) / sizes.sum(axis),
        paired=True,
        method="percentile",
        confidence_level=1 - 2 * _tail(count),
        n_resamples=20_000,
        random_state=np.random.default_rng(1),
    ).confidence_interval
    tolerance = 0.04 * (theirs.high - theirs.low)  # of random draws; the ends are far out
    ours = group_bootstrap(lambda rows: values[rows].mean(), groups, repeats=10_000)
    np.testing.assert_allclose(ours[1:], theirs, atol=tolerance)
    np.testing.assert_allclose(seed_interval(values[None], groups)[1:], theirs, atol=tolerance)


@pytest.mark.parametrize("count", [8, 20])
def test_the_expansion_makes_a_bootstrap_as_wide_as_students_t(count):
    """On means of normal numbers, where scipy's t interval is exact; plain percentiles are not."""
    widths = []
    for seed in range(40):
        means = np.random.default_rng(seed).normal(size=count)
        theirs = stats.ttest_1samp(means, 0).confidence_interval(0.95)
        ours = seed_interval(means[None], np.arange(count))
        plain = stats.bootstrap(
            (means,),
            np.mean,
            method="percentile",
            n_resamples=2000,
            random_state=np.random.default_rng(0),
        ).confidence_interval
        width = theirs.high - theirs.low
        widths.append([(ours[2] - ours[1]) / width, (plain.high - plain.low) / width])
    expanded, plain = np.mean(widths, axis=0)
    assert abs(expanded - 1) < 0.1 and plain < expanded - 0.03


def test_numbers_of_seeds_alone_equal_scipys_t_interval():
    seeds = np.array([0.71, 0.74, 0.78, 0.75])
    theirs = stats.ttest_1samp(seeds, 0).confidence_interval(0.95)
    np.testing.assert_allclose(interval_of_seeds(seeds)[1:], theirs, rtol=1e-12)


def test_ignoring_groups_would_be_too_sure():
    right = np.repeat(np.random.default_rng(0).random(40) < 0.7, 10).astype(float)
    spans = [
        np.ptp(group_bootstrap(lambda r: right[r].mean(), groups)[1:])
        for groups in (np.repeat(np.arange(40), 10), np.arange(400))
    ]
    assert spans[0] > 2 * spans[1]


def test_all_right_still_has_a_width():
    logits, targets, groups = data(skill=50)
    table = scores(logits, targets, groups)
    row = table.loc["accuracy"]
    assert row["value"] == row["high"] == 1
    assert row["low"] == pytest.approx(0.025 ** (1 / 40), abs=1e-6)
    means = table.loc[["balanced_accuracy", "macro_f1"]]
    rarest = min(len(set(groups[targets == k])) for k in range(4))
    assert (means["high"] == 1).all()
    assert means["low"].tolist() == pytest.approx(2 * [0.025 ** (1 / min(40, 4 * rarest))])


@pytest.mark.parametrize("skill", [50, -50])
@pytest.mark.parametrize("patients", [2, 12])
def test_a_saturated_score_has_a_one_sided_interval(skill, patients):
    """All right or all wrong: what was not seen may be otherwise, in every score."""
    logits, targets, _ = data(48, skill=skill)
    table = scores(logits, targets, np.arange(48) % patients)
    assert (logits.argmax(1) == targets).all() == (skill > 0)
    assert (logits.argmax(1) == targets).any() == (skill > 0)
    shares = table.loc[["accuracy", "balanced_accuracy", "macro_f1"]]
    assert shares.notna().all(axis=None) and (shares["high"] - shares["low"] > 0.1).all()
    assert (shares["high" if skill > 0 else "low"] == shares["value"]).all()
    if patients == 2:
        assert shares.loc["accuracy", "high"] - shares.loc["accuracy", "low"] > 0.8
        return
    errors = table.loc[["ece", "brier"]]
    share = 1 - 0.025 ** (1 / 12)
    if skill > 0:
        assert (errors["high"] >= share * np.array([1, 2])).all(), "unseen errors cost so much"
    else:
        assert (errors["low"] <= errors["value"] * (1 - share) + 1e-9).all()


def test_one_sided_intervals_hold_the_truth():
    """Two classes of 30 and 6 patients; some patients fail as a whole."""
    classes = np.repeat([0, 1], [30, 6])
    groups = np.arange(36)
    certain = 1 - with_unseen(Interval((1.0, 1.0, 1.0)), trials(groups, classes), 0.0)[1]
    recalls = np.linspace(0.5, 1, 101)
    common, rare = np.meshgrid(recalls, recalls)
    seen_all_right = common**30 * rare**6
    missed = (common + rare) / 2 < 1 - certain
    assert seen_all_right[missed].max() <= 0.025
    assert f"{with_unseen(Interval((1.0, 1.0, 1.0)), 100, 0.0)}" == "1.000 [0.964, 1.000]"


def test_students_that_always_agree_have_a_one_sided_agreement():
    logits, _, groups = data()
    same = fidelity(logits, 2 * logits, groups).loc["agreement"]
    assert same["value"] == same["high"] == 1 and same["low"] == pytest.approx(0.025 ** (1 / 40))


def test_paired_difference_of_equals_is_zero_and_antisymmetric():
    a, targets, groups = data(seed=1)
    b, _, _ = data(seed=2)
    tie = paired_difference(a, a, targets, groups)
    assert tie == (0, 0, 0)
    assert f"{tie:+.3f}" == "cannot be told apart on 40 patients or families"
    assert (
        paired_difference(a, b, targets, groups)[0] == -paired_difference(b, a, targets, groups)[0]
    )


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_fidelity_equals_torch(seed):
    student, _, _ = data(50, seed=seed)
    teacher, _, _ = data(50, seed=seed + 1)
    table = fidelity(student, teacher, np.arange(50))
    kl = torch.nn.functional.kl_div(
        torch.log_softmax(torch.tensor(student), 1),
        torch.softmax(torch.tensor(teacher), 1),
        reduction="batchmean",
    )
    assert table.loc["kl", "value"] == pytest.approx(kl.item(), rel=1e-6)
    assert table.loc["agreement", "value"] == pytest.approx(
        (student.argmax(1) == teacher.argmax(1)).mean()
    )


def test_confusion_counts_every_image():
    logits, targets, _ = data()
    matrix = confusion(logits, targets, tuple("abcd"))
    assert matrix.to_numpy().sum() == 200
    assert matrix.sum(axis=1).tolist() == np.bincount(targets).tolist()


def test_seed_interval_with_one_seed_is_the_group_bootstrap():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 3)
    values = (rng.random((1, 180)) < 0.8).astype(float)
    ours, other = (
        seed_interval(values, groups),
        group_bootstrap(lambda r: values[0, r].mean(), groups),
    )
    np.testing.assert_allclose(ours, other, atol=0.012)


def test_seed_interval_grows_when_seeds_disagree():
    groups = np.arange(200)
    alike = np.repeat((np.arange(200) < 150)[None], 4, axis=0).astype(float)
    apart = np.stack([np.arange(200) < n for n in (100, 130, 170, 200)]).astype(float)
    assert alike.mean() == apart.mean()
    narrow, wide = (np.subtract(*seed_interval(v, groups)[:0:-1]) for v in (alike, apart))
    assert wide > 1.5 * narrow


def test_interval_leaves_out_what_a_seed_does_not_know():
    values = np.tile([[0.1, 0.2, np.nan, 0.4], [0.3, 0.2, 0.9, 0.4]], 2)
    value, low, high = seed_interval(values, np.arange(8))
    assert value == pytest.approx(np.mean([0.1, 0.2, 0.4, 0.3, 0.2, 0.4])) and low < value < high
    assert seed_interval(np.ones((2, 8)), np.arange(8)) == (1, 1, 1), "by construction, not by luck"
    for images in 1, 2:
        one_patient = seed_interval(values[:, :images], np.zeros(images))
        assert np.isnan(one_patient[1:]).all(), "one patient has no spread, whatever the seeds"
    assert np.isnan(seed_interval(values, np.arange(8) // 2)[1:]).all(), "four patients are too few"
    assert np.isnan(seed_interval(np.full((2, 3), np.nan), np.arange(3))).all()


def test_one_seed_of_one_number_has_no_interval():
    value, low, high = interval_of_seeds(np.array([0.3]))
    assert value == 0.3 and np.isnan([low, high]).all(), "one network speaks for no other"


def test_numbers_of_seeds_alone_have_students_t():
    value, low, high = interval_of_seeds(np.array([0.1, 0.2, 0.3]))
    assert (value, low, high) == pytest.approx(
        (0.2, 0.2 - 4.303 * 0.1 / 3**0.5, 0.2 + 4.303 * 0.1 / 3**0.5), abs=1e-3
    )


def test_four_patients_give_no_interval_anywhere():
    logits, targets, _ = data(40)
    few, other = np.arange(40) % 4, data(40, seed=3)[0]
    assert scores(logits, targets, few)[["low", "high"]].isna().all(axis=None)
    assert np.isnan(paired_difference(logits, other, targets, few)[1:]).all()
    assert fidelity(logits, other, few)[["low", "high"]].isna().all(axis=None)
    tie = paired_difference(logits, logits, targets, few)
    assert f"{tie}" == "cannot be told apart on 4 patients or families"
    assert "(no interval)" in f"{paired_difference(logits, other, targets, few)}"


def test_an_interval_stays_where_the_mean_can_be():
    values = np.array([0.98, 0.99, 1.0])[:, None] * np.ones(20)
    assert (
        seed_interval(values, np.arange(20))[2]
        > 1
        == seed_interval(values, np.arange(20), bounds=(-1, 1))[2]
    )
    hits = (np.arange(60).reshape(3, 20) > 1).astype(float)
    assert share_interval(hits, np.arange(20))[2] <= 1


def test_paired_test_holds_its_level_and_finds_a_difference():
    rng, groups = np.random.default_rng(0), np.repeat(np.arange(40), 2)
    null = [
        paired_test(rng.choice([-1.0, 0, 1], (2, 80)), groups, repeats=400, seed=s)
        for s in range(200)
    ]
    assert 0.01 < np.mean(np.array(null) < 0.05) < 0.1
    assert paired_test(rng.choice([0.0, 1], (2, 80)), groups) < 0.001
    assert paired_test(np.zeros((3, 80)), groups) == 1.0


def test_paired_test_leaves_out_what_a_seed_does_not_know():
    known = np.array([[1.0, 0, 1, 1, 0, 1, 1]])
    with_gap = np.insert(known, 3, np.nan, axis=1)
    groups = np.insert(np.arange(7), 3, 9)
    assert paired_test(with_gap, groups) == paired_test(known, np.arange(7))


@pytest.mark.parametrize(("wrong", "is_known"), [(12, True), (2, False)])
def test_draws_without_a_number_are_left_out_if_they_are_few(wrong, is_known):
    """Of few wrong answers some draws hold none; of very few, too many for an interval."""
    is_wrong = np.arange(200) < wrong
    values = np.linspace(0, 1, 200)

    def gap(rows):
        of_wrong = values[rows][is_wrong[rows]]
        return of_wrong.mean() - values[rows].mean() if len(of_wrong) else np.nan

    interval = group_bootstrap(gap, np.arange(200))
    assert np.isfinite(interval[1:]).all() == is_known and np.isfinite(interval[0])


@pytest.mark.parametrize("effect", [0.0, 0.3, 0.6])
def test_paired_test_equals_scipys_exact_permutation_test(effect):
    """Scipy swaps A's and B's sum of a whole group, in all 2^12 ways."""
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(12), rng.integers(1, 6, 12))
    shared = 0.4 * rng.normal(size=12)[groups]
    b = rng.normal(size=(2, len(groups)))
    a = b + effect + shared + 0.3 * rng.normal(size=b.shape)
    exact = stats.permutation_test(
        [np.bincount(groups, weights=scores.sum(0)) for scores in (a, b)],
        lambda first, second, axis: (first - second).sum(axis),
        permutation_type="samples",
        n_resamples=np.inf,
        vectorized=True,
    ).pvalue
    repeats = 20_000
    error = (exact * (1 - exact) / repeats) ** 0.5
    assert paired_test(a - b, groups, repeats=repeats) == pytest.approx(exact, abs=4 * error)


def test_fidelity_by_class_and_where_the_teacher_is_wrong():
    one_hot = np.eye(3)
    targets, teacher, student = np.array([0, 0, 1, 1]), one_hot[[0, 1, 1, 1]], one_hot[[0, 0, 1, 2]]
    table = fidelity_by(student, teacher, targets, ("a", "b", "c"))
    assert table.loc["a"].tolist() == [2, 0.5, 1.0, 0.5]
    assert table.loc["b"].tolist() == [
        2,
        0.5,
        0.5,
        1.0,
    ]
    assert table.loc["teacher wrong"].tolist() == [1, 0.0, 1.0, 0.0]
    assert table.loc["c", "images"] == 0 and np.isnan(table.loc["c", "agreement"])


@pytest.mark.parametrize("temperature", [0.5, 1.0, 10.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax_equals_torchs(temperature, dtype):
    logits = (50 * np.random.default_rng(0).normal(size=(200, 5))).astype(dtype)
    expected = torch.softmax(torch.tensor(logits, dtype=torch.float64) / temperature, dim=1)
    found = softmax(logits, temperature)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-12)


def test_groups_of_widening_one_change_no_digit():
    logits, targets, names = data()
    other = data(seed=1)[0]
    right = (logits.argmax(1) == targets).astype(float)[None]
    for ask in (
        lambda groups: scores(logits, targets, groups).to_csv(),
        lambda groups: fidelity(logits, other, groups).to_csv(),
        lambda groups: paired_difference(logits, other, targets, groups),
        lambda groups: share_interval(right, groups),
        lambda groups: share_interval(np.ones((1, 200)), groups),
        lambda groups: paired_test(right - 0.7, groups),
    ):
        assert ask(names) == ask(Groups(names))
    np.testing.assert_array_equal(np.unique(Groups(names)), np.unique(names))


def test_widened_intervals_are_longer_and_stay_within_bounds():
    logits, targets, names = data(skill=3.0)
    wide = Groups(names, 2.0)
    plain, widened = (scores(logits, targets, groups) for groups in (names, wide))
    below = plain["value"] - plain["low"]
    reached = (plain["value"] - 2 * below).clip(0)
    inside = below > 0  # a bootstrap of calibration may lie above the value
    np.testing.assert_allclose(widened["low"][inside], reached[inside])
    assert (widened["high"] >= plain["high"]).all()
    assert (widened.loc["accuracy":"ece", "high"] <= 1).all() and (widened["low"] >= 0).all()
    assert (widened["value"] == plain["value"]).all()
    nearly = np.ones((1, 200))
    nearly[0, 0] = 0
    assert share_interval(nearly, wide)[1] < share_interval(nearly, names)[1]
    assert share_interval(nearly, wide)[2] == 1
    assert share_interval(np.ones((1, 200)), wide)[1] == pytest.approx(0.025 ** (1 / 10))


def test_widening_is_of_the_groups_and_not_of_the_seeds():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(4, 60)) + rng.normal(size=(4, 1))
    names = np.arange(60) // 2
    ends = [np.array(seed_interval(values, Groups(names, factor))) for factor in (1, 2, 3)]
    squares = [(end[0] - end[1]) ** 2 for end in ends]
    assert squares[2] - squares[0] == pytest.approx(8 / 3 * (squares[1] - squares[0]))


@pytest.mark.slow
def test_widened_groups_hold_the_truth_where_each_patient_is_in_two_of_them():
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(30), 4)
    groups = np.arange(120) // 2  # two of each patient
    held = {1.0: [], 2**0.5: []}
    for _ in range(300):
        values = (rng.normal(size=30)[patients] + 0.1 * rng.normal(size=120))[None]
        for factor, found in held.items():
            _, low, high = seed_interval(values, Groups(groups, factor))
            found.append(low < 0 < high)
    narrow, wide = (np.mean(found) for found in held.values())
    assert narrow < 0.88 and 0.92 < wide < 0.98


def test_paired_test_of_widened_groups_is_less_sure():
    differences = np.random.default_rng(0).normal(0.2, 1, size=(1, 80))
    plain, widened = (paired_test(differences, Groups(np.arange(80), f)) for f in (1.0, 1.5))
    assert 1.5 * stats.norm.isf(widened / 2) == pytest.approx(stats.norm.isf(plain / 2), rel=0.1)


@pytest.mark.slow
def test_statistics_load_no_torch():
    code = "import sys, kdnb.core.statistics; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_answers_that_are_no_numbers_have_no_score(value):
    logits = np.eye(3)[[0, 1, 2, 0]]
    logits[0] = value  # the largest of it would be class 0, and right
    with pytest.raises(UserError, match="1 of 4 answers have logits that are no numbers"):
        scores(logits, np.array([0, 1, 2, 0]), np.arange(4))


def test_a_mean_over_classes_is_as_sure_as_its_rarest_class_allows():
    tables = {}
    for name, sizes in {"even": (25, 20), "rare": (40, 5), "few": (40, 4)}.items():
        targets = np.repeat([0, 1], sizes)
        wrong = np.arange(len(targets)) % 5 == 0  # a fifth of each class
        logits = np.eye(2)[np.where(wrong, 1 - targets, targets)]
        tables[name] = scores(logits, targets, np.arange(len(targets)))
    width = {name: table["high"] - table["low"] for name, table in tables.items()}
    assert width["rare"]["balanced_accuracy"] > 2 * width["even"]["balanced_accuracy"]
    assert np.isnan(width["few"][["balanced_accuracy", "macro_f1"]]).all()
    assert not np.isnan(width["few"]["accuracy"])


def test_p_over_seeds_is_the_t_test_where_only_seeds_differ():
    seeds = np.random.default_rng(0).normal(0.02, 0.01, 4)
    values = np.repeat(seeds[:, None], 30, axis=1)
    expected = stats.ttest_1samp(seeds, 0).pvalue
    assert p_over_seeds(values, np.arange(30)) == pytest.approx(expected, rel=1e-6)


@given(st.integers(0, 10_000), st.integers(1, 5), st.floats(-0.3, 0.3))
@settings(max_examples=40, deadline=None)
def test_p_over_seeds_is_below_a_twentieth_where_the_interval_leaves_out_zero(seed, count, mean):
    rng = np.random.default_rng(seed)
    values = mean + 0.3 * rng.normal(size=(count, 1)) + rng.normal(size=(count, 24))
    interval = seed_interval(values, np.arange(24))
    p = p_over_seeds(values, np.arange(24))
    if abs(p - 0.05) > 0.001:
        assert (p < 0.05) == (interval.low > 0 or interval.high < 0)


def test_p_over_seeds_tells_nothing_of_few_groups_and_of_ties():
    assert np.isnan(p_over_seeds(np.ones((2, 3)), np.arange(3)))
    assert np.isnan(p_over_seeds(np.zeros((3, 20)), np.arange(20)))
