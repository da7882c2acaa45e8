"""Which account of ICL's rise and fall predicts conditions that it was not fitted to?

    python -m research accounts

Each account (research/theories) is fitted to the untreated curves twice: 'joint', all seeds together, each with its
own start of the flow and everything else shared, and 'alone', each seed by itself, which shows how much the verdict
depends on this choice. Then the other conditions of research/sweeps/competition.toml are predicted for the same seed
without a new fit: a condition changes only what it offers to the account (research/theories/training.py). These rules
were committed before any of those runs existed. There are two yardsticks. 'control' predicts the seed's own untreated
curve. 'other seeds' predicts the mean of the other seeds' curves under that condition; no account can know it, so it
shows how much seeds differ.

Writes accounts.parquet: account, fitted, condition, seed, kind, evaluator, name, value, where kind is parameter, fit
(rmse, agree, refined), rmse, octaves or present (research/theories/score.py). Yardsticks have fitted ''.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mechicl.measures.phases import over_seeds
from mechicl.system.progress import each
from research import tables
from research.accounts_data import Runs, read, runs
from research.theories.coopetition import COOPETITION
from research.theories.fit import Fit, fit, on_grid, untreated_error
from research.theories.flow import Account, predict
from research.theories.rates import NOISY, OUTVOTED, REGULARIZED
from research.theories.score import phase_errors, rmse
from research.theories.training import COMPETITION, Setting

ACCOUNTS = (COOPETITION, OUTVOTED, REGULARIZED, NOISY)
CONTROL, OTHERS = "control", "other seeds"
COLUMNS = ["account", "fitted", "condition", "seed", "kind", "evaluator", "name", "value"]
Fits = dict[tuple[str, str], Fit]  # (account, 'joint' or 'alone') -> parameters of every seed


def fit_all(
    measured: Runs,
    draws: int = 200,
    refined: int = 3,
    accounts: Sequence[Account] = ACCOUNTS,
    setting: Setting = COMPETITION,
) -> Fits:
    """Every account's two fits to the untreated curves. The joint search starts from the best two of the
    seeds' own values of what is shared."""
    untreated = {seed: curves for (condition, seed), curves in measured.items() if condition == setting.untreated}
    out: Fits = {}
    for account in each(accounts, "fitting", leave=False):
        alone = {
            s: fit(account, {s: curves}, draws=draws, refined=refined, setting=setting)
            for s, curves in untreated.items()
        }
        own = {s: f.parameters[s] for s, f in alone.items()}
        errors = float(np.sqrt(np.mean([f.rmse**2 for f in alone.values()])))
        agree, tried = (min(getattr(f, n) for f in alone.values()) for n in ("agree", "refined"))
        out[account.name, "alone"] = Fit(account, own, errors, agree, tried)
        shared = sorted(own, key=lambda s: alone[s].rmse)
        starts = [{s: {**own[one], **{n: own[s][n] for n in account.initial}} for s in own} for one in shared]
        starts = sorted(starts, key=lambda p: untreated_error(account, p, untreated, setting))[:2]
        out[account.name, "joint"] = fit(account, untreated, starts=starts, draws=0, max_nfev=40, setting=setting)
    return out


def predictions(
    measured: Runs, fits: Fits, condition: str, seed: int, setting: Setting = COMPETITION
) -> dict[tuple[str, str], dict]:
    """What each account and yardstick predicts for one run: (name, fitted) -> evaluator -> accuracy on the grid."""
    out = {
        key: predict(f.account, f.parameters[seed], setting.conditions[condition], setting.grid)
        for key, f in fits.items()
        if seed in f.parameters
    }
    out[CONTROL, ""] = on_grid(measured[setting.untreated, seed], setting.grid)
    others = [on_grid(c, setting.grid) for (name, other), c in measured.items() if name == condition and other != seed]
    if others:
        out[OTHERS, ""] = {e: np.mean([o[e] for o in others], axis=0) for e in others[0]}
    return out


def score_all(measured: Runs, fits: Fits, setting: Setting = COMPETITION) -> pd.DataFrame:
    """The table that is written."""
    rows = []
    for key, f in fits.items():
        for seed, parameters in f.parameters.items():
            rows += [(*key, setting.untreated, seed, "parameter", "", n, v) for n, v in parameters.items()]
        found = {"rmse": f.rmse, "agree": f.agree, "refined": f.refined}
        rows += [(*key, setting.untreated, -1, "fit", "", n, float(v)) for n, v in found.items()]
    for (condition, seed), curves in measured.items():
        if condition not in setting.conditions or (setting.untreated, seed) not in measured:
            continue
        truth = on_grid(curves, setting.grid)
        for key, guess in predictions(measured, fits, condition, seed, setting).items():
            rows += [(*key, condition, seed, "rmse", e, "", v) for e, v in rmse(guess, truth).items()]
            for row in phase_errors(guess, truth, setting.grid):
                for kind in ("octaves", "present"):
                    rows.append((*key, condition, seed, kind, row["evaluator"], row["name"], row[kind]))
    return pd.DataFrame(rows, columns=COLUMNS)


