"""What a condition changes, and what it does not."""

import numpy as np
import pytest
from known_theories import COOPETITION_LIKE, RATES

from research.theories.coopetition import COOPETITION
from research.theories.flow import predict, trajectory
from research.theories.rates import NOISY, OUTVOTED, noisy_pull
from research.theories.training import CONDITIONS, GRID, Condition


def test_a_switch_changes_nothing_before_it():
    mixed = predict(COOPETITION, COOPETITION_LIKE, CONDITIONS["mixed"], GRID)
    switched = predict(COOPETITION, COOPETITION_LIKE, CONDITIONS["mixed-then-icl"], GRID)
    before = GRID < 0.768
    np.testing.assert_allclose(switched["flip"][before], mixed["flip"][before], atol=1e-4)
    assert abs(switched["flip"][-1] - mixed["flip"][-1]) > 0.1


def test_without_its_handicap_icl_persists_in_coopetition():
    assert predict(COOPETITION, COOPETITION_LIKE, CONDITIONS["mixed"], GRID)["flip"][-1] < 0.1
    assert predict(COOPETITION, COOPETITION_LIKE, CONDITIONS["matched"], GRID)["flip"][-1] > 0.9


@pytest.mark.parametrize(("account", "p"), [(COOPETITION, COOPETITION_LIKE), (OUTVOTED, RATES), (NOISY, RATES)])
def test_no_previous_token_no_icl(account, p):
    got = predict(account, p, CONDITIONS["no-previous-token"], GRID)
    np.testing.assert_array_equal(got["icl"], 0.5)
    assert got["ciwl"][-1] > 0.9


def test_memory_is_lost_on_time_and_scored_before():
    times = np.array([0.0, 0.064, 0.0641])
    y = trajectory(OUTVOTED, RATES, CONDITIONS["relabelled"], times)[:, 2]
    assert y[1] > y[2] >= RATES["y0"]


def test_noisy_pull_is_the_gradient_of_the_mean_loss():
    def loss(u, v):
        x, w = np.polynomial.hermite_e.hermegauss(80)
        z = u + v + np.sqrt(0.1 + 0.3 * u * u + 0.05 * v * v) * x
        return (w * np.logaddexp(0, -z)).sum() / np.sqrt(2 * np.pi)

    g, h = noisy_pull(1.2, 0.7, 0.3, 0.05, 0.1)
    assert g == pytest.approx((loss(1.2 - 1e-4, 0.7) - loss(1.2 + 1e-4, 0.7)) / 2e-4, abs=1e-3)
    assert h == pytest.approx((loss(1.2, 0.7 - 1e-4) - loss(1.2, 0.7 + 1e-4)) / 2e-4, abs=1e-3)


def test_time_is_the_integral_of_the_learning_rate():
    demo = CONDITIONS["mixed"]
    assert demo.learning_time(1.536) == pytest.approx(0.768)
    assert demo.learning_time(3.072) == pytest.approx(0.768 + 1.536)
    assert Condition("constant", warmup=0.0).learning_time(2.5) == 2.5
