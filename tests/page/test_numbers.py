"""Means and differences on the page have the intervals that textbooks give."""

import numpy as np
import pytest

from mechicl.page.numbers import mean, paired, percent, unpaired


def test_a_change_has_the_interval_of_paired_answers():
    before = np.array([True] * 90 + [False] * 10)
    after = before.copy()
    after[:5] = False
    change = paired(before, after)
    assert change.value == pytest.approx(-0.05)
    half = 1.959964 * np.sqrt(5 + 1 - 25 / 102) / 102
    assert (change.low, change.high) == pytest.approx((-5 / 102 - half, -5 / 102 + half), abs=1e-6)
    nothing = paired(before, before)  # no sequence changed: not certain to be 0
    assert nothing.value == 0
    assert (nothing.low, nothing.high) == pytest.approx((-1.96 / 102, 1.96 / 102), abs=1e-4)
    wilson = mean(np.array([True] * 100))
    assert wilson.value == wilson.high == 1
    assert wilson.low == pytest.approx(0.963, abs=1e-3)


def test_a_change_on_other_sequences_has_newcombes_interval():
    """Newcombe 1998 (Statistics in Medicine 17:873), example (a): 56/70 against 48/80."""
    a, b = np.arange(80) < 48, np.arange(70) < 56
    found = unpaired(a, b)
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    assert found.n == 70


def test_intervals_of_changes_cover():
    """Drawn again and again, about 95% of the intervals hold the true change."""
    rng, n, hits = np.random.default_rng(0), 200, 0
    for _ in range(400):
        before = rng.random(n) < 0.9
        after = before & (rng.random(n) < 0.95)
        hits += (lambda x: x.low <= -0.9 * 0.05 <= x.high)(paired(before, after))
    assert 0.93 <= hits / 400 <= 0.98


@pytest.mark.parametrize(
    ("value", "span", "place"),
    [
        (0.25, (0.0, 1.0), 25.0),
        (1.5, (0.0, 1.0), 100.0),
        (6.9, (0.0, 8.0), 86.25),
        (0.0, (-0.5, 1.0), 33.33),
        (-2, (-0.5, 1.0), 0.0),
    ],
)
def test_a_place_on_a_scale(value, span, place):
    assert percent(value, span) == place
