"""The raw runs of Figure 1b, beside those of the sweeps that change one thing of research/sweeps/figure-1b.toml."""

from __future__ import annotations

import pandas as pd

from mechicl.sweeps.conditions import Plan
from mechicl.sweeps.plan import read_plan
from research import tables

SEEDS = (0, 1, 2)  # of those sweeps
RAW = "raw"


def plan_of(sweep: str) -> Plan:
    return read_plan(tables.TABLES.parent / f"sweeps/{sweep}.toml")


def until(sweep: str) -> int:
    """How many sequences the runs of a sweep see. Those of `raw`, which go further, are compared up to there."""
    return max(c.config.steps * c.config.batch_size for c in plan_of(sweep).conditions)


def read(sweep: str, needs: tuple[str, ...]) -> pd.DataFrame:
    """The runs of these conditions, with those of figure-1b for `raw`, of the seeds that both have; columns that both
    tables share. All are cut where the sweep's own runs end."""
    found = [data for name in (sweep, "figure-1b") if (data := tables.read(name)) is not None]
    if not found:
        return pd.DataFrame({"condition": [], "seed": [], "complete": pd.Series(dtype=bool), "sequences": []})
    data = pd.concat(found, join="inner", ignore_index=True)
    wanted = data.condition.isin(needs) & data.seed.isin(SEEDS) & (data.sequences <= until(sweep))
    return data[wanted].reset_index(drop=True)
