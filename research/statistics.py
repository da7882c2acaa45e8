"""Over seeds: phases of every run, effects of a training intervention against its own seed without it.

The unit is the seed. A treated run shares with its untreated twin the initial weights, the
bank and the stream of sequences, so effects are paired differences. Claims are judged by exact intervals (of a median,
of a share), which assume no shape: outcomes over seeds are often of two kinds, ICL formed or not. Tables of many
comparisons have Student's t-intervals and p-values corrected for their number (Holm); no verdict uses them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from mechicl.figures.style import short
from mechicl.measures.phases import over_seeds, phase_times
from mechicl.statistics import t_interval, t_test

STRICT = 0.95  # what a status would be by this level is shown beside it (research/choices.py)
QUANTITIES = ("onset", "peak", "peak_value", "half_decay", "final_value")


def phases(table: pd.DataFrame) -> pd.DataFrame:
    """Phase times (mechicl/measures/phases.py) of every complete run: one row per condition,
    seed and evaluator; times in sequences, NaN where the rule finds none. `highest` is the curve's
    maximum, also where it is too low to be a peak."""
    whole = table[table.complete & (table.evaluator != "training")].sort_values("sequences", kind="stable")
    times, values, chance = (whole[c].to_numpy(float) for c in ("sequences", "value", "chance"))
    rows = []
    groups = whole.groupby(["condition", "seed", "evaluator"], sort=False).indices
    for (condition, seed, evaluator), at in groups.items():
        found = phase_times(times[at], values[at], float(chance[at[0]]))
        quantities = {name: np.nan if value is None else value for name, value in vars(found).items()}
        rows.append(
            {
                "condition": condition,
                "seed": seed,
                "evaluator": evaluator,
                **quantities,
                "highest": float(values[at].max()),
            }
        )
    return pd.DataFrame(rows, columns=["condition", "seed", "evaluator", *QUANTITIES, "highest"])


def losses(table: pd.DataFrame) -> pd.DataFrame:
    """Training loss at ICL's peak and at the end, of every complete run."""
    rows = []
    for (condition, seed), run in table[table.complete].groupby(["condition", "seed"], sort=False):
        icl, loss = (run[run.evaluator == name].sort_values("sequences") for name in ("icl", "training"))
        peak = icl.sequences.iloc[int(icl.value.argmax())]
        near = loss.iloc[int((loss.sequences - peak).abs().argmin())]
        rows.append({"condition": condition, "seed": seed, "at_peak": near.value, "final": loss.value.iloc[-1]})
    return pd.DataFrame(rows)


def at(table: pd.DataFrame, evaluator: str, sequences: float) -> pd.Series:
    """Every run's value at a time, straight between evaluated steps; index (condition, seed)."""
    rows = table[table.evaluator == evaluator].sort_values("sequences")
    return rows.groupby(["condition", "seed"]).apply(
        lambda run: float(np.interp(sequences, run.sequences, run.value)), include_groups=False
    )


def spread(values: pd.Series | list[float]) -> str:
    """'median (lowest to highest; n of N seeds)', times as 193k."""
    listed = [None if pd.isna(v) else float(v) for v in values]
    found = over_seeds(listed)
    if not found["n"]:
        return f"never (0 of {found['of_n']})"
    text = short if found["high"] > 1000 else "{:.3f}".format
    of = f"{found['n']}" if found["n"] == found["of_n"] else f"{found['n']} of {found['of_n']}"
    return f"{text(found['median'])} ({text(found['low'])} to {text(found['high'])}; n = {of})"


def spread_times(values: pd.Series | list[float]) -> str:
    """'median (lowest to highest; seeds)' of times, where a seed without that time counts as one that takes forever."""
    found = np.sort(np.nan_to_num(np.asarray(values, float), nan=np.inf, posinf=np.inf))
    if not len(found):
        return "-"
    low, middle, high = ("never" if np.isinf(v) else short(v) for v in (found[0], np.median(found), found[-1]))
    return f"{middle} ({low} to {high}; n = {len(found)})" if low != "never" else f"never (0 of {len(found)})"


def p_text(p: float) -> str:
    """'= 0.069', or '< 0.001': no p is 0."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def paired(treated: pd.Series, untreated: pd.Series) -> dict[str, float]:
    """Mean difference treated - untreated over seeds that have both, its 95% t-interval and the
    paired t-test's p. Both are indexed by seed."""
    both = pd.concat([treated, untreated], axis=1, keys=["a", "b"]).dropna()
    d, n = (both.a - both.b).to_numpy(float), len(both)
    if n < 2:
        return {"n": n, "difference": float(d.mean()) if n else np.nan, "low": np.nan, "high": np.nan, "p": np.nan}
    middle, low, high = map(float, t_interval(d))
    return {"n": n, "difference": middle, "low": low, "high": high, "p": t_test(d)}
