"""Claim 0.14 in worlds whose account is known: it can come out either way, and needs all of its runs."""

import numpy as np
import pandas as pd
import pytest
from known_theories import COOPETITION_LIKE
from scipy.special import ndtri

from mechicl.errors import ConfigError
from mechicl.measures.phases import phase_times
from research import accounts, fade_accounts, tables
from research.experiments import fade_accounts as claims
from research.figure_1b_runs import RAW, SEEDS
from research.theories.coopetition import COOPETITION
from research.theories.fit import Fit
from research.theories.flow import predict
from research.theories.rates import OUTVOTED, REGULARIZED

MATCH = {RAW: 0.94, "spread-0.8": 0.97, "spread-1.3": 0.88, "spread-1.6": 0.82, "layout-released": 0.96}
TIMES = np.linspace(0.1, 15, 150)
STARTS = {seed: {**COOPETITION_LIKE, "rate": 150.0, "a0": 0.01 + 0.001 * seed} for seed in SEEDS}
RATES = {"rate": 150.0, "memorise": 0.3, "w0": 0.05, "beta0": 0.03, "y0": 0.1, "decay": 1e-4}


@pytest.fixture
def given(monkeypatch):
    """The tables: banks as in MATCH, and no run."""
    rows = [("figure-1b" if name == RAW else "figure-1b-speed", name, s, m) for name, m in MATCH.items() for s in SEEDS]
    held = {"geometry": pd.DataFrame(rows, columns=["sweep", "condition", "seed", "match"])}
    monkeypatch.setattr(tables, "read", held.get)
    return held


def world(where, follows: bool) -> dict[str, pd.DataFrame]:
    """Tables of runs that do what coopetition says of their bank, or (not follows) the opposite of it."""
    frames = {"figure-1b": [], "figure-1b-speed": []}
    other = {"spread-0.8": "spread-1.6", "spread-1.6": "spread-0.8", "spread-1.3": "layout-released"}
    for name in where.conditions:
        said = where.conditions[name if follows else other.get(name, "spread-1.3" if name != RAW else RAW)]
        for seed, p in STARTS.items():
            for evaluator, values in predict(COOPETITION, p, said, TIMES).items():
                frames["figure-1b" if name == RAW else "figure-1b-speed"].append(
                    pd.DataFrame(
                        {
                            "condition": name,
                            "seed": seed,
                            "complete": True,
                            "step": (TIMES * 1e6 / 32).astype(int),
                            "sequences": TIMES * 1e6,
                            "evaluator": evaluator,
                            "value": values,
                        }
                    )
                )
    return {name: pd.concat(parts) for name, parts in frames.items()}


def scored(where):
    """What `python -m research fade` writes, where the fit finds these parameters."""
    rates = {s: {**p, **RATES} for s, p in STARTS.items()}
    fits = {
        (account.name, "joint"): Fit(account, parameters, 0.0, 1, 1)
        for account, parameters in ((COOPETITION, STARTS), (OUTVOTED, rates), (REGULARIZED, rates))
    }
    return accounts.score_all(fade_accounts.curves(), fits, where)


def test_a_bank_changes_the_error_of_matching_and_the_spread_of_its_logit():
    where = fade_accounts.setting(pd.Series(MATCH))
    offers = {name: condition.offers[0][1] for name, condition in where.conditions.items()}
    assert (offers[RAW].handicap, offers[RAW].noise) == (1, 1)
    assert offers["spread-1.3"].handicap == pytest.approx(2)
    assert offers["spread-0.8"].handicap == pytest.approx(0.5)
    assert offers["spread-1.6"].noise == pytest.approx(ndtri(0.94) / ndtri(0.82))
    assert where.held_out == tuple(name for name in MATCH if name != RAW)
    assert where.grid[-1] == 15
    assert all(condition.learning_time(3.0) == 3.0 for condition in where.conditions.values())


def test_the_worse_drawings_match_the_sooner_the_account_has_icl_fade():
    where = fade_accounts.setting(pd.Series(MATCH))
    order = ("spread-0.8", "layout-released", RAW, "spread-1.3", "spread-1.6")
    flip = [predict(COOPETITION, STARTS[0], where.conditions[name], TIMES)["flip"] for name in order]
    half = [phase_times(TIMES, values, 0.5).half_decay for values in flip]
    assert half == sorted(half, reverse=True)
    assert half[0] > 1.2 * half[-1]


@pytest.mark.parametrize(("follows", "status"), [(True, "supported"), (False, "contradicted")])
def test_both_verdicts_can_come(given, follows, status):
    where = fade_accounts.measured()
    given |= world(where, follows)
    given[fade_accounts.TABLE] = scored(where)
    (got,) = claims.claims()
    assert got.status == status
    assert len(got.parts) == 3
    times = got.text[-1].splitlines()
    assert times[2].startswith("| raw features (fitted) | 1.00 |")
    assert times[4].startswith("| spread x 1.3 | 2.00 |")
    if follows:
        assert times[4].split("|")[5] != times[2].split("|")[5]  # Flip's half-decay, predicted


def test_seeds_that_disagree_decide_nothing():
    means = pd.DataFrame({"coopetition": [0.1, 0.1, 0.1], accounts.CONTROL: [0.2, 0.2, 0.05]}, index=SEEDS)
    assert claims.judged(means.assign(**dict.fromkeys(claims.RIVALS[1:], 0.3)))[0].status == "inconclusive"


def test_without_all_runs_there_is_no_verdict(given):
    where = fade_accounts.measured()
    made = world(where, True)
    made["figure-1b-speed"] = made["figure-1b-speed"].query("seed < 2")
    given |= made
    given[fade_accounts.TABLE] = scored(where)
    (got,) = claims.claims()
    assert (got.status, got.reason) == ("running", "8 of 12 predicted runs are finished")


def test_a_bank_that_was_not_measured_is_named(given):
    given["geometry"] = given["geometry"].query("condition != 'spread-1.6'")
    with pytest.raises(ConfigError, match=r"no bank of spread-1\.6: measure them with `python -m research geometry"):
        fade_accounts.measured()
    (got,) = claims.claims()
    assert got.status == "not run yet"
