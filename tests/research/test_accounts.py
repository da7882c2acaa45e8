"""Scores of accounts whose world is known, and the committed scores from the committed parameters and curves."""

import numpy as np
import pandas as pd
import pytest
from known_theories import COOPETITION_LIKE
from scipy.stats import t

from mechicl.errors import ConfigError
from research import accounts, accounts_data, tables
from research.theories.coopetition import COOPETITION
from research.theories.fit import Fit
from research.theories.flow import predict
from research.theories.training import CONDITIONS, GRID, HELD_OUT

SEEDS = {0: COOPETITION_LIKE, 1: {**COOPETITION_LIKE, "a0": 0.012, "d0": 0.2}}


@pytest.fixture(scope="module")
def scored():
    """Two seeds of coopetition's own world, scored with the parameters that made it."""
    worlds = {
        (c, s): predict(COOPETITION, p, CONDITIONS[c], GRID) for c in ("mixed", *HELD_OUT) for s, p in SEEDS.items()
    }
    measured = {key: {name: (GRID, curve) for name, curve in world.items()} for key, world in worlds.items()}
    fits = {("coopetition", "joint"): Fit(COOPETITION, SEEDS, 0.0, 1, 1)}
    return worlds, accounts.score_all(measured, fits)


def errors(table, account, condition):
    rows = table[(table.kind == "rmse") & (table.evaluator == "all") & (table.account == account)]
    return rows[rows.condition == condition].set_index("seed").value


def distance(a, b):
    return np.sqrt(np.mean([(a[e] - b[e]) ** 2 for e in ("icl", "flip", "ciwl")]))


def test_who_made_the_world_is_never_wrong(scored):
    _, table = scored
    own = table[(table.account == "coopetition") & table.kind.isin(["rmse", "octaves"])].value
    assert own.dropna().abs().max() == 0
    assert accounts.phase_summary(table).loc["coopetition"].tolist() == [1.0, 0.0]


@pytest.mark.parametrize("condition", HELD_OUT)
def test_yardsticks_are_the_untreated_curve_and_the_other_seeds(scored, condition):
    worlds, table = scored
    for seed, other in ((0, 1), (1, 0)):
        here, untreated, others = worlds[condition, seed], worlds["mixed", seed], worlds[condition, other]
        assert errors(table, accounts.CONTROL, condition)[seed] == pytest.approx(distance(untreated, here))
        assert errors(table, accounts.OTHERS, condition)[seed] == pytest.approx(distance(others, here))


def test_the_untreated_condition_is_not_held_out(scored):
    _, table = scored
    expected = [np.mean([errors(table, accounts.CONTROL, c)[seed] for c in HELD_OUT]) for seed in SEEDS]
    assert accounts.held_out(table)[accounts.CONTROL].tolist() == pytest.approx(expected)
    assert accounts.summary(table).loc["held out", accounts.CONTROL] == pytest.approx(np.median(expected))


def test_a_seed_that_lacks_a_condition_is_left_out(scored):
    _, table = scored
    short = table[~((table.seed == 1) & (table.condition == HELD_OUT[0]))]
    assert list(accounts.held_out(short).index) == [0]


def test_a_comparison_is_paired_by_seed_with_a_t_interval(scored):
    _, table = scored
    means = accounts.held_out(table)
    differences = means["coopetition"] - means[accounts.CONTROL]
    row = accounts.comparison(table).loc["coopetition"]
    half = t.ppf(0.975, 1) * differences.std() / np.sqrt(2)
    assert row[["n", "mean"]].tolist() == pytest.approx([2, differences.mean()])
    assert row[["ci_low", "ci_high"]].tolist() == pytest.approx([differences.mean() - half, differences.mean() + half])


def test_a_parameter_at_a_bound_of_the_search_is_named(scored):
    _, table = scored
    assert accounts.at_bounds(table)["coopetition"] == []
    low, high = COOPETITION.ranges["mu1"]
    for end in (low * 1.001, high):
        moved = table.assign(value=table.value.where(table.name != "mu1", end))
        assert accounts.at_bounds(moved)["coopetition"] == ["mu1"]


def test_runs_are_whole_and_a_step_counts_once():
    rows = [("a", 0, 1e6, 0.6, True), ("a", 0, 1e6, 0.9, True), ("a", 0, 5e5, 0.5, True), ("a", 1, 1e6, 0.7, False)]
    frame = pd.DataFrame(rows, columns=["condition", "seed", "sequences", "value", "complete"]).assign(evaluator="icl")
    found = accounts_data.runs(frame)
    assert list(found) == [("a", 0)]
    times, values = found["a", 0]["icl"]
    assert (times.tolist(), values.tolist()) == ([0.5, 1.0], [0.5, 0.6])


def test_without_tables_the_error_says_how_to_make_one(monkeypatch):
    monkeypatch.setattr(tables, "read", lambda name: None)
    with pytest.raises(ConfigError, match=r"neither demo nor competition.*python -m research collect"):
        accounts_data.read()


def test_committed_scores_follow_from_the_committed_parameters_and_curves():
    table = tables.read("accounts")
    assert table is not None
    rows = table[table.kind == "parameter"]
    fits = {}
    for account in accounts.ACCOUNTS:
        for fitted in ("joint", "alone"):
            own = rows[(rows.account == account.name) & (rows.fitted == fitted)]
            found = {int(s): dict(zip(p.name, p.value, strict=True)) for s, p in own.groupby("seed")}
            fits[account.name, fitted] = Fit(account, found, 0.0, 0, 0)
    again = accounts.score_all(accounts_data.runs(accounts_data.read()), fits)
    kinds = ["rmse", "octaves", "present"]
    names = ["account", "fitted", "condition", "seed", "kind", "evaluator", "name"]
    before, now = (x[x.kind.isin(kinds)].set_index(names).value.sort_index() for x in (table, again))
    pd.testing.assert_series_equal(now, before, atol=1e-3, rtol=0)
