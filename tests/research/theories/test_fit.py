"""Fits know the parameters behind curves that an account made itself, and each account predicts its own world best."""

import numpy as np
import pytest
from known_theories import COOPETITION_LIKE, RATES

from research.theories.coopetition import COOPETITION
from research.theories.fit import fit
from research.theories.flow import predict
from research.theories.rates import NOISY, OUTVOTED
from research.theories.score import rmse
from research.theories.training import CONDITIONS, GRID, HELD_OUT

TRUE = {
    COOPETITION.name: COOPETITION_LIKE,
    NOISY.name: {
        "rate": 3000.0,
        "memorise": 0.06,
        "w0": 0.003,
        "beta0": 0.003,
        "y0": 0.2,
        "sigma": 0.3,
        "eta_icl": 0.6,
        "eta_iwl": 0.15,
        "kappa": 0.9,
    },
    OUTVOTED.name: RATES | {"eta_icl": 0.15},
}


def made_by(account, condition="mixed"):
    got = predict(account, TRUE[account.name], CONDITIONS[condition], GRID)
    return {name: (GRID, curve) for name, curve in got.items()}


@pytest.mark.parametrize("account", [COOPETITION, NOISY, OUTVOTED], ids=lambda a: a.name)
def test_parameters_are_recovered_from_an_accounts_own_curves(account):
    start = {n: v * (1.15 if i % 2 else 0.87) for i, (n, v) in enumerate(TRUE[account.name].items())}
    found = fit(account, {0: made_by(account)}, starts=[{0: start}], draws=0, max_nfev=40)
    assert found.rmse < 2e-3
    firm = [n for n in TRUE[account.name] if n in ("kappa", "eta_icl", "slower", "memorise")]
    for name in firm:
        assert found.parameters[0][name] == pytest.approx(TRUE[account.name][name], rel=0.15), name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("world", "rival"), [(COOPETITION, NOISY), (NOISY, COOPETITION)], ids=["coopetition's", "rates-noisy's"]
)
def test_each_account_predicts_its_own_world_better(world, rival):
    curves = {0: made_by(world)}
    errors = {}
    for account in (world, rival):
        found = fit(account, curves, draws=200, refined=3)
        errors[account.name] = []
        for condition in HELD_OUT:
            guess = predict(account, found.parameters[0], CONDITIONS[condition], GRID)
            truth = predict(world, TRUE[world.name], CONDITIONS[condition], GRID)
            errors[account.name].append(rmse(guess, truth)["all"])
    assert np.mean(errors[world.name]) < 0.5 * np.mean(errors[rival.name])