def _errors(table: pd.DataFrame, fitted: str) -> pd.DataFrame:
    rows = table[(table.kind == "rmse") & (table.evaluator == "all")]
    return rows[rows.fitted.isin([fitted, ""])]


def summary(table: pd.DataFrame, fitted: str = "joint", setting: Setting = COMPETITION) -> pd.DataFrame:
    """Median RMSE over seeds of icl, flip and ciwl together: a row per condition, a column per account, then
    'held out', the mean over the held-out conditions (of the seeds that have all of them)."""
    rows = _errors(table, fitted)
    by_condition = rows.pivot_table(index="condition", columns="account", values="value", aggfunc="median", sort=False)
    by_condition.insert(0, "seeds", rows.groupby("condition").seed.nunique())
    means = held_out(table, fitted, setting)
    if len(means):
        by_condition.loc["held out"] = {"seeds": len(means), **means.median()}
    return by_condition


def held_out(table: pd.DataFrame, fitted: str = "joint", setting: Setting = COMPETITION) -> pd.DataFrame:
    """RMSE per seed (rows) and account (columns): the mean over the held-out conditions that were measured, of the
    seeds that have all of these."""
    rows = _errors(table, fitted)
    rows = rows[rows.condition.isin(setting.held_out)]
    counts = rows.groupby("seed").condition.nunique()
    rows = rows[rows.seed.isin(counts[counts == rows.condition.nunique()].index)]
    return rows.pivot_table(index="seed", columns="account", values="value", aggfunc="mean", sort=False)


def comparison(
    table: pd.DataFrame, other: str = CONTROL, fitted: str = "joint", setting: Setting = COMPETITION
) -> pd.DataFrame:
    """Each account's held-out RMSE minus another's, paired by seed: mean and 95% t-interval over seeds."""
    means = held_out(table, fitted, setting)
    rows = {a: over_seeds((means[a] - means[other]).tolist()) for a in means.columns if a not in (other, OTHERS)}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["n", "mean", "ci_low", "ci_high", "low", "high"])


def phase_summary(table: pd.DataFrame, fitted: str = "joint", setting: Setting = COMPETITION) -> pd.DataFrame:
    """Over held-out runs: the share of phases whose presence is right, and the median size of the error in octaves
    where both have them."""
    rows = table[table.fitted.isin([fitted, ""]) & table.condition.isin(setting.held_out)]
    present = rows[rows.kind == "present"].groupby("account", sort=False).value.mean()
    size = rows[rows.kind == "octaves"].groupby("account", sort=False).value.apply(lambda x: x.abs().median())
    return pd.DataFrame({"presence right": present, "octaves off": size})


def at_bounds(table: pd.DataFrame, fitted: str = "joint") -> dict[str, list[str]]:
    """Account -> its fitted parameters that lie at a bound of the search in any seed."""
    found: dict[str, list[str]] = {}
    for account in ACCOUNTS:
        rows = table[(table.kind == "parameter") & (table.account == account.name) & (table.fitted == fitted)]
        rows = rows[rows.name.isin(account.all_ranges)]
        ends = [account.all_ranges[name] for name in rows.name]
        close = [bool(np.isclose(value, end, rtol=0.01).any()) for value, end in zip(rows.value, ends, strict=True)]
        found[account.name] = list(dict.fromkeys(rows.name[close]))
    return found


def fit_and_score(draws: int = 200) -> pd.DataFrame:
    """Fit the untreated curves of the tables, score all other conditions, write `tables/accounts.parquet`.

    Args:
        draws: random starts scored per seed and account.

    Raises:
        ConfigError: the tables have no untreated run.
    """
    measured = runs(read())
    return tables.write("accounts", score_all(measured, fit_all(measured, draws)))


def as_text(table: pd.DataFrame, setting: Setting = COMPETITION) -> str:
    """What is printed: parameters with their spread over seeds, then the scores."""
    lines = []
    for fitted in ("joint", "alone"):
        rows = table[table.kind.isin(["parameter", "fit"]) & (table.fitted == fitted)]
        spread = rows.groupby(["account", "name"], sort=False).value.agg(["median", "min", "max"])
        lines += [f"\n{fitted}: parameters", spread.to_string(float_format="{:.3g}".format)]
        lines += ["\nRMSE of icl, flip, ciwl: median over seeds"]
        lines += [summary(table, fitted, setting).to_string(float_format="{:.3f}".format)]
        for other in (CONTROL, COOPETITION.name):
            if len(held_out(table, fitted, setting)):
                lines += [f"\nheld-out RMSE minus that of {other}, paired by seed"]
                lines += [comparison(table, other, fitted, setting).to_string(float_format="{:.3f}".format)]
        lines += ["\nphases", phase_summary(table, fitted, setting).to_string(float_format="{:.2f}".format)]
    return "\n".join(lines)
