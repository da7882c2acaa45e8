"""Does an account predict, from how well drawings match, how fast ICL fades?

    python -m research fade

Each account (research/theories) is fitted to the raw runs of research/sweeps/figure-1b.toml. Then the conditions of
research/sweeps/figure-1b-speed.toml that change the bank are predicted without a new fit, seed by seed. A condition
changes two factors, and both come from the bank alone. With m the share of pairs of drawings that match
(research/geometry.py),

    handicap = (1 - m) / (1 - m of raw)      the error that matching leaves: coopetition's mu1
    noise    = z(m of raw) / z(m)            z: the normal quantile; the spread of ICL's logit, of all accounts alike

Written on 27 Nov 2026, 16:30, before any fit. Of the twelve runs that are predicted, the four of seed 0 had been seen;
those of seeds 1 and 2 were being trained and had not been looked at.

Writes fade-accounts.parquet, with the columns of research/accounts.py.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import ndtri

from mechicl.errors import ConfigError
from research import tables
from research.accounts import fit_all, score_all
from research.accounts_data import Runs, runs
from research.figure_1b_runs import RAW, SEEDS, read, until
from research.theories.training import Condition, Offer, Setting

TABLE, SWEEP = "fade-accounts", "figure-1b-speed"
HELD_OUT = ("spread-0.8", "spread-1.3", "spread-1.6", "layout-released")
COMMAND = "python -m research fade"


def setting(match: pd.Series) -> Setting:
    """match: condition -> the share of pairs of drawings that match, of RAW and of HELD_OUT."""
    end, conditions = until(SWEEP) / 1e6, {}
    for name in (RAW, *HELD_OUT):
        left, spread = (1 - match[name]) / (1 - match[RAW]), ndtri(match[RAW]) / ndtri(match[name])
        offers = ((0.0, Offer(handicap=float(left), noise=float(spread))),)
        conditions[name] = Condition(name, offers, warmup=0.0)  # the rate is constant
    return Setting(conditions, RAW, np.linspace(end / 50, end, 50))


def measured() -> Setting:
    """The setting by the banks that were measured.

    Raises:
        ConfigError: a bank was not measured.
    """
    found = tables.read("geometry")
    found = pd.DataFrame(columns=["sweep", "condition", "seed", "match"]) if found is None else found
    mine = found[found.sweep.isin([SWEEP, "figure-1b"]) & found.seed.isin(SEEDS)]
    match = mine.groupby("condition").match.mean()
    if missing := [name for name in (RAW, *HELD_OUT) if name not in match.index]:
        raise ConfigError(
            f"research/tables/geometry.parquet has no bank of {', '.join(missing)}: measure them with `python -m "
            "research geometry --data DIR_OF_OMNIGLOT --features FILE`."
        )
    return setting(match)


def curves() -> Runs:
    """The runs that are finished, of RAW and of HELD_OUT."""
    return runs(read(SWEEP, (RAW, *HELD_OUT)))


def fit_and_score(draws: int = 200) -> pd.DataFrame:
    """Fit the raw runs, score the runs of all other conditions that are finished, write the table."""
    where, found = measured(), curves()
    return tables.write(TABLE, score_all(found, fit_all(found, draws, setting=where), where))
