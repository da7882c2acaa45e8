"""Claim 0.14: does the coopetition account predict, from how well drawings match, how fast ICL fades? The rule was
written on 27 Nov 2026, 16:30, before any fit; of the runs that are predicted, those of seed 0 had been seen."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mechicl.errors import ConfigError
from mechicl.measures.phases import phase_times
from research import accounts as fitted
from research import fade_accounts, tables
from research.accounts_data import Runs
from research.accounts_figure import figure
from research.claim import Claim, not_run, table
from research.experiments.figure1b_why import TITLES
from research.figure_1b_runs import RAW, SEEDS
from research.statistics import spread, spread_times
from research.theories.coopetition import COOPETITION
from research.theories.flow import predict
from research.theories.training import Setting
from research.verdicts import Part, decided

KEY, TITLE = "0.14", "Coopetition predicts from matching how fast ICL fades"
SAYS = (
    "By the coopetition account ICL fades because matching leaves an error that recall has not: its mu1 (Singh et al. "
    "2025, section 6). Ours, to be tested: fitted to the raw runs alone, and with mu1 in proportion to the error of "
    "matching, the account predicts the runs on other banks."
)
RULE = (
    "Each account is fitted to the raw runs of three seeds together. Then the runs with spread x .8, x 1.3 and x 1.6 "
    "and those with the released layout are predicted, without a new fit, from how well drawings match "
    "(`research/fade_accounts.py`). The error is the root mean squared one of ICL, Flip and CIWL to 15 million "
    "sequences, mean over the four. Supported where coopetition's is below the control's, which predicts the seed's "
    "own raw run, in each of three seeds, and also below that of each published account of independent rates. "
    "Contradicted where one of the three is better in each of three seeds."
)
CHANCE = 0.5  # of two labels
RIVALS = (fitted.CONTROL, "rates-outvoted", "rates-regularized")
SHOWN = (COOPETITION.name, *RIVALS[1:], "rates-noisy", fitted.CONTROL, fitted.OTHERS)


def claims() -> list[Claim]:
    found = tables.read(fade_accounts.TABLE)
    try:
        where = fade_accounts.measured()
    except ConfigError:
        return [not_run(KEY, TITLE, SAYS, fade_accounts.COMMAND)]
    if found is None:
        return [not_run(KEY, TITLE, SAYS, fade_accounts.COMMAND)]
    means, runs = fitted.held_out(found, setting=where), fade_accounts.curves()
    scored = found[found.condition.isin(where.held_out)].groupby("condition").seed.nunique()
    done, planned = int(scored.sum()), len(where.held_out) * len(SEEDS)
    whole = done == planned
    return [
        Claim(
            KEY,
            TITLE,
            SAYS,
            f"the raw runs of `research/sweeps/figure-1b.toml`, {len(SEEDS)} seeds; predicted: four banks of "
            "`research/sweeps/figure-1b-speed.toml`, to 15M",
            RULE,
            judged(means) if whole else [],
            fade_accounts.COMMAND,
            _text(found, where, runs),
            {"figure-1b-14": figure(found, runs, setting=where, scale="linear")},
            None if whole else "running",
            "" if whole else f"{done} of {planned} predicted runs are finished",
        )
    ]


_TIMES = {"ICL's onset": ("icl", "onset"), "Flip's half-decay": ("flip", "half_decay")}


def judged(means: pd.DataFrame) -> list[Part]:
    """means: held-out errors, of `accounts.held_out`."""
    return [_against(means[COOPETITION.name] - means[rival], rival) for rival in RIVALS]


def _against(difference: pd.Series, rival: str) -> Part:
    below, above = int((difference < 0).sum()), int((difference > 0).sum())
    status = decided(below == len(SEEDS), above == len(SEEDS))
    said = f"{spread(difference)}; below 0 in {below} of {len(difference)} seeds"
    return Part(f"error, coopetition less {rival}", said, status, "below 0 in each seed")


def _text(found: pd.DataFrame, where: Setting, runs: Runs) -> list[str]:
    summary = fitted.summary(found, setting=where)
    shown = [name for name in SHOWN if name in summary.columns]
    errors = [
        [
            TITLES.get(str(c), str(c)),
            f"{row['seeds']:.0f}",
            *("-" if np.isnan(row[n]) else f"{row[n]:.3f}" for n in shown),
        ]
        for c, row in summary.reindex([*where.conditions, "held out"]).dropna(subset="seeds").iterrows()
    ]
    return [
        "Error (root mean squared) of ICL, Flip and CIWL, median over seeds. The first row was fitted, the others are "
        "predicted. 'control' predicts the seed's own raw run; 'other seeds' predicts the mean of the other seeds on "
        "the same bank, which no account can know. `rates-noisy` is our own extension.",
        table(["", "seeds", *shown], errors),
        "Fitted values that lie at a bound of the search, so that other ranges would give another fit: "
        + "; ".join(f"{name} {', '.join(at)}" for name, at in fitted.at_bounds(found).items() if at)
        + ".",
        "ICL's onset and Flip's half-decay, to 15 million sequences, of each seed: what coopetition predicts, and what "
        "came. The factor on mu1 is the error of matching over that of the raw features.",
        table(
            ["", "factor on mu1", *(f"{what}, {how}" for what in _TIMES for how in ("predicted", "measured"))],
            _times(found, where, runs),
        ),
    ]


def _times(found: pd.DataFrame, where: Setting, runs: Runs) -> list[list[str]]:
    rows = []
    own = found[(found.kind == "parameter") & (found.account == COOPETITION.name) & (found.fitted == "joint")]
    for name, condition in where.conditions.items():
        times = []
        for evaluator, phase in _TIMES.values():
            said, came = [], []
            for seed, values in own.groupby("seed"):
                p = dict(zip(values.name, values.value, strict=True))
                curve = predict(COOPETITION, p, condition, where.grid)[evaluator]
                said.append(getattr(phase_times(where.grid, curve, CHANCE), phase))
                if (name, seed) in runs:
                    run = runs[name, int(str(seed))][evaluator]
                    came.append(getattr(phase_times(*run, CHANCE), phase))
            times += [spread_times(pd.Series(x, dtype=float) * 1e6) if x else "-" for x in (said, came)]
        factor = condition.offers[0][1].handicap
        rows.append([TITLES[name] + (" (fitted)" if name == RAW else ""), f"{factor:.2f}", *times])
    return rows
