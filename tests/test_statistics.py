"""Intervals, tests and corrections, against scipy and by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import binomtest, norm

from mechicl.statistics import (
    holm,
    mean_interval,
    median_interval,
    ratio_interval,
    several,
    share_interval,
    t_interval,
    t_test,
)


@given(st.integers(1, 3000), st.data())
def test_accuracy_interval_is_wilsons(n, data):
    k = data.draw(st.integers(0, n))
    mean, low, high = mean_interval(torch.arange(n) < k, "acc")
    reference = binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert mean == pytest.approx(k / n)
    assert low == pytest.approx(reference.low, abs=1e-12)
    assert high == pytest.approx(reference.high, abs=1e-12)
    assert 0 <= low <= mean <= high <= 1


def test_loss_interval_is_normal():
    x = torch.randn(400, generator=torch.Generator().manual_seed(0))
    mean, low, high = mean_interval(x, "loss")
    half = norm.ppf(0.975) * x.double().std().item() / 20
    assert mean == pytest.approx(x.double().mean().item())
    assert (low, high) == (pytest.approx(mean - half), pytest.approx(mean + half))
    mean, low, high = mean_interval(torch.tensor([2.0]), "loss")
    assert mean == 2.0
    assert np.isnan([low, high]).all()


def test_intervals_run_over_the_last_axis():
    x = torch.rand(2, 3, 50) < 0.3
    mean, low, high = mean_interval(x, "acc")
    assert mean.shape == low.shape == high.shape == (2, 3)
    assert (mean[1, 2], low[1, 2], high[1, 2]) == mean_interval(x[1, 2], "acc")


def test_holms_correction():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, float("nan"), 0.6])[[0, 2]] == pytest.approx([1.0, 1.0])
    assert holm([]).size == 0


def test_t_interval_and_test_are_scipys():
    x = np.random.default_rng(0).normal(0.4, 1.0, (3, 7))
    mean, low, high = t_interval(x, axis=1)
    for row, *got in zip(x, mean, low, high, strict=True):
        found = stats.ttest_1samp(row, 0.0)
        want = found.confidence_interval(0.95)
        assert got == pytest.approx([row.mean(), want.low, want.high])
        assert t_test(row) == pytest.approx(found.pvalue)
    assert t_test([0.25, 0.25, 0.25]) == 0.0
    assert t_test([0.0, 0.0]) == 1.0
    assert np.isnan(t_interval([1.0])[1:]).all()


def test_exact_intervals_over_seeds():
    assert median_interval([5.0, 1.0, 2.0, 3.0, np.inf]) == (3.0, 1.0, np.inf)
    assert np.isnan(median_interval([1.0, 2.0, 3.0, 4.0])[1:]).all()
    assert share_interval(5, 5) == pytest.approx((0.05 ** (1 / 5), 1.0))


def test_intervals_of_several_hold_together():
    assert several(1) == pytest.approx(1.0)
    assert several(16) == pytest.approx(norm.ppf(1 - 0.025 / 16) / norm.ppf(0.975))


def test_the_interval_of_a_share_covers_it_and_is_none_of_nothing():
    rng, hits = np.random.default_rng(0), 0
    for _ in range(400):
        whole = rng.normal(2.0, 1.0, 200)
        part = 0.4 * whole + rng.normal(0.0, 0.5, 200)
        share, low, high = map(float, ratio_interval(part, whole))
        assert low < share < high
        hits += low <= 0.4 <= high
    assert 0.92 < hits / 400 < 0.98
    assert np.isnan(ratio_interval(np.ones(100), rng.normal(0, 1, 100))).all()
    assert ratio_interval(np.ones((2, 9)), np.full(9, 2.0))[0].tolist() == [0.5, 0.5]
