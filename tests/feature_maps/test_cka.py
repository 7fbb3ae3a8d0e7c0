from __future__ import annotations

import numpy as np
import pytest
import torch

from kdnb.core.errors import UserError
from kdnb.feature_maps.cka import gram_cka, grams
from kdnb.training.students import FiveConv
from kdnb.training.taps import capture


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cka(x, y):
    """Debiased CKA of features (N, P) and (N, Q)."""
    return float(gram_cka({"x": x @ x.T}, {"y": y @ y.T}).loc["x", "y"])


def song(x, y):
    """Reference: Song et al. (2012), equation 5, as printed."""

    def hsic(x, y):
        n = len(x)
        k, l = (z @ z.T for z in (x, y))  # noqa: E741
        np.fill_diagonal(k, 0)
        np.fill_diagonal(l, 0)
        one = np.ones(n)
        middle = (one @ k @ one) * (one @ l @ one) / ((n - 1) * (n - 2))
        return (np.trace(k @ l) + middle - 2 / (n - 2) * (one @ k @ l @ one)) / (n * (n - 3))

    x, y = x.numpy(), y.numpy()
    return hsic(x, y) / np.sqrt(hsic(x, x) * hsic(y, y))


def biased(x, y):
    x, y = (z - z.mean(0) for z in (x, y))
    return float((x.T @ y).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm()))


@pytest.mark.parametrize(("n", "p", "q"), [(4, 3, 2), (10, 200, 5), (50, 20, 30)])
def test_equals_the_formula(n, p, q):
    x = normal(n, p)
    y = x[:, :1] * normal(1, q, seed=1) + normal(n, q, seed=2) + 3
    assert cka(x, y) == pytest.approx(song(x, y), abs=1e-10)


def test_invariances():
    x, y = normal(20, 30), normal(20, 8, seed=1) + 0.3 * normal(20, 30)[:, :8]
    rotation = torch.linalg.qr(normal(30, 30, seed=2))[0]
    assert cka(x, x) == pytest.approx(1)
    assert cka(x, 5 * x @ rotation + 2) == pytest.approx(1)
    assert cka(x @ rotation, 0.1 * y - 4) == pytest.approx(cka(x, y))
    assert cka(x, y) == pytest.approx(cka(y, x))
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    assert cka(x[order], y[order]) == pytest.approx(cka(x, y)) != pytest.approx(cka(x, y[order]))


def test_independent_features_score_zero_where_the_biased_estimate_is_large():
    pairs = [(normal(20, 2000, seed=s), normal(20, 2000, seed=100 + s)) for s in range(40)]
    found = np.array([cka(*pair) for pair in pairs])
    assert abs(found.mean()) < 3 * found.std(ddof=1) / 40**0.5 < 0.05
    assert min(biased(*pair) for pair in pairs) > 0.9


def test_table_equals_cka_of_flattened_taps():
    torch.manual_seed(0)
    first, second, images = FiveConv(4, 0.25), FiveConv(3, 0.125), torch.randn(7, 3, 32, 32)
    table = gram_cka(grams(first, images, batch=3), grams(second, images, batch=3))
    assert table.shape == (5, 5)
    found = []
    for model in (first, second):
        with capture(model) as seen, torch.no_grad():
            model.eval()(images)
        found.append({tap: a.flatten(1) for tap, a in seen.items()})
    for row, x in found[0].items():
        for column, y in found[1].items():
            assert table.loc[row, column] == pytest.approx(song(x.double(), y.double()), abs=1e-4)
    assert np.allclose(np.diag(gram_cka(grams(first, images), grams(first, images))), 1)


def test_grams_do_not_depend_on_the_batches():
    model, images = FiveConv(4, 0.25), torch.randn(5, 3, 32, 32)
    for tap, whole in grams(model, images).items():
        torch.testing.assert_close(whole, grams(model, images, batch=2)[tap], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(whole, whole.T)


def test_bad_input_and_constant_features():
    with pytest.raises(UserError, match=r"at least 4; got \[3\]"):
        cka(normal(3, 5), normal(3, 5))
    with pytest.raises(UserError, match=r"got \[5, 6\] images"):
        cka(normal(5, 5), normal(6, 5))
    with pytest.raises(UserError, match="not finite"):
        cka(normal(5, 5), normal(5, 5) * torch.nan)
    assert np.isnan(cka(torch.ones(5, 3, dtype=torch.float64), normal(5, 3)))
