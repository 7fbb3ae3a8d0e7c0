from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from kdnb.core.errors import UserError
from kdnb.feature_maps.maps import average_maps
from kdnb.feature_maps.probes import (
    Examples,
    control_task,
    early_decisions,
    fit_probes,
    probe_predictions,
    probe_table,
)
from kdnb.training.students import FiveConv
from kdnb.training.taps import features

GROUPS = np.repeat(np.arange(60), 4)
TARGETS = np.repeat(np.arange(60) % 3, 4)


def examples(seed, patient=0.0):
    """A tap that shows the class, one that shows nothing; both may show who the patient is."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(2, 240, 20)).astype(np.float32)
    who = patient * rng.normal(size=(60, 20))[GROUPS]
    return Examples(
        {"shows": noise[0] + who + 3 * np.eye(20)[TARGETS], "hides": noise[1] + who},
        TARGETS,
        GROUPS,
    )


def test_features_are_spatial_means():
    model, images = FiveConv(4, 0.25), torch.randn(5, 3, 32, 32)
    found = features(model, images, batch=2)
    assert {tap: x.shape for tap, x in found.items()} == {
        f"conv{i}": (5, 2 ** (i + 2)) for i in range(1, 6)
    }
    for tap, maps in average_maps(model, images).items():
        np.testing.assert_allclose(found[tap].mean(1), maps.mean(dim=(1, 2)).numpy(), rtol=1e-4)
        assert found[tap].dtype == np.float32


def test_probes_equal_scikit_learn_by_hand():
    train, test = examples(0), examples(1)
    scaler = StandardScaler().fit(train.features["shows"].astype(float))
    model = LogisticRegression(max_iter=2000).fit(
        scaler.transform(train.features["shows"].astype(float)), TARGETS
    )
    expected = model.predict(scaler.transform(test.features["shows"].astype(float)))
    probes = fit_probes(train.features, TARGETS)
    assert np.array_equal(probe_predictions(probes, test.features)[0], expected)
    table = probe_table(train, test, repeats=1)
    assert table.accuracy["shows"] == (expected == TARGETS).mean()


def test_table_tells_what_shows_from_what_hides():
    table = probe_table(examples(0), examples(1), untrained=(examples(2), examples(3)))
    names = "accuracy low high control selectivity untrained untrained_low untrained_high "
    names += "above_untrained above_untrained_low above_untrained_high chance"
    assert " ".join(table.columns) == names
    np.testing.assert_allclose(table.above_untrained, table.accuracy - table.untrained)
    assert (table.above_untrained_low <= table.above_untrained).all()
    assert (table.chance == np.bincount(TARGETS).max() / len(TARGETS)).all()
    assert table.accuracy["shows"] > 0.9 and table.low["hides"] < 1 / 3 < table.high["hides"]
    assert (table.low <= table.accuracy).all() and (table.accuracy <= table.high).all()
    np.testing.assert_allclose(table.selectivity, table.accuracy - table.control)
    assert (table.control < 0.5).all()
    again = probe_table(examples(0), examples(1), untrained=(examples(2), examples(3)))
    assert table.equals(again)
    assert (
        table.untrained["shows"]
        == probe_table(examples(2), examples(3), repeats=1).accuracy["shows"]
    )


def test_control_is_high_where_patients_can_be_learnt_by_heart():
    low, high = (probe_table(examples(0, p), examples(1, p)).control["hides"] for p in (0.0, 5.0))
    assert high > low + 0.1


def test_control_is_scored_on_images_it_was_not_fitted_on():
    """200 features of noise: whatever was fitted on is known by heart."""
    noise = {"noise": np.random.default_rng(0).normal(size=(240, 200))}
    train = Examples(noise, TARGETS, GROUPS)
    table = probe_table(train, train)
    assert table.accuracy["noise"] == 1 and table.control["noise"] < 0.5


def test_no_control_without_a_second_image_and_no_untrained():
    train = examples(0)._replace(groups=np.arange(240))
    assert (
        probe_table(train, examples(1)).loc["shows", "control":"above_untrained_high"].isna().all()
    )


@pytest.mark.parametrize("seed", range(3))
def test_control_task(seed):
    groups = np.random.default_rng(seed).integers(0, 30, 200)
    targets = (groups * 7 + 3) % 4
    labels, scored = control_task(targets, groups, seed)
    names = np.unique(groups)
    assert all(len(set(labels[groups == g])) == 1 for g in names)
    first = [targets[groups == g][0] for g in names], [labels[groups == g][0] for g in names]
    assert sorted(first[0]) == sorted(first[1]) and first[0] != first[1]
    assert all(scored[groups == g].sum() == (groups == g).sum() // 2 for g in names)


def test_early_decisions_equal_the_definition():
    rng = np.random.default_rng(0)
    decoded, final = rng.integers(0, 2, (4, 200)), rng.integers(0, 2, 200)
    expected = [
        min(t for t in range(1, 6) if (decoded[t - 1 :, i] == final[i]).all()) for i in range(200)
    ]
    assert early_decisions(decoded, final).tolist() == expected
    assert set(expected) == {1, 2, 3, 4, 5}


def test_bad_input():
    x = {"tap": np.zeros((4, 2), np.float32)}
    with pytest.raises(UserError, match="got 4 images at tap 'tap', 3 targets, 2 classes"):
        fit_probes(x, [0, 1, 1])
    with pytest.raises(UserError, match="1 classes"):
        fit_probes(x, [1, 1, 1, 1])
    with pytest.raises(UserError, match="not finite"):
        fit_probes({"tap": np.full((4, 2), np.nan)}, [0, 1, 0, 1])
    with pytest.raises(UserError, match="one final prediction per image"):
        early_decisions(np.zeros((2, 3), int), np.zeros(4, int))
